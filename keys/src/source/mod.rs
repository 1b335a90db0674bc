//! Where validator keys come from: keystore directories of every client, key configuration files, vaults.
//!
//! ```text
//! directory, YAML, vault --read--> Candidate --Loading--> Loaded (a secret, or why not)
//! ```
//! In: paths, specifications. Out: [`Candidate`]s, and after decryption [`Loaded`] keys. Reading a source decrypts
//! nothing and never fails for one bad key: that key becomes a candidate that says why. Deliberately absent: sealing,
//! the replicated state, and any memory of earlier runs.

#[cfg(feature = "aws")]
mod aws;
mod directory;
mod error;
mod fetcher;
mod files;
mod key_document;
mod layout;
#[cfg(any(feature = "aws", feature = "vault"))]
mod lines;
mod loading;
mod passwords;
mod remote;
mod resolve;
#[cfg(feature = "vault")]
mod vault;
mod wallet;
mod web3signer;

use crate::bls::SecretKey;
use crate::keystore::{Keystore, Password};
#[cfg(feature = "aws")]
pub use aws::{AwsSecretsSource, fetch_aws_secret};
use consigner_rules::PublicKey;
pub use directory::DirectorySource;
pub use error::SourceError;
pub use fetcher::fetcher;
pub use files::{LooseFiles, Reader, Warning};
pub use layout::KEYSTORES_MAX;
pub use loading::{Fetch, Loaded, Loading, Outcome, Progress, load_all};
pub use passwords::Passwords;
pub use remote::{AwsSecretCredentials, AwsSecretSpec, RemoteSecret, VaultSecretAuth, VaultSecretSpec};
use std::fmt;
#[cfg(feature = "vault")]
pub use vault::{VaultKvSource, fetch_vault_secret};
pub use web3signer::KeyConfigSource;

/// One key, or one file of keys, that a source offers.
pub struct Candidate {
    /// The file or the name of the secret, for people.
    pub origin: String,
    /// The validator, if that is known without decrypting. A claim until the secret is at hand.
    pub public_key: Option<PublicKey>,
    /// What the source holds.
    pub material: Material,
    /// What an operator should repair although the key is usable, such as a password file that everybody can read.
    pub warnings: Vec<Warning>,
}

/// What a source holds for a candidate.
pub enum Material {
    /// An EIP-2335 keystore with its password.
    Keystore {
        /// The keystore.
        keystore: Box<Keystore>,
        /// Its password.
        password: Password,
    },
    /// A wallet of Prysm: one keystore with many keys.
    Wallet {
        /// The keystore around the list of keys.
        keystore: Box<Keystore>,
        /// Its password.
        password: Password,
    },
    /// A plain secret.
    Raw(SecretKey),
    /// A secret that has to be fetched.
    Remote(RemoteSecret),
    /// Nothing usable.
    Failed(SourceError),
}

impl Candidate {
    /// A candidate without warnings.
    #[must_use]
    pub fn new(origin: impl Into<String>, public_key: Option<PublicKey>, material: Material) -> Self {
        Self { origin: origin.into(), public_key, material, warnings: Vec::new() }
    }

    /// A plain secret of a source; its public key is derived (113 us).
    #[must_use]
    pub fn raw(origin: impl Into<String>, secret: SecretKey) -> Self {
        Self::new(origin, Some(secret.public_key()), Material::Raw(secret))
    }

    /// A key that could not be read.
    #[must_use]
    pub fn failed(origin: impl Into<String>, public_key: Option<PublicKey>, error: SourceError) -> Self {
        Self::new(origin, public_key, Material::Failed(error))
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.material {
            Material::Keystore { .. } => "keystore",
            Material::Wallet { .. } => "wallet",
            Material::Raw(_) => "raw",
            Material::Remote(_) => "remote",
            Material::Failed(_) => "failed",
        };
        write!(formatter, "Candidate({} {kind} {:?})", self.origin, self.public_key)
    }
}

#[cfg(test)]
#[path = "permission_tests.rs"]
mod permission_tests;
