//! What a door or an outgoing connection is told about TLS: files and choices, nothing read yet.

use std::path::PathBuf;

use super::{CipherSuites, ClientAuth, ClientTls, ServerTls, TlsVersions};

/// Everything behind a listening TLS socket. Made from [`ServerTls`] and then widened field by field:
/// `DoorTls { crls, ..files.into() }`.
#[derive(Debug, Clone, PartialEq)]
pub struct DoorTls {
    /// The certificate that the door shows.
    pub identity: ServerIdentity,
    /// Which client certificates are good.
    pub trust: ClientTrust,
    /// A second CA bundle, PEM, whose certificates are good, too, and administrators':
    /// [`crate::PeerCertificate::from_admin_ca`]. A CA that is in both bundles makes all its clients administrators.
    pub admin_ca: Option<PathBuf>,
    /// Whether one must be shown.
    pub client_auth: ClientAuth,
    /// Certificate revocation lists of all client CAs, PEM, one or more lists per file. None: nothing is revoked. With
    /// any, a CA without a list is a CA whose clients are refused (their status is unknown).
    pub crls: Vec<PathBuf>,
    /// What an expired list means.
    pub stale_crl: StaleCrl,
    /// Protocol versions.
    pub versions: TlsVersions,
    /// Cipher suites.
    pub suites: CipherSuites,
}

/// Where a door's own certificate and key come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerIdentity {
    /// Two PEM files: the chain, leaf first, and the key (PKCS#8, PKCS#1 or SEC1), not encrypted.
    Pem {
        /// Certificate chain.
        cert: PathBuf,
        /// Private key of the leaf.
        key: PathBuf,
    },
    /// A PKCS#12 file with one key and its chain (Web3Signer's `--tls-keystore-file`).
    Pkcs12 {
        /// The key store.
        file: PathBuf,
        /// A file whose first line is its password.
        password_file: PathBuf,
    },
}

/// Which client certificates a door accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientTrust {
    /// Those issued by a CA in this PEM bundle. Only these: no system store.
    Ca(PathBuf),
    /// Those named in this file, by common name and SHA-256 fingerprint, whoever issued them (Web3Signer's
    /// `--tls-known-clients-file`).
    KnownClients(PathBuf),
    /// Either way. A certificate that a list of its CA revokes is refused even if it is named.
    Both {
        /// CA bundle, PEM.
        ca: PathBuf,
        /// Known clients.
        known_clients: PathBuf,
    },
}

/// What happens when a revocation list is past its `nextUpdate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StaleCrl {
    /// It still refuses all whom it names and lets the others in; every day one ERROR line. The default: a list that
    /// was not renewed in time says nothing new about anybody, and locking out every validator client costs duties.
    #[default]
    Warn,
    /// Every client of its CA is refused until a new list comes; an expired list is refused when it is loaded.
    Refuse,
}

/// Everything behind outgoing connections. Made from [`ClientTls`] as [`DoorTls`] is from [`ServerTls`].
#[derive(Debug, Clone, PartialEq)]
pub struct OutgoingTls {
    /// Own certificate and key, CA bundle of the servers.
    pub files: ClientTls,
    /// As [`DoorTls::crls`], for server certificates.
    pub crls: Vec<PathBuf>,
    /// As [`DoorTls::stale_crl`].
    pub stale_crl: StaleCrl,
    /// Protocol versions.
    pub versions: TlsVersions,
    /// Cipher suites.
    pub suites: CipherSuites,
}

impl From<ServerTls> for DoorTls {
    fn from(ServerTls { cert, key, client_ca }: ServerTls) -> Self {
        Self {
            identity: ServerIdentity::Pem { cert, key },
            trust: ClientTrust::Ca(client_ca),
            admin_ca: None,
            client_auth: ClientAuth::Required,
            crls: Vec::new(),
            stale_crl: StaleCrl::default(),
            versions: TlsVersions::default(),
            suites: CipherSuites::default(),
        }
    }
}

impl From<ClientTls> for OutgoingTls {
    fn from(files: ClientTls) -> Self {
        Self {
            files,
            crls: Vec::new(),
            stale_crl: StaleCrl::default(),
            versions: TlsVersions::default(),
            suites: CipherSuites::default(),
        }
    }
}

impl DoorTls {
    /// Every file that a reload reads.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = match &self.identity {
            ServerIdentity::Pem { cert, key } => vec![cert.clone(), key.clone()],
            ServerIdentity::Pkcs12 { file, password_file } => vec![file.clone(), password_file.clone()],
        };
        files.extend(self.trust.ca().cloned());
        files.extend(self.admin_ca.clone());
        files.extend(self.trust.known_clients().cloned());
        files.extend(self.crls.iter().cloned());
        files
    }
}

impl OutgoingTls {
    /// Every file that a reload reads.
    pub fn files(&self) -> Vec<PathBuf> {
        let ClientTls { cert, key, ca } = self.files.clone();
        [cert, key, ca].into_iter().chain(self.crls.iter().cloned()).collect()
    }
}

impl ClientTrust {
    /// The CA bundle, if one counts.
    pub const fn ca(&self) -> Option<&PathBuf> {
        match self {
            Self::Ca(ca) | Self::Both { ca, .. } => Some(ca),
            Self::KnownClients(_) => None,
        }
    }

    /// The known-clients file, if one counts.
    pub const fn known_clients(&self) -> Option<&PathBuf> {
        match self {
            Self::KnownClients(known_clients) | Self::Both { known_clients, .. } => Some(known_clients),
            Self::Ca(_) => None,
        }
    }
}
