//! Calls to services that hold keys: AWS KMS, AWS Secrets Manager, Vault.
//!
//! In: what is to be called, and for which key. Out: the answer, or an error that names call, key and cure. Deliberately
//! absent: what the calls are for (sealers, sources).

mod failure;

pub use failure::{CallError, Failure};
