//! Why a text is not a keystore that this program can open. Never holds a password, a key or decrypted bytes.

use crate::bls::BadSecret;
use consigner_rules::PublicKey;

/// Why a keystore was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeystoreError {
    /// More bytes than any keystore has; refused before it is read.
    #[error("{bytes} bytes are too many for a keystore; at most {bytes_max} are read")]
    TooLarge {
        /// Bytes found.
        bytes: u64,
        /// Bytes that are read at most.
        bytes_max: u64,
    },
    /// Nothing at all.
    #[error("the keystore is empty")]
    Empty,
    /// The text ends inside the JSON document.
    #[error("the keystore is truncated: its JSON ends at line {line} column {column}")]
    Truncated {
        /// Line of the end, from 1.
        line: usize,
        /// Column of the end, from 1.
        column: usize,
    },
    /// Something else than JSON.
    #[error("not JSON: line {line} column {column}")]
    NotJson {
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault, from 1.
        column: usize,
    },
    /// The format of execution-layer accounts.
    #[error(
        "version 3 is a Web3 secret storage file of an execution-layer account, not an EIP-2335 keystore (version 4)"
    )]
    Web3SecretStorage,
    /// Another version than 4.
    #[error("keystore version {found} is not supported; EIP-2335 is version 4")]
    Version {
        /// What the keystore says.
        found: String,
    },
    /// A field that EIP-2335 asks for is not there.
    #[error("{field} is missing")]
    Missing {
        /// The field with its parents, such as `crypto.kdf.params`.
        field: String,
    },
    /// A field has a value of the wrong form.
    #[error("{field} is not {expected}")]
    Field {
        /// The field with its parents.
        field: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A function or parameter that EIP-2335 does not define.
    #[error("{field} \"{found}\" is not supported; supported: {supported}")]
    Unsupported {
        /// The field with its parents.
        field: String,
        /// What the keystore says.
        found: String,
        /// What this program knows.
        supported: &'static str,
    },
    /// A cost parameter that would take too much memory or time, or is none.
    #[error("{field} {found} is out of bounds: {bound}")]
    Cost {
        /// The field with its parents.
        field: String,
        /// What the keystore says.
        found: u64,
        /// The rule it breaks.
        bound: String,
    },
    /// The key derivation needs more memory than the pool may use.
    #[error(
        "decrypting takes {} MiB of memory, more than the {} MiB allowed for all decryption at once",
        needed >> 20,
        allowed >> 20
    )]
    Memory {
        /// Bytes of memory that the key derivation takes.
        needed: u64,
        /// Bytes of memory of the pool.
        allowed: u64,
    },
    /// The checksum does not fit: another password, or an altered file; the two cannot be told apart.
    #[error("wrong password, or the keystore was altered (its checksum does not match)")]
    WrongPassword,
    /// The checksum fits, but it is not one secret key.
    #[error("it decrypts to {bytes} bytes; a validator's secret key has 32")]
    NotOneKey {
        /// Bytes found.
        bytes: usize,
    },
    /// 32 bytes that are no secret key.
    #[error("it decrypts to something that is no secret key")]
    BadSecret(#[source] BadSecret),
    /// The keystore names a validator whose key it does not hold.
    #[error("the keystore names {named} but holds the key of {held}")]
    WrongPublicKey {
        /// The field `pubkey`.
        named: PublicKey,
        /// The public key of the decrypted secret.
        held: PublicKey,
    },
    /// No salt without randomness.
    #[error("the operating system gives no random bytes")]
    Randomness,
    /// The process is ending.
    #[error("decryption was stopped before it was done")]
    Stopped,
}
