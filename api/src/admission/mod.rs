//! What a request passes before an endpoint sees it.
//!
//! In: any request of a connection that `gate` let in. Out: the same request with a normalised path, from a caller who
//! named an allowed host; or the answer that turns it away. [`Client`] and [`Admin`] are the proofs of identity that
//! endpoints ask for; [`body`] reads bodies within their limits, [`drain`] what nobody read.
//! Deliberately absent: rate limits (the key manager API has its own) and priorities.

mod body;
mod drain;
mod host;
mod identity;
mod path;
mod steps;

pub(crate) use body::{BodyError, BodyRules, HeldBody, read as read_body};
pub(crate) use host::HostProblem;
pub(crate) use identity::{Admin, Client, NO_ADMIN, is_admin, named};
pub(crate) use path::Asked;
pub(crate) use steps::{Admission, admit, deadline};
