//! `keymanager.*` and `admin.*`: who may use these APIs, and where.

use super::own_door::OwnDoor;
use super::perimeter::Rate;
use super::resolve::Resolver;
use super::tls::TlsConfig;
use super::values;
use consigner_gate::tls::ClientAuth;
use std::path::PathBuf;

/// The key manager API, where it is enabled.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyManagerConfig {
    /// A listener of its own; without it the API port serves it to administrators.
    pub door: Option<OwnDoor>,
    /// File with the bearer token that calls must bring as well.
    pub token_file: Option<PathBuf>,
    /// How often one caller may call; `None`: as often as it likes.
    pub rate: Option<Rate>,
}

impl Resolver<'_> {
    /// `Some(None)` when it is not enabled.
    pub(super) fn keymanager(&mut self, api: Option<&TlsConfig>, oauth: bool) -> Option<Option<KeyManagerConfig>> {
        const CERTIFICATE: &str = "keymanager.tls.client-certificate";
        let enabled = self.scalar("keymanager.enabled", values::switch);
        let token_file = self.path("keymanager.token-file");
        let rate = self.rate("keymanager.rate");
        let client_auth = self.client_certificate(CERTIFICATE);
        let door = self.own_door("keymanager", client_auth.unwrap_or(ClientAuth::Required), api);
        if client_auth == Some(ClientAuth::Optional) {
            self.check_optional_certificate(CERTIFICATE, "keymanager.listen");
            if token_file.is_none() && !oauth {
                let what = "may be optional only with keymanager.token-file or oauth.issuer: somebody must be asked";
                self.complain(CERTIFICATE, what.to_owned());
            }
        }
        let (enabled, door, rate, _) = (enabled?, door?, rate?, client_auth?);
        Some(enabled.then_some(KeyManagerConfig { door, token_file, rate }))
    }

    /// `Some(None)` when the API port serves administrators.
    pub(super) fn admin_door(&mut self, api: Option<&TlsConfig>) -> Option<Option<OwnDoor>> {
        const CERTIFICATE: &str = "admin.tls.client-certificate";
        let client_auth = self.client_certificate(CERTIFICATE);
        let door = self.own_door("admin", client_auth.unwrap_or(ClientAuth::Required), api);
        if client_auth == Some(ClientAuth::Optional) {
            self.check_optional_certificate(CERTIFICATE, "admin.listen");
        }
        client_auth.and(door)
    }

    /// Every door asks for a certificate; only a listener of its own may go without.
    fn check_optional_certificate(&mut self, path: &str, listen: &str) {
        if !self.is_set(listen) {
            self.complain(path, format!("may be optional only with {listen}, never on the API port"));
        }
    }
}
