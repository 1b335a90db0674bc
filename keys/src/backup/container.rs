//! The encrypted file of a backup, version 1.
//!
//! ```text
//! 0..8 magic "CNSGNbak" | 8..12 version u32 | 12 log2 of scrypt's N | 13..16 zero | 16..32 salt | 32..48 key check
//! 48..52 plain bytes of a chunk u32 | 52..56 zero | 56..88 SHA-256 of 0..56 | chunks: ciphertext, tag (16)
//! ```
//! Integers are little-endian. The passphrase becomes 64 bytes by scrypt (r 8, p 1): the key of AES-256-GCM, and what the
//! key check is the hash of, so that a wrong passphrase is told from damage. Associated data of every chunk: the header.
//! Nonce: zeros, number of the chunk (u32 big-endian), 1 for the last chunk and 0 for the others, so that no chunk can be
//! left out, repeated, moved, or taken for the end. The salt is random, so no two files share a key.
//! Deliberately absent: compression (sealed keys do not compress) and files.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// Version of the file. Readers: 1 reads 1. Writers: 1 writes 1.
const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"CNSGNbak";
const HEADER: usize = 88;
const HASHED: usize = 56;
const TAG: usize = 16;

/// Bytes per chunk: small enough that damage is named by place, large enough that tags cost nothing.
const CHUNK: usize = 64 * 1024;

/// The cost for whoever tries passphrases, and once per file for us: 128 MiB and about 0.4 s on one core.
//= OWASP Password Storage Cheat Sheet: scrypt with N=2^17, r=8, p=1
const LOG_N: u8 = 17;
const R: u32 = 8;
const P: u32 = 1;
/// A header that asks for more (1 GiB of memory) was not written by us.
const LOG_N_MAX: u8 = 20;

/// Under this, scrypt alone is no protection for a backup in the wrong hands: use four words at least.
const PASSPHRASE_BYTES_MIN: usize = 16;
/// Nobody types more, and anything longer is another kind of file.
pub const PASSPHRASE_FILE_BYTES_MAX: usize = 1024;

/// Why a file is not written or not read. Names places, never content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupFileError {
    /// Not what a passphrase file holds.
    #[error("the passphrase is shorter than {PASSPHRASE_BYTES_MIN} bytes, or longer than {PASSPHRASE_FILE_BYTES_MAX}")]
    PassphraseLength,
    /// No salt without randomness.
    #[error("the operating system gives no random bytes: {0}")]
    Randomness(String),
    /// Cannot happen with 64 KiB; said rather than assumed.
    #[error("AES-GCM could not encrypt")]
    Encryption,
    /// Another kind of file.
    #[error("this is no backup of consigner: the file does not begin as one")]
    NotABackup,
    /// Written by a later version.
    #[error(
        "the backup has format {found}; this version reads {VERSION}: use the version that wrote it, or a newer one"
    )]
    Version {
        /// What the file says.
        found: u32,
    },
    /// A bit flipped in the first bytes.
    #[error("the header of the backup is damaged")]
    Header,
    /// The header is whole, the key is another.
    #[error("the passphrase is not the one of this backup")]
    WrongPassphrase,
    /// A flipped bit, a cut inside a chunk, a chunk in another's place.
    #[error("the backup is damaged in part {part} of {parts}: altered, cut short, or not in its place")]
    Altered {
        /// From 1.
        part: u64,
        /// As many as the length of the file makes.
        parts: u64,
    },
    /// Whole chunks are missing at the end.
    #[error("the backup is cut short: its last part is missing after part {parts}")]
    CutShort {
        /// Parts that are there.
        parts: u64,
    },
    /// Something was appended.
    #[error("bytes follow the end of the backup, after part {part}")]
    Trailing {
        /// The last part of the backup.
        part: u64,
    },
}

/// A passphrase for backups, erased when dropped.
pub struct BackupPassphrase(Zeroizing<Vec<u8>>);

impl BackupPassphrase {
    /// Takes the content of a passphrase file; one line end is not part of it.
    ///
    /// # Errors
    /// [`BackupFileError::PassphraseLength`].
    pub fn new(content: Zeroizing<Vec<u8>>) -> Result<Self, BackupFileError> {
        let mut content = content;
        if content.last() == Some(&b'\n') {
            content.pop();
            if content.last() == Some(&b'\r') {
                content.pop();
            }
        }
        if (PASSPHRASE_BYTES_MIN..=PASSPHRASE_FILE_BYTES_MAX).contains(&content.len()) {
            Ok(Self(content))
        } else {
            Err(BackupFileError::PassphraseLength)
        }
    }
}

impl fmt::Debug for BackupPassphrase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BackupPassphrase")
    }
}

/// Encrypts the content of a backup. Takes half a second and 128 MiB: for a blocking thread.
///
/// # Errors
/// [`BackupFileError::Randomness`].
pub fn encrypt(passphrase: &BackupPassphrase, plain: &[u8]) -> Result<Vec<u8>, BackupFileError> {
    encrypt_at_cost(passphrase, plain, LOG_N)
}

pub(super) fn encrypt_at_cost(
    passphrase: &BackupPassphrase,
    plain: &[u8],
    log_n: u8,
) -> Result<Vec<u8>, BackupFileError> {
    let mut salt = [0_u8; 16];
    getrandom::fill(&mut salt).map_err(|error| BackupFileError::Randomness(error.to_string()))?;
    let keys = Keys::derive(passphrase, &salt, log_n)?;
    let header = header(log_n, &salt, &keys.check);
    // A backup of nothing still has an end to authenticate.
    let parts = plain.len().div_ceil(CHUNK).max(1);
    let mut file = Vec::with_capacity(HEADER + plain.len() + parts * TAG);
    file.extend_from_slice(&header);
    for part in 0..parts {
        let chunk = plain.get(part * CHUNK..plain.len().min((part + 1) * CHUNK)).unwrap_or_default();
        let mut body = Zeroizing::new(chunk.to_vec());
        let tag = keys
            .cipher
            .encrypt_inout_detached(&nonce(part as u64, part + 1 == parts)?, &header, body.as_mut_slice().into())
            .map_err(|_| BackupFileError::Encryption)?;
        file.extend_from_slice(&body);
        file.extend_from_slice(&tag);
    }
    Ok(file)
}

/// Opens the file of a backup: all of its content, or the reason why not. Takes half a second: for a blocking thread.
///
/// # Errors
/// [`BackupFileError`], a case of its own for another kind of file, a newer format, damage, and a wrong passphrase.
pub fn decrypt(passphrase: &BackupPassphrase, file: &[u8]) -> Result<Zeroizing<Vec<u8>>, BackupFileError> {
    let (header, body) = split(file)?;
    let log_n = header[12];
    let salt: [u8; 16] = array(header, 16);
    let keys = Keys::derive(passphrase, &salt, log_n)?;
    if keys.check != array(header, 32) {
        return Err(BackupFileError::WrongPassphrase);
    }
    let parts = body.len().div_ceil(CHUNK + TAG) as u64;
    let mut plain = Zeroizing::new(Vec::with_capacity(body.len()));
    for (part, chunk) in (0_u64..).zip(body.chunks(CHUNK + TAG)) {
        let last = part + 1 == parts;
        match keys.open(header, chunk, part, last)? {
            Some(opened) => plain.extend_from_slice(&opened),
            // The same chunk with the other mark tells a cut, or an addition, from damage.
            None => return Err(keys.blame(header, chunk, part, parts)?),
        }
    }
    if parts == 0 { Err(BackupFileError::CutShort { parts }) } else { Ok(plain) }
}

fn split(file: &[u8]) -> Result<(&[u8; HEADER], &[u8]), BackupFileError> {
    if file.get(..8) != Some(MAGIC.as_slice()) {
        return Err(BackupFileError::NotABackup);
    }
    // The version before anything else: a later one may have another header.
    let version = file.get(8..12).ok_or(BackupFileError::Header)?;
    let version = u32::from_le_bytes(version.try_into().map_err(|_| BackupFileError::Header)?);
    if version != VERSION {
        return Err(BackupFileError::Version { found: version });
    }
    let (header, body) = file.split_first_chunk::<HEADER>().ok_or(BackupFileError::Header)?;
    let sound = Sha256::digest(&header[..HASHED]).as_slice() == &header[HASHED..]
        && (1..=LOG_N_MAX).contains(&header[12])
        && array::<4>(header, 48) == chunk_bytes();
    if sound { Ok((header, body)) } else { Err(BackupFileError::Header) }
}

fn header(log_n: u8, salt: &[u8; 16], check: &[u8; 16]) -> [u8; HEADER] {
    let mut header = [0_u8; HEADER];
    let mut put = |at: usize, bytes: &[u8]| {
        for (place, byte) in header.iter_mut().skip(at).zip(bytes) {
            *place = *byte;
        }
    };
    put(0, MAGIC);
    put(8, &VERSION.to_le_bytes());
    put(12, &[log_n]);
    put(16, salt);
    put(32, check);
    put(48, &chunk_bytes());
    let hash = Sha256::digest(&header[..HASHED]);
    for (place, byte) in header.iter_mut().skip(HASHED).zip(hash.iter()) {
        *place = *byte;
    }
    header
}

#[expect(clippy::cast_possible_truncation, reason = "64 KiB")]
const fn chunk_bytes() -> [u8; 4] {
    (CHUNK as u32).to_le_bytes()
}

/// Bytes of the header from `at` on; the header is long enough for every caller.
fn array<const N: usize>(header: &[u8; HEADER], at: usize) -> [u8; N] {
    let mut bytes = [0_u8; N];
    for (byte, value) in bytes.iter_mut().zip(header.iter().skip(at)) {
        *byte = *value;
    }
    bytes
}

/// What a passphrase becomes; the cipher erases itself.
struct Keys {
    cipher: Aes256Gcm,
    check: [u8; 16],
}

impl Keys {
    fn derive(passphrase: &BackupPassphrase, salt: &[u8; 16], log_n: u8) -> Result<Self, BackupFileError> {
        let mut keys = Zeroizing::new([0_u8; 64]);
        let parameters = scrypt::Params::new(log_n, R, P).map_err(|_| BackupFileError::Header)?;
        scrypt::scrypt(&passphrase.0, salt, &parameters, keys.as_mut_slice()).map_err(|_| BackupFileError::Header)?;
        let (key, of_check) = keys.split_at(32);
        let mut secret = Zeroizing::new([0_u8; 32]);
        secret.copy_from_slice(key);
        let key: &Key<Aes256Gcm> = (&*secret).into();
        let hash = Sha256::new().chain_update(b"consigner backup key check").chain_update(of_check).finalize();
        let mut check = [0_u8; 16];
        check.copy_from_slice(&hash[..16]);
        Ok(Self { cipher: Aes256Gcm::new(key), check })
    }

    /// The plain bytes of one chunk, or nothing if it is not this chunk of this file.
    fn open(
        &self,
        header: &[u8; HEADER],
        chunk: &[u8],
        part: u64,
        last: bool,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, BackupFileError> {
        let Some(end) = chunk.len().checked_sub(TAG) else { return Ok(None) };
        let (body, tag) = chunk.split_at(end);
        let Ok(tag): Result<Tag, _> = tag.try_into() else { return Ok(None) };
        let mut body = Zeroizing::new(body.to_vec());
        let nonce = nonce(part, last)?;
        let opened = self.cipher.decrypt_inout_detached(&nonce, header, body.as_mut_slice().into(), &tag);
        Ok(opened.is_ok().then_some(body))
    }

    fn blame(
        &self,
        header: &[u8; HEADER],
        chunk: &[u8],
        part: u64,
        parts: u64,
    ) -> Result<BackupFileError, BackupFileError> {
        let last = part + 1 == parts;
        Ok(match self.open(header, chunk, part, !last)? {
            Some(_) if last => BackupFileError::CutShort { parts },
            Some(_) => BackupFileError::Trailing { part: part + 1 },
            None => BackupFileError::Altered { part: part + 1, parts },
        })
    }
}

fn nonce(part: u64, last: bool) -> Result<Nonce<<Aes256Gcm as aes_gcm::AeadCore>::NonceSize>, BackupFileError> {
    let number = u32::try_from(part).map_err(|_| BackupFileError::Encryption)?.to_be_bytes();
    let mut nonce = [0_u8; 12];
    nonce[7..11].copy_from_slice(&number);
    nonce[11] = u8::from(last);
    Ok(nonce.into())
}
