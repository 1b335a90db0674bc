//! Keys that everybody knows: for development clusters, tests and measurements. **Never for a validator with money.**
//!
//! In: small numbers. Out: the interop keys of Ethereum's test networks, and a yardstick that tells what one plain
//! signature costs on this machine. Deliberately absent: anything secret.

use crate::bls::{self, HashedRoot, SecretKey};
use consigner_rules::{PublicKey, Root, Signature};
use sha2::{Digest, Sha256};

/// The interop secret `index`, insecure by construction: `little-endian(sha256(index as 32 bytes LE)) mod r`.
//= eth2.0-pm interop/mocked_start, "Pubkey/privkey generation"
#[must_use]
pub fn interop_secret(index: u64) -> SecretKey {
    let mut preimage = [0_u8; 32];
    preimage[..8].copy_from_slice(&index.to_le_bytes());
    let mut hash: [u8; 32] = Sha256::digest(preimage).into();
    loop {
        if let Some(secret) = SecretKey::reduced(&hash) {
            return secret;
        }
        // Only a hash equal to 0, r or 2r comes here: none is known, but a total function is easier to trust.
        hash = Sha256::digest(hash).into();
    }
}

/// Signs with interop key 0 so that a benchmark can compare itself with one plain BLS signature in the same run.
#[derive(Debug)]
pub struct Yardstick(SecretKey);

impl Yardstick {
    /// A yardstick with interop key 0.
    #[must_use]
    pub fn new() -> Self {
        Self(interop_secret(0))
    }

    /// The (publicly known) key that signs.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.0.public_key()
    }

    /// One plain signature: hash to the curve, then sign.
    #[must_use]
    pub fn sign_plain(&self, root: &Root) -> Signature {
        bls::sign_hashed(&self.0, &bls::hash_to_curve(root))
    }

    /// The part of a signature that remains when the root is hashed already.
    #[must_use]
    pub fn sign_hashed(&self, root: &HashedRoot) -> Signature {
        bls::sign_hashed(&self.0, root)
    }
}

impl Default for Yardstick {
    fn default() -> Self {
        Self::new()
    }
}
