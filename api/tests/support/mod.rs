//! What the tests over a real cluster of one node share: the node, its certificates, and how to ask it.
//!
//! Vectors stand outside the project: in `$CONSIGNER_VECTORS`, else in `../shared/vectors` beside its root.
#![allow(dead_code, clippy::print_stderr, reason = "each test file uses its part; a skipped test says so")]

pub mod pki;

use axum::body::Body;
use consigner_api::{App, ClientPolicy, FollowerRequests, Limits, router};
use consigner_gate::tls::{ALPN_PEER, client_config};
use consigner_gate::{HostAllowlist, Peer, PeerCertificate};
use consigner_keys::{Keyring, KeyringOptions, LocalSealer, SecretKey, seal};
use consigner_raft::{Cluster, ClusterOptions, KeyFeed, Member, Timing};
use consigner_rules::command::{ClusterIdentity, DataKey};
use consigner_rules::primitives::ClusterId;
use consigner_rules::{Command, Network, Outcome, PublicKey, Root, SealedKey};
use http::{HeaderMap, Method, Request, header};
use http_body_util::BodyExt as _;
use pki::Pki;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tower::ServiceExt as _;

/// Long enough never to matter.
pub const LONG: Duration = Duration::from_secs(30);

pub const CLUSTER_ID: ClusterId = ClusterId([0xc1; 16]);
pub const NODE: u64 = 1;

/// A cluster of one node behind the router.
pub struct Node {
    pub app: Arc<App>,
    pub router: axum::Router,
    pub pki: Pki,
    sealer: Arc<LocalSealer>,
    _dir: TempDir,
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
    peer: Option<&'static str>,
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
    Ask { request, body: Body::empty(), peer: Some("client") }
}

impl Ask {
    pub fn header(mut self, name: header::HeaderName, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn accept_json(self) -> Self {
        self.header(header::ACCEPT, "application/json")
    }

    /// The common name of the client's certificate.
    pub fn by(mut self, name: &'static str) -> Self {
        self.peer = Some(name);
        self
    }

    pub fn without_certificate(mut self) -> Self {
        self.peer = None;
        self
    }

    pub async fn of(mut self, node: &Node) -> Answer {
        if !self.request.headers_ref().unwrap().contains_key(header::HOST) {
            self.request = self.request.header(header::HOST, "localhost:9000");
        }
        let certificate = self.peer.map(|name| {
            Arc::new(PeerCertificate {
                common_name: Some(name.to_owned()),
                dns_names: Vec::new(),
                uris: Vec::new(),
                fingerprint_sha256: [7; 32],
                not_after_unix: i64::MAX,
            })
        });
        let peer = Peer { addr: "127.0.0.1:5555".parse().unwrap(), certificate };
        let request = self.request.extension(peer).body(self.body).unwrap();
        let (parts, body) = node.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

impl Node {
    /// A node that belongs to no cluster yet.
    pub async fn lonely(network: Network, root: Root) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::new();
        let key_file = dir.path().join("sealing.key");
        LocalSealer::create_key_file(&key_file).unwrap();
        let sealer = Arc::new(LocalSealer::from_key_file(&key_file).unwrap());
        let keyring = Arc::new(Keyring::new(&KeyringOptions::default()).unwrap());
        let options = ClusterOptions {
            node_id: NODE,
            cluster_id: CLUSTER_ID,
            member: member(),
            data_dir: dir.path().join("data"),
            peer_tls: client_config(&pki.client("node1"), ALPN_PEER).unwrap(),
            timing: Timing::default(),
            snapshot_every: 10_000,
            on_keys: feed(keyring.clone(), sealer.clone()),
            on_fatal: Arc::new(|why| panic!("the node must stop: {why}")),
        };
        let (cluster, _peers) = Cluster::open(options).await.unwrap();
        let identity = ClusterIdentity {
            cluster_id: CLUSTER_ID,
            network: network.name().to_owned(),
            genesis_validators_root: root,
        };
        let app = Arc::new(App {
            cluster,
            keyring,
            network: Arc::new(network),
            identity,
            hosts: HostAllowlist::parse(&["localhost", "127.0.0.1"]).unwrap(),
            follower_requests: FollowerRequests::Auto,
            admins: vec!["admin".to_owned()],
            clients: ClientPolicy::Named(vec!["client".to_owned()]),
            limits: Limits::default(),
        });
        Self { router: router(app.clone()), app, pki, sealer, _dir: dir }
    }

    /// A cluster that holds these keys.
    pub async fn with_keys(network: Network, root: Root, secrets: &[SecretKey]) -> Self {
        let node = Self::lonely(network, root).await;
        let init = serde_json::json!({"members": [member_json()]}).to_string();
        let answer = post("/admin/v1/cluster/init", init).by("admin").of(&node).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        node.import(secrets).await;
        node.until_ready().await;
        node
    }

    pub async fn import(&self, secrets: &[SecretKey]) {
        let (data_key, plain) = self.sealer.new_data_key(&CLUSTER_ID).unwrap();
        let imports = secrets
            .iter()
            .map(|secret| Command::ImportKey { sealed: seal(&plain, &CLUSTER_ID, secret).unwrap(), history: None });
        let commands = std::iter::once(Command::AddDataKey(data_key)).chain(imports).collect();
        let outcomes = self.app.cluster.propose(commands, LONG).await.unwrap();
        let refused: Vec<_> = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Rejected(_))).collect();
        assert!(refused.is_empty(), "{refused:?}");
    }

    pub async fn until_ready(&self) {
        let deadline = Instant::now() + LONG;
        while get("/ready").of(self).await.status != 200 {
            assert!(Instant::now() < deadline, "the node never got ready");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub fn member() -> Member {
    Member {
        name: "node1".to_owned(),
        peer_addr: "127.0.0.1:9001".to_owned(),
        api_url: "https://127.0.0.1:9000".to_owned(),
    }
}

pub fn member_json() -> Value {
    let member = member();
    serde_json::json!({"id": NODE, "name": member.name, "peer_addr": member.peer_addr, "api_url": member.api_url})
}

/// Brings the keys of the state into the keyring, as the node does.
fn feed(keyring: Arc<Keyring>, sealer: Arc<LocalSealer>) -> consigner_raft::OnKeys {
    let hold = move |sealed: &SealedKey, data_key: &DataKey| {
        let plain = sealer.unwrap_data_key(data_key, &CLUSTER_ID).unwrap();
        keyring.insert(sealed, &plain, &CLUSTER_ID).unwrap();
    };
    Arc::new(move |fed| match fed {
        KeyFeed::Added { sealed, data_key } => hold(sealed, data_key),
        KeyFeed::Replaced(state) => {
            for sealed in state.keys() {
                hold(sealed, state.data_key(&sealed.data_key).unwrap());
            }
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
