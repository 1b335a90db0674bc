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

/// Longest PEM file that is read. Generous for a bundle of hundreds of CAs; stops a path that points at a device.
const PEM_FILE_BYTES_MAX: u64 = 1 << 20;

/// A certificate chain with its key, checked: they belong together and the leaf is valid now.
pub(super) fn certified_key(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(cert)?;
    check_leaf(cert, &chain)?;
    CertifiedKey::from_der(chain, private_key(key)?, provider).map_err(|source| {
        if matches!(source, rustls::Error::InconsistentKeys(_)) {
            return TlsError::KeyMismatch { cert: cert.into(), key: key.into() };
        }
        TlsError::BadKey { path: key.into(), source }
    })
}

/// The trust anchors in a bundle. Expired ones are left out with a warning (webpki does not look at the dates of an
/// anchor), and a bundle that holds nothing else is refused.
pub(super) fn authorities(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    for der in certificates(path)? {
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
        store.add(der).map_err(|why| bad_certificate(path, &why))?;
    }
    if store.is_empty() {
        return Err(TlsError::AllCasExpired { path: path.into() });
    }
    Ok(Arc::new(store))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let found = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| TlsError::Pem { path: path.into(), source })?;
    if found.is_empty() {
        return Err(TlsError::NoCertificate { path: path.into() });
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) if is_encrypted(&text) => Err(TlsError::EncryptedKey { path: path.into() }),
        Err(pem::Error::NoItemsFound) => Err(TlsError::NoKey { path: path.into() }),
        Err(source) => Err(TlsError::Pem { path: path.into(), source }),
    }
}

fn is_encrypted(text: &[u8]) -> bool {
    const MARK: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    text.windows(MARK.len()).any(|window| window == MARK)
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
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let unreadable = |source| TlsError::Read { path: path.into(), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    // Room for the longest file at once: a vector that grows leaves unwiped copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(PEM_FILE_BYTES_MAX as usize + 1));
    file.take(PEM_FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > PEM_FILE_BYTES_MAX {
        return Err(TlsError::TooLong { path: path.into(), limit: PEM_FILE_BYTES_MAX });
    }
    Ok(text)
}
