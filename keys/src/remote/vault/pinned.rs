//! Servers that are trusted by the fingerprint of their certificate, as Web3Signer's `tlsKnownServersPath` does.
//!
//! In: a file of lines `host:port fingerprint` (SHA-256 of the certificate, hexadecimal, with or without colons; `#`
//! begins a comment). Out: a TLS configuration that accepts these certificates of that server and no others, whatever
//! authority or name they have: the fingerprint says more than both. Deliberately absent: learning fingerprints from
//! the first connection.

use super::super::config::{self, ConfigError};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::Arc;

/// Certificates of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pins(Vec<[u8; 32]>);

impl Pins {
    /// Those of `server` (`host:port`) in a file of known servers.
    pub(crate) fn read(path: &Path, server: &str) -> Result<Self, ConfigError> {
        let what = "file of known servers";
        let content = config::bytes(what, path)?;
        let failed = |problem| ConfigError::Content { what, path: path.to_path_buf(), problem };
        let text = std::str::from_utf8(&content).map_err(|_| failed("not text"))?;
        Self::parse(text, server).map_err(failed)
    }

    fn parse(text: &str, server: &str) -> Result<Self, &'static str> {
        let mut pins = Vec::new();
        for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
            let mut words = line.split_whitespace();
            let (Some(name), Some(fingerprint)) = (words.next(), words.next()) else {
                if line.is_empty() {
                    continue;
                }
                return Err("a line is not of the form host:port fingerprint");
            };
            let mut pin = [0_u8; 32];
            hex::decode_to_slice(fingerprint.replace(':', ""), &mut pin)
                .map_err(|_| "a fingerprint is not 32 bytes in hexadecimal")?;
            if name.eq_ignore_ascii_case(server) {
                pins.push(pin);
            }
        }
        if pins.is_empty() { Err("it does not name this server") } else { Ok(Self(pins)) }
    }

    /// For the HTTP client.
    pub(super) fn tls(&self) -> Result<ClientConfig, ConfigError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Pinned { pins: self.0.clone(), provider: Arc::clone(&provider) };
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(|error| ConfigError::Value { what: "TLS", problem: error.to_string() })?;
        Ok(config.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
    }
}

#[derive(Debug)]
struct Pinned {
    pins: Vec<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let fingerprint: [u8; 32] = Sha256::digest(certificate).into();
        if self.pins.contains(&fingerprint) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_known_servers_is_read_by_host_and_port() {
        let (one, two) = ("AB".repeat(32), ["0c"; 32].join(":"));
        let text = format!("# known\nvault:8200 {one}\n\n  VAULT:8200 {two} # both\nother:8200 {one}\n");
        assert_eq!(Pins::parse(&text, "vault:8200"), Ok(Pins(vec![[0xAB; 32], [0x0C; 32]])));
        assert_eq!(Pins::parse(&text, "other:8200"), Ok(Pins(vec![[0xAB; 32]])));
        for bad in ["vault:8200", &format!("vault:8200 {}", "AB".repeat(31)), "vault:8200 nonsense", "", "x:1 00"] {
            assert!(Pins::parse(bad, "vault:8200").is_err(), "{bad}");
        }
        assert_eq!(Pins::parse(&text, "vault:8201"), Err("it does not name this server"));
    }
}
