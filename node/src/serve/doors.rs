//! The doors of a node: API, key manager, peers, metrics.
//!
//! In: configuration and the services behind the doors. Out: open doors that serve until they are stopped.

use super::readiness::Readiness;
use super::telemetry::{self, MetricsService};
use super::{OnFatal, ServeError, token};
use crate::config::Config;
use consigner_api::{App, KeyManagerProof, RateLimit};
use consigner_gate::ReloadableTls;
use consigner_gate::door::{Door, DoorConfig, DoorCounters, DoorLimits};
use consigner_gate::tls::{ALPN_API, ALPN_PEER, ClientAuth, DoorTls, TlsHandle};
use consigner_raft::PeerService;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Operators and their scripts: a few connections at one time.
const KEYMANAGER_CONNECTIONS_MAX: usize = 64;

/// All doors of a node.
pub(super) struct Doors {
    pub api: Serving,
    pub keymanager: Option<Serving>,
    pub peer: Serving,
    pub metrics: Option<Serving>,
    /// The certificates of the doors, to be reloaded.
    pub tls: Vec<(String, TlsHandle)>,
}

/// A door that serves.
pub(super) struct Serving {
    stop: CancellationToken,
    task: JoinHandle<usize>,
}

impl Serving {
    /// Spawns a door. One that ends before it is told to leaves a node that looks alive and answers nobody: fatal.
    fn spawn(
        name: &'static str,
        stop: CancellationToken,
        on_fatal: &OnFatal,
        serving: impl Future<Output = usize> + Send + 'static,
    ) -> Self {
        let (on_fatal, stopped) = (OnFatal::clone(on_fatal), stop.clone());
        let task = tokio::spawn(async move {
            let ended = tokio::spawn(serving).await;
            if !stopped.is_cancelled() {
                on_fatal(&format!("the {name} door ended: {ended:?}"));
            }
            ended.unwrap_or_default()
        });
        Self { stop, task }
    }

    /// Stops listening and lets requests in flight finish.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        match self.task.await {
            Ok(0) => {}
            Ok(cut) => tracing::warn!(cut, "connections were cut"),
            Err(error) => tracing::error!(%error, "a door ended badly"),
        }
    }
}

/// Binds all doors before the first one serves, so that a taken port stops the start.
pub(super) async fn open_doors(
    config: &Config,
    app: &Arc<App>,
    peers: PeerService,
    readiness: &Readiness,
    on_fatal: &OnFatal,
) -> Result<Doors, ServeError> {
    let api_limits = DoorLimits {
        connections_max: config.api.connections_max,
        idle_timeout: config.api.idle_timeout,
        ..DoorLimits::default()
    };
    let (api_tls, peer_tls) =
        (server_tls("api", config.api.tls.door(), ALPN_API)?, server_tls("peer", config.peer.tls.door(), ALPN_PEER)?);
    let mut tls = vec![
        ("api".to_owned(), TlsHandle::from(api_tls.clone())),
        ("peer".to_owned(), TlsHandle::from(peer_tls.clone())),
    ];
    let api = Door::bind(DoorConfig {
        name: "api".to_owned(),
        addr: config.api.listen,
        tls: Some(api_tls),
        admit: None,
        limits: api_limits,
    })
    .await?;
    let peer = Door::bind(DoorConfig {
        name: "peer".to_owned(),
        addr: config.peer.listen,
        tls: Some(peer_tls),
        admit: None,
        limits: DoorLimits::peer(),
    })
    .await?;
    let keymanager = bind_keymanager(config, &mut tls).await?;
    let mut watched = vec![("api", api.counters()), ("peer", peer.counters())];
    watched.extend(keymanager.as_ref().map(|(door, _)| ("keymanager", door.counters())));
    let metrics = serve_metrics(config, app, watched, on_fatal).await?;
    let custody = app.custody.clone();
    let trouble = move || custody.status().trouble();
    let routes = consigner_api::router_with_readiness(app.clone(), readiness.for_api(trouble));
    let (api_stop, peer_stop) = (CancellationToken::new(), CancellationToken::new());
    let api = Serving::spawn("api", api_stop.clone(), on_fatal, api.serve(routes, api_stop));
    let peer = Serving::spawn("peer", peer_stop.clone(), on_fatal, peer.serve(peers, peer_stop));
    let keymanager = keymanager.map(|(door, policy)| {
        let (routes, stop) = (consigner_api::keymanager_router(app.clone(), policy), CancellationToken::new());
        Serving::spawn("keymanager", stop.clone(), on_fatal, door.serve(routes, stop))
    });
    Ok(Doors { api, keymanager, peer, metrics, tls })
}

/// The key manager API's own listener, and what it asks of its callers.
async fn bind_keymanager(
    config: &Config,
    reloaded: &mut Vec<(String, TlsHandle)>,
) -> Result<Option<(Door, consigner_api::KeyManagerDoor)>, ServeError> {
    let Some(keymanager) = &config.keymanager else { return Ok(None) };
    let Some(own) = &keymanager.door else { return Ok(None) };
    let token = keymanager.token_file.as_deref().map(token::read).transpose()?;
    let proof = match (own.tls.client_auth, token) {
        (ClientAuth::Optional, Some(token)) => KeyManagerProof::Token(token),
        // Without a token nobody else could be asked; the configuration refuses that.
        (ClientAuth::Optional | ClientAuth::Required, token) => KeyManagerProof::AdminCertificate { token },
    };
    let tls = server_tls("keymanager", own.tls.door(), ALPN_API)?;
    reloaded.push(("keymanager".to_owned(), TlsHandle::from(tls.clone())));
    let door = Door::bind(DoorConfig {
        name: "keymanager".to_owned(),
        addr: own.listen,
        tls: Some(tls),
        admit: None,
        limits: DoorLimits { connections_max: KEYMANAGER_CONNECTIONS_MAX, ..DoorLimits::default() },
    })
    .await?;
    let (hosts, rate) = (own.host_allowlist.clone(), RateLimit::default());
    Ok(Some((door, consigner_api::KeyManagerDoor { hosts, proof, rate })))
}

async fn serve_metrics(
    config: &Config,
    app: &Arc<App>,
    doors: Vec<(&'static str, Arc<DoorCounters>)>,
    on_fatal: &OnFatal,
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
    Ok(Some(Serving::spawn("metrics", stop.clone(), on_fatal, door.serve(service, stop))))
}

async fn upkeep(handle: metrics_exporter_prometheus::PrometheusHandle) {
    loop {
        tokio::time::sleep(telemetry::UPKEEP_INTERVAL).await;
        handle.run_upkeep();
    }
}

fn server_tls(door: &'static str, tls: DoorTls, alpn: &[&[u8]]) -> Result<Arc<ReloadableTls>, ServeError> {
    ReloadableTls::load_door(tls, alpn).map_err(|source| ServeError::Tls { door, source })
}
