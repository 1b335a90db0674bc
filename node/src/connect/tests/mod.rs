//! Tests of the sidecar between a plain client and nodes that misbehave on request.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod harness;
mod limits;
mod routing;
mod unix;
