//! Calls to services that hold keys: AWS KMS, AWS Secrets Manager, Vault.
//!
//! In: what is to be called, and for which key. Out: the answer, or an error that names call, key and cure. Deliberately
//! absent: what the calls are for (sealers, sources).

#[cfg(feature = "aws")]
pub(crate) mod aws;
#[cfg(any(feature = "aws", feature = "vault"))]
mod breaker;
mod config;
mod failure;
#[cfg(any(feature = "aws", feature = "vault"))]
pub(crate) mod guard;
#[cfg(all(test, any(feature = "aws", feature = "vault")))]
mod guard_tests;
#[cfg(feature = "vault")]
pub(crate) mod vault;

#[cfg(feature = "aws")]
pub use aws::AwsConfig;
pub use config::ConfigError;
pub use failure::{CallError, Failure};
#[cfg(feature = "vault")]
pub use vault::{VaultAuth, VaultConfig};
