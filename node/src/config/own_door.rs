//! Listeners beside the API port: of the key manager API, of administrators, of clients with tokens.

use super::Config;
use super::keys::{self, KEYS, Key};
use super::resolve::Resolver;
use super::tls::TlsConfig;
use super::values;
use consigner_gate::HostAllowlist;
use consigner_gate::door::{Balancers, IpAllowlist};
use consigner_gate::tls::ClientAuth;
use std::net::SocketAddr;

/// A listener of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnDoor {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Host headers that are served.
    pub host_allowlist: HostAllowlist,
    /// Addresses that may connect.
    pub ip_allowlist: IpAllowlist,
    /// Balancers before it.
    pub balancers: Option<Balancers>,
    /// What it shows and whom it trusts.
    pub tls: TlsConfig,
}

impl Resolver<'_> {
    /// `Some(None)` when it does not listen, `None` after a complaint.
    pub(super) fn own_door(
        &mut self,
        section: &str,
        client_auth: ClientAuth,
        api: Option<&TlsConfig>,
    ) -> Option<Option<OwnDoor>> {
        let key = |word: &str| format!("{section}.{word}");
        let listen = self.optional(&key("listen"), values::listen);
        let host_allowlist = self.hosts(&key("host-allowlist"));
        let ip_allowlist = self.ip_allowlist(&key("ip-allowlist"));
        let balancers = self.balancers(&key("balancers"));
        // Without the API's section a complaint was made already; what this one says is read all the same.
        let tls = api.map(|api| self.own_tls(section, client_auth, api));
        if !self.is_set(&key("listen")) {
            self.complain_of_idle(section);
        }
        let Some(listen) = listen else { return if self.is_set(&key("listen")) { None } else { Some(None) } };
        let (host_allowlist, ip_allowlist, balancers, tls) = (host_allowlist?, ip_allowlist?, balancers?, tls??);
        Some(Some(OwnDoor { listen, host_allowlist, ip_allowlist, balancers, tls }))
    }

    /// Without its listener a list that should keep others out keeps nobody out: whoever wrote one believes otherwise.
    fn complain_of_idle(&mut self, section: &str) {
        for key in KEYS.iter().filter(|key| needs_listener(section, key)) {
            if self.differs(key.path) {
                let what = format!("set without {section}.listen: it would mean nothing, since nothing listens there");
                self.complain(key.path, what);
            }
        }
    }

    /// Whether the value of a key is another than its default. One that is written down all the same says nothing new:
    /// the example file writes down all of them.
    pub(super) fn differs(&mut self, path: &str) -> bool {
        let default = keys::find(path).and_then(|key| key.default);
        let written = self.is_set(path).then(|| self.read(path, |texts| Some(texts.join(",")))).flatten();
        written.is_some_and(|written| default != Some(written.as_str()))
    }

    pub(super) fn ip_allowlist(&mut self, path: &str) -> Option<IpAllowlist> {
        let entries = self.read(path, |texts| Some(texts.to_vec()))?;
        if entries.is_empty() {
            self.complain(path, "an empty list lets nobody in; \"*\" is everybody".to_owned());
            return None;
        }
        match IpAllowlist::parse(&entries) {
            Ok(list) => Some(list),
            Err(error) => {
                self.complain(path, error.to_string());
                None
            }
        }
    }

    /// `Some(None)`: there are none.
    pub(super) fn balancers(&mut self, path: &str) -> Option<Option<Balancers>> {
        let entries = self.read(path, |texts| Some(texts.to_vec()))?;
        if entries.is_empty() {
            return Some(None);
        }
        match Balancers::parse(&entries) {
            Ok(balancers) => Some(Some(balancers)),
            Err(error) => {
                self.complain(path, error.to_string());
                None
            }
        }
    }

    /// Two listeners at one address: the second one would not open, and it is the operator who must say which is meant.
    pub(super) fn check_addresses(&mut self, config: &Config) {
        let keymanager = config.keymanager.as_ref().and_then(|keymanager| keymanager.door.as_ref());
        let own = |door: Option<&OwnDoor>| door.map(|door| door.listen);
        let listeners = [
            ("api.listen", Some(config.api.listen)),
            ("peer.listen", Some(config.peer.listen)),
            ("metrics.listen", config.metrics.as_ref().map(|metrics| metrics.listen)),
            ("keymanager.listen", own(keymanager)),
            ("admin.listen", own(config.admin.as_ref())),
            ("token-door.listen", own(config.token_door.as_ref())),
        ];
        let open: Vec<_> = listeners.into_iter().filter_map(|(key, listen)| Some((key, listen?))).collect();
        for (index, (key, listen)) in open.iter().enumerate() {
            if let Some((other, _)) = open.iter().take(index).find(|(_, other)| is_same_place(*listen, *other)) {
                self.complain(key, format!("{listen} is taken by {other}: every listener needs an address of its own"));
            }
        }
    }

    /// Whether callers must show a certificate, by the word of this key.
    pub(super) fn client_certificate(&mut self, path: &str) -> Option<ClientAuth> {
        let word = self.word(path)?;
        Some(if word == "optional" { ClientAuth::Optional } else { ClientAuth::Required })
    }
}

/// Whether this key of the section speaks of the listener alone. `client-certificate` has a complaint of its own.
fn needs_listener(section: &str, key: &Key) -> bool {
    let word = key.path.strip_prefix(section).and_then(|rest| rest.strip_prefix('.'));
    word.is_some_and(|word| match word {
        "host-allowlist" | "ip-allowlist" | "balancers" => true,
        "tls.client-certificate" => false,
        _ => word.starts_with("tls."),
    })
}

/// Whether a second listener would find the port taken. Port 0 is a free one.
fn is_same_place(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && overlap
}
