//! Certificates of a development cluster: one CA, one certificate per node, one for clients, one for administrators.
//!
//! In: a directory. Out: PEM files there, kept over restarts. Deliberately absent: certificates for real deployments;
//! those come from the operator's own CA.

use crate::files;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use std::path::{Path, PathBuf};

/// Common name of the certificate that may sign.
pub const CLIENT_NAME: &str = "dev-client";

/// Common name of the certificate that may do everything.
pub const ADMIN_NAME: &str = "dev-admin";

/// Common name of the CA.
const AUTHORITY_NAME: &str = "Consigner development CA";

/// What every node certificate is valid for: nodes of a development cluster live on loopback.
const NODE_SUBJECTS: [&str; 2] = ["127.0.0.1", "localhost"];

/// Why certificates cannot be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("{} cannot be read or written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A certificate cannot be made, or a kept key cannot be read.
    #[error("certificate for {name}")]
    Make {
        /// Common name.
        name: String,
        /// Why.
        source: rcgen::Error,
    },
}

/// The files of a development cluster's certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateDir {
    dir: PathBuf,
}

impl CertificateDir {
    /// Names files only; see [`Self::ensure`].
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The certificate file of this stem: `ca`, `client`, `admin`, `node1`.
    #[must_use]
    pub fn cert(&self, stem: &str) -> PathBuf {
        self.dir.join(format!("{stem}.pem"))
    }

    /// The key file of this stem, mode 0600.
    #[must_use]
    pub fn key(&self, stem: &str) -> PathBuf {
        self.dir.join(format!("{stem}-key.pem"))
    }

    /// Makes what is missing: the CA, `client`, `admin` and one certificate per node name. What is there stays.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn ensure<'n>(&self, nodes: impl Iterator<Item = &'n str>) -> Result<(), CertificateError> {
        std::fs::create_dir_all(&self.dir)
            .map_err(|source| CertificateError::File { path: self.dir.clone(), source })?;
        let authority = self.authority()?;
        self.leaf(&authority, "client", CLIENT_NAME, &[], &[ExtendedKeyUsagePurpose::ClientAuth])?;
        self.leaf(&authority, "admin", ADMIN_NAME, &[], &[ExtendedKeyUsagePurpose::ClientAuth])?;
        for node in nodes {
            // A node is a server on both of its doors and a client of the other nodes.
            let usages = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
            self.leaf(&authority, node, node, &NODE_SUBJECTS, &usages)?;
        }
        Ok(())
    }

    /// The CA, made at the first start. Its parameters are fixed, so that the kept key alone is the issuer again.
    fn authority(&self) -> Result<Issuer<'static, KeyPair>, CertificateError> {
        let made = |source| CertificateError::Make { name: AUTHORITY_NAME.to_owned(), source };
        let mut params = parameters(AUTHORITY_NAME, &[]).map_err(made)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let (cert_file, key_file) = (self.cert("ca"), self.key("ca"));
        if cert_file.exists() && key_file.exists() {
            let pem = std::fs::read_to_string(&key_file)
                .map_err(|source| CertificateError::File { path: key_file, source })?;
            return Ok(Issuer::new(params, KeyPair::from_pem(&pem).map_err(made)?));
        }
        let key = KeyPair::generate().map_err(made)?;
        let cert = params.self_signed(&key).map_err(made)?;
        save(&key_file, &key.serialize_pem(), files::SECRET)?;
        save(&cert_file, &cert.pem(), files::PUBLIC)?;
        Ok(Issuer::new(params, key))
    }

    fn leaf(
        &self,
        authority: &Issuer<'_, KeyPair>,
        stem: &str,
        name: &str,
        subjects: &[&str],
        usages: &[ExtendedKeyUsagePurpose],
    ) -> Result<(), CertificateError> {
        let made = |source| CertificateError::Make { name: name.to_owned(), source };
        let (cert_file, key_file) = (self.cert(stem), self.key(stem));
        if cert_file.exists() && key_file.exists() {
            return Ok(());
        }
        let mut params = parameters(name, subjects).map_err(made)?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages.to_vec();
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(made)?;
        let cert = params.signed_by(&key, authority).map_err(made)?;
        // The certificate last: a stop in between leaves no pair that does not fit.
        save(&key_file, &key.serialize_pem(), files::SECRET)?;
        save(&cert_file, &cert.pem(), files::PUBLIC)
    }
}

fn parameters(name: &str, subjects: &[&str]) -> Result<CertificateParams, rcgen::Error> {
    let subjects: Vec<String> = subjects.iter().map(|subject| (*subject).to_owned()).collect();
    let mut params = CertificateParams::new(subjects)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // A development cluster must not stop one day because its certificates ended.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    Ok(params)
}

fn save(path: &Path, pem: &str, mode: u32) -> Result<(), CertificateError> {
    files::replace(path, pem.as_bytes(), mode)
        .map_err(|source| CertificateError::File { path: path.to_owned(), source })
}
