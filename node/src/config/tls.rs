//! `tls` sections: what a listener shows, whom it trusts, which versions and suites it speaks.
//!
//! In: settings. Out: a [`TlsConfig`] per listener and a [`PeerTlsConfig`], with everything that `gate` is told. What a
//! listener of its own does not say, the API port's section says. Deliberately absent: reading the files.

use super::keys::STALE_CRL;
use super::resolve::Resolver;
use super::values;
use consigner_gate::tls::{
    CipherSuites, ClientAuth, ClientTrust, DoorTls, OutgoingTls, ServerIdentity, StaleCrl, TlsVersion, TlsVersions,
};
use consigner_gate::{ClientTls, ServerTls};
use std::path::{Path, PathBuf};

/// The one file of a section that must be its owner's alone.
pub(super) const PASSWORD_FILE: &str = "pkcs12-password-file";

/// Files with a private key: a start says so if others can read them.
pub(super) const PRIVATE_KEY_FILES: [&str; 2] = ["key", "pkcs12"];

/// TLS of a listener for clients and operators.
#[derive(Debug, Clone, PartialEq)]
pub struct TlsConfig {
    /// What it shows.
    pub identity: ServerIdentity,
    /// Whose certificates count.
    pub trust: ClientTrust,
    /// CAs that alone may issue administrators' certificates, if they are told apart.
    pub admin_ca: Option<PathBuf>,
    /// Whether a caller without a certificate gets through the handshake.
    pub client_auth: ClientAuth,
    /// Revocation lists.
    pub crls: Vec<PathBuf>,
    /// What an old one means.
    pub stale_crl: StaleCrl,
    /// Versions.
    pub versions: TlsVersions,
    /// Cipher suites.
    pub suites: CipherSuites,
}

/// TLS between the nodes, as server and as client.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerTlsConfig {
    /// Certificate chain, leaf first, PEM.
    pub cert: PathBuf,
    /// Private key of the leaf, PEM.
    pub key: PathBuf,
    /// CAs of the other nodes, PEM.
    pub ca: PathBuf,
    /// Revocation lists.
    pub crls: Vec<PathBuf>,
    /// What an old one means.
    pub stale_crl: StaleCrl,
    /// Versions.
    pub versions: TlsVersions,
    /// Cipher suites.
    pub suites: CipherSuites,
}

impl TlsConfig {
    /// As a door takes it.
    #[must_use]
    pub fn door(&self) -> DoorTls {
        let Self { identity, trust, admin_ca, client_auth, crls, stale_crl, versions, suites } = self.clone();
        DoorTls { identity, trust, admin_ca, client_auth, crls, stale_crl, versions, suites }
    }

    /// Every file, by the last word of its key.
    #[must_use]
    pub fn files(&self) -> Vec<(&'static str, &Path)> {
        let mut files = match &self.identity {
            ServerIdentity::Pem { cert, key } => vec![("cert", cert.as_path()), ("key", key)],
            ServerIdentity::Pkcs12 { file, password_file } => {
                vec![("pkcs12", file.as_path()), (PASSWORD_FILE, password_file)]
            }
        };
        let trusted = [
            ("client-ca", self.trust.ca()),
            ("known-clients", self.trust.known_clients()),
            ("admin-ca", self.admin_ca.as_ref()),
        ];
        files.extend(trusted.into_iter().filter_map(|(word, file)| Some((word, file?.as_path()))));
        files.extend(self.crls.iter().map(|file| ("crl", file.as_path())));
        files
    }
}

impl PeerTlsConfig {
    /// As the door for the other nodes takes it.
    #[must_use]
    pub fn door(&self) -> DoorTls {
        let Self { cert, key, ca, crls, stale_crl, versions, suites } = self.clone();
        let files = ServerTls { cert, key, client_ca: ca };
        DoorTls { crls, stale_crl, versions, suites, ..files.into() }
    }

    /// As the connections to the other nodes take it.
    #[must_use]
    pub fn outgoing(&self) -> OutgoingTls {
        let Self { cert, key, ca, crls, stale_crl, versions, suites } = self.clone();
        OutgoingTls { files: ClientTls { cert, key, ca }, crls, stale_crl, versions, suites }
    }

    /// Every file, by the last word of its key.
    #[must_use]
    pub fn files(&self) -> Vec<(&'static str, &Path)> {
        let mut files = vec![("cert", self.cert.as_path()), ("key", &self.key), ("ca", &self.ca)];
        files.extend(self.crls.iter().map(|file| ("crl", file.as_path())));
        files
    }
}

/// Versions and suites of a section.
type Spoken = (TlsVersions, CipherSuites);

impl Resolver<'_> {
    pub(super) fn api_tls(&mut self) -> Option<TlsConfig> {
        let identity = self.tls_identity("api");
        if identity == Some(None) {
            for word in ["cert", "key"] {
                let what = "missing; a path, or api.tls.pkcs12 with api.tls.pkcs12-password-file";
                self.complain_unless_set::<()>(&format!("api.tls.{word}"), what);
            }
        }
        let trust = self.tls_trust("api");
        if trust.is_none() {
            let what = "missing; a path, or api.tls.known-clients";
            self.complain_unless_set::<()>("api.tls.client-ca", what);
        }
        let admin_ca = self.path("api.tls.admin-ca");
        let (crls, stale_crl) = (self.paths("api.tls.crl"), self.stale_crl("api"));
        let spoken = self.tls_spoken("api", None);
        let (versions, suites) = spoken?;
        let tls = TlsConfig {
            identity: identity??,
            trust: trust?,
            admin_ca,
            client_auth: ClientAuth::Required,
            crls: crls?,
            stale_crl: stale_crl?,
            versions,
            suites,
        };
        self.check_revocation("api", &tls).then_some(tls)
    }

    /// The section of a listener of its own; what it does not say, `api` says.
    pub(super) fn own_tls(&mut self, section: &str, client_auth: ClientAuth, api: &TlsConfig) -> Option<TlsConfig> {
        let key = |word: &str| format!("{section}.tls.{word}");
        let identity = self.tls_identity(section);
        let trust = self.tls_trust(section);
        let admin_ca = self.path(&key("admin-ca"));
        let crls = self.paths(&key("crl"));
        let stale_crl = self.stale_crl(section);
        let spoken = self.tls_spoken(section, Some(api));
        let (versions, suites) = spoken?;
        let tls = TlsConfig {
            identity: identity?.unwrap_or_else(|| api.identity.clone()),
            trust: trust.unwrap_or_else(|| api.trust.clone()),
            admin_ca: admin_ca.or_else(|| api.admin_ca.clone()),
            client_auth,
            crls: crls.unwrap_or_else(|| api.crls.clone()),
            stale_crl: stale_crl.unwrap_or(api.stale_crl),
            versions,
            suites,
        };
        self.check_revocation(section, &tls).then_some(tls)
    }

    pub(super) fn peer_tls(&mut self) -> Option<PeerTlsConfig> {
        let (cert, key, ca) = (self.path("peer.tls.cert"), self.path("peer.tls.key"), self.path("peer.tls.ca"));
        let (crls, stale_crl) = (self.paths("peer.tls.crl"), self.stale_crl("peer"));
        let (versions, suites) = self.tls_spoken("peer", None)?;
        let (cert, key, ca, crls, stale_crl) = (cert?, key?, ca?, crls?, stale_crl?);
        Some(PeerTlsConfig { cert, key, ca, crls, stale_crl, versions, suites })
    }

    /// `Some(None)`: nothing is said. `None`: after a complaint.
    fn tls_identity(&mut self, section: &str) -> Option<Option<ServerIdentity>> {
        let key = |word: &str| format!("{section}.tls.{word}");
        let (cert, private) = (self.path(&key("cert")), self.path(&key("key")));
        let (file, password_file) = (self.path(&key("pkcs12")), self.path(&key("pkcs12-password-file")));
        match (cert, private, file, password_file) {
            (None, None, None, None) => Some(None),
            (Some(cert), Some(key), None, None) => Some(Some(ServerIdentity::Pem { cert, key })),
            (None, None, Some(file), Some(password_file)) => Some(Some(ServerIdentity::Pkcs12 { file, password_file })),
            (None, None, Some(_), None) => {
                let what = format!("missing; {section}.tls.pkcs12 is set, which needs a file with its password here");
                self.complain_unless_set(&key("pkcs12-password-file"), &what)
            }
            (None, None, None, Some(_)) => {
                self.complain_unless_set(&key("pkcs12"), &format!("missing; {section}.tls.pkcs12-password-file is set"))
            }
            (_, _, Some(_), _) | (_, _, _, Some(_)) => {
                let what =
                    format!("cannot be set together with {section}.tls.cert and key: a door shows one certificate");
                self.complain(&key("pkcs12"), what);
                None
            }
            (cert, _, None, None) => {
                let missing = if cert.is_none() { "cert" } else { "key" };
                let what = format!("missing; {section}.tls.cert and {section}.tls.key are set together, or neither");
                self.complain_unless_set(&key(missing), &what)
            }
        }
    }

    fn tls_trust(&mut self, section: &str) -> Option<ClientTrust> {
        let ca = self.path(&format!("{section}.tls.client-ca"));
        let known_clients = self.path(&format!("{section}.tls.known-clients"));
        match (ca, known_clients) {
            (Some(ca), Some(known_clients)) => Some(ClientTrust::Both { ca, known_clients }),
            (Some(ca), None) => Some(ClientTrust::Ca(ca)),
            (None, Some(known_clients)) => Some(ClientTrust::KnownClients(known_clients)),
            (None, None) => None,
        }
    }

    fn stale_crl(&mut self, section: &str) -> Option<StaleCrl> {
        let word = self.word(&format!("{section}.tls.stale-crl"))?;
        Some(if word == STALE_CRL[1] { StaleCrl::Refuse } else { StaleCrl::Warn })
    }

    /// `None` after a complaint.
    fn tls_spoken(&mut self, section: &str, fallback: Option<&TlsConfig>) -> Option<Spoken> {
        let (version_key, suites_key) = (format!("{section}.tls.min-version"), format!("{section}.tls.cipher-suites"));
        let min = self.word(&version_key).and_then(|word| word.parse::<TlsVersion>().ok());
        let names = self.read(&suites_key, values::texts);
        let (min_wrong, names_wrong) = (min.is_none(), names.is_none());
        if (min_wrong && self.is_set(&version_key)) || (names_wrong && self.is_set(&suites_key)) {
            return None;
        }
        let versions = min.map(|min| TlsVersions { min }).or_else(|| fallback.map(|api| api.versions))?;
        let suites = match names {
            None => fallback.map(|api| api.suites.clone()).unwrap_or_default(),
            Some(names) if names.is_empty() => CipherSuites::default(),
            Some(names) => match CipherSuites::named(&names) {
                Ok(suites) => suites,
                Err(error) => {
                    self.complain(&suites_key, error.to_string());
                    return None;
                }
            },
        };
        if suites != CipherSuites::default()
            && let Some(what) = misfit(versions, &suites)
        {
            self.complain(&suites_key, what);
            return None;
        }
        Some((versions, suites))
    }

    /// Lists are asked about certificates of a CA only.
    fn check_revocation(&mut self, section: &str, tls: &TlsConfig) -> bool {
        if tls.crls.is_empty() || tls.trust.ca().is_some() || tls.admin_ca.is_some() {
            return true;
        }
        let what = "revocation lists need a CA (client-ca): remove known clients from their file instead";
        self.complain(&format!("{section}.tls.crl"), what.to_owned());
        false
    }

    fn complain_unless_set<T>(&mut self, key: &str, what: &str) -> Option<T> {
        if !self.is_set(key) {
            self.complain(key, what.to_owned());
        }
        None
    }
}

/// Why chosen suites and versions do not fit, as `gate` would say it at the start.
fn misfit(versions: TlsVersions, suites: &CipherSuites) -> Option<String> {
    let names = suites.names();
    // IANA writes the key exchange into the names of the old suites only.
    let is_old = |name: &&String| name.contains("_WITH_");
    let (old, new) = (names.iter().any(|name| is_old(&name)), names.iter().any(|name| !is_old(&name)));
    match versions.min {
        _ if !new => Some("no suite of TLS 1.3 is listed, e.g. TLS_AES_256_GCM_SHA384".to_owned()),
        TlsVersion::Tls12 if !old => Some("TLS 1.2 is allowed by min-version, but no suite of it is listed".to_owned()),
        TlsVersion::Tls13 => names
            .iter()
            .find(is_old)
            .map(|name| format!("{name} is a suite of TLS 1.2, which min-version does not allow")),
        TlsVersion::Tls12 => None,
    }
}
