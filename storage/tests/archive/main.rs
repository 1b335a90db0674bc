//! The archive against a real Postgres, direct and through a real PgBouncer. Each test says what it skipped and why where
//! one of them is not installed.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;
mod connect;
mod grants;
mod migrate;
mod overlap;
mod server;
#[path = "../support/mod.rs"]
mod support;
mod trouble;
mod write;
