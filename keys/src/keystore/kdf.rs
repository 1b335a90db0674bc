//! The two key derivations of EIP-2335, and what they may cost.
//!
//! In: a password, a salt, cost parameters. Out: 32 bytes of key material. Deliberately absent: threads (see `pool`).

use super::document::Field;
use super::error::KeystoreError;
use super::password::Password;
use serde_json::{Value, json};
use sha2::Sha256;
use zeroize::Zeroizing;

/// Bytes of memory that one decryption may take; four times what EIP-2335's own parameters take. More is no keystore
/// of any client but an attempt to exhaust the machine.
pub const KDF_MEMORY_BYTES_MAX: u64 = 1 << 30;
/// Rounds of PBKDF2 that are accepted: 64 times EIP-2335's own, about 3 s.
pub const PBKDF2_ROUNDS_MAX: u64 = 1 << 24;
/// Repetitions of scrypt that are accepted: each takes as long as the first.
pub const SCRYPT_PARALLELISM_MAX: u64 = 16;

/// Bytes of key material: 16 encrypt, 16 authenticate.
pub(super) const DERIVED_BYTES: usize = 32;

/// A key derivation with its cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kdf {
    /// scrypt (RFC 7914).
    Scrypt {
        /// log2 of the cost N.
        log_n: u8,
        /// Block size.
        r: u32,
        /// Repetitions.
        p: u32,
    },
    /// PBKDF2 (RFC 8018) with HMAC-SHA-256.
    Pbkdf2 {
        /// Rounds.
        c: u32,
    },
}

impl Kdf {
    /// EIP-2335's scrypt parameters: N = 262144, r = 8, p = 1; 256 MiB and about 0.7 s.
    pub const SCRYPT: Self = Self::Scrypt { log_n: 18, r: 8, p: 1 };
    /// EIP-2335's PBKDF2 parameters: 262144 rounds; about 40 ms.
    pub const PBKDF2: Self = Self::Pbkdf2 { c: 262_144 };

    /// Bytes of memory that one derivation takes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        match *self {
            // RFC 7914 section 5: V has N blocks of 128 * r bytes and B has p; of the two, the larger counts.
            Self::Scrypt { log_n, r, p } => {
                let blocks = 1_u64.checked_shl(log_n.into()).unwrap_or(u64::MAX).max(p.into());
                blocks.saturating_mul(128 * u64::from(r))
            }
            Self::Pbkdf2 { .. } => 0,
        }
    }

    /// Reads `crypto.kdf`.
    pub(super) fn read(kdf: &Field<'_>) -> Result<(Self, Vec<u8>), KeystoreError> {
        let function = kdf.field("function")?;
        let read: fn(&Field<'_>) -> Result<Self, KeystoreError> = match function.text()? {
            "scrypt" => read_scrypt,
            "pbkdf2" => read_pbkdf2,
            _ => return Err(function.unsupported("scrypt, pbkdf2")),
        };
        let params = kdf.object("params")?;
        let dklen = params.field("dklen")?;
        if dklen.number()? != DERIVED_BYTES as u64 {
            return Err(dklen.unsupported("32"));
        }
        Ok((read(&params)?, params.field("salt")?.bytes()?))
    }

    /// Writes `crypto.kdf`.
    pub(super) fn to_json(self, salt: &[u8]) -> Value {
        let salt = hex::encode(salt);
        let (function, params) = match self {
            Self::Scrypt { log_n, r, p } => {
                let n = 1_u64.checked_shl(log_n.into()).unwrap_or(0);
                ("scrypt", json!({"dklen": DERIVED_BYTES, "n": n, "r": r, "p": p, "salt": salt}))
            }
            Self::Pbkdf2 { c } => {
                ("pbkdf2", json!({"dklen": DERIVED_BYTES, "c": c, "prf": "hmac-sha256", "salt": salt}))
            }
        };
        json!({"function": function, "params": params, "message": ""})
    }

    /// Derives the key material; the caller has the memory and the time.
    ///
    /// # Errors
    /// [`KeystoreError::Cost`] for parameters beyond the bounds.
    pub(super) fn derive(
        &self,
        password: &Password,
        salt: &[u8],
    ) -> Result<Zeroizing<[u8; DERIVED_BYTES]>, KeystoreError> {
        let mut derived = Zeroizing::new([0_u8; DERIVED_BYTES]);
        match *self {
            Self::Scrypt { log_n, r, p } => {
                let refused = || self.out_of_bounds();
                if self.memory_bytes() > KDF_MEMORY_BYTES_MAX {
                    return Err(refused());
                }
                let params = scrypt::Params::new(log_n, r, p).map_err(|_| refused())?;
                scrypt::scrypt(password.as_bytes(), salt, &params, derived.as_mut_slice()).map_err(|_| refused())?;
            }
            Self::Pbkdf2 { c } => {
                pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, c, derived.as_mut_slice());
            }
        }
        Ok(derived)
    }

    fn out_of_bounds(self) -> KeystoreError {
        let bound = format!("at most {KDF_MEMORY_BYTES_MAX} bytes of memory");
        KeystoreError::Cost { field: "crypto.kdf.params".to_owned(), found: self.memory_bytes(), bound }
    }
}

fn read_scrypt(params: &Field<'_>) -> Result<Kdf, KeystoreError> {
    let (n, r, p) = (params.field("n")?, params.field("r")?, params.field("p")?);
    let (cost, block, repeat) = (n.number()?, r.number()?, p.number()?);
    //= RFC 7914 section 2: N "must be larger than 1, a power of 2"
    if cost < 2 || !cost.is_power_of_two() {
        return Err(n.out_of_bounds(cost, "a power of two, at least 2".to_owned()));
    }
    if repeat == 0 || repeat > SCRYPT_PARALLELISM_MAX {
        return Err(p.out_of_bounds(repeat, format!("1 to {SCRYPT_PARALLELISM_MAX}")));
    }
    if block == 0 {
        return Err(r.out_of_bounds(block, "at least 1".to_owned()));
    }
    let memory = cost.max(repeat).saturating_mul(block.saturating_mul(128));
    let (Ok(log_n), Ok(r), Ok(p)) = (u8::try_from(cost.trailing_zeros()), u32::try_from(block), u32::try_from(repeat))
    else {
        return Err(r.out_of_bounds(block, memory_bound(memory)));
    };
    if memory > KDF_MEMORY_BYTES_MAX {
        return Err(n.out_of_bounds(cost, memory_bound(memory)));
    }
    Ok(Kdf::Scrypt { log_n, r, p })
}

fn memory_bound(memory: u64) -> String {
    let allowed = KDF_MEMORY_BYTES_MAX >> 20;
    format!("128 * n * r may be at most {allowed} MiB of memory, and these parameters take {} MiB", memory >> 20)
}

fn read_pbkdf2(params: &Field<'_>) -> Result<Kdf, KeystoreError> {
    params.field("prf")?.must_be("hmac-sha256")?;
    let field = params.field("c")?;
    let rounds = field.number()?;
    let bound = || field.out_of_bounds(rounds, format!("1 to {PBKDF2_ROUNDS_MAX} rounds"));
    if rounds == 0 || rounds > PBKDF2_ROUNDS_MAX {
        return Err(bound());
    }
    Ok(Kdf::Pbkdf2 { c: u32::try_from(rounds).map_err(|_| bound())? })
}
