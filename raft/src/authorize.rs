//! From a request to a permit: the answers that are not a permit.

use consigner_rules::{Root, Violation};

/// What a follower does with a request that only the leader can order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// Answer with the leader's URL, if it has one.
    Redirect,
    /// Send the intent to the leader over the peer channel and sign here.
    Forward,
}

/// Why there is no permit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizeError {
    /// Slashable; refused for ever (412).
    #[error("{0}")]
    Refused(Violation),
    /// The request is for another chain (412).
    #[error("genesis validators root {got} of the request is not the cluster's {expected}")]
    OtherChain {
        /// The cluster's.
        expected: Root,
        /// The request's.
        got: Root,
    },
    /// The cluster holds no such key (404).
    #[error("no key {0} in this cluster")]
    UnknownKey(consigner_rules::PublicKey),
    /// Ask the leader (307).
    #[error("the leader is at {api_url}")]
    Redirect {
        /// The leader's advertised API URL.
        api_url: String,
    },
    /// Could not; the same request may be tried again (503).
    #[error("{reason}")]
    Unavailable {
        /// What is missing.
        reason: String,
    },
}
