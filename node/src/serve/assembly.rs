//! The parts that exist before the cluster does, and what the cluster and the API are told about them.

use super::sources::Sources;
use super::{OnFatal, ServeError, key_feed, sealers, token};
use crate::config::{ApiConfig, Config, FollowerRequests};
use consigner_api::audit::Auditor;
use consigner_api::{App, ClientPolicy, KeyManagerPolicy, Limits, RateLimit, Reloader};
use consigner_gate::ReloadableClientTls;
use consigner_gate::tls::ALPN_PEER;
use consigner_keys::{Custody, DecryptPool, Keyring, KeyringOptions};
use consigner_raft::{Cluster, ClusterOptions, Member};
use consigner_rules::Network;
use consigner_rules::command::ClusterIdentity;
use std::sync::Arc;

/// Keys in memory, and their way there.
pub(super) struct Parts {
    pub keyring: Arc<Keyring>,
    pub custody: Arc<Custody>,
    /// Shared by sources and key manager API, so that together they stay within its bounds.
    pub decrypt: Arc<DecryptPool>,
    /// Where sources and API tell what they do.
    pub audit: Auditor,
    /// The identity towards the other nodes.
    pub peer_tls: Arc<ReloadableClientTls>,
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
        Ok(Self { keyring, custody, decrypt, audit: Auditor::to_log_only(), peer_tls })
    }
}

pub(super) fn cluster_options(config: &Config, parts: &Parts, on_fatal: OnFatal) -> ClusterOptions {
    let (fed, settling) = (parts.custody.clone(), parts.custody.clone());
    ClusterOptions {
        node_id: config.node.id,
        cluster_id: config.cluster_id,
        member: Member {
            name: config.node.name.clone(),
            peer_addr: config.peer.advertise.clone(),
            api_url: config.api.advertise_url.clone().unwrap_or_default(),
        },
        data_dir: config.node.data_dir.clone(),
        peer_tls: parts.peer_tls.config(),
        timing: config.raft.clone(),
        snapshot_every: config.snapshot_every,
        on_keys: Arc::new(move |feed| key_feed::feed(&fed, feed)),
        on_settle: Arc::new(move || {
            let custody = settling.clone();
            Box::pin(async move { custody.settled().await })
        }),
        on_policy: Arc::new(|_| {}),
        on_fatal,
    }
}

pub(super) fn app(
    config: &Config,
    parts: &Parts,
    sources: &Arc<Sources>,
    cluster: Cluster,
    chain: Network,
    identity: ClusterIdentity,
) -> Result<App, ServeError> {
    let ApiConfig { host_allowlist, follower_requests, clients, admins, sign_requests_max, .. } = config.api.clone();
    let reload = (!sources.is_empty()).then(|| sources.clone() as Arc<dyn Reloader>);
    Ok(App {
        cluster,
        keyring: parts.keyring.clone(),
        custody: parts.custody.clone(),
        decrypt: parts.decrypt.clone(),
        keymanager: keymanager(config)?,
        audit: parts.audit.clone(),
        reload,
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
        admin_ca_required: false,
        admin_on_api: true,
        oauth: None,
        limits: Limits { sign_requests_max, ..Limits::default() },
    })
}

/// The key manager API on the API port: where it is enabled and has no listener of its own.
fn keymanager(config: &Config) -> Result<Option<KeyManagerPolicy>, ServeError> {
    let Some(keymanager) = config.keymanager.as_ref().filter(|keymanager| keymanager.door.is_none()) else {
        return Ok(None);
    };
    let token = keymanager.token_file.as_deref().map(token::read).transpose()?;
    Ok(Some(KeyManagerPolicy { token, rate: RateLimit::default() }))
}
