//! BLS12-381 as Ethereum uses it: public keys in G1, signatures in G2, roots hashed once and signed many times.
//!
//! In: secrets, signing roots. Out: public keys, curve points, signatures. The only file that names blst and the only
//! one with unsafe code: blst's safe interface hashes the message at every signature, which is half of the cost, and
//! since Electra all attesters of a slot sign one root. Deliberately absent: key storage, and any public signing.
#![expect(unsafe_code, reason = "blst offers signing of an already hashed root only through its C interface")]

use blst::min_pk;
use blst::{
    BLST_ERROR, blst_hash_to_g2, blst_p1_affine, blst_p1_affine_compress, blst_p2, blst_p2_affine,
    blst_p2_affine_compress, blst_scalar, blst_scalar_from_le_bytes, blst_sign_pk2_in_g1, blst_sk_check,
    blst_sk_to_pk2_in_g1,
};
use consigner_rules::{PublicKey, Root, Signature};
use std::fmt;
use std::ptr;
use std::str::FromStr;
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// Domain separation tag of Ethereum's signatures.
//= consensus-specs phase0/beacon-chain.md, "BLS signatures": the ciphersuite of the proof-of-possession scheme.
const ETHEREUM_DST: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

/// Why bytes are not a secret key. Never holds the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// The secret is zero; its public key would be the point at infinity.
    #[error("the secret key is zero")]
    Zero,
    /// The secret is not below the order of the curve's group.
    #[error("the secret key is not below the group order")]
    TooLarge,
    /// The text is not 32 bytes of hexadecimal.
    #[error("a secret key is 32 bytes of hexadecimal, optionally after 0x")]
    Text,
}

/// A validator's secret key: erased when dropped, never shown, never copied.
///
/// Outside this crate it can be sealed, asked for its public key, and taken out by [`Self::expose_hex`], nothing else.
pub struct SecretKey(blst_scalar);

impl SecretKey {
    /// Takes a secret in its usual form, 32 bytes big-endian. The caller erases its own copy.
    ///
    /// # Errors
    /// [`BadSecret`] for zero and for anything not below the group order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, BadSecret> {
        let mut scalar = blst_scalar::default();
        scalar.b.copy_from_slice(bytes);
        scalar.b.reverse();
        // SAFETY: `scalar` is a live, initialised `blst_scalar`; the call only reads its 32 bytes.
        if unsafe { blst_sk_check(&scalar) } {
            return Ok(Self(scalar));
        }
        let any = bytes.iter().fold(0, |any, byte| any | byte);
        Err(if any == 0 { BadSecret::Zero } else { BadSecret::TooLarge })
    }

    /// The public key in compressed form; 113 us of computation.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        let mut point = blst_p1_affine::default();
        let mut bytes = [0_u8; PublicKey::LENGTH];
        // SAFETY: a null `out` is allowed (blst tests for it); `point` and `self.0` are live and initialised, and
        // `bytes` has the 48 bytes that a compressed G1 point takes.
        unsafe {
            blst_sk_to_pk2_in_g1(ptr::null_mut(), &mut point, &self.0);
            blst_p1_affine_compress(bytes.as_mut_ptr(), &point);
        }
        PublicKey(bytes)
    }

    /// The secret, 32 bytes big-endian, for sealing.
    pub(crate) fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        let mut bytes = Zeroizing::new(self.0.b);
        bytes.reverse();
        bytes
    }

    /// The secret as text: `0x` and 64 hexadecimal digits, as the importing call of the administrators' API takes it.
    ///
    /// For an operator's command alone, which hands a key that it has just decrypted or made to a cluster, inside of
    /// mutual TLS. A node never calls it: what a node holds leaves it only sealed.
    #[must_use]
    pub fn expose_hex(&self) -> Zeroizing<String> {
        let mut digits = Zeroizing::new([0_u8; 64]);
        // 32 bytes are 64 digits.
        let _fits = hex::encode_to_slice(self.to_bytes().as_slice(), digits.as_mut_slice());
        // Reserved at once: a growing text would leave copies behind.
        let mut text = Zeroizing::new(String::with_capacity(66));
        text.push_str("0x");
        text.push_str(std::str::from_utf8(digits.as_slice()).unwrap_or_default());
        text
    }

    /// The secret as the keyring stores it, 32 bytes little-endian.
    pub(crate) fn scalar(&self) -> &[u8; 32] {
        &self.0.b
    }

    /// The inverse of [`Self::scalar`], for bytes that were checked when they were stored.
    pub(crate) fn from_scalar(bytes: &[u8; 32]) -> Self {
        let mut scalar = blst_scalar::default();
        scalar.b.copy_from_slice(bytes);
        Self(scalar)
    }

    /// The root of a tree of keys (EIP-2333: `derive_master_SK`), or nothing for a seed of less than 32 bytes.
    pub(crate) fn derive_master(seed: &[u8]) -> Option<Self> {
        Self::from_blst(&min_pk::SecretKey::derive_master_eip2333(seed).ok()?)
    }

    /// A child in a tree of keys (EIP-2333: `derive_child_SK`); 0.15 ms of computation. Nothing cannot happen:
    /// blst repeats until the key is not zero.
    pub(crate) fn derive_child(&self, index: u32) -> Option<Self> {
        let parent = min_pk::SecretKey::from_bytes(self.to_bytes().as_slice()).ok()?;
        Self::from_blst(&parent.derive_child_eip2333(index))
    }

    /// `min_pk::SecretKey` erases itself; its copy in between is erased here.
    fn from_blst(secret: &min_pk::SecretKey) -> Option<Self> {
        Self::from_bytes(&Zeroizing::new(secret.to_bytes())).ok()
    }

    /// A little-endian number of 32 bytes modulo the group order, or nothing if that is zero.
    pub(crate) fn reduced(bytes: &[u8; 32]) -> Option<Self> {
        let mut scalar = blst_scalar::default();
        // SAFETY: `scalar` is live and initialised; the call reads exactly the 32 bytes that `bytes` has.
        let usable = unsafe { blst_scalar_from_le_bytes(&mut scalar, bytes.as_ptr(), bytes.len()) };
        usable.then_some(Self(scalar))
    }
}

impl FromStr for SecretKey {
    type Err = BadSecret;

    /// Reads 64 hexadecimal digits, optionally after `0x`.
    fn from_str(text: &str) -> Result<Self, BadSecret> {
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
        let mut bytes = Zeroizing::new([0_u8; 32]);
        hex::decode_to_slice(digits, bytes.as_mut_slice()).map_err(|_| BadSecret::Text)?;
        Self::from_bytes(&bytes)
    }
}

/// `blst_scalar` erases itself when dropped; [`tests`] holds it to that.
impl ZeroizeOnDrop for SecretKey {}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretKey(hidden)")
    }
}

/// A signing root hashed to the curve: public data, 288 bytes, half of the work of a signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashedRoot(blst_p2);

impl fmt::Debug for HashedRoot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("HashedRoot")
    }
}

/// Hashes a signing root to the curve; 209 us of computation.
#[must_use]
pub fn hash_to_curve(root: &Root) -> HashedRoot {
    hash_message(root.as_bytes(), ETHEREUM_DST)
}

/// Signs a hashed root; the bytes are those of the plain signature over the root.
pub(crate) fn sign_hashed(secret: &SecretKey, root: &HashedRoot) -> Signature {
    let mut point = blst_p2_affine::default();
    let mut bytes = [0_u8; Signature::LENGTH];
    // SAFETY: a null `out` is allowed (blst tests for it); `point`, `root.0` and `secret.0` are live and initialised,
    // and `bytes` has the 96 bytes that a compressed G2 point takes.
    unsafe {
        blst_sign_pk2_in_g1(ptr::null_mut(), &mut point, &root.0, &secret.0);
        blst_p2_affine_compress(bytes.as_mut_ptr(), &point);
    }
    Signature(bytes)
}

/// Whether a signature over a signing root is the public key's; 1.2 to 1.4 ms of computation.
///
/// False as well for bytes that are no points of the right groups.
//= consensus-specs phase0/beacon-chain.md: `bls.Verify(pubkey, signing_root, signature)`
#[must_use]
pub fn verify(public_key: &PublicKey, root: &Root, signature: &Signature) -> bool {
    let Ok(point) = min_pk::PublicKey::uncompress(public_key.as_bytes()) else { return false };
    let Ok(signature) = min_pk::Signature::uncompress(signature.as_bytes()) else { return false };
    signature.verify(true, root.as_bytes(), ETHEREUM_DST, &[], &point, true) == BLST_ERROR::BLST_SUCCESS
}

fn hash_message(message: &[u8], domain: &[u8]) -> HashedRoot {
    let mut point = blst_p2::default();
    // SAFETY: each pointer comes with the length of its own slice, the augmentation is empty (null, 0), and `point` is
    // live and initialised; the call writes nothing else.
    unsafe {
        blst_hash_to_g2(&mut point, message.as_ptr(), message.len(), domain.as_ptr(), domain.len(), ptr::null(), 0);
    }
    HashedRoot(point)
}

#[cfg(test)]
#[path = "bls_tests.rs"]
mod tests;
