//! The issuer's public keys, out of a JWK set (RFC 7517), and signatures made with them.
//!
//! A key decides its algorithm (RFC 8725, 3.1); a token only says which one it means. Keys for other purposes are left
//! out, as RFC 7517, 5 asks: "Implementations SHOULD ignore JWKs within a JWK Set that use "kty" values that are not
//! understood by them".

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::json::{self, Json, Object};
use super::{JwtError, OAuthError};

/// Keys of one set: an issuer has two or three at a time. A token without a key id costs one verification each.
const KEYS_MAX: usize = 64;

/// RFC 7518, 3.3: "A key of size 2048 bits or larger MUST be used"; longer than the upper bound is only slow.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;

/// 2^33 is the largest exponent that libraries accept; a longer one only makes verification slow.
const RSA_EXPONENT_BYTES_MAX: usize = 5;

/// What tokens are signed with here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    /// By the name in a header or a key; anything else is refused.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// The keys of one set that can sign tokens.
pub(crate) struct Keys {
    keys: Vec<Key>,
    /// How many others there were.
    pub(super) left_out: usize,
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    public: ParsedPublicKey,
}

impl Keys {
    /// Reads a set. One without a usable key is a set: its issuer signs nothing at present.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, OAuthError> {
        let refuse = |reason: &str| OAuthError::KeySet { reason: reason.to_owned() };
        let set = json::object(bytes).map_err(refuse)?;
        let Some(Json::List(all)) = set.get("keys") else { return Err(refuse("no list of keys")) };
        if all.len() > KEYS_MAX {
            return Err(refuse(&format!("more than {KEYS_MAX} keys")));
        }
        let mut keys = Vec::new();
        for key in all {
            let Json::Object(key) = key else { return Err(refuse("a key that is not an object")) };
            if key.contains_key("d") {
                return Err(refuse("a private key: whoever reads the set can make tokens"));
            }
            keys.extend(Key::parse(key));
        }
        let left_out = all.len() - keys.len();
        Ok(Self { keys, left_out })
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Verifies a signature with the key that is meant.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        id: Option<&str>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), JwtError> {
        let is_meant = |key: &&Key| key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id);
        let mut meant = self.keys.iter().filter(is_meant).peekable();
        if meant.peek().is_none() {
            return Err(JwtError::UnknownKey);
        }
        let candidates: Vec<&Key> = meant.collect();
        if id.is_none() && candidates.len() > 1 {
            return Err(JwtError::AmbiguousKey);
        }
        let is_by = |key: &&Key| key.public.verify_sig(message, signature).is_ok();
        candidates.iter().any(is_by).then_some(()).ok_or(JwtError::Signature)
    }
}

impl Key {
    /// `None` for a key that signs no tokens, or not in a way that is verified here.
    fn parse(key: &Object) -> Option<Self> {
        let text = |name: &str| key.get(name).and_then(Json::text);
        // A value of another type is not "absent".
        let is_absent_or = |name: &str, good: &dyn Fn(&Json) -> bool| key.get(name).is_none_or(good);
        let verifies = |operation: &Json| operation.text() == Some("verify");
        let is_verify = |operations: &Json| matches!(operations, Json::List(all) if all.iter().any(verifies));
        if !is_absent_or("use", &|usage| usage.text() == Some("sig")) || !is_absent_or("key_ops", &is_verify) {
            return None;
        }
        let (algorithm, public) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (Algorithm::Rs256, rsa(text("n")?, text("e")?)?),
            ("EC", Some("P-256")) => (Algorithm::Es256, p256(text("x")?, text("y")?)?),
            ("OKP", Some("Ed25519")) => (Algorithm::EdDsa, ed25519(text("x")?)?),
            _other => return None,
        };
        if !is_absent_or("alg", &|named| named.text().and_then(Algorithm::named) == Some(algorithm)) {
            return None;
        }
        if !is_absent_or("kid", &|id| id.text().is_some()) {
            return None;
        }
        Some(Self { id: text("kid").map(str::to_owned), algorithm, public })
    }
}

fn rsa(modulus: &str, exponent: &str) -> Option<ParsedPublicKey> {
    let (modulus, exponent) = (number(modulus)?, number(exponent)?);
    if !RSA_MODULUS_BYTES.contains(&modulus.len()) || exponent.len() > RSA_EXPONENT_BYTES_MAX {
        return None;
    }
    let components = RsaPublicKeyComponents { n: modulus, e: exponent };
    components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()
}

fn p256(x: &str, y: &str) -> Option<ParsedPublicKey> {
    const UNCOMPRESSED: u8 = 4;
    let (x, y): ([u8; 32], [u8; 32]) = (bytes(x)?.try_into().ok()?, bytes(y)?.try_into().ok()?);
    let point = [&[UNCOMPRESSED][..], &x, &y].concat();
    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()
}

fn ed25519(x: &str) -> Option<ParsedPublicKey> {
    let x: [u8; 32] = bytes(x)?.try_into().ok()?;
    ParsedPublicKey::new(&ED25519, x).ok()
}

/// Big endian without leading zeros, which some issuers write and the library refuses.
fn number(text: &str) -> Option<Vec<u8>> {
    let mut bytes = bytes(text)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    (!bytes.is_empty()).then_some(bytes)
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
#[path = "jwk_tests.rs"]
mod tests;
