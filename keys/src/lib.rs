//! Turns sealed keys into signatures, only for a permit.
//!
//! In: [`SealedKey`](consigner_rules::SealedKey)s and the data keys that open them; later one
//! [`SignPermit`](consigner_rules::SignPermit) per signature. Out: signatures. One narrow door, so that unsealing and
//! signing can move into an enclave one day. Deliberately absent: any decision whether something may be signed, any
//! network, and any public function that signs a root without a permit. What is signed otherwise is no root of anybody's
//! choice: [`development::Yardstick`] signs with a key that everybody knows, and [`generate`] signs the deposit message
//! of a key that it has just derived.
//!
//! A permit cannot be built from its parts,
//! ```compile_fail,E0451
//! use consigner_rules::{PublicKey, Root, SignPermit};
//! let _ = SignPermit { public_key: PublicKey([0; 48]), signing_root: Root([0; 32]) };
//! ```
//! nor be used twice,
//! ```compile_fail,E0599
//! fn twice(permit: consigner_rules::SignPermit) -> [consigner_rules::SignPermit; 2] {
//!     [permit.clone(), permit]
//! }
//! ```
//! ```compile_fail,E0382
//! async fn twice(keyring: consigner_keys::Keyring, permit: consigner_rules::SignPermit) {
//!     let _ = keyring.sign(permit).await;
//!     let _ = keyring.sign(permit).await;
//! }
//! ```
//! a keyring takes nothing in its place,
//! ```compile_fail,E0308
//! async fn unchecked(keyring: consigner_keys::Keyring, root: consigner_rules::Root) {
//!     let _ = keyring.sign(root).await;
//! }
//! ```
//! and a secret key by itself signs nothing:
//! ```compile_fail,E0603
//! use consigner_keys::bls::sign_hashed;
//! ```

pub mod backup;
pub mod bls;
pub mod custody;
pub mod development;
pub mod generate;
pub mod keyring;
pub mod keystore;
mod locked;
pub mod memory;
pub mod remote;
mod root_cache;
pub mod sealing;
pub mod source;
#[cfg(test)]
mod vectors;

pub use bls::{BadSecret, HashedRoot, SecretKey, verify};
pub use custody::{Custody, CustodyError, CustodyStatus, DataKeyStatus};
pub use keyring::{Inserted, Keyring, KeyringOptions, SignError, Urgency};
pub use keystore::{DecryptPool, Keystore, KeystoreError, Password};
pub use memory::harden_process;
#[cfg(feature = "aws")]
pub use sealing::{AwsKmsConfig, AwsKmsSealer};
pub use sealing::{LocalSealer, PlainDataKey, SealError, Sealer, SealerError, Sealers, UnsealError, seal, unseal};
#[cfg(feature = "vault")]
pub use sealing::{VaultTransitConfig, VaultTransitSealer};
pub use source::{Candidate, Material, SourceError};
