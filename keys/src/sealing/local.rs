//! The local sealer: wraps data keys under a key file or passphrase that the operator places on every node.
//!
//! In: a file with 32 random bytes, or with a passphrase. Out: wrapped data keys for the replicated state, and opened
//! ones. The same file must lie on every node of a cluster, and without it no sealed key opens again: it belongs in the
//! operator's vault, not beside the backup. A node may know older files too: they open what was wrapped under them and
//! wrap nothing. Deliberately absent: KMS and Vault, which are other sealers.
//!
//! Wrapped form, version 1, 85 bytes: version (1), fingerprint of the key file (8), cluster id (16), nonce (12),
//! encrypted data key (32), tag (16). Fingerprint and cluster id stand in clear so that a wrong file and a wrong
//! cluster are told apart from damage; both are authenticated too.

use super::cipher::{self, CIPHERTEXT_BYTES, Cipher, NONCE_BYTES};
use super::key_file::{self, KeyFileError};
use super::passphrase;
use super::record::{self, UnwrapError};
use super::sealer::{Sealer, SealerError};
use super::{PlainDataKey, SealError};
use crate::locked::{Arena, Slot};
use consigner_rules::command::DataKey;
use consigner_rules::primitives::ClusterId;
use futures::future::BoxFuture;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::Path;
use zeroize::{Zeroize, Zeroizing};

/// Name of this sealer in [`DataKey::sealer`].
pub const LOCAL_SEALER: &str = "local";

const WRAPPED_VERSION: u8 = 1;
const FINGERPRINT_BYTES: usize = 8;
const WRAPPED_BYTES: usize = 1 + FINGERPRINT_BYTES + ClusterId::LENGTH + NONCE_BYTES + CIPHERTEXT_BYTES;
const DATA_KEY_LABEL: &[u8; 18] = b"consigner data key";
const CONTEXT_BYTES: usize = 18 + 1 + FINGERPRINT_BYTES + ClusterId::LENGTH + 16;

/// Wraps and opens data keys under a key file or a passphrase.
pub struct LocalSealer {
    current: MasterKey,
    previous: Vec<MasterKey>,
}

struct MasterKey {
    key: Slot,
    fingerprint: [u8; FINGERPRINT_BYTES],
}

impl LocalSealer {
    /// Creates a key file with 32 random bytes in hexadecimal, mode 600, durable before the call returns.
    ///
    /// # Errors
    /// [`KeyFileError::Create`] when the file exists or cannot be made durable; a partial file is removed.
    pub fn create_key_file(path: &Path) -> Result<(), KeyFileError> {
        key_file::create(path)
    }

    /// Reads a key file: 32 raw bytes, or 64 hexadecimal digits with an optional `0x` and line end.
    ///
    /// # Errors
    /// [`KeyFileError`] when it cannot be read, is open to other users, or holds something else.
    pub fn from_key_file(path: &Path) -> Result<Self, KeyFileError> {
        let key = key_file::read(path)?;
        Ok(Self { current: MasterKey::new(&key), previous: Vec::new() })
    }

    /// Reads a passphrase of at least 16 bytes (a line end does not count) and stretches it with scrypt, N 2^17, r 8,
    /// p 1, salted with the cluster id: 128 MiB and about half a second on the calling thread.
    ///
    /// # Errors
    /// [`KeyFileError`] when the file cannot be read, is open to other users, or holds no passphrase.
    pub fn from_passphrase_file(path: &Path, cluster_id: &ClusterId) -> Result<Self, KeyFileError> {
        let key = passphrase::read(path, cluster_id)?;
        Ok(Self { current: MasterKey::new(&key), previous: Vec::new() })
    }

    /// Also opens what `older` can open; new data keys are wrapped under this sealer's own key only.
    #[must_use]
    pub fn with_previous(mut self, older: Self) -> Self {
        self.previous.push(older.current);
        self.previous.extend(older.previous);
        self
    }

    /// Names the key file without telling its content, for `doctor` and for comparing nodes.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.current.name()
    }

    /// Makes a random data key for a cluster: wrapped for the replicated state, and open for use.
    ///
    /// # Errors
    /// [`SealError::Randomness`].
    pub fn new_data_key(&self, cluster_id: &ClusterId) -> Result<(DataKey, PlainDataKey), SealError> {
        let id: [u8; 16] = cipher::random()?;
        let secret = Zeroizing::new(cipher::random::<32>()?);
        let master = &self.current;
        let (nonce, ciphertext) = master.cipher().encrypt(&master.context(cluster_id, &id), &secret)?;
        let mut wrapped = vec![0_u8; WRAPPED_BYTES];
        cipher::concatenate(
            &mut wrapped,
            &[&[WRAPPED_VERSION], &master.fingerprint, cluster_id.as_bytes(), &nonce, &ciphertext],
        );
        let data_key = DataKey { id, sealer: LOCAL_SEALER.to_owned(), wrapped };
        Ok((data_key, PlainDataKey::new(id, *cluster_id, &secret)))
    }

    /// Opens a wrapped data key of a cluster.
    ///
    /// # Errors
    /// [`UnwrapError`], a case of its own for another sealer, key file, cluster, version, length, and for damage.
    pub fn unwrap_data_key(&self, data_key: &DataKey, cluster_id: &ClusterId) -> Result<PlainDataKey, UnwrapError> {
        let id = data_key.id;
        let wrapped = Wrapped::parse(data_key)?;
        let master = self.master_key(&wrapped.fingerprint).ok_or_else(|| {
            let (wrapped, own) = (hex::encode(wrapped.fingerprint), self.fingerprint());
            UnwrapError::OtherKeyFile { data_key: id, wrapped, own }
        })?;
        if wrapped.cluster_id != *cluster_id {
            return Err(UnwrapError::OtherCluster { data_key: id, wrapped: wrapped.cluster_id, cluster: *cluster_id });
        }
        let context = master.context(cluster_id, &id);
        let secret = master.cipher().decrypt(&wrapped.nonce, &context, &wrapped.ciphertext);
        let secret = secret.ok_or(UnwrapError::Altered { data_key: id })?;
        Ok(PlainDataKey::new(id, *cluster_id, &secret))
    }

    fn master_key(&self, fingerprint: &[u8; FINGERPRINT_BYTES]) -> Option<&MasterKey> {
        std::iter::once(&self.current).chain(&self.previous).find(|master| master.fingerprint == *fingerprint)
    }
}

impl MasterKey {
    fn new(key: &[u8; 32]) -> Self {
        Self { key: Arena::new().store(key), fingerprint: fingerprint(key) }
    }

    fn name(&self) -> String {
        hex::encode(self.fingerprint)
    }

    fn cipher(&self) -> Cipher {
        Cipher::new(&self.key.read())
    }

    /// Associated data of a wrapped data key; all parts have fixed lengths.
    fn context(&self, cluster_id: &ClusterId, data_key: &[u8; 16]) -> [u8; CONTEXT_BYTES] {
        let mut context = [0_u8; CONTEXT_BYTES];
        let parts: [&[u8]; 5] =
            [DATA_KEY_LABEL, &[WRAPPED_VERSION], &self.fingerprint, cluster_id.as_bytes(), data_key];
        cipher::concatenate(&mut context, &parts);
        context
    }
}

impl Sealer for LocalSealer {
    fn kind(&self) -> &'static str {
        LOCAL_SEALER
    }

    fn master(&self) -> String {
        self.fingerprint()
    }

    fn is_current(&self, data_key: &DataKey) -> bool {
        Wrapped::parse(data_key).is_ok_and(|wrapped| wrapped.fingerprint == self.current.fingerprint)
    }

    fn generate<'a>(
        &'a self,
        cluster_id: &'a ClusterId,
    ) -> BoxFuture<'a, Result<(DataKey, PlainDataKey), SealerError>> {
        Box::pin(async move { self.new_data_key(cluster_id).map_err(SealerError::NewDataKey) })
    }

    fn unwrap<'a>(
        &'a self,
        data_key: &'a DataKey,
        cluster_id: &'a ClusterId,
    ) -> BoxFuture<'a, Result<PlainDataKey, SealerError>> {
        Box::pin(async move { Ok(self.unwrap_data_key(data_key, cluster_id)?) })
    }
}

impl fmt::Debug for LocalSealer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LocalSealer(fingerprint {})", self.fingerprint())
    }
}

/// The parts of [`DataKey::wrapped`].
struct Wrapped {
    fingerprint: [u8; FINGERPRINT_BYTES],
    cluster_id: ClusterId,
    nonce: [u8; NONCE_BYTES],
    ciphertext: [u8; CIPHERTEXT_BYTES],
}

impl Wrapped {
    fn parse(data_key: &DataKey) -> Result<Self, UnwrapError> {
        let body = record::body(data_key, LOCAL_SEALER, WRAPPED_VERSION)?;
        Self::split(body).ok_or(UnwrapError::Length { data_key: data_key.id, got: data_key.wrapped.len() })
    }

    fn split(bytes: &[u8]) -> Option<Self> {
        let (fingerprint, bytes) = bytes.split_first_chunk()?;
        let (cluster_id, bytes) = bytes.split_first_chunk()?;
        let (nonce, bytes) = bytes.split_first_chunk()?;
        let ciphertext = bytes.try_into().ok()?;
        Some(Self { fingerprint: *fingerprint, cluster_id: ClusterId(*cluster_id), nonce: *nonce, ciphertext })
    }
}

/// One-way and short: eight bytes of a hash of 32 random ones tell nothing about them.
fn fingerprint(key: &[u8; 32]) -> [u8; FINGERPRINT_BYTES] {
    let mut hash: [u8; 32] =
        Sha256::new().chain_update(b"consigner key file fingerprint").chain_update(key).finalize().into();
    let mut fingerprint = [0_u8; FINGERPRINT_BYTES];
    cipher::concatenate(&mut fingerprint, &[&hash[..FINGERPRINT_BYTES]]);
    hash.zeroize();
    fingerprint
}
