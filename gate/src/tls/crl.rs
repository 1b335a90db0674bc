//! Revocation lists from PEM files, checked as far as possible before they decide about anybody.
//!
//! webpki checks a list's signature only when a certificate of its issuer is verified: a damaged list would pass here
//! and then lock out everybody. So a list whose issuer is one of the door's CAs must bear that CA's signature now.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

use super::expiry::{Expiry, What};
use super::pem::{self, Authorities};
use super::{StaleCrl, TlsError};

/// Longest file: 2^16 revoked certificates take about 3 MiB of PEM.
const CRL_FILE_BYTES_MAX: u64 = 16 << 20;

/// The lists of all files.
#[derive(Default)]
pub(super) struct Crls {
    pub(super) lists: Vec<CertificateRevocationListDer<'static>>,
    pub(super) expiries: Vec<Expiry>,
}

impl Crls {
    /// The lists that may speak about certificates of these CAs. One of another CA of the same name is left out: webpki
    /// chooses lists by name alone, and would then refuse everybody for its signature.
    pub(super) fn of(
        &self,
        authorities: &Authorities,
        provider: &CryptoProvider,
    ) -> Vec<CertificateRevocationListDer<'static>> {
        let is_for_them = |der: &&CertificateRevocationListDer<'static>| {
            CertificateRevocationList::from_der(der).is_ok_and(|(_, parsed)| {
                is_signed_by_its_issuer(&parsed, parsed.tbs_cert_list.issuer.as_raw(), authorities, provider)
            })
        };
        self.lists.iter().filter(is_for_them).cloned().collect()
    }

    /// Whom any of the lists names.
    pub(super) fn named(&self) -> Named {
        let mut named = HashSet::new();
        for der in &self.lists {
            // `load` took no list that this cannot parse.
            let Ok((_, list)) = CertificateRevocationList::from_der(der) else { continue };
            let issuer: Arc<[u8]> = list.tbs_cert_list.issuer.as_raw().into();
            let of_issuer = |serial: &[u8]| (issuer.clone(), significant(serial).into());
            named.extend(list.iter_revoked_certificates().map(|revoked| of_issuer(revoked.raw_serial())));
        }
        Named(named)
    }
}

/// Raw name of the issuer, and serial number without leading zeros.
type IssuerAndSerial = (Arc<[u8]>, Box<[u8]>);

/// The certificates on revocation lists, found without any chain: what a client sends beside its certificate, or leaves
/// out, changes nothing here.
#[derive(Default)]
pub(super) struct Named(HashSet<IssuerAndSerial>);

impl Named {
    /// Whether a list names this certificate. One that cannot be parsed is on no list.
    pub(super) fn has(&self, leaf: &CertificateDer<'_>) -> bool {
        X509Certificate::from_der(leaf).is_ok_and(|(_, parsed)| {
            let serial = significant(parsed.tbs_certificate.raw_serial());
            self.0.contains(&(parsed.issuer().as_raw().into(), serial.into()))
        })
    }
}

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Named").field("certificates", &self.0.len()).finish()
    }
}

/// Two encoders may differ in how many zeros stand before a number.
fn significant(serial: &[u8]) -> &[u8] {
    &serial[serial.iter().take_while(|byte| **byte == 0).count()..]
}

/// Reads all files, or says which of them cannot be used and why.
pub(super) fn load(
    files: &[PathBuf],
    stale: StaleCrl,
    authorities: &Authorities,
    provider: &Arc<CryptoProvider>,
) -> Result<Crls, TlsError> {
    let mut all = Crls::default();
    let mut issuers = Vec::new();
    for path in files {
        for der in lists(path)? {
            let (issuer, expiry) = check(path, &der, stale, authorities, provider)?;
            issuers.push(issuer);
            all.expiries.extend(expiry);
            all.lists.push(der);
        }
    }
    if !files.is_empty() {
        warn_of_uncovered(authorities, &issuers);
    }
    Ok(all)
}

fn lists(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    lists_in(path, &pem::read(path, CRL_FILE_BYTES_MAX)?)
}

/// The lists in the text of this file.
pub(crate) fn lists_in(path: &Path, text: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let found = CertificateRevocationListDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|why| pem::malformed(path, &why))?;
    if found.is_empty() {
        return Err(pem::no_pem(path, text, TlsError::NoCrl { path: path.into() }));
    }
    Ok(found)
}

/// The raw name of the issuer, and when the list expires.
pub(crate) fn check(
    path: &Path,
    der: &CertificateRevocationListDer<'static>,
    stale: StaleCrl,
    authorities: &Authorities,
    provider: &Arc<CryptoProvider>,
) -> Result<(Vec<u8>, Option<Expiry>), TlsError> {
    let bad = |reason: String| TlsError::BadCrl { path: path.into(), reason };
    let (rest, parsed) = CertificateRevocationList::from_der(der).map_err(|why| bad(why.to_string()))?;
    if !rest.is_empty() {
        return Err(bad("bytes behind its end".to_owned()));
    }
    // webpki knows better which kinds of list it can use (no delta lists, no unknown critical extensions).
    WebPkiClientVerifier::builder_with_provider(authorities.store.clone(), provider.clone())
        .with_crls([der.clone()])
        .build()
        .map_err(|why| bad(why.to_string()))?;
    let issuer = parsed.issuer().to_string();
    let raw_issuer = parsed.tbs_cert_list.issuer.as_raw().to_vec();
    if !is_signed_by_its_issuer(&parsed, &raw_issuer, authorities, provider) {
        return Err(bad(format!("the signature is not that of {issuer}")));
    }
    let Some(until) = parsed.next_update() else {
        if stale == StaleCrl::Refuse {
            return Err(bad(format!("the list of {issuer} does not say when it expires")));
        }
        return Ok((raw_issuer, None));
    };
    if stale == StaleCrl::Refuse && x509_parser::time::ASN1Time::now() > until {
        return Err(TlsError::CrlExpired { path: path.into(), issuer, next_update: until.to_string() });
    }
    Ok((raw_issuer, Some(Expiry { what: What::Crl, subject: issuer, unix: until.timestamp() })))
}

/// True also for a list of an issuer that is no CA of this door (an intermediate one): webpki checks it later.
fn is_signed_by_its_issuer(
    list: &CertificateRevocationList<'_>,
    issuer: &[u8],
    authorities: &Authorities,
    provider: &CryptoProvider,
) -> bool {
    let mut named = authorities.certificates.iter().filter(|ca| subject(ca).as_deref() == Some(issuer)).peekable();
    named.peek().is_none() || named.any(|ca| signed(list, ca, provider))
}

fn signed(list: &CertificateRevocationList<'_>, ca: &CertificateDer<'_>, provider: &CryptoProvider) -> bool {
    let Ok((_, ca)) = X509Certificate::from_der(ca) else { return false };
    let key = &ca.public_key().subject_public_key.data;
    let (message, signature) = (list.tbs_cert_list.as_ref(), &list.signature_value.data);
    // An algorithm of another kind finds the key malformed, which is a mismatch, too.
    let algorithms = provider.signature_verification_algorithms.all;
    algorithms.iter().any(|algorithm| algorithm.verify_signature(key, message, signature).is_ok())
}

fn warn_of_uncovered(authorities: &Authorities, issuers: &[Vec<u8>]) {
    for ca in &authorities.certificates {
        let Ok((_, parsed)) = X509Certificate::from_der(ca) else { continue };
        if !issuers.iter().any(|issuer| issuer == parsed.subject().as_raw()) {
            let subject = parsed.subject().to_string();
            tracing::warn!(subject, "no revocation list of this CA: certificates that it issued itself are refused");
        }
    }
}

fn subject(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    X509Certificate::from_der(der).ok().map(|(_, parsed)| parsed.subject().as_raw().to_vec())
}
