//! The local sealer: wraps data keys under a key file that the operator places on every node.
//!
//! In: a file with 32 random bytes. Out: wrapped data keys for the replicated state, and opened ones. The same file
//! must lie on every node of a cluster, and without it no sealed key opens again: it belongs in the operator's vault,
//! not beside the backup. Deliberately absent: KMS and Vault, which are other sealers.
//!
//! Wrapped form, version 1, 85 bytes: version (1), fingerprint of the key file (8), cluster id (16), nonce (12),
//! encrypted data key (32), tag (16). Fingerprint and cluster id stand in clear so that a wrong file and a wrong
//! cluster are told apart from damage; both are authenticated too.

use super::cipher::{self, CIPHERTEXT_BYTES, Cipher, NONCE_BYTES};
use super::{PlainDataKey, SealError};
use crate::locked::{Arena, Slot};
use consigner_rules::command::DataKey;
use consigner_rules::primitives::ClusterId;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

/// Name of this sealer in [`DataKey::sealer`].
pub const LOCAL_SEALER: &str = "local";

const WRAPPED_VERSION: u8 = 1;
const FINGERPRINT_BYTES: usize = 8;
const WRAPPED_BYTES: usize = 1 + FINGERPRINT_BYTES + ClusterId::LENGTH + NONCE_BYTES + CIPHERTEXT_BYTES;
const DATA_KEY_LABEL: &[u8; 18] = b"consigner data key";
const CONTEXT_BYTES: usize = 18 + 1 + FINGERPRINT_BYTES + ClusterId::LENGTH + 16;
/// 64 digits, `0x` and a line end fit; anything longer is not a key file and is not read into memory.
const KEY_FILE_BYTES_MAX: usize = 128;
/// Any of these bits would let another user read or change the file.
const FOREIGN_MODE_BITS: u32 = 0o077;

/// Why a key file cannot be used. Never holds its content.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It could not be read.
    #[error("cannot read the key file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It could not be created; an existing file is never overwritten.
    #[error("cannot create the key file {}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others can read or change it.
    #[error("the key file {} has mode {mode:03o}; only its owner may have access: chmod 600 it", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is a directory, a device, a socket.
    #[error("the key file {} is not a regular file", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Neither 32 bytes nor 64 digits.
    #[error("the key file {} holds neither 32 raw bytes nor 64 hexadecimal digits", path.display())]
    Content {
        /// The file.
        path: PathBuf,
    },
    /// All bytes are equal: a placeholder, not a random key.
    #[error("the key file {} holds one byte repeated, not a random key", path.display())]
    NotRandom {
        /// The file.
        path: PathBuf,
    },
    /// No key without randomness.
    #[error("the operating system gives no random bytes")]
    Randomness(#[source] getrandom::Error),
}

/// Why a wrapped data key does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// Wrapped by KMS or Vault.
    #[error("data key {} was wrapped by the sealer {sealer:?}, not by {LOCAL_SEALER:?}", hex::encode(data_key))]
    OtherSealer {
        /// Id of the data key.
        data_key: [u8; 16],
        /// Who wrapped it.
        sealer: String,
    },
    /// Cut or padded.
    #[error("data key {} has {got} wrapped bytes instead of {WRAPPED_BYTES}", hex::encode(data_key))]
    Length {
        /// Id of the data key.
        data_key: [u8; 16],
        /// Bytes found.
        got: usize,
    },
    /// Written by a later version.
    #[error("data key {} has format {format}; this version reads {WRAPPED_VERSION}", hex::encode(data_key))]
    Format {
        /// Id of the data key.
        data_key: [u8; 16],
        /// What the record says.
        format: u8,
    },
    /// This node has another key file than the one that wrapped it.
    #[error(
        "data key {} was wrapped under the key file with fingerprint {wrapped}, this node's has {own}: \
         place the same key file on every node",
        hex::encode(data_key)
    )]
    OtherKeyFile {
        /// Id of the data key.
        data_key: [u8; 16],
        /// Fingerprint in the record.
        wrapped: String,
        /// Fingerprint of this node's key file.
        own: String,
    },
    /// Another cluster's data key.
    #[error("data key {} belongs to cluster {wrapped}, not to {cluster}", hex::encode(data_key))]
    OtherCluster {
        /// Id of the data key.
        data_key: [u8; 16],
        /// The cluster in the record.
        wrapped: ClusterId,
        /// The cluster that asked.
        cluster: ClusterId,
    },
    /// Damaged, or another data key's record.
    #[error("data key {} was altered, or its record is another data key's", hex::encode(data_key))]
    Altered {
        /// Id of the data key.
        data_key: [u8; 16],
    },
}

/// Wraps and opens data keys under a key file.
pub struct LocalSealer {
    key: Slot,
    fingerprint: [u8; FINGERPRINT_BYTES],
}

impl LocalSealer {
    /// Creates a key file with 32 random bytes in hexadecimal, mode 600, durable before the call returns.
    ///
    /// # Errors
    /// [`KeyFileError::Create`] when the file exists or cannot be made durable; a partial file is removed.
    pub fn create_key_file(path: &Path) -> Result<(), KeyFileError> {
        let mut key = Zeroizing::new([0_u8; 32]);
        getrandom::fill(key.as_mut_slice()).map_err(KeyFileError::Randomness)?;
        let text = Zeroizing::new(format!("{}\n", Zeroizing::new(hex::encode(key.as_slice())).as_str()));
        let failed = |source| KeyFileError::Create { path: path.to_path_buf(), source };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| sync_parent(path));
        written.map_err(|error| {
            // Ours alone: `create_new` made it a moment ago. What the first error says matters more than this one.
            let _ = std::fs::remove_file(path);
            failed(error)
        })
    }

    /// Reads a key file: 32 raw bytes, or 64 hexadecimal digits with an optional `0x` and line end.
    ///
    /// # Errors
    /// [`KeyFileError`] when it cannot be read, is open to other users, or holds something else.
    pub fn from_key_file(path: &Path) -> Result<Self, KeyFileError> {
        let content = read_private_file(path)?;
        let key = parse_key(&content).ok_or_else(|| KeyFileError::Content { path: path.to_path_buf() })?;
        if key.iter().all(|byte| *byte == key[0]) {
            return Err(KeyFileError::NotRandom { path: path.to_path_buf() });
        }
        Ok(Self { key: Arena::new().store(&key), fingerprint: fingerprint(&key) })
    }

    /// Names the key file without telling its content, for `doctor` and for comparing nodes.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        hex::encode(self.fingerprint)
    }

    /// Makes a random data key for a cluster: wrapped for the replicated state, and open for use.
    ///
    /// # Errors
    /// [`SealError::Randomness`].
    pub fn new_data_key(&self, cluster_id: &ClusterId) -> Result<(DataKey, PlainDataKey), SealError> {
        let id: [u8; 16] = cipher::random()?;
        let secret = Zeroizing::new(cipher::random::<32>()?);
        let (nonce, ciphertext) = self.cipher().encrypt(&self.context(cluster_id, &id), &secret)?;
        let mut wrapped = vec![0_u8; WRAPPED_BYTES];
        cipher::concatenate(
            &mut wrapped,
            &[&[WRAPPED_VERSION], &self.fingerprint, cluster_id.as_bytes(), &nonce, &ciphertext],
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
        if data_key.sealer != LOCAL_SEALER {
            return Err(UnwrapError::OtherSealer { data_key: id, sealer: data_key.sealer.clone() });
        }
        let altered = UnwrapError::Altered { data_key: id };
        let wrapped = Wrapped::parse(data_key)?;
        if wrapped.fingerprint != self.fingerprint {
            let (wrapped, own) = (hex::encode(wrapped.fingerprint), self.fingerprint());
            return Err(UnwrapError::OtherKeyFile { data_key: id, wrapped, own });
        }
        if wrapped.cluster_id != *cluster_id {
            return Err(UnwrapError::OtherCluster { data_key: id, wrapped: wrapped.cluster_id, cluster: *cluster_id });
        }
        let context = self.context(cluster_id, &id);
        let secret = self.cipher().decrypt(&wrapped.nonce, &context, &wrapped.ciphertext).ok_or(altered)?;
        Ok(PlainDataKey::new(id, *cluster_id, &secret))
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
        let (id, bytes) = (data_key.id, data_key.wrapped.as_slice());
        // The version first: a later one may well have another length.
        if let Some(&format) = bytes.first().filter(|format| **format != WRAPPED_VERSION) {
            return Err(UnwrapError::Format { data_key: id, format });
        }
        let length = UnwrapError::Length { data_key: id, got: bytes.len() };
        Self::split(bytes).ok_or(length)
    }

    fn split(bytes: &[u8]) -> Option<Self> {
        let (_version, bytes) = bytes.split_first()?;
        let (fingerprint, bytes) = bytes.split_first_chunk()?;
        let (cluster_id, bytes) = bytes.split_first_chunk()?;
        let (nonce, bytes) = bytes.split_first_chunk()?;
        let ciphertext = bytes.try_into().ok()?;
        Some(Self { fingerprint: *fingerprint, cluster_id: ClusterId(*cluster_id), nonce: *nonce, ciphertext })
    }
}

/// The checks are made on the open file, so nobody can exchange it between check and use.
fn read_private_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let failed = |source| KeyFileError::Read { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile { path: path.to_path_buf() });
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & FOREIGN_MODE_BITS != 0 {
        return Err(KeyFileError::Mode { path: path.to_path_buf(), mode });
    }
    // Reserved at once: a growing vector would leave copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(KEY_FILE_BYTES_MAX + 1));
    file.take(KEY_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

fn parse_key(content: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    if let Ok(raw) = <[u8; 32]>::try_from(content) {
        return Some(Zeroizing::new(raw));
    }
    let digits = content.trim_ascii();
    let digits = digits.strip_prefix(b"0x").unwrap_or(digits);
    let mut key = Zeroizing::new([0_u8; 32]);
    hex::decode_to_slice(digits, key.as_mut_slice()).ok()?;
    Some(key)
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

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}
