//! What the configuration of the perimeter does to a real node: revocation, identities, versions, addresses, tokens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod addresses;
mod bad;
mod identities;
mod revocation;
mod site;
mod tokens;
