//! The parts that exist before the cluster does, and what the cluster and the API are told about them.

use super::audit::NodeAudit;
use super::describe::describer;
use super::perimeter::Perimeter;
use super::readiness::Readiness;
use super::reload::{OnRequest, Reload};
use super::token::TokenFile;
use super::{OnFatal, ServeError, join_token, key_feed, sealers};
use crate::config::{self, ApiConfig, ArchiveConfig, Config, DiskConfig, FollowerRequests, LimitsConfig, Rate};
use consigner_api::audit::Auditor;
use consigner_api::{App, ArchiveAccess, BackOff, ClientPolicy, DoorRates, KeyManagerPolicy, Limits, RateLimit};
use consigner_gate::ReloadableClientTls;
use consigner_gate::oauth::TokenVerifier;
use consigner_gate::tls::ALPN_PEER;
use consigner_keys::{Custody, DecryptPool, Keyring, KeyringOptions};
use consigner_raft::{Cluster, ClusterOptions, DiskOptions, Member, OutboxMode, OutboxOptions, Retention};
use consigner_rules::Network;
use consigner_rules::command::ClusterIdentity;
use consigner_storage::AuditError;
use std::sync::Arc;

/// Keys in memory, and their way there.
pub(super) struct Parts {
    pub keyring: Arc<Keyring>,
    pub custody: Arc<Custody>,
    /// Shared by sources and key manager API, so that together they stay within its bounds.
    pub decrypt: Arc<DecryptPool>,
    /// Where sources and API tell what they do.
    pub audit: Auditor,
    /// Its lines on disk; `None`: the configuration wants none.
    pub node_audit: Option<Arc<NodeAudit>>,
    /// The identity towards the other nodes.
    pub peer_tls: Arc<ReloadableClientTls>,
    /// From where the doors are reached.
    pub perimeter: Arc<Perimeter>,
    /// Of the key manager API.
    pub token: Option<TokenFile>,
    /// What verifies access tokens.
    pub oauth: Option<Arc<TokenVerifier>>,
}

impl Parts {
    pub(super) async fn new(config: &Config) -> Result<Self, ServeError> {
        let peer_tls = ReloadableClientTls::load_outgoing(config.peer.tls.outgoing(), ALPN_PEER)
            .map_err(|source| ServeError::Tls { door: "peer", source })?;
        let sealers = sealers::build(&config.keys.sealer, config.cluster_id).await?;
        let keyring = Arc::new(Keyring::new(&KeyringOptions::default()).map_err(ServeError::Keyring)?);
        let custody = Custody::new(keyring.clone(), sealers, config.cluster_id);
        let decrypt = &config.keys.decrypt;
        let decrypt = Arc::new(DecryptPool::new(decrypt.threads, decrypt.memory_max));
        let token = config.keymanager.as_ref().and_then(|keymanager| keymanager.token_file.as_deref());
        let token = token.map(TokenFile::open).transpose()?;
        let oauth = config.oauth.clone().map(TokenVerifier::new).transpose()?;
        let perimeter = Perimeter::new(config);
        let (audit, node_audit) = open_audit(config).await?;
        Ok(Self { keyring, custody, decrypt, audit, node_audit, peer_tls, perimeter, token, oauth })
    }
}

/// Opened before anything that is told to it; reads a file of up to `audit.rotate-size`.
async fn open_audit(config: &Config) -> Result<(Auditor, Option<Arc<NodeAudit>>), ServeError> {
    let Some(settings) = config.audit.clone() else { return Ok((Auditor::to_log_only(), None)) };
    let (node, cluster_id, sample) = (config.node.id, config.cluster_id, settings.attestation_sample);
    let opened = tokio::task::spawn_blocking(move || NodeAudit::open(&settings, node, cluster_id)).await;
    let audit = opened.map_err(|_| ServeError::Audit(AuditError::Closed))??;
    Ok((Auditor::with_duties(audit.clone(), sample), Some(audit)))
}

fn disk_options(disk: DiskConfig) -> DiskOptions {
    let DiskConfig { warn_percent, stop_percent, snapshot_bytes } = disk;
    DiskOptions { warn_percent, stop_percent, snapshot_bytes, ..DiskOptions::default() }
}

fn outbox_options(archive: &ArchiveConfig) -> OutboxOptions {
    let retention = Retention { age: archive.retention, bytes: archive.retention_bytes };
    let mode = if archive.postgres.is_some() { OutboxMode::Archived } else { OutboxMode::Embedded(retention) };
    OutboxOptions { mode, share_percent: archive.outbox_share_percent, ..OutboxOptions::default() }
}

pub(super) fn cluster_options(
    config: &Config,
    parts: &Parts,
    readiness: &Readiness,
    on_fatal: OnFatal,
) -> ClusterOptions {
    let (fed, settling, perimeter) = (parts.custody.clone(), parts.custody.clone(), parts.perimeter.clone());
    ClusterOptions {
        node_id: config.node.id,
        cluster_id: config.cluster_id,
        member: Member {
            name: config.node.name.clone(),
            peer_addr: config.peer.advertise.clone(),
            api_url: config.api.advertise_url.clone().unwrap_or_default(),
            incarnation: String::new(),
        },
        data_dir: config.node.data_dir.clone(),
        peer_tls: parts.peer_tls.config(),
        timing: config.raft.clone(),
        snapshot_every: config.snapshot_every,
        disk: disk_options(config.disk),
        outbox: outbox_options(&config.archive),
        on_keys: Arc::new(move |feed| key_feed::feed(&fed, feed)),
        on_settle: Arc::new(move || {
            let custody = settling.clone();
            Box::pin(async move { custody.settled().await })
        }),
        on_policy: Arc::new(move |state| perimeter.follow(state)),
        describe: describer(parts.custody.clone(), parts.peer_tls.clone(), readiness.clone()),
        join_token: join_token::reader(config.node.join_token_file.clone()),
        on_fatal,
    }
}

pub(super) fn app(
    config: &Config,
    parts: &Parts,
    reload: &Arc<Reload>,
    archive: Option<Arc<dyn ArchiveAccess>>,
    cluster: Cluster,
    chain: Network,
    identity: ClusterIdentity,
) -> App {
    let ApiConfig { host_allowlist, follower_requests, clients, admins, .. } = config.api.clone();
    App {
        cluster,
        keyring: parts.keyring.clone(),
        custody: parts.custody.clone(),
        decrypt: parts.decrypt.clone(),
        keymanager: keymanager(config, parts.token.as_ref()),
        audit: parts.audit.clone(),
        reload: Some(Arc::new(OnRequest(reload.clone()))),
        archive,
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
        admin_ca_required: admin_ca_required(config),
        admin_on_api: config.admin.is_none(),
        oauth: parts.oauth.clone(),
        limits: limits(config),
    }
}

/// Whether administrators have a CA of their own somewhere. A door without it then has no administrators.
fn admin_ca_required(config: &Config) -> bool {
    let keymanager = config.keymanager.as_ref().and_then(|keymanager| keymanager.door.as_ref());
    let own = [keymanager, config.admin.as_ref()].into_iter().flatten().map(|door| &door.tls);
    own.chain([&config.api.tls]).any(|tls| tls.admin_ca.is_some())
}

/// The key manager API on the API port: where it is enabled and has no listener of its own.
fn keymanager(config: &Config, token: Option<&TokenFile>) -> Option<KeyManagerPolicy> {
    let keymanager = config.keymanager.as_ref().filter(|keymanager| keymanager.door.is_none())?;
    Some(KeyManagerPolicy { token: token.map(TokenFile::hash), rate: keymanager_rate(keymanager.rate) })
}

/// `None` is as often as one likes.
pub(super) fn keymanager_rate(rate: Option<Rate>) -> RateLimit {
    rate.map_or(RateLimit { per_second: u32::MAX, burst: u32::MAX }, limit)
}

const fn limit(rate: Rate) -> RateLimit {
    let Rate { per_second, burst } = rate;
    RateLimit { per_second, burst }
}

fn limits(config: &Config) -> Limits {
    let LimitsConfig { identity, api, keymanager, admin, token_door, failed_credentials } = config.limits;
    let [identity, api, keymanager, admin, token_door] =
        [identity, api, keymanager, admin, token_door].map(|rate| rate.map(limit));
    Limits {
        sign_requests_max: config.api.sign_requests_max,
        per_identity: identity,
        per_door: DoorRates { api, keymanager, admin, token_door },
        failed_credentials: failed_credentials.map(|config::BackOff { free, pause, pause_max }| BackOff {
            free,
            first: pause,
            longest: pause_max,
        }),
        ..Limits::default()
    }
}
