//! Who may ask, seen from outside: certificates of every kind, callers from every address, what came of each call.
//!
//! In: what a caller shows and asks. Out: a status or none. The certificates are a test's own, so that it can revoke,
//! forge and roll over whatever it likes. Deliberately absent: what the answer should have been; the tables of the
//! tests say so.

pub mod caller;
pub mod credentials;
pub mod jwt;
pub mod outside;
pub mod pki;
pub mod relay;

pub use caller::{Call, Caller, Came};
pub use credentials::{Credentials, Identity};
pub use outside::{Said, Tool};
pub use pki::{Authority, Leaf, PkiError, Subject};
pub use relay::Relay;
