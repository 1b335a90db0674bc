//! What a caller has proved. Whoever builds one of these has checked it: a certificate in the handshake, a token against
//! its hash and expiry, a JWT against its issuer's keys.

use super::token::TokenRecord;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What a caller has proved; any of it may be missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Caller<'a> {
    /// The client certificate of the connection.
    pub certificate: Option<CertificateNames<'a>>,
    /// A token that the cluster holds and that has not expired.
    pub token: Option<&'a TokenRecord>,
    /// The claims of a verified JWT.
    pub claims: Option<&'a Claims>,
}

/// The names of a certificate.
#[derive(Debug, Clone, Copy)]
pub struct CertificateNames<'a> {
    /// The subject's common name.
    pub common_name: Option<&'a str>,
    /// Subject alternative names of kind DNS.
    pub dns_names: &'a [String],
    /// Subject alternative names of kind URI.
    pub uris: &'a [String],
    /// SHA-256 of the certificate. `None` only where somebody asks what a caller would be allowed, without naming it.
    pub fingerprint: Option<[u8; 32]>,
}

/// What a verified JWT says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// `iss`
    pub issuer: String,
    /// `sub`
    pub subject: String,
    /// All claims as lists of texts.
    pub values: BTreeMap<String, Vec<String>>,
}

/// Longest part of a name in a sentence about a caller; the names come from outside.
const NAME_CHARS_MAX: usize = 96;

impl Caller<'_> {
    /// What was seen of the caller, for a refusal and the audit log; never a secret.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut seen = Vec::new();
        if let Some(certificate) = &self.certificate {
            seen.push(certificate.describe());
        }
        if let Some(token) = self.token {
            seen.push(format!("token {} ({})", token.name, hex::encode(token.id)));
        }
        if let Some(claims) = self.claims {
            seen.push(format!("JWT of subject {} by {}", quoted(&claims.subject), quoted(&claims.issuer)));
        }
        if seen.is_empty() { "no certificate, token or JWT".to_owned() } else { seen.join(" and ") }
    }
}

impl CertificateNames<'_> {
    fn describe(&self) -> String {
        let mut text = match self.common_name {
            Some(name) => format!("certificate CN {}", quoted(name)),
            None => "certificate without CN".to_owned(),
        };
        // Writing to a string does not fail.
        if let Some(name) = self.dns_names.first() {
            let _ = write!(text, ", DNS {}", quoted(name));
        }
        if let Some(uri) = self.uris.first() {
            let _ = write!(text, ", URI {}", quoted(uri));
        }
        if let Some(fingerprint) = self.fingerprint {
            let _ = write!(text, ", SHA-256 {}", hex::encode(fingerprint));
        }
        text
    }
}

/// A text from outside: shortened, and without anything that a terminal or a log would act upon.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(NAME_CHARS_MAX).collect();
    if short.len() < text.len() { format!("{short:?}..") } else { format!("{short:?}") }
}
