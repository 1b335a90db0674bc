//! A cluster whose certificates are the test's own: its files, its doors, its metrics, its callers.
#![allow(dead_code, reason = "each test uses a part")]

use consigner_chaos::binary;
use consigner_chaos::cli::{Cli, Ended};
use consigner_chaos::cluster::ports::Turn;
use consigner_chaos::cluster::{Cluster, Setup};
use consigner_chaos::oracle::history::Clock;
use consigner_chaos::oracle::observation::statuses;
use consigner_chaos::oracle::{Courier, History};
use consigner_chaos::perimeter::caller::CALL_DEADLINE;
use consigner_chaos::perimeter::credentials::{self, API_TLS, PEER_TLS};
use consigner_chaos::perimeter::{Call, Caller, Credentials, Identity, Subject};
use consigner_chaos::storm::{Chain, Steady};
use consigner_gate::ClientTls;
use consigner_keys::development::interop_secret;
use consigner_rules::PublicKey;
use http::Method;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A loaded machine with debug binaries.
pub const DEADLINE: Duration = Duration::from_secs(240);

/// Between two looks.
pub const POLL: Duration = Duration::from_millis(50);

/// All nodes.
pub const NODES: [u64; 3] = [1, 2, 3];

/// A running cluster.
pub struct World {
    /// The processes.
    pub cluster: Cluster,
    /// Their authorities.
    pub credentials: Credentials,
    /// What they sign for.
    pub chain: Chain,
    /// Their commands.
    pub cli: Cli,
    /// The program.
    pub binary: PathBuf,
    _turn: Turn,
}

impl World {
    /// Starts it with so many interop validators. In the overlay `API_TLS` and `PEER_TLS` stand for the test's own
    /// files.
    pub async fn start(overlay: &str, validators: u64) -> Self {
        Self::start_with(overlay, validators, |_| Vec::new()).await
    }

    /// With further files, or other contents of the usual ones.
    pub async fn start_with(
        overlay: &str,
        validators: u64,
        more: impl FnOnce(&Credentials) -> Vec<(String, String)>,
    ) -> Self {
        let binary = binary::up_to_date().await.unwrap();
        let turn = Turn::wait().await.unwrap();
        let credentials = Credentials::new("1").unwrap();
        let (mut files, more) = (credentials.files().unwrap(), more(&credentials));
        files.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        files.extend(more);
        let overlay = overlay.replace("API_TLS", API_TLS).replace("PEER_TLS", PEER_TLS);
        let setup = Setup { validators, overlay: Some(overlay), private_files: files, ..Setup::default() };
        let cluster = Cluster::start_with(&binary, &setup).await.unwrap();
        let cli = Cli::new(&binary, cluster.dir());
        Self { cluster, credentials, chain: Chain::mainnet().unwrap(), cli, binary, _turn: turn }
    }

    /// Writes files below the cluster's directory while it runs.
    pub fn lay(&self, files: &[(String, String)]) {
        credentials::lay(self.cluster.dir(), files).unwrap();
    }

    /// Somebody new.
    pub fn identity(&self, stem: &str, subject: &Subject) -> Identity {
        self.credentials.client(self.cluster.dir(), stem, subject).unwrap()
    }

    /// The certificate of `consigner dev` for operators.
    pub fn admin(&self) -> Caller {
        Caller::new(&self.cluster.manifest().admin()).unwrap()
    }

    /// The door for clients.
    pub fn api(&self, node: u64) -> SocketAddr {
        let entry = self.cluster.manifest().nodes.iter().find(|entry| entry.id == node).unwrap();
        entry.api_url.trim_start_matches("https://").parse().unwrap()
    }

    /// The door for Prometheus.
    pub fn metrics_door(&self, node: u64) -> SocketAddr {
        let entry = self.cluster.manifest().nodes.iter().find(|entry| entry.id == node).unwrap();
        entry.metrics_url.trim_start_matches("http://").trim_end_matches("/metrics").parse().unwrap()
    }

    /// A way to the nodes with a history of its own.
    pub fn courier(&self) -> Courier {
        Courier::new(self.cluster.manifest(), Arc::new(History::new(Clock::start()))).unwrap()
    }

    /// A way to the nodes for another client.
    pub fn courier_of(&self, files: &ClientTls) -> Arc<Courier> {
        Arc::new(self.courier().signing_as(files).unwrap())
    }

    /// The metrics of a node, as text.
    pub async fn metrics(&self, node: u64) -> String {
        let client = self.admin().keeping(0);
        let url = format!("http://{}/metrics", self.metrics_door(node));
        let answer = client.request(Method::GET, &url, &[], bytes::Bytes::new(), CALL_DEADLINE).await.unwrap();
        String::from_utf8(answer.body.to_vec()).unwrap()
    }

    /// The sum of all series of a name whose labels contain all of these texts.
    pub async fn metric(&self, node: u64, name: &str, labels: &[&str]) -> f64 {
        let text = self.metrics(node).await;
        let series = text.lines().filter(|line| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label))
        });
        series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The node that leads.
    pub async fn leader(&self) -> u64 {
        let (admin, begun) = (self.admin(), Instant::now());
        loop {
            for node in NODES {
                if admin.call(self.api(node), &Call::get("/leader")).await.status() == Some(200) {
                    return node;
                }
            }
            assert!(begun.elapsed() < DEADLINE, "nobody leads\n{}", self.cluster.log_tails());
            tokio::time::sleep(POLL).await;
        }
    }

    /// The highest term that any node tells.
    pub async fn term(&self) -> u64 {
        let (admin, begun) = (self.admin(), Instant::now());
        loop {
            for node in NODES {
                let told = admin.call(self.api(node), &Call::get("/admin/v1/cluster/status")).await;
                let states = statuses(told.text().as_bytes(), Duration::ZERO).unwrap_or_default();
                if let Some(term) = states.iter().map(|state| state.term).max() {
                    return term;
                }
            }
            assert!(begun.elapsed() < DEADLINE, "no node tells its term\n{}", self.cluster.log_tails());
            tokio::time::sleep(POLL).await;
        }
    }

    /// An operator's call that must succeed.
    pub async fn must(&self, node: u64, call: &Call) -> serde_json::Value {
        let came = self.admin().call(self.api(node), call).await;
        assert_eq!(came.status(), Some(200), "{} {} on node {node}: {came}", call.method, call.path);
        serde_json::from_str(&came.text()).unwrap()
    }

    /// A command that must succeed.
    pub async fn command(&self, arguments: &[&str], more: &[&str]) -> Ended {
        let ended = self.cli.run(arguments, more).await.unwrap();
        assert_eq!(ended.code, Some(0), "{arguments:?} {more:?}: {}{}", ended.stdout, ended.stderr);
        ended
    }
}

/// The public key of an interop validator.
pub fn key(number: u64) -> PublicKey {
    interop_secret(number).public_key()
}

/// Waits until something holds.
pub async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !look().await {
        assert!(begun.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(POLL).await;
    }
}

/// Waits for so many more signatures of a load.
pub async fn until_signed(load: &Steady, more: usize) {
    let enough = load.signed() + more;
    until("signatures of a load", async || load.signed() >= enough).await;
}
