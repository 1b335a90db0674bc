//! An issuer: its keys, its key set, its tokens.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

pub const ISSUER: &str = "https://idp.example/realms/stakers";
pub const AUDIENCE: &str = "consigner";

/// A key pair with its id.
pub struct Signer {
    pub id: String,
    pub key: Key,
}

pub enum Key {
    Rsa(Box<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    pub fn rsa(id: &str) -> Self {
        Self { id: id.to_owned(), key: Key::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())) }
    }

    pub fn ec(id: &str) -> Self {
        Self { id: id.to_owned(), key: Key::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()) }
    }

    pub fn ed(id: &str) -> Self {
        Self { id: id.to_owned(), key: Key::Ed(Ed25519KeyPair::generate().unwrap()) }
    }

    pub fn algorithm(&self) -> &'static str {
        match self.key {
            Key::Rsa(_) => "RS256",
            Key::Ec(_) => "ES256",
            Key::Ed(_) => "EdDSA",
        }
    }

    pub fn jwk(&self) -> String {
        let parameters = match &self.key {
            Key::Rsa(key) => {
                let public = key.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                let [n, e] = [n, e].map(|number| encode(number.big_endian_without_leading_zero()));
                format!(r#""kty":"RSA","n":"{n}","e":"{e}""#)
            }
            Key::Ec(key) => {
                let point = key.public_key().as_ref();
                let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
                format!(r#""kty":"EC","crv":"P-256","x":"{x}","y":"{y}""#)
            }
            Key::Ed(key) => format!(r#""kty":"OKP","crv":"Ed25519","x":"{}""#, encode(key.public_key().as_ref())),
        };
        format!(r#"{{"kid":"{}","use":"sig",{parameters}}}"#, self.id)
    }

    /// What an attacker knows: the public key as it may be lying around.
    pub fn public_forms(&self) -> Vec<Vec<u8>> {
        match &self.key {
            Key::Rsa(key) => vec![
                key.public_key().as_ref().to_vec(),
                key.public_key().modulus().big_endian_without_leading_zero().to_vec(),
                key.public_key().as_der().unwrap().as_ref().to_vec(),
            ],
            Key::Ec(key) => {
                vec![key.public_key().as_ref().to_vec(), key.public_key().as_der().unwrap().as_ref().to_vec()]
            }
            Key::Ed(key) => vec![key.public_key().as_ref().to_vec()],
        }
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.key {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
                signature
            }
            Key::Ec(key) => key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Key::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with exactly this header and these claims.
    pub fn token_of(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()));
        let signature = encode(&self.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    pub fn header(&self) -> String {
        format!(r#"{{"alg":"{}","typ":"JWT","kid":"{}"}}"#, self.algorithm(), self.id)
    }

    /// A token with a usual header.
    pub fn token(&self, claims: &str) -> String {
        self.token_of(&self.header(), claims)
    }
}

/// A key set.
pub fn set(signers: &[&Signer]) -> String {
    let keys: Vec<String> = signers.iter().map(|signer| signer.jwk()).collect();
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

/// Good claims, and more of them: `,"name":value`.
pub fn claims(more: &str) -> String {
    let expires = now() + 600;
    format!(r#"{{"iss":"{ISSUER}","sub":"ops@example","aud":"{AUDIENCE}","exp":{expires}{more}}}"#)
}

/// Good claims with one text replaced.
pub fn claims_with(from: &str, to: &str) -> String {
    let good = claims("");
    assert!(good.contains(from), "{from} is not in {good}");
    good.replace(from, to)
}

/// Seconds since 1970.
pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
