//! The key that signs a node's checkpoints: `key` (Ed25519 seed, 0600) and `key.pub` (what others check with).
//!
//! In: the directory. Out: signatures, and whether a signature is of a key. Made at the first start, durable before the
//! first line. Deliberately absent: a way to get the seed out.

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

use super::AuditError;
use super::files::write_durably;
use super::text::unhex;
use crate::disk::{self, Disk};

/// The key of one node.
pub(crate) struct AuditKey {
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditKey").field("public", &hex::encode(self.public)).finish_non_exhaustive()
    }
}

impl AuditKey {
    /// Reads the key file, or makes one and says why. A damaged one is set aside: a byte on a disk stops no node.
    pub(crate) fn open(disk: &dyn Disk, dir: &Path) -> Result<(AuditKey, Option<String>), AuditError> {
        let path = dir.join(KEY);
        let found = disk.exists(&path).map_err(AuditError::io("looking for the key file"))?;
        let read = if found { Some(Self::read(disk, dir)) } else { None };
        let (key, why_new) = match read {
            Some(Ok(key)) => (key, None),
            Some(Err(AuditError::Key { why, .. })) => {
                let kept = set_aside(disk, dir).map_err(AuditError::io("setting the damaged key file aside"))?;
                tracing::error!(why, kept, "the key file of the audit is damaged; it is set aside and a new key made");
                let why = format!("the key file was damaged ({why}) and is kept as {kept}; a new key was made");
                (Self::make(disk, &path)?, Some(why))
            }
            Some(Err(error)) => return Err(error),
            None => (Self::make(disk, &path)?, Some("the key file was gone; a new key was made".to_owned())),
        };
        let public = public_text(&key.public);
        let public_path = dir.join(PUBLIC_KEY);
        let stands = disk.exists(&public_path).map_err(AuditError::io("looking for key.pub"))?
            && disk::read_file(disk, &public_path).map_err(AuditError::io("reading key.pub"))? == public.as_bytes();
        if !stands {
            write_durably(disk, &public_path, public.as_bytes(), READABLE)
                .map_err(AuditError::io("writing key.pub"))?;
        }
        Ok((key, why_new))
    }

    /// Reads the key file.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<AuditKey, AuditError> {
        let path = dir.join(KEY);
        let text = Zeroizing::new(disk::read_file(disk, &path).map_err(AuditError::io("reading the key file"))?);
        let seed = std::str::from_utf8(&text).ok().and_then(|text| text.strip_suffix('\n')).and_then(unhex::<32>);
        let seed = Zeroizing::new(seed.ok_or_else(|| not_a_key(&path, "64 lower-case hexadecimal digits expected"))?);
        Self::from_seed(&seed, &path)
    }

    fn make(disk: &dyn Disk, path: &Path) -> Result<AuditKey, AuditError> {
        let mut seed = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(&mut *seed).map_err(|_| not_a_key(path, "no randomness"))?;
        let key = Self::from_seed(&seed, path)?;
        let mut text = Zeroizing::new([0; 65]);
        if let Some((newline, digits)) = text.split_last_mut() {
            *newline = b'\n';
            hex::encode_to_slice(seed.as_slice(), digits).map_err(|_| not_a_key(path, "cannot be written down"))?;
        }
        write_durably(disk, path, &*text, SECRET).map_err(AuditError::io("writing the key file"))?;
        Ok(key)
    }

    fn from_seed(seed: &[u8; 32], path: &Path) -> Result<AuditKey, AuditError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| not_a_key(path, "not an Ed25519 seed"))?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| not_a_key(path, "not an Ed25519 key"))?;
        Ok(AuditKey { pair, public })
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        self.public
    }

    /// Signs a text of one purpose.
    pub(crate) fn sign(&self, purpose: &str, text: &str) -> [u8; 64] {
        let mut signature = [0; 64];
        // Always 64 bytes (RFC 8032); were it not, the zeros would never verify.
        if let Ok(bytes) = self.pair.sign(&message(purpose, text)).as_ref().try_into() {
            signature = bytes;
        }
        signature
    }
}

/// Whether `signature` is of this key on this text.
pub(crate) fn is_signed(public: &[u8; 32], purpose: &str, text: &str, signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(&message(purpose, text), signature).is_ok()
}

/// The purpose stands in front, so that a signature for one can never be shown for another.
fn message(purpose: &str, text: &str) -> Vec<u8> {
    format!("{purpose}\n{text}").into_bytes()
}

/// What `key.pub` holds.
pub(crate) fn public_text(public: &[u8; 32]) -> String {
    format!("{}\n", hex::encode(public))
}

/// Renames the key file to the first name that is free; it keeps its permissions.
fn set_aside(disk: &dyn Disk, dir: &Path) -> std::io::Result<String> {
    for number in 1..=DAMAGED_MAX {
        let kept = format!("{KEY}.damaged-{number}");
        if !disk.exists(&dir.join(&kept))? {
            disk.rename(&dir.join(KEY), &dir.join(&kept))?;
            disk.sync_dir(dir)?;
            return Ok(kept);
        }
    }
    Err(std::io::ErrorKind::AlreadyExists.into())
}

/// Nobody repairs so many; more are not kept, and the directory wants looking at.
const DAMAGED_MAX: u32 = 1000;

fn not_a_key(path: &Path, why: &'static str) -> AuditError {
    AuditError::Key { path: PathBuf::from(path), why }
}

/// Name of the key file.
pub(crate) const KEY: &str = "key";
/// Name of the public key's file.
pub(crate) const PUBLIC_KEY: &str = "key.pub";
/// The owner alone.
pub(crate) const SECRET: u32 = 0o600;
/// The owner, and a group that ships lines elsewhere.
pub(crate) const READABLE: u32 = 0o640;
