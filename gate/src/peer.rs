//! Who is at the other end of a connection, as the TLS handshake proved it.
//!
//! In: the verified leaf certificate. Out: a [`Peer`] that rides in the extensions of every request. Verification
//! itself is done in [`crate::tls`]; what a peer may do is decided elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

/// The caller of a request. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Address and port of the other end of the TCP connection; behind one of the door's configured balancers, those
    /// of the client that it named.
    pub addr: SocketAddr,
    /// The verified client certificate; `None` on a door without TLS, and of a client that shows none on a door where
    /// that is optional.
    pub certificate: Option<Arc<PeerCertificate>>,
}

impl Peer {
    /// The name for logs and records: the common name, else the SHA-256 fingerprint of the certificate, else
    /// (there is none) `anonymous`.
    pub fn name(&self) -> String {
        match &self.certificate {
            None => "anonymous".to_owned(),
            Some(certificate) => certificate.name(),
        }
    }
}

/// What the program needs to know of a verified leaf certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Common name of the subject, if there is one.
    pub common_name: Option<String>,
    /// DNS names among the subject alternative names.
    pub dns_names: Vec<String>,
    /// URIs (for example SPIFFE ids) among the subject alternative names.
    pub uris: Vec<String>,
    /// SHA-256 over the DER form.
    pub fingerprint_sha256: [u8; 32],
    /// End of validity, in seconds since 1970.
    pub not_after_unix: i64,
    /// Whether the door's CA for administrators ([`crate::tls::DoorTls::admin_ca`]) issued it. False where there is
    /// none. A reload judges it anew: a connection that loses the mark is cut, one that gains it has it from its next
    /// request on.
    pub from_admin_ca: bool,
}

/// Why a certificate that webpki accepted names nobody.
#[derive(Debug, thiserror::Error)]
pub enum PeerCertificateError {
    /// Not X.509, or an extension is malformed.
    #[error("malformed certificate: {0}")]
    Malformed(String),
    /// Two common names: which one would be the caller?
    #[error("more than one common name")]
    SeveralCommonNames,
    /// A control character in a name could forge log lines and records.
    #[error("control character in a name")]
    ControlCharacter,
}

impl PeerCertificate {
    /// The name for logs, records and memberships: the common name, else the SHA-256 fingerprint.
    pub fn name(&self) -> String {
        self.common_name.clone().unwrap_or_else(|| hex::encode(self.fingerprint_sha256))
    }

    /// Reads the names out of a leaf that has been verified already. Who issued it a leaf alone does not show:
    /// [`Self::from_admin_ca`] stays false.
    ///
    /// # Errors
    /// A certificate whose names are malformed or ambiguous; such a caller is turned away.
    pub fn parse(leaf: &CertificateDer<'_>) -> Result<Self, PeerCertificateError> {
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|why| malformed(&why))?;
        let (dns_names, uris) = alternative_names(&parsed)?;
        let certificate = Self {
            common_name: common_name(&parsed)?,
            dns_names,
            uris,
            fingerprint_sha256: fingerprint(leaf),
            not_after_unix: parsed.validity().not_after.timestamp(),
            from_admin_ca: false,
        };
        let mut names = certificate.common_name.iter().chain(&certificate.dns_names).chain(&certificate.uris);
        if names.any(|name| name.contains(char::is_control)) {
            return Err(PeerCertificateError::ControlCharacter);
        }
        Ok(certificate)
    }
}

/// A certificate that may be hostile, for one log line: subject (escaped) and fingerprint.
pub(crate) fn describe(leaf: &CertificateDer<'_>) -> String {
    let subject = match X509Certificate::from_der(leaf) {
        Ok((_, parsed)) => parsed.subject().to_string().escape_debug().to_string(),
        Err(_) => "not X.509".to_owned(),
    };
    format!("{subject} sha256:{}", hex::encode(fingerprint(leaf)))
}

fn fingerprint(leaf: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(leaf).into()
}

fn common_name(parsed: &X509Certificate<'_>) -> Result<Option<String>, PeerCertificateError> {
    let mut names = parsed.subject().iter_common_name();
    let first = names.next();
    if names.next().is_some() {
        return Err(PeerCertificateError::SeveralCommonNames);
    }
    first.map(|name| name.as_str().map(str::to_owned).map_err(|why| malformed(&why))).transpose()
}

fn alternative_names(parsed: &X509Certificate<'_>) -> Result<(Vec<String>, Vec<String>), PeerCertificateError> {
    let (mut dns_names, mut uris) = (Vec::new(), Vec::new());
    let Some(extension) = parsed.subject_alternative_name().map_err(|why| malformed(&why))? else {
        return Ok((dns_names, uris));
    };
    for name in &extension.value.general_names {
        // Addresses, mail addresses and the like name no caller here.
        if let GeneralName::DNSName(dns) = name {
            dns_names.push((*dns).to_owned());
        } else if let GeneralName::URI(uri) = name {
            uris.push((*uri).to_owned());
        }
    }
    Ok((dns_names, uris))
}

fn malformed(why: &dyn std::fmt::Display) -> PeerCertificateError {
    PeerCertificateError::Malformed(why.to_string())
}
