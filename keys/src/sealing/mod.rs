//! Sealed keys: what may rest on disks and travel between nodes.
//!
//! ```text
//! key file (or KMS, Vault) --wraps--> data key --seals--> validator keys
//! ```
//! In: secrets and the data key to seal them under; sealed keys. Out: sealed keys; secrets. Deliberately absent: where
//! sealed keys rest (the replicated state) and where secrets are kept (the keyring).

#[cfg(feature = "aws")]
mod aws_kms;
mod cipher;
mod key_file;
mod local;
mod passphrase;
mod record;
mod sealer;
#[cfg(test)]
mod sealer_tests;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(feature = "vault")]
mod vault_transit;

use crate::bls::{BadSecret, SecretKey};
use crate::locked::{Arena, Slot};
#[cfg(feature = "aws")]
pub use aws_kms::{AWS_KMS_SEALER, AwsKmsConfig, AwsKmsSealer};
pub(crate) use cipher::Cipher;
use consigner_rules::command::SealedKey;
use consigner_rules::primitives::{ClusterId, PublicKey};
pub use key_file::KeyFileError;
pub use local::{LOCAL_SEALER, LocalSealer};
pub use record::UnwrapError;
pub use sealer::{Sealer, SealerError, Sealers};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "vault")]
pub use vault_transit::{VAULT_TRANSIT_SEALER, VaultTransitConfig, VaultTransitSealer};

/// Layout of associated data and ciphertext that this version writes and the only one that it reads.
pub const SEALED_KEY_FORMAT: u8 = 1;

/// Keys that one opened data key seals at most.
//= NIST SP 800-38D section 8.3: at most 2^32 invocations per key with random nonces of 96 bits.
// Counted per opening, so 2^20 leaves room for 4,096 openings (restarts times nodes) of one data key.
pub const SEALS_PER_DATA_KEY_MAX: u64 = 1 << 20;

const SEALED_KEY_LABEL: &[u8; 20] = b"consigner sealed key";
const SEALED_KEY_CONTEXT_BYTES: usize = 20 + 1 + ClusterId::LENGTH + PublicKey::LENGTH + 16;

/// Why a secret could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// No nonce or key without randomness.
    #[error("the operating system gives no random bytes")]
    Randomness(#[source] getrandom::Error),
    /// Cannot happen with 32 bytes; said rather than assumed.
    #[error("AES-GCM could not encrypt")]
    Encryption,
    /// The data key did its share; random nonces must not repeat.
    #[error(
        "data key {} has sealed {SEALS_PER_DATA_KEY_MAX} keys, its limit; create a new data key",
        hex::encode(data_key)
    )]
    Exhausted {
        /// Id of the data key.
        data_key: [u8; 16],
    },
    /// Sealing for one cluster under the data key of another.
    #[error("data key {} belongs to cluster {data_key_cluster}, not to {cluster}", hex::encode(data_key))]
    OtherCluster {
        /// Id of the data key.
        data_key: [u8; 16],
        /// The cluster for which it was made.
        data_key_cluster: ClusterId,
        /// The cluster for which it was used.
        cluster: ClusterId,
    },
}

/// Why a sealed key does not open. Names records, never secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// Written by a later version.
    #[error("the sealed key of {public_key} has format {format}; this version reads {SEALED_KEY_FORMAT}")]
    Format {
        /// The validator.
        public_key: PublicKey,
        /// What the record says.
        format: u8,
    },
    /// Another data key than the one that sealed it, or none.
    #[error("the sealed key of {public_key} needs data key {}, which is not open", hex::encode(data_key))]
    OtherDataKey {
        /// The validator.
        public_key: PublicKey,
        /// The data key that the record names.
        data_key: [u8; 16],
    },
    /// The data key was made for another cluster.
    #[error("the data key of {public_key} belongs to cluster {data_key_cluster}, not to {cluster}")]
    OtherCluster {
        /// The validator.
        public_key: PublicKey,
        /// The cluster for which the data key was made.
        data_key_cluster: ClusterId,
        /// The cluster for which it was used.
        cluster: ClusterId,
    },
    /// Cut or padded.
    #[error("the sealed key of {public_key} has {got} bytes instead of {expected}")]
    Length {
        /// The validator.
        public_key: PublicKey,
        /// Bytes of ciphertext and tag.
        expected: usize,
        /// Bytes found.
        got: usize,
    },
    /// The authentication tag does not fit: AES-GCM cannot tell a flipped bit from another validator's record.
    #[error("the sealed key of {public_key} was altered, or is the record of another validator or cluster")]
    Altered {
        /// The validator.
        public_key: PublicKey,
    },
    /// Authentic, but no secret key: sealed by something else than this program.
    #[error("what was sealed for {public_key} is not a secret key")]
    NotASecret {
        /// The validator.
        public_key: PublicKey,
        /// Why not.
        source: BadSecret,
    },
}

/// An opened data key, in locked memory, bound to its cluster.
pub struct PlainDataKey {
    id: [u8; 16],
    cluster_id: ClusterId,
    secret: Slot,
    seals: AtomicU64,
}

impl PlainDataKey {
    pub(crate) fn new(id: [u8; 16], cluster_id: ClusterId, secret: &[u8; 32]) -> Self {
        Self { id, cluster_id, secret: Arena::new().store(secret), seals: AtomicU64::new(0) }
    }

    /// Its name in the replicated state.
    #[must_use]
    pub const fn id(&self) -> &[u8; 16] {
        &self.id
    }

    /// The cluster for which it was made.
    #[must_use]
    pub const fn cluster_id(&self) -> &ClusterId {
        &self.cluster_id
    }

    /// Expands the key once; worth keeping while many records are opened, and erased when dropped.
    pub(crate) fn cipher(&self) -> Cipher {
        Cipher::new(&self.secret.read())
    }
}

impl fmt::Debug for PlainDataKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PlainDataKey({})", hex::encode(self.id))
    }
}

/// Seals a secret key for a cluster; derives the public key, so the record names the right validator.
///
/// # Errors
/// [`SealError`] when the data key is another cluster's or used up, or randomness fails.
pub fn seal(data_key: &PlainDataKey, cluster_id: &ClusterId, secret: &SecretKey) -> Result<SealedKey, SealError> {
    if data_key.cluster_id != *cluster_id {
        let (data_key, data_key_cluster) = (data_key.id, data_key.cluster_id);
        return Err(SealError::OtherCluster { data_key, data_key_cluster, cluster: *cluster_id });
    }
    if data_key.seals.fetch_add(1, Ordering::Relaxed) >= SEALS_PER_DATA_KEY_MAX {
        return Err(SealError::Exhausted { data_key: data_key.id });
    }
    seal_as(secret.public_key(), data_key, secret)
}

/// Seals under a given name; tests use it to make the record that [`seal`] never makes.
fn seal_as(public_key: PublicKey, data_key: &PlainDataKey, secret: &SecretKey) -> Result<SealedKey, SealError> {
    let (format, data_key_id) = (SEALED_KEY_FORMAT, data_key.id);
    let context = sealed_key_context(format, &data_key.cluster_id, &public_key, &data_key_id);
    let (nonce, ciphertext) = data_key.cipher().encrypt(&context, &secret.to_bytes())?;
    Ok(SealedKey { format, public_key, data_key: data_key_id, nonce, ciphertext: ciphertext.to_vec() })
}

/// Opens a sealed key. Does not derive the public key (113 us): the keyring compares it before the first signature.
///
/// # Errors
/// [`UnsealError`] when the record was not sealed by this data key for this cluster and validator, or was altered.
pub fn unseal(data_key: &PlainDataKey, cluster_id: &ClusterId, sealed: &SealedKey) -> Result<SecretKey, UnsealError> {
    unseal_with(&data_key.cipher(), data_key, cluster_id, sealed)
}

/// [`unseal`] with the data key's cipher at hand.
pub(crate) fn unseal_with(
    cipher: &Cipher,
    data_key: &PlainDataKey,
    cluster_id: &ClusterId,
    sealed: &SealedKey,
) -> Result<SecretKey, UnsealError> {
    let public_key = sealed.public_key;
    if sealed.format != SEALED_KEY_FORMAT {
        return Err(UnsealError::Format { public_key, format: sealed.format });
    }
    if sealed.data_key != data_key.id {
        return Err(UnsealError::OtherDataKey { public_key, data_key: sealed.data_key });
    }
    if data_key.cluster_id != *cluster_id {
        let data_key_cluster = data_key.cluster_id;
        return Err(UnsealError::OtherCluster { public_key, data_key_cluster, cluster: *cluster_id });
    }
    let (expected, got) = (cipher::CIPHERTEXT_BYTES, sealed.ciphertext.len());
    let ciphertext = sealed.ciphertext.as_slice().try_into();
    let ciphertext = ciphertext.map_err(|_| UnsealError::Length { public_key, expected, got })?;
    let context = sealed_key_context(sealed.format, cluster_id, &public_key, &sealed.data_key);
    let secret = cipher.decrypt(&sealed.nonce, &context, ciphertext).ok_or(UnsealError::Altered { public_key })?;
    SecretKey::from_bytes(&secret).map_err(|source| UnsealError::NotASecret { public_key, source })
}

/// Associated data of a sealed key; all parts have fixed lengths, so no two contexts share their bytes.
//= DESIGN section 4: "Associated data of a sealed key: format version, cluster id, public key, data-key id"
fn sealed_key_context(
    format: u8,
    cluster_id: &ClusterId,
    public_key: &PublicKey,
    data_key: &[u8; 16],
) -> [u8; SEALED_KEY_CONTEXT_BYTES] {
    let mut context = [0_u8; SEALED_KEY_CONTEXT_BYTES];
    cipher::concatenate(
        &mut context,
        &[SEALED_KEY_LABEL, &[format], cluster_id.as_bytes(), public_key.as_bytes(), data_key],
    );
    context
}
