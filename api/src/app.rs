//! What the HTTP surface is made of. Built once by `node`; plain values and handles.

use crate::admission::{Door, PolicyBounds};
use crate::archive::ArchiveAccess;
use crate::audit::Auditor;
use crate::keymanager::{Entrance, KeyManagerPolicy};
use crate::limits::{Limiter, Limits, Places};
use crate::quiet::Lines;
use crate::reload::Reloader;
use consigner_gate::HostAllowlist;
use consigner_gate::oauth::TokenVerifier;
use consigner_keys::{Custody, DecryptPool, Keyring};
use consigner_raft::Cluster;
use consigner_rules::Network;
use consigner_rules::command::ClusterIdentity;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Everything that the endpoints need.
pub struct App {
    /// The cluster that agrees.
    pub cluster: Cluster,
    /// The keys that sign.
    pub keyring: Arc<Keyring>,
    /// The way of sealed keys into that keyring, and what seals new ones.
    pub custody: Arc<Custody>,
    /// Where keystores are decrypted.
    pub decrypt: Arc<DecryptPool>,
    /// The chain that requests are understood for.
    pub network: Arc<Network>,
    /// Who this cluster becomes when `POST /admin/v1/cluster/init` makes it: configured id, network name and root.
    pub identity: ClusterIdentity,
    /// Which hosts a request may name.
    pub hosts: HostAllowlist,
    /// What a follower does with a request that only the leader can order.
    pub follower_requests: FollowerRequests,
    /// Common names of the client certificates that may do everything, `/admin` included, while no policy is applied.
    pub admins: Vec<String>,
    /// Whose client certificates may sign and list keys on the API port; with a policy, those of them that it allows.
    pub clients: ClientPolicy,
    /// Whether a certificate counts for administration and key management only if the administrators' own CA issued it
    /// ([`consigner_gate::PeerCertificate::from_admin_ca`]): where one is configured.
    pub admin_ca_required: bool,
    /// Whether `/admin/v1` is served on the API port: unless it has a listener of its own ([`crate::admin_router`]).
    pub admin_on_api: bool,
    /// What verifies access tokens (JWT) of an issuer; `None`: none is configured.
    pub oauth: Option<Arc<TokenVerifier>>,
    /// See [`Limits`].
    pub limits: Limits,
    /// The key manager API on the API port; `None`: it is not offered there.
    pub keymanager: Option<KeyManagerPolicy>,
    /// Where changes, decisions and refused attempts are told.
    pub audit: Auditor,
    /// What `/reload` starts; `None`: there are no key sources.
    pub reload: Option<Arc<dyn Reloader>>,
    /// The archive in a database; `None`: the segments of each node are the archive.
    pub archive: Option<Arc<dyn ArchiveAccess>>,
}

/// Whether the process around the cluster is ready to serve, or why not (it is importing keys, it is stopping). Asked
/// on every `/ready`, `/healthcheck` and `/leader`, so it must not wait for anything.
pub type NodeReadiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What a follower does with a request that only the leader can order (DESIGN 7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FollowerRequests {
    /// Redirect clients that are known to follow, forward for all others.
    #[default]
    Auto,
    /// Redirect whenever the leader advertises a URL.
    Redirect,
    /// Always forward.
    Forward,
}

/// Whose client certificates may use the endpoints of validator clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ClientPolicy {
    /// Every client whose certificate the door accepted.
    #[default]
    AnyAccepted,
    /// Only these common names (and the admins).
    Named(Vec<String>),
}

impl ClientPolicy {
    /// Whether a certificate with this common name may come in.
    #[must_use]
    pub fn allows(&self, common_name: Option<&str>) -> bool {
        match self {
            Self::AnyAccepted => true,
            Self::Named(names) => common_name.is_some_and(|name| names.iter().any(|allowed| allowed == name)),
        }
    }
}

/// What the handlers share: the [`App`] and the counters behind its [`Limits`].
pub(crate) struct Shared {
    pub(crate) app: Arc<App>,
    pub(crate) slots: Slots,
    /// How often callers may ask here.
    pub(crate) limiter: Limiter,
    pub(crate) key_count: crate::health::KeyCount,
    pub(crate) lines: Arc<Lines>,
    /// See [`NodeReadiness`].
    pub(crate) node_ready: NodeReadiness,
    /// How the key manager API is entered through this router's port.
    pub(crate) entrance: Entrance,
    /// Which port that is.
    pub(crate) door: Door,
    /// What the policy says about hosts and addresses.
    pub(crate) bounds: Arc<PolicyBounds>,
}

/// Places that are taken while a request uses something scarce.
pub(crate) struct Slots {
    /// For sign requests.
    pub(crate) sign: Places,
    /// One per KiB of body.
    pub(crate) body_kib: Arc<Semaphore>,
    /// One per body that is understood off the async threads.
    pub(crate) large_parse: Arc<Semaphore>,
    /// One per history import or export.
    pub(crate) history: Arc<Semaphore>,
    /// One per call that changes keys.
    pub(crate) key_calls: Arc<Semaphore>,
}

/// Large bodies understood at one time: they compute, so more than a few cores' worth would only slow each other.
const LARGE_PARSES_MAX: usize = 4;

/// History files in memory at one time: one may be hundreds of MiB.
const HISTORY_FILES_MAX: usize = 1;

/// Calls that change keys at one time: each may hold 32 MiB of keystores, and they all wait for the same decryption.
const KEY_CALLS_MAX: usize = 2;

impl Shared {
    pub(crate) fn new(app: Arc<App>, node_ready: NodeReadiness, door: Door, entrance: Entrance) -> Self {
        let (slots, limiter) = (Slots::new(&app.limits), Limiter::new(&app.limits, door));
        let key_count = crate::health::KeyCount::default();
        let bounds = Arc::new(PolicyBounds::new(app.cluster.clone()));
        Self { app, slots, limiter, key_count, lines: Lines::new(), node_ready, entrance, door, bounds }
    }
}

impl Slots {
    pub(crate) fn new(limits: &Limits) -> Self {
        let kib = (limits.body_bytes_in_flight_max / 1024).min(Semaphore::MAX_PERMITS);
        Self {
            sign: Places::new(limits.sign_requests_max),
            body_kib: Arc::new(Semaphore::new(kib)),
            large_parse: Arc::new(Semaphore::new(LARGE_PARSES_MAX)),
            history: Arc::new(Semaphore::new(HISTORY_FILES_MAX)),
            key_calls: Arc::new(Semaphore::new(KEY_CALLS_MAX)),
        }
    }
}
