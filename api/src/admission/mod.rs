//! What a request passes before an endpoint sees it.
//!
//! In: any request of a connection that `gate` let in. Out: the same request with a normalised path, from a caller who
//! named an allowed host; or the answer that turns it away. [`Client`] and [`Admin`] are the proofs that endpoints ask
//! for: who it is ([`caller`], from the certificate and [`credentials`]), from where ([`bounds`]), and that it may.
//! [`body`] reads bodies within their limits, [`drain`] what nobody read.
//! Deliberately absent: what is granted to whom (`permission`).

mod body;
mod bounds;
mod caller;
pub(crate) mod credentials;
mod door;
mod drain;
mod host;
mod identity;
mod path;
mod steps;

pub use bounds::{AddressGroup, policy_addresses};

pub(crate) use body::{BodyError, BodyRules, HeldBody, read as read_body};
pub(crate) use bounds::{Bounds, PolicyBounds};
pub(crate) use caller::{Caller, now_ms};
pub(crate) use credentials::{TOKEN_ID_BYTES, TOKEN_PREFIX, TOKEN_SECRET_BYTES, token_hash};
pub(crate) use door::Door;
pub(crate) use host::{HostProblem, check as check_host};
pub(crate) use identity::{Admin, Client, confirmed, judged, known, needs_of, somebody, stranger, tell, tell_late};
pub(crate) use path::Asked;
pub(crate) use steps::{Admission, admit, deadline};
