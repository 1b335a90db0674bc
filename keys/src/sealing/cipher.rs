//! AES-256-GCM over secrets of 32 bytes with random nonces: the one cipher of this crate.
//!
//! In: keys, contexts, secrets. Out: nonces and ciphertexts, and back. Deliberately absent: what the context says.

use super::SealError;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Key, Nonce, Tag};
use zeroize::Zeroizing;

/// Encrypted secret (32) and authentication tag (16).
pub(super) const CIPHERTEXT_BYTES: usize = 48;
pub(super) const NONCE_BYTES: usize = 12;
const SECRET_BYTES: usize = 32;

/// An expanded AES-256 key, erased when dropped.
pub(crate) struct Cipher(Aes256Gcm);

impl Cipher {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let key: &Key<Aes256Gcm> = key.into();
        Self(Aes256Gcm::new(key))
    }

    pub(super) fn encrypt(
        &self,
        context: &[u8],
        secret: &[u8; SECRET_BYTES],
    ) -> Result<([u8; NONCE_BYTES], [u8; CIPHERTEXT_BYTES]), SealError> {
        let nonce: [u8; NONCE_BYTES] = random()?;
        let mut body = Zeroizing::new(*secret);
        let tag = self
            .0
            .encrypt_inout_detached(&Nonce::from(nonce), context, body.as_mut_slice().into())
            .map_err(|_| SealError::Encryption)?;
        let mut ciphertext = [0_u8; CIPHERTEXT_BYTES];
        concatenate(&mut ciphertext, &[body.as_slice(), &tag]);
        Ok((nonce, ciphertext))
    }

    /// The secret, or nothing if key, nonce, context and ciphertext do not belong together.
    pub(super) fn decrypt(
        &self,
        nonce: &[u8; NONCE_BYTES],
        context: &[u8],
        ciphertext: &[u8; CIPHERTEXT_BYTES],
    ) -> Option<Zeroizing<[u8; SECRET_BYTES]>> {
        let (body, tag) = ciphertext.split_first_chunk::<SECRET_BYTES>()?;
        let mut secret = Zeroizing::new(*body);
        let tag: Tag = tag.try_into().ok()?;
        self.0.decrypt_inout_detached(&Nonce::from(*nonce), context, secret.as_mut_slice().into(), &tag).ok()?;
        Some(secret)
    }
}

/// Random bytes of the operating system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], SealError> {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes).map_err(SealError::Randomness)?;
    Ok(bytes)
}

/// Fills `target` with `parts` one after another; their lengths add up to its own.
pub(super) fn concatenate(target: &mut [u8], parts: &[&[u8]]) {
    debug_assert_eq!(target.len(), parts.iter().map(|part| part.len()).sum::<usize>());
    for (byte, value) in target.iter_mut().zip(parts.iter().copied().flatten()) {
        *byte = *value;
    }
}
