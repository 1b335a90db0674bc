//! From a request body to a signing root: one file per message kind.
//!
//! In: bytes, a public key, a [`crate::Network`]. Out: a [`SignRequest`], or a [`ParseError`] with the path of the field
//! at fault. The facts are those of the consensus specification 1.7.0b4, of the builder specification for registrations
//! and request authentication, and of the remote-signing API with what clients really send. Deliberately absent: keys,
//! the slashing rule, HTTP.
//!
//! ```text
//! body -> json (a tree, read once) -> cursor (a place with its path) -> kind: fields, schema, domain
//!                                          schema + merkle -> object root -\
//!                                          fork_info, network -> domain ----> signing root, compared with the claim
//! ```

mod containers;
mod cursor;
mod domain;
mod error;
mod json;
mod merkle;
mod particulars;
mod request;
mod schema;
mod signing_type;
mod versioned;

mod aggregate;
mod aggregation_slot;
mod attestation;
mod block;
mod builder_request_auth;
mod deposit;
mod execution_payload_bid;
mod execution_payload_envelope;
mod inclusion_list;
mod payload_attestation;
mod proposer_preferences;
mod randao_reveal;
mod sync_committee;
mod validator_registration;
mod voluntary_exit;

#[cfg(test)]
mod tests;

pub use error::{Fault, ParseError};
pub use particulars::{Moment, Particulars};
pub use request::{SignPath, SignRequest};
pub use signing_type::SigningType;
