//! Who may ask what: the replicated access policy, as a value.
//!
//! In: a document, a caller with what it proved, an operation. Out: a permission with the client and the role that give
//! it, or a denial that says what is missing. Everything that is not granted is denied. Deliberately absent: any effect
//! on a slashing verdict (the policy decides who may ask, never what may be signed), clocks (callers bring the slot and
//! leave out what has expired), matching of addresses and hosts, and the checking of certificates, tokens and JWTs.
//!
//! | module | what it owns |
//! |---|---|
//! | `operation` | what can be granted, by name |
//! | `model` | the policy itself |
//! | `caller` | what a caller has proved |
//! | `token` | bearer tokens as the cluster keeps them |
//! | `decide` | from caller, operation and key to a permission or a denial |
//! | `diff`, `warnings` | what a new policy changes, and what in it is probably not meant |
//! | `document` | the YAML text, strictly |

mod caller;
mod decide;
#[cfg(test)]
mod decide_tests;
mod diff;
mod document;
mod model;
mod operation;
mod token;
mod warnings;

pub use caller::{Caller, CertificateNames, Claims};
pub use decide::{Denial, Permission, Rights};
pub use diff::diff;
pub use document::{POLICY_TEXT_BYTES_MAX, PolicyError};
pub use model::{Addresses, CertificateMatch, JwtMatch, KeyScope, POLICY_BYTES_MAX, Policy, PolicyClient, Rate, Role};
pub use operation::{AdminVerb, Grant, KeyManagerVerb, Operation};
pub use token::{BadToken, TOKENS_MAX, TokenRecord, check_name};
