//! One node: builds each part once, wires them, serves, drains.
//!
//! ```text
//! keys/sealer -> keyring <- key feed <- raft/cluster <- peer door
//!                   \__________ api router ___/   \---> importer
//!                                   |
//!                      readiness -> API door        metrics door
//! ```
//! In: a checked [`Config`]. Out: a running [`Node`]. Deliberately absent: every decision; this file only connects.

mod doors;
pub mod import;
pub mod key_feed;
pub mod logging;
pub mod network;
mod pid_file;
pub mod readiness;
mod stop;
pub mod telemetry;

use crate::config::{ApiConfig, Config, FollowerRequests, TlsFiles};
use consigner_api::{App, ClientPolicy, Limits};
use consigner_gate::tls::{ALPN_PEER, client_config};
use consigner_gate::{ClientTls, DoorError, TlsError};
use consigner_keys::{Keyring, KeyringOptions, LocalSealer};
use consigner_raft::{Cluster, ClusterOptions, Member, OpenError};
use consigner_rules::Network;
use consigner_rules::command::ClusterIdentity;
use doors::{Doors, Serving, open_doors};
use import::Importer;
use key_feed::KeyFeeder;
use network::ChainError;
use pid_file::PidFile;
use readiness::Readiness;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

pub use stop::until_stopped;

/// Everything after the requests in flight: hand-over, Raft, storage. With the door's 5 s it stays below 10 s.
const CLUSTER_STOP: Duration = Duration::from_secs(4);

/// Called with the reason when the node must not go on; must not return to normal operation.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// Why a node cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The chain is not known.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The sealing key file.
    #[error("the sealing key file")]
    Sealer(#[source] consigner_keys::sealing::KeyFileError),
    /// No signing threads.
    #[error("signing threads cannot be started")]
    Keyring(#[source] std::io::Error),
    /// A certificate or key.
    #[error("TLS of the {door} door")]
    Tls {
        /// `api` or `peer`.
        door: &'static str,
        /// Which file and why.
        source: TlsError,
    },
    /// The data must not be used, or Raft does not start.
    #[error("the node's data")]
    Open(#[from] OpenError),
    /// A port is taken.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// The pid file.
    #[error("the pid file cannot be written")]
    PidFile(#[source] std::io::Error),
    /// Signals cannot be caught.
    #[error("signals cannot be caught")]
    Signals(#[source] std::io::Error),
}

/// A running node.
pub struct Node {
    cluster: Cluster,
    keyring: Arc<Keyring>,
    readiness: Readiness,
    api: Serving,
    peer: Serving,
    metrics: Option<Serving>,
    background: CancellationToken,
    _pid_file: Option<PidFile>,
}

impl Node {
    /// Starts a node; returns when all doors are open. It becomes ready later, with its cluster.
    ///
    /// # Errors
    /// See [`ServeError`]; nothing is left open.
    pub async fn start(config: Config, on_fatal: OnFatal) -> Result<Self, ServeError> {
        let (chain, genesis_validators_root) = network::load(&config.network)?;
        let identity = ClusterIdentity {
            cluster_id: config.cluster_id,
            network: chain.name().to_owned(),
            genesis_validators_root,
        };
        let parts = Parts::new(&config)?;
        let (cluster, peers) = Cluster::open(cluster_options(&config, &parts, on_fatal.clone())?).await?;
        let readiness = Readiness::default();
        let app = Arc::new(app(&config, &parts, cluster.clone(), chain, identity));
        let opened = match open_doors(&config, &app, peers, &readiness, &on_fatal).await {
            Ok(doors) => write_pid_file(&config).map(|pid_file| (doors, pid_file)),
            Err(error) => Err(error),
        };
        let (doors, pid_file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                // The storage is closed in order, so that the next start finds it so.
                cluster.shutdown(CLUSTER_STOP).await;
                return Err(error);
            }
        };
        let background = CancellationToken::new();
        start_import(&config, &parts, &cluster, &readiness, &background);
        let Doors { api, peer, metrics } = doors;
        tracing::info!(
            node = config.node.id,
            name = config.node.name,
            cluster = %config.cluster_id,
            api = %config.api.listen,
            peers = %config.peer.listen,
            version = env!("CARGO_PKG_VERSION"),
            "node started"
        );
        Ok(Self { cluster, keyring: parts.keyring, readiness, api, peer, metrics, background, _pid_file: pid_file })
    }

    /// The node's part in the cluster.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Stops in order: not ready, no new requests, requests in flight finish, leadership is handed over, storage is
    /// closed, the other doors close.
    pub async fn stop(self) {
        let begun = Instant::now();
        self.readiness.set_stopping();
        self.background.cancel();
        self.api.stop().await;
        self.keyring.stop();
        self.cluster.shutdown(CLUSTER_STOP).await;
        self.peer.stop().await;
        if let Some(metrics) = self.metrics {
            metrics.stop().await;
        }
        tracing::info!(milliseconds = begun.elapsed().as_millis(), "node stopped");
    }
}

/// What exists before the cluster does.
struct Parts {
    keyring: Arc<Keyring>,
    sealer: Arc<LocalSealer>,
    feeder: Arc<KeyFeeder>,
}

impl Parts {
    fn new(config: &Config) -> Result<Self, ServeError> {
        let sealer = LocalSealer::from_key_file(&config.keys.sealing_key_file).map_err(ServeError::Sealer)?;
        let keyring = Keyring::new(&KeyringOptions::default()).map_err(ServeError::Keyring)?;
        let (sealer, keyring) = (Arc::new(sealer), Arc::new(keyring));
        let feeder = Arc::new(KeyFeeder::new(keyring.clone(), sealer.clone(), config.cluster_id));
        Ok(Self { keyring, sealer, feeder })
    }
}

fn cluster_options(config: &Config, parts: &Parts, on_fatal: OnFatal) -> Result<ClusterOptions, ServeError> {
    let TlsFiles { cert, key, ca } = config.peer.tls.clone();
    let peer_tls = client_config(&ClientTls { cert, key, ca }, ALPN_PEER)
        .map_err(|source| ServeError::Tls { door: "peer", source })?;
    let feeder = parts.feeder.clone();
    Ok(ClusterOptions {
        node_id: config.node.id,
        cluster_id: config.cluster_id,
        member: Member {
            name: config.node.name.clone(),
            peer_addr: config.peer.advertise.clone(),
            api_url: config.api.advertise_url.clone().unwrap_or_default(),
        },
        data_dir: config.node.data_dir.clone(),
        peer_tls,
        timing: config.raft.clone(),
        snapshot_every: config.snapshot_every,
        on_keys: Arc::new(move |feed| feeder.feed(feed)),
        on_fatal,
    })
}

fn app(config: &Config, parts: &Parts, cluster: Cluster, chain: Network, identity: ClusterIdentity) -> App {
    let ApiConfig { host_allowlist, follower_requests, clients, admins, sign_requests_max, .. } = config.api.clone();
    App {
        cluster,
        keyring: parts.keyring.clone(),
        identity,
        network: Arc::new(chain),
        hosts: host_allowlist,
        follower_requests: match follower_requests {
            FollowerRequests::Auto => consigner_api::FollowerRequests::Auto,
            FollowerRequests::Redirect => consigner_api::FollowerRequests::Redirect,
            FollowerRequests::Forward => consigner_api::FollowerRequests::Forward,
        },
        admins,
        clients: if clients == ["*"] { ClientPolicy::AnyAccepted } else { ClientPolicy::Named(clients) },
        limits: Limits { sign_requests_max, ..Limits::default() },
    }
}

fn write_pid_file(config: &Config) -> Result<Option<PidFile>, ServeError> {
    config.node.pid_file.as_deref().map(PidFile::write).transpose().map_err(ServeError::PidFile)
}

fn start_import(
    config: &Config,
    parts: &Parts,
    cluster: &Cluster,
    readiness: &Readiness,
    background: &CancellationToken,
) {
    let importer = Importer::new(
        config.keys.import.clone(),
        cluster.clone(),
        parts.feeder.clone(),
        parts.sealer.clone(),
        config.cluster_id,
        &config.node.data_dir,
    );
    readiness.set_importing(true);
    let readiness = readiness.clone();
    let import = async move {
        match importer.run().await {
            Ok(()) => readiness.set_importing(false),
            Err(error) => {
                // The node still signs with the keys that the cluster holds, but says that it is not complete.
                tracing::error!(error = %crate::report::one_line(&error), "keys.import cannot be done");
            }
        }
    };
    tokio::spawn(background.clone().run_until_cancelled_owned(import));
}
