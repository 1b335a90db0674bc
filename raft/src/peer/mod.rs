//! The channel between nodes: HTTP/2 over mutual TLS on a port of its own, with versioned and capped bodies.
//!
//! | module | what it owns |
//! |---|---|
//! | [`wire`] | paths, headers and messages |
//! | [`link`] | outgoing calls, over one pooled connection per peer |
//! | [`network`] | openraft's calls as outgoing calls |
//! | [`service`] | incoming calls |
//! | [`guard`] | who may call, and what an append must satisfy before openraft sees it |

pub mod guard;
pub mod link;
pub mod network;
pub mod service;
pub mod wire;
