//! What is read back out of a real Postgres: rows, proofs, maxima, views. Skipped, visibly, where there is none.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../archive/common.rs"]
#[allow(dead_code, reason = "written for the tests of the writer")]
mod common;
mod life;
mod read;
#[path = "../support/mod.rs"]
mod support;
mod tamper;
mod verify;
mod views;
