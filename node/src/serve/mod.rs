//! One node: builds each part once, wires them, serves, drains.
//!
//! ```text
//! keys/sealer -> keyring <- key feed <- raft/cluster <- peer door
//!                   \__________ api router ___/   \---> importer
//!                                   |
//!                      ready gate -> API door        metrics door
//! ```
//! In: a checked [`Config`]. Out: a running [`Node`]. Deliberately absent: every decision; this file only connects.

pub mod import;
pub mod key_feed;
pub mod logging;
pub mod network;
mod pid_file;
pub mod ready_gate;
mod stop;
pub mod telemetry;

use crate::config::{ApiConfig, Config, FollowerRequests, TlsFiles};
use consigner_api::{App, ClientPolicy, Limits};
use consigner_gate::door::{Door, DoorConfig, DoorCounters, DoorLimits};
use consigner_gate::tls::{ALPN_API, ALPN_PEER, client_config};
use consigner_gate::{ClientTls, DoorError, ReloadableTls, ServerTls, TlsError};
use consigner_keys::{Keyring, KeyringOptions, LocalSealer};
use consigner_raft::{Cluster, ClusterOptions, Member, OpenError, PeerService};
use consigner_rules::Network;
use consigner_rules::command::ClusterIdentity;
use import::Importer;
use key_feed::KeyFeeder;
use network::ChainError;
use pid_file::PidFile;
use ready_gate::{Readiness, ReadyGate};
use std::sync::Arc;
use std::time::{Duration, Instant};
use telemetry::MetricsService;
use tokio::task::JoinHandle;
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

/// A door that serves.
struct Serving {
    stop: CancellationToken,
    task: JoinHandle<usize>,
}

impl Serving {
    async fn stop(self) {
        self.stop.cancel();
        match self.task.await {
            Ok(0) => {}
            Ok(cut) => tracing::warn!(cut, "connections were cut"),
            Err(error) => tracing::error!(%error, "a door ended badly"),
        }
    }
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
        let (cluster, peers) = Cluster::open(cluster_options(&config, &parts, on_fatal)?).await?;
        let readiness = Readiness::default();
        let app = Arc::new(app(&config, &parts, cluster.clone(), chain, identity));
        let doors = open_doors(&config, &app, peers, &readiness).await?;
        let pid_file = config.node.pid_file.as_deref().map(PidFile::write).transpose();
        let pid_file = pid_file.map_err(ServeError::PidFile)?;
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

struct Doors {
    api: Serving,
    peer: Serving,
    metrics: Option<Serving>,
}

/// Binds all doors before the first one serves, so that a taken port stops the start.
async fn open_doors(
    config: &Config,
    app: &Arc<App>,
    peers: PeerService,
    readiness: &Readiness,
) -> Result<Doors, ServeError> {
    let api_limits = DoorLimits {
        connections_max: config.api.connections_max,
        idle_timeout: config.api.idle_timeout,
        ..DoorLimits::default()
    };
    let api = Door::bind(DoorConfig {
        name: "api".to_owned(),
        addr: config.api.listen,
        tls: Some(server_tls("api", &config.api.tls, ALPN_API)?),
        admit: None,
        limits: api_limits,
    })
    .await?;
    let peer = Door::bind(DoorConfig {
        name: "peer".to_owned(),
        addr: config.peer.listen,
        tls: Some(server_tls("peer", &config.peer.tls, ALPN_PEER)?),
        admit: None,
        limits: DoorLimits::peer(),
    })
    .await?;
    let watched = vec![("api", api.counters()), ("peer", peer.counters())];
    let metrics = serve_metrics(config, app, watched).await?;
    let gate = ReadyGate::new(consigner_api::router(app.clone()), readiness.clone());
    let (api_stop, peer_stop) = (CancellationToken::new(), CancellationToken::new());
    let api = Serving { stop: api_stop.clone(), task: tokio::spawn(api.serve(gate, api_stop)) };
    let peer = Serving { stop: peer_stop.clone(), task: tokio::spawn(peer.serve(peers, peer_stop)) };
    Ok(Doors { api, peer, metrics })
}

async fn serve_metrics(
    config: &Config,
    app: &Arc<App>,
    doors: Vec<(&'static str, Arc<DoorCounters>)>,
) -> Result<Option<Serving>, ServeError> {
    let Some(metrics) = &config.metrics else { return Ok(None) };
    let door = Door::bind(DoorConfig {
        name: "metrics".to_owned(),
        addr: metrics.listen,
        tls: None,
        admit: None,
        limits: DoorLimits { connections_max: 64, ..DoorLimits::default() },
    })
    .await?;
    let handle = telemetry::recorder();
    consigner_api::describe_metrics();
    telemetry::describe();
    let app = app.clone();
    let before = Arc::new(move || {
        consigner_api::record_gauges(&app);
        telemetry::record_keyring(&app.keyring);
        doors.iter().for_each(|(door, counters)| telemetry::record_door(door, counters));
    });
    let stop = CancellationToken::new();
    tokio::spawn(stop.clone().run_until_cancelled_owned(upkeep(handle.clone())));
    let service = MetricsService::new(handle, metrics.host_allowlist.clone(), before);
    Ok(Some(Serving { stop: stop.clone(), task: tokio::spawn(door.serve(service, stop)) }))
}

async fn upkeep(handle: metrics_exporter_prometheus::PrometheusHandle) {
    loop {
        tokio::time::sleep(telemetry::UPKEEP_INTERVAL).await;
        handle.run_upkeep();
    }
}

fn server_tls(door: &'static str, files: &TlsFiles, alpn: &[&[u8]]) -> Result<Arc<ReloadableTls>, ServeError> {
    let TlsFiles { cert, key, ca } = files.clone();
    ReloadableTls::load(ServerTls { cert, key, client_ca: ca }, alpn).map_err(|source| ServeError::Tls { door, source })
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
