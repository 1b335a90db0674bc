//! What the tests over a real cluster share: nodes, their certificates, and how to ask them.
//!
//! Vectors stand outside the project: in `$CONSIGNER_VECTORS`, else in `../shared/vectors` beside its root.
#![allow(dead_code, clippy::print_stderr, reason = "each test file uses its part; a skipped test says so")]

pub mod keystores;
pub mod messages;
pub mod openapi;
pub mod pki;
pub mod policy;

use axum::body::Body;
use consigner_api::audit::Auditor;
use consigner_api::{App, ClientPolicy, FollowerRequests, Limits, router};
use consigner_gate::tls::{ALPN_PEER, client_config};
use consigner_gate::{Door, DoorConfig, DoorLimits, HostAllowlist, Peer, PeerCertificate};
use consigner_keys::{Custody, DecryptPool, Keyring, KeyringOptions, LocalSealer, Sealer, Sealers, SecretKey, seal};
use consigner_raft::{Cluster, ClusterOptions, DiskOptions, KeyFeed, Member, Timing};
use consigner_rules::command::{ClusterIdentity, DataKey};
use consigner_rules::primitives::ClusterId;
use consigner_rules::{Command, Network, Outcome, PublicKey, Root, SealedKey};
use http::{HeaderMap, Method, Request, header};
use http_body_util::BodyExt as _;
use pki::Pki;
use serde_json::Value;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt as _;

/// Long enough never to matter.
pub const LONG: Duration = Duration::from_secs(60);

/// A loaded machine may keep disk and processor from a node for seconds: then its leader leads on, and requests wait, for
/// less than the ten seconds after which a request to sign is given up altogether.
fn timing() -> Timing {
    Timing { lease: Duration::from_secs(3), leader_wait: Duration::from_secs(8), ..Timing::default() }
}

/// How full the disk below a test is must not decide it.
fn any_disk() -> DiskOptions {
    DiskOptions { warn_percent: 101, stop_percent: 101, ..DiskOptions::default() }
}

pub const CLUSTER_ID: ClusterId = ClusterId([0xc1; 16]);
pub const NODE: u64 = 1;

/// What the nodes of a cluster have in common.
pub struct Site {
    pub pki: Pki,
    network: Arc<Network>,
    root: Root,
    /// Wraps the data keys of [`Node::import`].
    sealer: Arc<LocalSealer>,
    /// What the nodes use: the same, unless the site is rotating its key file.
    sealers: Sealers,
    dir: TempDir,
}

/// One node behind its router.
pub struct Node {
    pub app: Arc<App>,
    pub router: axum::Router,
    pub member: Member,
    pub site: Arc<Site>,
    _peer_door: DropGuard,
}

/// An answer, whole.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|why| panic!("{why}: {}", self.body))
    }

    pub fn error(&self) -> String {
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/json; charset=utf-8");
        self.json()["error"].as_str().expect("every error has a sentence").to_owned()
    }

    pub fn content_type(&self) -> &str {
        self.headers[header::CONTENT_TYPE].to_str().unwrap()
    }
}

/// A request under construction, from the certificate `client` and to `localhost` unless said otherwise.
pub struct Ask {
    request: http::request::Builder,
    body: Body,
    certificate: Option<PeerCertificate>,
    addr: SocketAddr,
}

/// A certificate with a common name and nothing else.
pub fn certificate(name: &str) -> PeerCertificate {
    PeerCertificate {
        common_name: Some(name.to_owned()),
        dns_names: Vec::new(),
        uris: Vec::new(),
        fingerprint_sha256: [7; 32],
        not_after_unix: i64::MAX,
        from_admin_ca: false,
    }
}

pub fn get(path: &str) -> Ask {
    ask(Method::GET, path)
}

pub fn post(path: &str, body: impl Into<Body>) -> Ask {
    Ask { body: body.into(), ..ask(Method::POST, path) }
}

pub fn ask(method: Method, path: &str) -> Ask {
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some(path.parse().unwrap());
    let uri = http::Uri::from_parts(parts).unwrap();
    let request = Request::builder().method(method).uri(uri);
    Ask {
        request,
        body: Body::empty(),
        certificate: Some(certificate("client")),
        addr: "127.0.0.1:5555".parse().unwrap(),
    }
}

impl Ask {
    pub fn header(mut self, name: header::HeaderName, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn accept_json(self) -> Self {
        self.header(header::ACCEPT, "application/json")
    }

    pub fn with(mut self, body: String) -> Self {
        self.body = body.into();
        self
    }

    /// The common name of the client's certificate.
    pub fn by(self, name: &str) -> Self {
        self.with_certificate(certificate(name))
    }

    pub fn with_certificate(mut self, certificate: PeerCertificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    pub fn without_certificate(mut self) -> Self {
        self.certificate = None;
        self
    }

    /// The address of the caller.
    pub fn from(mut self, address: &str) -> Self {
        self.addr = SocketAddr::new(address.parse().unwrap(), 5555);
        self
    }

    pub fn raw_header(mut self, name: header::HeaderName, value: &[u8]) -> Self {
        self.request = self.request.header(name, http::HeaderValue::from_bytes(value).unwrap());
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header(header::AUTHORIZATION, &format!("Bearer {token}"))
    }

    pub async fn of(self, node: &Node) -> Answer {
        self.through(&node.router).await
    }

    pub async fn through(mut self, router: &axum::Router) -> Answer {
        if !self.request.headers_ref().unwrap().contains_key(header::HOST) {
            self.request = self.request.header(header::HOST, "localhost:9000");
        }
        let peer = Peer { addr: self.addr, certificate: self.certificate.map(Arc::new) };
        let request = self.request.extension(peer).body(self.body).unwrap();
        let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

impl Site {
    pub fn new(network: Network, root: Root) -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        let sealer = Arc::new(local_sealer(&dir, "sealing.key"));
        let sealers = Sealers::new(sealer.clone(), Vec::new());
        Arc::new(Self { pki: Pki::new(), network: Arc::new(network), root, sealer, sealers, dir })
    }

    /// A site whose nodes have a new key file, and the one under which [`Node::import`] seals as the previous one.
    pub fn rotating(network: Network, root: Root) -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        let sealer = Arc::new(local_sealer(&dir, "old.key"));
        let old = LocalSealer::from_key_file(&dir.path().join("old.key")).unwrap();
        let sealers = Sealers::new(Arc::new(local_sealer(&dir, "new.key").with_previous(old)), Vec::new());
        Arc::new(Self { pki: Pki::new(), network: Arc::new(network), root, sealer, sealers, dir })
    }

    /// A site whose nodes have another sealer beside the one in use.
    pub fn with_other_sealer(network: Network, root: Root, other: Arc<dyn Sealer>) -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        let sealer = Arc::new(local_sealer(&dir, "sealing.key"));
        let sealers = Sealers::new(sealer.clone(), vec![other]);
        Arc::new(Self { pki: Pki::new(), network: Arc::new(network), root, sealer, sealers, dir })
    }

    /// Starts a node that belongs to no cluster yet.
    pub async fn node(self: &Arc<Self>, id: u64) -> Node {
        let name = format!("node{id}");
        let config = DoorConfig {
            name: format!("peer of {name}"),
            addr: "127.0.0.1:0".parse().unwrap(),
            tls: Some(self.pki.server(&name, ALPN_PEER)),
            admit: None,
            limits: DoorLimits::peer(),
        };
        let door = Door::bind(config).await.unwrap();
        let api_url = format!("https://127.0.0.1:{}", 9000 + 10 * (id - 1));
        let member =
            Member { name: name.clone(), peer_addr: door.local_addr().to_string(), api_url, ..Member::default() };
        let keyring = Arc::new(Keyring::new(&KeyringOptions::default()).unwrap());
        let custody = Custody::new(keyring.clone(), self.sealers.clone(), CLUSTER_ID);
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(custody.clone().run()));
        let settling = custody.clone();
        let options = ClusterOptions {
            node_id: id,
            cluster_id: CLUSTER_ID,
            member: member.clone(),
            data_dir: self.dir.path().join(&name),
            peer_tls: client_config(&self.pki.client(&name), ALPN_PEER).unwrap(),
            timing: timing(),
            snapshot_every: 10_000,
            disk: any_disk(),
            outbox: consigner_raft::OutboxOptions::default(),
            on_keys: feed(custody.clone()),
            on_settle: Arc::new(move || {
                let custody = settling.clone();
                Box::pin(async move { custody.settled().await })
            }),
            on_policy: Arc::new(|_| {}),
            describe: Arc::new(consigner_raft::Description::default),
            join_token: Arc::new(|| None),
            on_fatal: Arc::new(|why| panic!("the node must stop: {why}")),
        };
        let (cluster, peers) = Cluster::open(options).await.unwrap();
        tokio::spawn(door.serve(peers, stop.clone()));
        let app = Arc::new(self.app(cluster, custody));
        Node { router: router(app.clone()), app, member, site: self.clone(), _peer_door: stop.drop_guard() }
    }

    fn app(&self, cluster: Cluster, custody: Arc<Custody>) -> App {
        let identity = ClusterIdentity {
            cluster_id: CLUSTER_ID,
            network: self.network.name().to_owned(),
            genesis_validators_root: self.root,
        };
        App {
            cluster,
            keyring: custody.keyring().clone(),
            custody,
            decrypt: Arc::new(DecryptPool::new(NonZeroUsize::MIN, 512 << 20)),
            network: self.network.clone(),
            identity,
            hosts: HostAllowlist::parse(&["localhost", "127.0.0.1"]).unwrap(),
            follower_requests: FollowerRequests::Auto,
            admins: vec!["admin".to_owned()],
            clients: ClientPolicy::Named(vec!["client".to_owned()]),
            admin_ca_required: false,
            admin_on_api: true,
            oauth: None,
            limits: Limits::default(),
            keymanager: None,
            audit: Auditor::to_log_only(),
            reload: None,
            archive: None,
        }
    }
}

impl Node {
    /// A node that belongs to no cluster yet.
    pub async fn lonely(network: Network, root: Root) -> Self {
        Site::new(network, root).node(NODE).await
    }

    /// A cluster of one node that holds these keys.
    pub async fn with_keys(network: Network, root: Root, secrets: &[SecretKey]) -> Self {
        let node = Self::lonely(network, root).await;
        node.initialise(&[&node]).await;
        node.import(secrets).await;
        node.until_ready().await;
        node
    }

    pub async fn initialise(&self, members: &[&Self]) {
        let members: Vec<Value> = members.iter().map(|node| node.member_json()).collect();
        let init = serde_json::json!({ "members": members }).to_string();
        let answer = post("/admin/v1/cluster/init", init).by("admin").of(self).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    pub fn member_json(&self) -> Value {
        let Member { name, peer_addr, api_url, .. } = &self.member;
        let id = self.app.cluster.node_id();
        serde_json::json!({"id": id, "name": name, "peer_addr": peer_addr, "api_url": api_url})
    }

    /// Another router over the same node.
    pub fn router_with(&self, follower_requests: FollowerRequests) -> axum::Router {
        router(self.app_with(|app| app.follower_requests = follower_requests))
    }

    /// The same node, otherwise configured.
    pub fn app_with(&self, change: impl FnOnce(&mut App)) -> Arc<App> {
        let mut app = self.site.app(self.app.cluster.clone(), self.app.custody.clone());
        change(&mut app);
        Arc::new(app)
    }

    pub async fn import(&self, secrets: &[SecretKey]) {
        let (data_key, plain) = self.site.sealer.new_data_key(&CLUSTER_ID).unwrap();
        let sealed = secrets.iter().map(|secret| seal(&plain, &CLUSTER_ID, secret).unwrap()).collect();
        self.propose_keys(data_key, sealed).await;
    }

    /// Imports a key whose record does not open on any node.
    pub async fn import_damaged(&self, secret: &SecretKey) {
        let (data_key, plain) = self.site.sealer.new_data_key(&CLUSTER_ID).unwrap();
        let mut sealed = seal(&plain, &CLUSTER_ID, secret).unwrap();
        sealed.ciphertext[0] ^= 1;
        self.propose_keys(data_key, vec![sealed]).await;
    }

    async fn propose_keys(&self, data_key: DataKey, sealed: Vec<SealedKey>) {
        let imports = sealed.into_iter().map(|sealed| Command::ImportKey { sealed, history: None, deletions_seen: 0 });
        let commands = std::iter::once(Command::AddDataKey(data_key)).chain(imports).collect();
        let outcomes = self.app.cluster.propose(commands, LONG).await.unwrap();
        let refused: Vec<_> = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Rejected(_))).collect();
        assert!(refused.is_empty(), "{refused:?}");
        self.app.cluster.settle(LONG).await.unwrap();
    }

    pub async fn until_ready(&self) {
        let deadline = Instant::now() + LONG;
        while get("/ready").of(self).await.status != 200 {
            assert!(Instant::now() < deadline, "the node never got ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn local_sealer(dir: &TempDir, name: &str) -> LocalSealer {
    let key_file = dir.path().join(name);
    LocalSealer::create_key_file(&key_file).unwrap();
    LocalSealer::from_key_file(&key_file).unwrap()
}

/// Brings the keys of the state into the keyring, as the node does.
fn feed(custody: Arc<Custody>) -> consigner_raft::OnKeys {
    Arc::new(move |fed| match fed {
        KeyFeed::Added { sealed, data_key } => custody.add(sealed, data_key),
        KeyFeed::Removed(public_key) => custody.remove(public_key),
        KeyFeed::DataKeyAdded(data_key) => custody.add_data_key(data_key),
        KeyFeed::DataKeyRemoved(id) => custody.remove_data_key(id),
        KeyFeed::Replaced(state) => {
            custody.replace(state.data_keys().cloned().collect(), state.keys().cloned().collect())
        }
    })
}

pub fn secret(hexadecimal: &str) -> SecretKey {
    let bytes: [u8; 32] = hex::decode(hexadecimal.trim_start_matches("0x")).unwrap().try_into().unwrap();
    SecretKey::from_bytes(&bytes).unwrap()
}

pub fn sign_path(key: &PublicKey) -> String {
    format!("/api/v1/eth2/sign/{key}")
}

pub fn vectors() -> Option<PathBuf> {
    let path = std::env::var_os("CONSIGNER_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors"), PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: no vectors in {} (set CONSIGNER_VECTORS)", path.display());
    None
}
