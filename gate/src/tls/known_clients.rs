//! Web3Signer's known-clients file: one client per line, common name and SHA-256 fingerprint of its certificate.
//!
//! ```text
//! # a comment
//! teku1 8E:E0:85:9F:FC:2E:2F:21:31:46:0B:82:4C:A6:88:AB:30:34:9A:C6:EA:4F:04:31:ED:0F:69:A7:B5:C2:2F:A7
//! ```
//!
//! The fingerprint names one certificate, so it needs no CA; common name and validity are checked beside it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::{CertificateError, Error, OtherError};
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;

use super::{TlsError, pem};

/// Longest file: more than 10,000 clients.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The pinned certificates.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct KnownClients {
    pinned: Vec<Pinned>,
}

#[derive(Debug, PartialEq, Eq)]
struct Pinned {
    common_name: String,
    fingerprint: [u8; 32],
}

/// A pinned certificate that must not be used.
#[derive(Debug, thiserror::Error)]
#[error("known client, but {0}")]
struct Unusable(&'static str);

impl KnownClients {
    /// Reads the file. One without any client is good, and said so: it lets nobody in.
    ///
    /// # Errors
    /// Unreadable, or a line that is not as described above, with its number.
    pub(super) fn load(path: &Path) -> Result<Self, TlsError> {
        Self::parse(path, &pem::read(path, FILE_BYTES_MAX)?)
    }

    /// The clients in the text of this file.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, TlsError> {
        let bad = |line: usize, reason: &str| TlsError::KnownClients {
            path: path.into(),
            line: line + 1,
            reason: reason.to_owned(),
        };
        let text = std::str::from_utf8(bytes).map_err(|_| bad(0, "the file is not UTF-8 text"))?;
        let mut pinned = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            pinned.push(Pinned::parse(line).map_err(|reason| bad(number, reason))?);
        }
        if pinned.is_empty() {
            tracing::warn!(file = %path.display(), "the known-clients file names no client");
        }
        Ok(Self { pinned })
    }

    /// Whether this certificate is pinned, under its own name, and valid now.
    pub(crate) fn check(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
        let fingerprint: [u8; 32] = Sha256::digest(leaf).into();
        let mut same = self.pinned.iter().filter(|pinned| pinned.fingerprint == fingerprint).peekable();
        if same.peek().is_none() {
            return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
        }
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| CertificateError::BadEncoding)?;
        let own = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        if !own.is_some_and(|own| same.any(|pinned| pinned.common_name.eq_ignore_ascii_case(own))) {
            return Err(unusable("listed under another common name"));
        }
        let validity = parsed.validity();
        let (not_before, not_after) = (unix(validity.not_before), unix(validity.not_after));
        if now > not_after {
            return Err(CertificateError::ExpiredContext { time: now, not_after }.into());
        }
        if now < not_before {
            return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
        }
        let usage = parsed.extended_key_usage().map_err(|_| CertificateError::BadEncoding)?;
        if usage.is_some_and(|usage| !usage.value.client_auth && !usage.value.any) {
            return Err(CertificateError::InvalidPurpose.into());
        }
        Ok(())
    }
}

impl Pinned {
    /// The last word is the fingerprint, so that a common name may have spaces.
    fn parse(line: &str) -> Result<Self, &'static str> {
        let (name, fingerprint) =
            line.rsplit_once(char::is_whitespace).ok_or("a common name and a fingerprint are needed")?;
        let digits = fingerprint.replace(':', "");
        let fingerprint: [u8; 32] = hex::decode(digits)
            .map_err(|_| "the fingerprint is not hexadecimal")?
            .try_into()
            .map_err(|_| "the fingerprint is not SHA-256 (32 bytes)")?;
        Ok(Self { common_name: name.trim_end().to_owned(), fingerprint })
    }
}

/// Nothing was valid before 1970.
fn unix(time: ASN1Time) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or_default()))
}

fn unusable(reason: &'static str) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Unusable(reason)))))
}
