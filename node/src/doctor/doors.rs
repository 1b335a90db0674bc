//! The listening doors of a configuration, as plain values.

use super::plan::Plan;
use consigner_gate::ServerTls;
use consigner_gate::tls::{ClientAuth, ClientTrust, DoorTls, ServerIdentity};
use std::net::SocketAddr;
use std::path::PathBuf;

/// One listening door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoorPlan {
    /// Its section of the configuration.
    pub section: &'static str,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Host headers that are served; `None`: the door has no such list.
    pub hosts: Option<Vec<String>>,
    /// Addresses that may connect; empty or `*`: any.
    pub addresses: Vec<String>,
    /// What it asks of a caller.
    pub proof: Proof,
}

/// What a door asks of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// A client certificate, in the handshake.
    Certificate,
    /// A certificate or a token.
    Either,
    /// A token only: the door is for those who have no certificate.
    Token,
    /// Nothing; there is no TLS.
    Nothing,
}

/// The doors that the configuration opens.
#[must_use]
pub fn of(plan: &Plan) -> Vec<DoorPlan> {
    let mut doors = Vec::new();
    let mut open = |section: &'static str, proof| {
        let Some(listen) = plan.listen(&format!("{section}.listen")) else { return };
        let hosts = format!("{section}.host-allowlist");
        let hosts = crate::config::keys::find(&hosts).map(|_| plan.texts(&hosts));
        let addresses = plan.texts(&format!("{section}.ip-allowlist"));
        doors.push(DoorPlan { section, listen, hosts, addresses, proof });
    };
    open("api", Proof::Certificate);
    open("peer", Proof::Certificate);
    if plan.switch("keymanager.enabled") {
        open("keymanager", own_listener(plan, "keymanager"));
    }
    open("admin", own_listener(plan, "admin"));
    open("token-door", Proof::Token);
    if plan.switch("metrics.enabled") {
        open("metrics", Proof::Nothing);
    }
    doors
}

fn own_listener(plan: &Plan, section: &str) -> Proof {
    match plan.text(&format!("{section}.tls.client-certificate")).as_deref() {
        Some("optional") => Proof::Either,
        Some(_) | None => Proof::Certificate,
    }
}

impl DoorPlan {
    /// Whether the address list lets anybody through.
    #[must_use]
    pub fn admits_any_address(&self) -> bool {
        self.addresses.is_empty() || self.addresses.iter().any(|entry| entry == "*" || entry.ends_with("/0"))
    }

    /// Whether only this machine can connect.
    #[must_use]
    pub const fn is_local(&self) -> bool {
        self.listen.ip().is_loopback()
    }
}

/// The TLS files of a door, where all that are needed are named. A listener of its own takes the API's for what it
/// does not name.
#[must_use]
pub fn tls(plan: &Plan, door: &DoorPlan) -> Option<DoorTls> {
    let own = |name: &str| format!("{}.tls.{name}", door.section);
    let inherits = !matches!(door.section, "api" | "peer");
    let is_named = |name: &str| !plan.texts(&own(name)).is_empty();
    let key = |name: &str| if inherits && !is_named(name) { format!("api.tls.{name}") } else { own(name) };
    let own_identity = is_named("cert") || is_named("pkcs12");
    let identity_key = |name: &str| if inherits && !own_identity { format!("api.tls.{name}") } else { own(name) };
    let own_trust = is_named("client-ca") || is_named("known-clients");
    let trust_key = |name: &str| if inherits && !own_trust { format!("api.tls.{name}") } else { own(name) };
    let identity = identity(plan, &identity_key)?;
    let ca = if door.section == "peer" { plan.path("peer.tls.ca") } else { plan.path(&trust_key("client-ca")) };
    let trust = match (ca, plan.path(&trust_key("known-clients"))) {
        (Some(ca), None) => ClientTrust::Ca(ca),
        (None, Some(known)) => ClientTrust::KnownClients(known),
        (Some(ca), Some(known_clients)) => ClientTrust::Both { ca, known_clients },
        (None, None) => return None,
    };
    let nowhere = PathBuf::new();
    let mut tls: DoorTls = ServerTls { cert: nowhere.clone(), key: nowhere.clone(), client_ca: nowhere }.into();
    tls.identity = identity;
    tls.trust = trust;
    tls.crls = plan.paths(&key("crl"));
    tls.admin_ca = plan.path(&key("admin-ca")).filter(|_| door.section != "peer");
    tls.client_auth = match door.proof {
        Proof::Certificate => ClientAuth::Required,
        Proof::Either | Proof::Token | Proof::Nothing => ClientAuth::Optional,
    };
    Some(tls)
}

fn identity(plan: &Plan, key: &impl Fn(&str) -> String) -> Option<ServerIdentity> {
    if let Some(file) = plan.path(&key("pkcs12")) {
        let password_file = plan.path(&key("pkcs12-password-file"))?;
        return Some(ServerIdentity::Pkcs12 { file, password_file });
    }
    Some(ServerIdentity::Pem { cert: plan.path(&key("cert"))?, key: plan.path(&key("key"))? })
}
