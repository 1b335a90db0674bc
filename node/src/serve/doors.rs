//! The doors of a node: API, key manager, administrators, tokens, peers, metrics.
//!
//! In: configuration and the services behind the doors. Out: open doors that serve until they are stopped.

use super::audit::{self, NodeAudit};
use super::farewell::{Farewell, IsReady};
use super::perimeter::Perimeter;
use super::readiness::Readiness;
use super::telemetry::{self, MetricsService};
use super::token::TokenFile;
use super::{OnFatal, ServeError, assembly, refusals};
use crate::config::{Config, OwnDoor};
use consigner_api::audit::Auditor;
use consigner_api::{AdminDoor, AdminProof, App, KeyManagerDoor, KeyManagerProof, TokenDoor};
use consigner_gate::door::{AddressRules, Balancers, Door, DoorConfig, DoorCounters, DoorLimits};
use consigner_gate::tls::{ALPN_API, ALPN_PEER, ClientAuth, DoorTls, TlsHandle};
use consigner_gate::{DoorError, ReloadableTls};
use consigner_raft::PeerService;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Operators and their scripts: a few connections at one time.
const OPERATOR_CONNECTIONS_MAX: usize = 64;

/// Prometheus, and somebody who looks.
const METRICS_CONNECTIONS_MAX: usize = 64;

/// All doors of a node.
pub(super) struct Doors {
    /// Those through which clients and operators ask; they close first.
    pub asked: Vec<Serving>,
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
    fn spawn<F>(name: &'static str, on_fatal: &OnFatal, serve: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = usize> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let serving = serve(stop.clone());
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

/// What the doors need beside the configuration.
pub(super) struct Behind<'a> {
    pub(super) app: &'a Arc<App>,
    pub(super) peers: PeerService,
    pub(super) perimeter: &'a Perimeter,
    pub(super) token: Option<&'a TokenFile>,
    pub(super) readiness: &'a Readiness,
    pub(super) audit: Option<&'a Arc<NodeAudit>>,
    pub(super) on_fatal: &'a OnFatal,
}

/// Binds all doors before the first one serves, so that a taken port stops the start.
pub(super) async fn open_doors(config: &Config, behind: Behind<'_>) -> Result<Doors, ServeError> {
    let Behind { app, peers, perimeter, token, audit, readiness, on_fatal } = behind;
    let mut opening = Opening { audit: &app.audit, tls: Vec::new(), counters: Vec::new() };
    let api = opening.api(config, perimeter).await?;
    let peer = opening.peer(config, perimeter).await?;
    let own = config.keymanager.as_ref().and_then(|keymanager| keymanager.door.as_ref());
    let keymanager = opening.own("keymanager", own, &perimeter.keymanager.rules, OPERATOR_CONNECTIONS_MAX).await?;
    let admin = opening.own("admin", config.admin.as_ref(), &perimeter.admin.rules, OPERATOR_CONNECTIONS_MAX).await?;
    let (own, connections) = (config.token_door.as_ref(), config.api.connections_max);
    let token_door = opening.own("token-door", own, &perimeter.token_door.rules, connections).await?;
    let Opening { tls, counters, .. } = opening;
    let metrics = serve_metrics(config, app, counters, perimeter, audit, on_fatal).await?;

    let custody = app.custody.clone();
    let ready = readiness.for_api(move || custody.status().trouble());
    let (cluster, node_ready) = (app.cluster.clone(), ready.clone());
    let is_ready: IsReady = Arc::new(move || node_ready().is_ok() && cluster.ready().is_ok());
    let routes = consigner_api::router_with_readiness(app.clone(), ready.clone());
    let routes = Farewell::new(routes, readiness.clone(), is_ready.clone());
    let mut asked = vec![Serving::spawn("api", on_fatal, |stop| api.serve(routes, stop))];
    if let Some((door, own)) = keymanager {
        let routes = consigner_api::keymanager_router(app.clone(), keymanager_door(config, own, token));
        asked.push(Serving::spawn("keymanager", on_fatal, |stop| door.serve(routes, stop)));
    }
    if let Some((door, own)) = admin {
        let proof = if is_optional(own) { AdminProof::Optional } else { AdminProof::Certificate };
        let routes = consigner_api::admin_router(app.clone(), AdminDoor { hosts: own.host_allowlist.clone(), proof });
        asked.push(Serving::spawn("admin", on_fatal, |stop| door.serve(routes, stop)));
    }
    if let Some((door, own)) = token_door {
        let hosts = own.host_allowlist.clone();
        let routes = consigner_api::token_router(app.clone(), TokenDoor { hosts }, ready);
        let routes = Farewell::new(routes, readiness.clone(), is_ready);
        asked.push(Serving::spawn("token-door", on_fatal, |stop| door.serve(routes, stop)));
    }
    let peer = Serving::spawn("peer", on_fatal, |stop| peer.serve(peers, stop));
    Ok(Doors { asked, peer, metrics, tls })
}

/// What every door is opened with, and what is collected meanwhile.
struct Opening<'a> {
    audit: &'a Auditor,
    tls: Vec<(String, TlsHandle)>,
    counters: Vec<(&'static str, Arc<DoorCounters>)>,
}

impl Opening<'_> {
    async fn api(&mut self, config: &Config, perimeter: &Perimeter) -> Result<Door, ServeError> {
        let limits = DoorLimits {
            connections_max: config.api.connections_max,
            idle_timeout: config.api.idle_timeout,
            ..DoorLimits::default()
        };
        let tls = self.load("api", config.api.tls.door(), ALPN_API)?;
        let addr = config.api.listen;
        let rules = perimeter.api.rules.clone();
        Ok(self.bind("api", addr, Some(tls), limits, rules, config.api.balancers.clone()).await?)
    }

    async fn peer(&mut self, config: &Config, perimeter: &Perimeter) -> Result<Door, ServeError> {
        let tls = self.load("peer", config.peer.tls.door(), ALPN_PEER)?;
        let (addr, rules) = (config.peer.listen, perimeter.peer.clone());
        Ok(self.bind("peer", addr, Some(tls), DoorLimits::peer(), rules, None).await?)
    }

    async fn own<'c>(
        &mut self,
        name: &'static str,
        own: Option<&'c OwnDoor>,
        rules: &Arc<AddressRules>,
        connections_max: usize,
    ) -> Result<Option<(Door, &'c OwnDoor)>, ServeError> {
        let Some(own) = own else { return Ok(None) };
        let limits = DoorLimits { connections_max, ..DoorLimits::default() };
        let tls = self.load(name, own.tls.door(), ALPN_API)?;
        let door = self.bind(name, own.listen, Some(tls), limits, rules.clone(), own.balancers.clone()).await?;
        Ok(Some((door, own)))
    }

    fn load(&mut self, door: &'static str, tls: DoorTls, alpn: &[&[u8]]) -> Result<Arc<ReloadableTls>, ServeError> {
        let tls = ReloadableTls::load_door(tls, alpn).map_err(|source| ServeError::Tls { door, source })?;
        self.tls.push((door.to_owned(), TlsHandle::from(tls.clone())));
        Ok(tls)
    }

    async fn bind(
        &mut self,
        name: &'static str,
        addr: SocketAddr,
        tls: Option<Arc<ReloadableTls>>,
        limits: DoorLimits,
        rules: Arc<AddressRules>,
        balancers: Option<Balancers>,
    ) -> Result<Door, DoorError> {
        let door = Door::bind(DoorConfig { name: name.to_owned(), addr, tls, admit: None, limits }).await?;
        let door = door.with_addresses(rules).on_refusal(refusals::to_audit(self.audit.clone(), name));
        self.counters.push((name, door.counters()));
        Ok(match balancers {
            Some(balancers) => door.with_balancers(balancers),
            None => door,
        })
    }
}

fn is_optional(own: &OwnDoor) -> bool {
    own.tls.client_auth == ClientAuth::Optional
}

/// What the key manager API's own listener asks of its callers.
fn keymanager_door(config: &Config, own: &OwnDoor, token: Option<&TokenFile>) -> KeyManagerDoor {
    let rate = assembly::keymanager_rate(config.keymanager.as_ref().and_then(|keymanager| keymanager.rate));
    let token = token.map(TokenFile::hash);
    let proof = match (is_optional(own), token) {
        (true, Some(token)) => KeyManagerProof::Token(token),
        (true, None) => KeyManagerProof::Policy,
        (false, token) => KeyManagerProof::AdminCertificate { token },
    };
    KeyManagerDoor { hosts: own.host_allowlist.clone(), proof, rate }
}

async fn serve_metrics(
    config: &Config,
    app: &Arc<App>,
    doors: Vec<(&'static str, Arc<DoorCounters>)>,
    perimeter: &Perimeter,
    audit: Option<&Arc<NodeAudit>>,
    on_fatal: &OnFatal,
) -> Result<Option<Serving>, ServeError> {
    let Some(metrics) = &config.metrics else { return Ok(None) };
    let mut opening = Opening { audit: &app.audit, tls: Vec::new(), counters: doors };
    let limits = DoorLimits { connections_max: METRICS_CONNECTIONS_MAX, ..DoorLimits::default() };
    let rules = perimeter.metrics.rules.clone();
    let door = opening.bind("metrics", metrics.listen, None, limits, rules, None).await?;
    let handle = telemetry::recorder();
    consigner_api::describe_metrics();
    telemetry::describe();
    audit::describe();
    let (app, doors, audit) = (app.clone(), opening.counters, audit.cloned());
    let before = Arc::new(move || {
        consigner_api::record_gauges(&app);
        telemetry::record_keyring(&app.keyring);
        audit.iter().for_each(|audit| audit.record());
        doors.iter().for_each(|(door, counters)| telemetry::record_door(door, counters));
    });
    let service = MetricsService::new(handle.clone(), metrics.host_allowlist.clone(), before);
    Ok(Some(Serving::spawn("metrics", on_fatal, |stop| {
        tokio::spawn(stop.clone().run_until_cancelled_owned(upkeep(handle)));
        door.serve(service, stop)
    })))
}

async fn upkeep(handle: metrics_exporter_prometheus::PrometheusHandle) {
    loop {
        tokio::time::sleep(telemetry::UPKEEP_INTERVAL).await;
        handle.run_upkeep();
    }
}
