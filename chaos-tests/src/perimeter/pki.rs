//! Certification authorities of a test, and what they issue: good, expired, early, for the wrong use, revoked.
//!
//! In: names. Out: PEM texts. Everything is made anew for each run. Deliberately absent: intermediate authorities.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use sha2::{Digest as _, Sha256};
use std::sync::atomic::{AtomicU64, Ordering};

/// Certificates of a run are told apart by their serial numbers, whoever issues them.
static NEXT_SERIAL: AtomicU64 = AtomicU64::new(1_000);

/// What every node is reached by: nodes of a test live on loopback.
const NODE_NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[error("no certificate for {name}")]
pub struct PkiError {
    /// Whose.
    pub name: String,
    /// Why.
    pub source: rcgen::Error,
}

/// A certification authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    name: String,
    pem: String,
    key_pem: String,
}

/// What a certificate says.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    name: String,
    dns: Vec<String>,
    uris: Vec<String>,
    usages: Vec<ExtendedKeyUsagePurpose>,
    /// First and last year.
    years: Option<(i32, i32)>,
}

/// A certificate with its key.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// PEM.
    pub cert: String,
    /// PEM.
    pub key: String,
    /// Of the certificate; by it a list revokes.
    pub serial: u64,
    /// SHA-256 of the certificate, hexadecimal.
    pub fingerprint: String,
}

impl Subject {
    /// A client.
    #[must_use]
    pub fn client(name: &str) -> Self {
        Self { name: name.to_owned(), usages: vec![ExtendedKeyUsagePurpose::ClientAuth], ..Self::default() }
    }

    /// A node: server on its doors, client of the other nodes.
    #[must_use]
    pub fn node(name: &str) -> Self {
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        Self { dns: NODE_NAMES.map(str::to_owned).to_vec(), usages, ..Self::client(name) }
    }

    /// With a DNS name.
    #[must_use]
    pub fn dns(mut self, name: &str) -> Self {
        self.dns.push(name.to_owned());
        self
    }

    /// With a URI.
    #[must_use]
    pub fn uri(mut self, uri: &str) -> Self {
        self.uris.push(uri.to_owned());
        self
    }

    /// For servers only: a client must not show it.
    #[must_use]
    pub fn for_servers_only(mut self) -> Self {
        self.usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self
    }

    /// Over.
    #[must_use]
    pub const fn expired(mut self) -> Self {
        self.years = Some((2020, 2021));
        self
    }

    /// Not yet begun.
    #[must_use]
    pub const fn early(mut self) -> Self {
        self.years = Some((2090, 2091));
        self
    }

    fn parameters(&self) -> Result<CertificateParams, rcgen::Error> {
        let mut params = CertificateParams::new(self.dns.clone())?;
        for uri in &self.uris {
            params.subject_alt_names.push(SanType::URI(uri.as_str().try_into()?));
        }
        params.distinguished_name = named(&self.name);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages.clone_from(&self.usages);
        params.use_authority_key_identifier_extension = true;
        let (first, last) = self.years.unwrap_or((2020, 2049));
        params.not_before = date_time_ymd(first, 1, 1);
        params.not_after = date_time_ymd(last, 12, 31);
        Ok(params)
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// The system gives no randomness.
    pub fn new(name: &str) -> Result<Self, PkiError> {
        let made = |source| PkiError { name: name.to_owned(), source };
        let mut params = CertificateParams::new(Vec::new()).map_err(made)?;
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2049, 12, 31);
        let key = KeyPair::generate().map_err(made)?;
        let pem = params.self_signed(&key).map_err(made)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Self { issuer: Issuer::new(params, key), name: name.to_owned(), pem, key_pem })
    }

    /// Its certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Its key, PEM.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// A certificate for this subject.
    ///
    /// # Errors
    /// The system gives no randomness, or a name cannot stand in a certificate.
    pub fn issue(&self, subject: &Subject) -> Result<Leaf, PkiError> {
        let made = |source| PkiError { name: subject.name.clone(), source };
        let serial = NEXT_SERIAL.fetch_add(1, Ordering::Relaxed);
        let mut params = subject.parameters().map_err(made)?;
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().map_err(made)?;
        let cert = params.signed_by(&key, &self.issuer).map_err(made)?;
        let fingerprint = hex::encode(Sha256::digest(cert.der()));
        Ok(Leaf { cert: cert.pem(), key: key.serialize_pem(), serial, fingerprint })
    }

    /// The list of what it revoked, PEM.
    ///
    /// # Errors
    /// It cannot be signed.
    pub fn revoked(&self, serials: &[u64]) -> Result<String, PkiError> {
        let made = |source| PkiError { name: format!("revocation list of {}", self.name), source };
        let begun = date_time_ymd(2020, 1, 1);
        let entry = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: begun,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: begun,
            next_update: date_time_ymd(2049, 12, 31),
            crl_number: SerialNumber::from(1 + serials.len() as u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).and_then(|list| list.pem()).map_err(made)
    }
}

/// Without the key.
impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Authority").field("name", &self.name).finish_non_exhaustive()
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
