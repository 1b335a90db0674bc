//! An issuer of access tokens (JWT) of a test's own, EdDSA.
//!
//! In: claims. Out: its public keys as a set (JWKS), tokens. Deliberately absent: everything else that an issuer does.

use super::pki::PkiError;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};

/// What its tokens name it.
pub const ISSUER: &str = "https://idp.example";

/// Whom its tokens are for.
pub const AUDIENCE: &str = "consigner";

/// An issuer.
pub struct Issuer {
    key: KeyPair,
    key_id: &'static str,
}

impl Issuer {
    /// With a new key of this name.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn new(key_id: &'static str) -> Result<Self, PkiError> {
        let key = KeyPair::generate_for(&PKCS_ED25519);
        Ok(Self { key: key.map_err(|source| PkiError { name: key_id.to_owned(), source })?, key_id })
    }

    /// Its public key as a set.
    #[must_use]
    pub fn jwks(&self) -> String {
        let point = URL_SAFE_NO_PAD.encode(self.key.der_bytes());
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": point, "kid": self.key_id, "alg": "EdDSA", "use": "sig"});
        json!({"keys": [key]}).to_string()
    }

    /// A token with these claims.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn token(&self, claims: &Value) -> Result<String, PkiError> {
        let head = json!({"alg": "EdDSA", "typ": "JWT", "kid": self.key_id});
        let signed = format!("{}.{}", encoded(&head), encoded(claims));
        let signature = self.key.sign(signed.as_bytes());
        let signature = signature.map_err(|source| PkiError { name: self.key_id.to_owned(), source })?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Without the key.
impl std::fmt::Debug for Issuer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Issuer").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
