//! Servers for the tests of the archive. Other crates include the files with `#[path]`.

pub mod archive_db;
pub mod pgbouncer;
pub mod postgres;
