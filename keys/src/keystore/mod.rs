//! EIP-2335 keystores: one validator key in a JSON text, under a password.
//!
//! ```text
//! password --NFKD--> scrypt or PBKDF2 --> 16 bytes AES-128-CTR key | 16 bytes for the SHA-256 checksum
//! ```
//! In: JSON texts and passwords. Out: secret keys; texts for new keystores. Deliberately absent: files, directories
//! and passwords' whereabouts (see `source`), and any other version than 4.

mod document;
mod error;
mod kdf;
mod password;
mod pool;
#[cfg(test)]
mod tests;

use crate::bls::SecretKey;
use aes::Aes128;
use consigner_rules::PublicKey;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use document::Field;
pub use error::KeystoreError;
use kdf::DERIVED_BYTES;
pub use kdf::{KDF_MEMORY_BYTES_MAX, Kdf, PBKDF2_ROUNDS_MAX, SCRYPT_PARALLELISM_MAX};
pub use password::Password;
pub use pool::DecryptPool;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of a keystore that are read at most. Those of all clients have less than 1 KiB; a long description fits.
pub const KEYSTORE_BYTES_MAX: usize = 64 << 10;

/// Bytes of a Prysm wallet that are read at most: 230 bytes of hexadecimal for each key, so about 70,000 keys.
pub(crate) const WALLET_BYTES_MAX: usize = 16 << 20;

const SECRET_BYTES: usize = 32;
/// Bytes of a salt: as long as the derived key, as in EIP-2335's own examples.
const SALT_BYTES: usize = 32;
const IV_BYTES: usize = 16;
const CHECKSUM_BYTES: usize = 32;

/// A keystore whose form was checked; it is still encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct Keystore {
    kdf: Kdf,
    salt: Vec<u8>,
    iv: [u8; IV_BYTES],
    ciphertext: Vec<u8>,
    checksum: [u8; CHECKSUM_BYTES],
    public_key: Option<PublicKey>,
    path: Option<String>,
    uuid: Option<String>,
    description: Option<String>,
}

impl Keystore {
    /// Reads a keystore of at most [`KEYSTORE_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`KeystoreError`] that names the field, function or parameter at fault.
    pub fn parse(json: &[u8]) -> Result<Self, KeystoreError> {
        Self::parse_up_to(json, KEYSTORE_BYTES_MAX)
    }

    /// Reads a keystore with a limit of the caller's.
    pub(crate) fn parse_up_to(json: &[u8], bytes_max: usize) -> Result<Self, KeystoreError> {
        let document = document::read(json, bytes_max)?;
        let root = Field::root(&document)?;
        read_version(&root)?;
        let crypto = root.object("crypto")?;
        let (kdf, salt) = Kdf::read(&crypto.object("kdf")?)?;
        let checksum = crypto.object("checksum")?;
        checksum.field("function")?.must_be("sha256")?;
        let cipher = crypto.object("cipher")?;
        cipher.field("function")?.must_be("aes-128-ctr")?;
        Ok(Self {
            kdf,
            salt,
            iv: cipher.object("params")?.field("iv")?.array("16 bytes of hexadecimal")?,
            ciphertext: cipher.field("message")?.bytes()?,
            checksum: checksum.field("message")?.array("32 bytes of hexadecimal")?,
            public_key: read_public_key(&root)?,
            path: read_text(&root, "path")?,
            uuid: read_text(&root, "uuid")?,
            description: read_text(&root, "description")?,
        })
    }

    /// Makes a keystore of a secret, with fresh salt, initialisation vector and uuid. Takes the time and memory of the
    /// key derivation.
    ///
    /// # Errors
    /// [`KeystoreError::Randomness`], or [`KeystoreError::Cost`] for parameters that [`Self::parse`] would refuse.
    pub fn encrypt(secret: &SecretKey, password: &Password, path: &str, kdf: Kdf) -> Result<Self, KeystoreError> {
        let payload = secret.to_bytes();
        let mut keystore = Self::encrypt_payload(payload.as_slice(), password, kdf)?;
        keystore.public_key = Some(secret.public_key());
        keystore.path = Some(path.to_owned()).filter(|path| !path.is_empty());
        Ok(keystore)
    }

    /// Encrypts any bytes; a keystore for tests of wallets, and the core of [`Self::encrypt`].
    pub(crate) fn encrypt_payload(payload: &[u8], password: &Password, kdf: Kdf) -> Result<Self, KeystoreError> {
        let salt = random::<SALT_BYTES>()?;
        let iv = random::<IV_BYTES>()?;
        let uuid = uuid::Builder::from_random_bytes(random()?).into_uuid();
        let key = kdf.derive(password, &salt)?;
        let mut ciphertext = payload.to_vec();
        apply_cipher(&key, &iv, &mut ciphertext);
        Ok(Self {
            kdf,
            salt: salt.to_vec(),
            iv,
            checksum: checksum(&key, &ciphertext),
            ciphertext,
            public_key: None,
            path: None,
            uuid: Some(uuid.hyphenated().to_string()),
            description: None,
        })
    }

    /// Opens the keystore: up to a second of computation, and [`Self::memory_bytes`] of memory. Use a
    /// [`DecryptPool`] wherever something else has to go on.
    ///
    /// # Errors
    /// [`KeystoreError::WrongPassword`], or why what was decrypted is not the named validator's key.
    pub fn decrypt(&self, password: &Password) -> Result<SecretKey, KeystoreError> {
        let payload = self.decrypt_payload(password)?;
        let bytes = <&[u8; SECRET_BYTES]>::try_from(payload.as_slice());
        let bytes = bytes.map_err(|_| KeystoreError::NotOneKey { bytes: payload.len() })?;
        let secret = SecretKey::from_bytes(bytes).map_err(KeystoreError::BadSecret)?;
        match self.public_key {
            Some(named) if named != secret.public_key() => {
                Err(KeystoreError::WrongPublicKey { named, held: secret.public_key() })
            }
            Some(_) | None => Ok(secret),
        }
    }

    /// Opens a keystore that may hold anything.
    pub(crate) fn decrypt_payload(&self, password: &Password) -> Result<Zeroizing<Vec<u8>>, KeystoreError> {
        let key = self.kdf.derive(password, &self.salt)?;
        //= EIP-2335: "The password is correct if and only if the checksum matches"
        if !bool::from(checksum(&key, &self.ciphertext).ct_eq(&self.checksum)) {
            return Err(KeystoreError::WrongPassword);
        }
        let mut payload = Zeroizing::new(self.ciphertext.clone());
        apply_cipher(&key, &self.iv, &mut payload);
        Ok(payload)
    }

    /// The validator that the keystore names; a claim until it is decrypted.
    #[must_use]
    pub const fn public_key(&self) -> Option<PublicKey> {
        self.public_key
    }

    /// The EIP-2334 path of the key, as the keystore says it.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// The key derivation with its cost.
    #[must_use]
    pub const fn kdf(&self) -> Kdf {
        self.kdf
    }

    /// Bytes of memory that [`Self::decrypt`] takes; 256 MiB for EIP-2335's scrypt parameters.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.kdf.memory_bytes()
    }

    /// The keystore as text. Extra fields of the text it was read from are not kept.
    #[must_use]
    pub fn to_json(&self) -> String {
        let cipher = json!({
            "function": "aes-128-ctr",
            "params": {"iv": hex::encode(self.iv)},
            "message": hex::encode(&self.ciphertext),
        });
        let checksum = json!({"function": "sha256", "params": {}, "message": hex::encode(self.checksum)});
        let mut document = json!({
            "crypto": {"kdf": self.kdf.to_json(&self.salt), "checksum": checksum, "cipher": cipher},
            "description": self.description.as_deref().unwrap_or_default(),
            "path": self.path.as_deref().unwrap_or_default(),
            "uuid": self.uuid.as_deref().unwrap_or_default(),
            "version": VERSION,
        });
        if let Some(public_key) = &self.public_key {
            document["pubkey"] = hex::encode(public_key.as_bytes()).into();
        }
        document.to_string()
    }
}

impl fmt::Debug for Keystore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Keystore({:?})", self.public_key)
    }
}

/// The only version of EIP-2335.
const VERSION: u64 = 4;
/// Version of the format that execution-layer clients use for accounts.
const WEB3_SECRET_STORAGE_VERSION: u64 = 3;

fn read_version(root: &Field<'_>) -> Result<(), KeystoreError> {
    let version = root.field("version")?;
    match version.number() {
        Ok(VERSION) => Ok(()),
        Ok(WEB3_SECRET_STORAGE_VERSION) => Err(KeystoreError::Web3SecretStorage),
        Ok(_) | Err(_) => Err(KeystoreError::Version { found: version.shown() }),
    }
}

/// An empty text is what some tools write for "not given".
fn read_text(root: &Field<'_>, name: &str) -> Result<Option<String>, KeystoreError> {
    let text = root.optional(name).map(|field| field.text().map(str::to_owned)).transpose()?;
    Ok(text.filter(|text| !text.is_empty()))
}

fn read_public_key(root: &Field<'_>) -> Result<Option<PublicKey>, KeystoreError> {
    let Some(field) = root.optional("pubkey") else { return Ok(None) };
    if field.text()?.is_empty() {
        return Ok(None);
    }
    field.array("a public key of 48 bytes of hexadecimal").map(|bytes| Some(PublicKey(bytes)))
}

//= EIP-2335: "The first 16 bytes of the decryption key are used as the key" of AES-128-CTR.
fn apply_cipher(key: &[u8; DERIVED_BYTES], iv: &[u8; IV_BYTES], data: &mut [u8]) {
    let mut half = Zeroizing::new([0_u8; DERIVED_BYTES / 2]);
    half.copy_from_slice(&key[..DERIVED_BYTES / 2]);
    Ctr128BE::<Aes128>::new((&*half).into(), iv.into()).apply_keystream(data);
}

//= EIP-2335: "DK_slice = decryption_key[16:32]; pre_image = DK_slice | cipher_message; checksum = SHA256(pre_image)"
fn checksum(key: &[u8; DERIVED_BYTES], ciphertext: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = Sha256::new();
    hasher.update(&key[DERIVED_BYTES / 2..]);
    hasher.update(ciphertext);
    hasher.finalize().into()
}

fn random<const N: usize>() -> Result<[u8; N], KeystoreError> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes).map_err(|_| KeystoreError::Randomness)?;
    Ok(bytes)
}
