//! Reads certificates, keys and CA bundles from PEM files and checks what can be checked before the first handshake.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use zeroize::Zeroizing;

use super::TlsError;
use super::expiry::{Expiry, What};

/// Longest PEM file that is read. Generous for a bundle of hundreds of CAs; stops a path that points at a device.
pub(super) const PEM_FILE_BYTES_MAX: u64 = 1 << 20;

/// The trust anchors of a bundle.
#[derive(Clone)]
pub(crate) struct Authorities {
    pub(super) store: Arc<RootCertStore>,
    /// The same, as they were read.
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) expiries: Vec<Expiry>,
}

impl Authorities {
    /// The trust anchors of two bundles.
    pub(super) fn and(mut self, other: &Self) -> Self {
        Arc::make_mut(&mut self.store).roots.extend(other.store.roots.iter().cloned());
        self.certificates.extend(other.certificates.iter().cloned());
        self.expiries.extend(other.expiries.iter().cloned());
        self
    }
}

/// A certificate chain with its key, checked: they belong together and the leaf is valid now.
pub(super) fn certified_key(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    checked_key(cert, key, certificates(cert)?, private_key(key)?, provider)
}

/// The same of a chain and a key that were read already, from the files that an error should name.
pub(super) fn checked_key(
    cert: &Path,
    key: &Path,
    chain: Vec<CertificateDer<'static>>,
    der: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    check_leaf(cert, &chain)?;
    CertifiedKey::from_der(chain, der, provider).map_err(|source| {
        if matches!(source, rustls::Error::InconsistentKeys(_)) {
            return TlsError::KeyMismatch { cert: cert.into(), key: key.into() };
        }
        TlsError::BadKey { path: key.into(), source }
    })
}

/// The trust anchors in a bundle. Expired ones are left out with a warning (webpki does not look at the dates of an
/// anchor), and a bundle that holds nothing else is refused.
pub(super) fn authorities(path: &Path) -> Result<Authorities, TlsError> {
    authorities_in(path, certificates(path)?)
}

/// The same of certificates that were read already.
pub(crate) fn authorities_in(path: &Path, bundle: Vec<CertificateDer<'static>>) -> Result<Authorities, TlsError> {
    let mut store = RootCertStore::empty();
    let mut kept = Vec::new();
    let mut expiries = Vec::new();
    for der in bundle {
        let parsed = parse(path, &der)?;
        let subject = parsed.subject().to_string();
        if !parsed.is_ca() {
            return Err(TlsError::NotACa { path: path.into(), subject });
        }
        if !parsed.validity().is_valid() {
            let until = parsed.validity().not_after.to_string();
            tracing::warn!(bundle = %path.display(), subject, until, "CA certificate is outside its validity: left out");
            continue;
        }
        expiries.push(Expiry { what: What::Ca, subject, unix: parsed.validity().not_after.timestamp() });
        store.add(der.clone()).map_err(|why| bad_certificate(path, &why))?;
        kept.push(der);
    }
    if store.is_empty() {
        return Err(TlsError::AllCasExpired { path: path.into() });
    }
    Ok(Authorities { store: Arc::new(store), certificates: kept, expiries })
}

/// When each certificate of a chain of our own ends.
pub(crate) fn chain_expiries(path: &Path, chain: &[CertificateDer<'_>]) -> Result<Vec<Expiry>, TlsError> {
    let expiry = |der| {
        let parsed = parse(path, der)?;
        let unix = parsed.validity().not_after.timestamp();
        Ok(Expiry { what: What::Certificate, subject: parsed.subject().to_string(), unix })
    };
    chain.iter().map(expiry).collect()
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    certificates_in(path, &read(path, PEM_FILE_BYTES_MAX)?)
}

/// The certificates in the text of this file.
pub(crate) fn certificates_in(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found =
        CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>().map_err(|why| malformed(path, &why))?;
    if found.is_empty() {
        return Err(no_pem(path, text, TlsError::NoCertificate { path: path.into() }));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path, PEM_FILE_BYTES_MAX)?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(_) if is_encrypted(&text) => Err(TlsError::EncryptedKey { path: path.into() }),
        Err(pem::Error::NoItemsFound) => Err(no_pem(path, &text, TlsError::NoKey { path: path.into() })),
        Err(why) => Err(malformed(path, &why)),
    }
}

/// PKCS#8's own kind of section, and the header of RFC 1421 in OpenSSL's older ones (`BEGIN RSA PRIVATE KEY`).
fn is_encrypted(text: &[u8]) -> bool {
    const MARKS: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"];
    MARKS.iter().any(|mark| text.windows(mark.len()).any(|window| window == *mark))
}

/// `missing`, unless the file is of the binary kind that PEM wraps: CAs publish revocation lists so.
pub(super) fn no_pem(path: &Path, bytes: &[u8], missing: TlsError) -> TlsError {
    // SEQUENCE, with a length of one to four bytes: how each certificate, list and key begins, and no text does.
    let is_der = matches!(bytes, [0x30, 0x81..=0x84, ..]);
    if is_der { TlsError::Der { path: path.into() } } else { missing }
}

/// The reader's reason, in words where it has bytes.
pub(super) fn malformed(path: &Path, why: &pem::Error) -> TlsError {
    let reason = if let pem::Error::MissingSectionEnd { end_marker } = why {
        format!("the section of {} does not end", String::from_utf8_lossy(end_marker).escape_debug())
    } else {
        why.to_string()
    };
    TlsError::Pem { path: path.into(), reason }
}

fn check_leaf(path: &Path, chain: &[CertificateDer<'_>]) -> Result<(), TlsError> {
    let Some(leaf) = chain.first() else { return Err(TlsError::NoCertificate { path: path.into() }) };
    let parsed = parse(path, leaf)?;
    let (subject, validity) = (parsed.subject().to_string(), parsed.validity());
    let now = x509_parser::time::ASN1Time::now();
    if now > validity.not_after {
        return Err(TlsError::Expired { path: path.into(), subject, not_after: validity.not_after.to_string() });
    }
    if now < validity.not_before {
        return Err(TlsError::NotYetValid { path: path.into(), subject, not_before: validity.not_before.to_string() });
    }
    Ok(())
}

fn parse<'der>(path: &Path, der: &'der CertificateDer<'_>) -> Result<X509Certificate<'der>, TlsError> {
    X509Certificate::from_der(der).map(|(_, parsed)| parsed).map_err(|why| bad_certificate(path, &why))
}

fn bad_certificate(path: &Path, why: &dyn std::fmt::Display) -> TlsError {
    TlsError::BadCertificate { path: path.into(), reason: why.to_string() }
}

/// The whole file, wiped when dropped: it may hold a private key.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let unreadable = |source| TlsError::Read { path: path.into(), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    // Room for the whole file at once: a vector that grows leaves unwiped copies behind.
    let size = file.metadata().map_err(unreadable)?.len().max(PEM_FILE_BYTES_MAX).min(bytes_max);
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1));
    file.take(bytes_max + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > bytes_max {
        return Err(TlsError::TooLong { path: path.into(), limit: bytes_max });
    }
    Ok(text)
}
