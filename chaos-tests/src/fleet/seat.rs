//! What one node's configuration says.
//!
//! In: who the node is, its ports, what a test adds. Out: YAML, paths, the words that commands name the node by.

use crate::cluster::patience::patient;
use std::path::{Path, PathBuf};

/// A node's place: identity, ports, directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Name of its directory.
    pub name: String,
    /// Node id.
    pub node: u64,
    /// Cluster id, hexadecimal.
    pub cluster_id: String,
    /// Port of the API; peers and metrics have the next two.
    pub port: u16,
    /// Interop validators that it brings in if the cluster lacks them.
    pub validators: u64,
    /// File with the token by which it may join a running cluster.
    pub join_token_file: Option<PathBuf>,
    /// Sections of YAML beside those written here: none of `node`, `cluster`, `network`, `api`, `peer`, `metrics`,
    /// `keymanager`, `limits`, `keys`.
    pub more: String,
}

impl Seat {
    /// A node with nothing special.
    #[must_use]
    pub fn new(node: u64, port: u16, cluster_id: &str) -> Self {
        let (name, cluster_id) = (format!("node{node}"), cluster_id.to_owned());
        Self { name, node, cluster_id, port, validators: 0, join_token_file: None, more: String::new() }
    }

    /// Brings these interop validators in.
    #[must_use]
    pub fn with_validators(mut self, validators: u64) -> Self {
        self.validators = validators;
        self
    }

    /// May join with the token in this file.
    #[must_use]
    pub fn joining_by(mut self, token: &Path) -> Self {
        self.join_token_file = Some(token.to_owned());
        self
    }

    /// With these sections besides.
    #[must_use]
    pub fn with(mut self, more: &str) -> Self {
        self.more = more.to_owned();
        self
    }

    /// Where clients find it.
    #[must_use]
    pub fn api_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Where nodes find it.
    #[must_use]
    pub fn peer_addr(&self) -> String {
        format!("127.0.0.1:{}", self.port + 1)
    }

    /// `ID,NAME,PEER-HOST:PORT,API-URL`.
    #[must_use]
    pub fn member(&self) -> String {
        format!("{0},node{0},{1},{2}", self.node, self.peer_addr(), self.api_url())
    }

    /// Its directory below the fleet's.
    #[must_use]
    pub fn dir(&self, fleet: &Path) -> PathBuf {
        fleet.join(&self.name)
    }

    /// Its configuration.
    #[must_use]
    pub fn config_file(&self, fleet: &Path) -> PathBuf {
        self.dir(fleet).join("config.yaml")
    }

    /// What its processes print, all of them.
    #[must_use]
    pub fn log_file(&self, fleet: &Path) -> PathBuf {
        self.dir(fleet).join("log")
    }

    /// The text of its configuration. Paths start at its directory.
    #[must_use]
    pub fn config(&self) -> String {
        let Self { node, cluster_id, port, validators, more, .. } = self;
        let token = self.join_token_file.as_ref();
        let token =
            token.map_or_else(String::new, |file| format!(", join-token-file: {:?}", file.display().to_string()));
        let (peer, metrics, url) = (self.peer_addr(), port + 2, self.api_url());
        format!(
            r#"node: {{id: {node}, name: node{node}, data-dir: data, pid-file: pid}}
cluster: {{id: "{cluster_id}"{token}}}
network: mainnet
api:
  listen: 127.0.0.1:{port}
  advertise-url: "{url}"
  tls: {{cert: ../node{node}/api.pem, key: ../node{node}/api-key.pem, client-ca: ../certs/clients-ca.pem}}
  clients: [dev-client]
  admins: [dev-admin]
peer:
  listen: {peer}
  advertise: {peer}
  tls: {{cert: ../node{node}/peer.pem, key: ../node{node}/peer-key.pem, ca: ../certs/peers-ca.pem}}
metrics: {{listen: "127.0.0.1:{metrics}"}}
keymanager: {{enabled: true, rate: {{per-second: 0}}}}
limits: {{admin: {{per-second: 0}}, keymanager: {{per-second: 0}}, failed-credentials: {{free: 0}}}}
keys: {{sealer: {{local: {{key-file: ../sealing.key}}}}, import: {{interop-count: {validators}}}}}
{more}"#,
            more = patient(more)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_says_who_it_is_and_how_it_joins() {
        let seat = Seat::new(4, 20_030, "00")
            .with_validators(2)
            .joining_by(Path::new("/t/join"))
            .with("raft: {snapshot-every: 7}\n");
        assert_eq!(seat.member(), "4,node4,127.0.0.1:20031,https://127.0.0.1:20030");
        let config = seat.config();
        for part in ["id: 4, name: node4", "join-token-file: \"/t/join\"", "interop-count: 2", "snapshot-every: 7}"] {
            assert!(config.contains(part), "{part} in {config}");
        }
        assert!(!Seat::new(1, 20_000, "00").config().contains("join-token-file"));
    }
}
