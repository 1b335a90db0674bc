//! Brings all nodes to one order of commands, and mints permits from what was committed.
//!
//! In: sign requests and commands. Out: [`consigner_rules::SignPermit`]s, outcomes, and reads of the replicated state.
//! This crate alone knows openraft; its types do not leave. Deliberately absent: HTTP for clients, keys, configuration.

mod authorize;
mod cluster;
mod types;

pub use authorize::{AuthorizeError, Routing};
pub use cluster::{
    Cluster, ClusterOptions, InitialiseError, KeyFeed, OpenError, PeerService, ProposeError, Unavailable,
};
pub use types::{Leadership, Member, NodeStatus, Role, Timing};
