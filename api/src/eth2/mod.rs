//! The endpoints of validator clients, compatible with Web3Signer (COMPATIBILITY A2; deliberate differences: part C).

mod attempt;
mod high_watermark;
mod identifier;
mod public_keys;
mod sign;

pub(crate) use high_watermark::get as high_watermark;
pub(crate) use public_keys::get as public_keys;
pub(crate) use sign::post as sign;

use std::time::Duration;

/// How long an endpoint that must not answer with stale state waits for this node to catch up. Longer than an election.
pub(crate) const BARRIER_DEADLINE: Duration = Duration::from_secs(3);
