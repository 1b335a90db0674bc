//! One node: builds each part once, wires them, serves, drains.
//!
//! ```text
//! sealers -> custody <- key feed <- raft/cluster <- peer door
//!               \--> keyring <- api router ---/  \---> importer, sources
//!                                   |
//!             readiness -> API door, key manager door        metrics door
//! ```
//! In: a checked [`Config`]. Out: a running [`Node`]. Deliberately absent: every decision; this file only connects.

mod archive;
mod assembly;
pub mod audit;
mod describe;
mod doors;
mod farewell;
pub mod import;
mod join_token;
pub mod key_feed;
pub mod logging;
pub mod network;
mod perimeter;
mod pid_file;
pub mod readiness;
mod refusals;
mod reload;
pub mod sealers;
pub mod sources;
mod stop;
pub mod telemetry;
pub mod token;

use crate::config::Config;
use assembly::{Parts, app, cluster_options};
use audit::NodeAudit;
use consigner_api::App;
use consigner_gate::oauth::OAuthError;
use consigner_gate::{DoorError, TlsError};
use consigner_keys::Keyring;
use consigner_raft::{Cluster, OpenError, PeerService};
use consigner_rules::command::ClusterIdentity;
use consigner_storage::AuditError;
use doors::{Behind, Doors, Serving, open_doors};
use import::Importer;
use network::ChainError;
use pid_file::PidFile;
use readiness::Readiness;
use reload::Reload;
use sealers::SealersError;
use sources::Sources;
use std::sync::Arc;
use std::time::{Duration, Instant};
use token::TokenFileError;
use tokio_util::sync::CancellationToken;

pub use stop::until_stopped;

/// Everything after the requests in flight: a last hand-over, Raft, storage.
const CLUSTER_STOP: Duration = Duration::from_millis(2_500);

/// Since the signal: stepping aside, the balancers' delay, and whatever is left of it for requests in flight. With
/// [`LAST_ANCHOR`] and [`CLUSTER_STOP`] the stop ends before it would be cut.
const DOORS_CLOSED_BY: Duration = Duration::from_secs(6);

/// How long a leader that stops looks for a successor while it still serves; the usual time is some 20 ms.
const STEP_ASIDE: Duration = Duration::from_secs(1);

/// How long the stop waits for the cluster to note where the audit ends.
const LAST_ANCHOR: Duration = Duration::from_secs(1);

/// Called with the reason when the node must not go on; must not return to normal operation.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// Why a node cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The chain is not known.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A sealer's configuration.
    #[error(transparent)]
    Sealers(#[from] SealersError),
    /// The token of the key manager API.
    #[error(transparent)]
    Token(#[from] TokenFileError),
    /// No signing threads.
    #[error("signing threads cannot be started")]
    Keyring(#[source] std::io::Error),
    /// The keys of an issuer of access tokens.
    #[error("oauth")]
    OAuth(#[from] OAuthError),
    /// A certificate or key.
    #[error("TLS of the {door} door")]
    Tls {
        /// `api`, `peer`, `keymanager`, `admin` or `token-door`.
        door: &'static str,
        /// Which file and why.
        source: TlsError,
    },
    /// The data must not be used, or Raft does not start.
    #[error("the node's data")]
    Open(#[from] OpenError),
    /// The audit cannot be written.
    #[error("the audit of this node")]
    Audit(#[from] AuditError),
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
    /// The doors through which clients and operators ask.
    asked: Vec<Serving>,
    peer: Serving,
    metrics: Option<Serving>,
    reload: Arc<Reload>,
    audit: Option<Arc<NodeAudit>>,
    background: CancellationToken,
    /// How long balancers have to notice that it stops.
    drain_delay: Duration,
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
        let parts = Parts::new(&config).await?;
        let readiness = Readiness::default();
        let options = cluster_options(&config, &parts, &readiness, on_fatal.clone());
        let (cluster, peers) = Cluster::open(options).await?;
        let sources = Sources::new(&config, cluster.clone(), &parts);
        let reload = Reload::new(&sources, parts.token.clone(), parts.audit.clone());
        let background = CancellationToken::new();
        let archive = archive::start(&config, &cluster, &background);
        let app = Arc::new(app(&config, &parts, &reload, archive, cluster.clone(), chain, identity));
        let opened = open(&config, &parts, &app, peers, &readiness, &on_fatal).await;
        let (doors, pid_file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                background.cancel();
                // The storage is closed in order, so that the next start finds it so.
                cluster.shutdown(CLUSTER_STOP).await;
                return Err(error);
            }
        };
        spawn_needed("opens keys", parts.custody.clone().run(), &background, &on_fatal);
        start_import(&config, &parts, &cluster, &readiness, &background);
        spawn_needed("reads key sources", sources.run(), &background, &on_fatal);
        let Doors { asked, peer, metrics, mut tls } = doors;
        tls.push(("peer-outgoing".to_owned(), parts.peer_tls.clone().into()));
        spawn_needed("watches TLS files", reload.watch(tls).run(background.clone()), &background, &on_fatal);
        if let Some(oauth) = parts.oauth.clone() {
            spawn_needed("follows an issuer's keys", oauth.run(background.clone()), &background, &on_fatal);
        }
        if let (Some(audit), Some(settings)) = (&parts.node_audit, &config.audit) {
            let anchoring = audit.clone().anchor(cluster.clone(), settings.anchor_interval);
            spawn_needed("anchors the audit", anchoring, &background, &on_fatal);
        }
        tracing::info!(
            node = config.node.id,
            name = config.node.name,
            cluster = %config.cluster_id,
            api = %config.api.listen,
            peers = %config.peer.listen,
            version = env!("CARGO_PKG_VERSION"),
            "node started"
        );
        Ok(Self {
            cluster,
            keyring: parts.keyring,
            readiness,
            asked,
            peer,
            metrics,
            reload,
            audit: parts.node_audit,
            background,
            drain_delay: config.api.drain_delay,
            _pid_file: pid_file,
        })
    }

    /// The node's part in the cluster.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Reads the TLS files of all doors and of the connections to other nodes, and the key manager's token again, changed
    /// or not. What cannot be used stays as it was; the log says so.
    pub async fn reload_files(&self) {
        self.reload.files().await;
    }

    /// Stops in order: not ready, leadership moves, balancers notice, no new requests, requests in flight finish, peers are
    /// told, storage is closed, the other doors close.
    pub async fn stop(self) {
        let begun = Instant::now();
        self.readiness.set_stopping();
        self.background.cancel();
        // While every door is open: requests that come meanwhile wait for the successor here, and are signed here.
        self.cluster.step_aside(STEP_ASIDE).await;
        // Still serving: whoever asks `/ready` sends clients elsewhere from now on.
        tokio::time::sleep(self.drain_delay).await;
        // Together: each may wait for its requests in flight.
        let doors = futures::future::join_all(self.asked.into_iter().map(Serving::stop));
        if tokio::time::timeout(DOORS_CLOSED_BY.saturating_sub(begun.elapsed()), doors).await.is_err() {
            tracing::warn!("requests in flight took too long and are cut");
        }
        self.keyring.stop();
        if let Some(audit) = &self.audit {
            let _best_effort = audit.clone().anchor_now(&self.cluster, LAST_ANCHOR).await;
        }
        self.cluster.shutdown(CLUSTER_STOP).await;
        self.peer.stop().await;
        if let Some(metrics) = self.metrics {
            metrics.stop().await;
        }
        if let Some(audit) = self.audit {
            // Nobody is left who could tell it anything.
            let _panicked = tokio::task::spawn_blocking(move || audit.close()).await;
        }
        tracing::info!(milliseconds = begun.elapsed().as_millis(), "node stopped");
    }
}

/// Everything that needs the cluster, up to the pid file.
async fn open(
    config: &Config,
    parts: &Parts,
    app: &Arc<App>,
    peers: PeerService,
    readiness: &Readiness,
    on_fatal: &OnFatal,
) -> Result<(Doors, Option<PidFile>), ServeError> {
    let (perimeter, token, audit) = (&*parts.perimeter, parts.token.as_ref(), parts.node_audit.as_ref());
    let doors = open_doors(config, Behind { app, peers, perimeter, token, audit, readiness, on_fatal }).await?;
    Ok((doors, write_pid_file(config)?))
}

fn write_pid_file(config: &Config) -> Result<Option<PidFile>, ServeError> {
    config.node.pid_file.as_deref().map(PidFile::write).transpose().map_err(ServeError::PidFile)
}

/// Runs until the stop what a node cannot do without: if it ended earlier, the node would only look alive.
fn spawn_needed(
    what: &'static str,
    run: impl Future<Output = ()> + Send + 'static,
    background: &CancellationToken,
    on_fatal: &OnFatal,
) {
    let (on_fatal, stopped) = (OnFatal::clone(on_fatal), background.clone());
    let run = tokio::spawn(background.clone().run_until_cancelled_owned(run));
    tokio::spawn(async move {
        let ended = run.await;
        if !stopped.is_cancelled() {
            on_fatal(&format!("the task that {what} ended: {:?}", ended.map(drop)));
        }
    });
}

fn start_import(
    config: &Config,
    parts: &Parts,
    cluster: &Cluster,
    readiness: &Readiness,
    background: &CancellationToken,
) {
    let importer =
        Importer::new(config.keys.import.clone(), cluster.clone(), parts.custody.clone(), &config.node.data_dir);
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
