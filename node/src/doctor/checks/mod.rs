//! The checks: each a small function over plain values, with a table of cases beside it.
//!
//! Deliberately absent: files, sockets and processes; [`super::offline`] and [`super::live`] gather what is judged here.

pub mod access;
pub mod archive;
pub mod certificates;
pub mod cluster;
pub mod credentials;
pub mod doors;
pub mod files;
pub mod keys;
pub mod machine;
pub mod process;
