//! `keymanager.*`: who may use the key manager API, and where.

use super::TlsFiles;
use super::resolve::Resolver;
use super::values;
use consigner_gate::HostAllowlist;
use consigner_gate::tls::ClientAuth;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The key manager API, where it is enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyManagerConfig {
    /// A listener of its own; without it the API port serves it to the certificates of `api.admins`.
    pub door: Option<KeyManagerDoor>,
    /// File with the bearer token that calls must bring as well.
    pub token_file: Option<PathBuf>,
}

/// A listener of the key manager API's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyManagerDoor {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Host headers that are served.
    pub host_allowlist: HostAllowlist,
    /// Server certificate and the CAs of clients.
    pub tls: TlsFiles,
    /// Whether a caller without a certificate gets through the handshake.
    pub client_auth: ClientAuth,
}

impl Resolver<'_> {
    /// `Some(None)` when it is not enabled.
    pub(super) fn keymanager(&mut self, api_tls: Option<&TlsFiles>) -> Option<Option<KeyManagerConfig>> {
        let enabled = self.scalar("keymanager.enabled", values::switch);
        let listen = self.optional("keymanager.listen", values::listen);
        let host_allowlist = self.hosts("keymanager.host-allowlist");
        let token_file = self.path("keymanager.token-file");
        let client_auth = self.word("keymanager.tls.client-certificate").map(client_auth);
        let (cert, key) = (self.path("keymanager.tls.cert"), self.path("keymanager.tls.key"));
        let client_ca = self.path("keymanager.tls.client-ca");
        if cert.is_some() != key.is_some() {
            let what = "keymanager.tls.cert and keymanager.tls.key are set together, or neither".to_owned();
            self.complain("keymanager.tls.cert", what);
        }
        if client_auth == Some(ClientAuth::Optional) {
            self.check_optional_certificate(listen.is_some(), token_file.is_some());
        }
        let tls = api_tls.map(|api| TlsFiles {
            cert: cert.unwrap_or_else(|| api.cert.clone()),
            key: key.unwrap_or_else(|| api.key.clone()),
            ca: client_ca.unwrap_or_else(|| api.ca.clone()),
        });
        if !enabled? {
            return Some(None);
        }
        let (host_allowlist, tls, client_auth) = (host_allowlist?, tls?, client_auth?);
        let door = listen.map(|listen| KeyManagerDoor { listen, host_allowlist, tls, client_auth });
        Some(Some(KeyManagerConfig { door, token_file }))
    }

    /// Every door asks for a certificate; only a listener of its own may go without, and then a token is needed.
    fn check_optional_certificate(&mut self, own_listener: bool, token: bool) {
        const KEY: &str = "keymanager.tls.client-certificate";
        if !own_listener {
            self.complain(KEY, "may be optional only with keymanager.listen, never on the API port".to_owned());
        }
        if !token {
            self.complain(KEY, "may be optional only with keymanager.token-file: somebody must be asked".to_owned());
        }
    }
}

fn client_auth(word: &str) -> ClientAuth {
    if word == "optional" { ClientAuth::Optional } else { ClientAuth::Required }
}
