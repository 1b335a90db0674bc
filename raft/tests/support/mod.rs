//! A cluster in one process: real log, real disks, real mutual TLS over loopback.

#![allow(dead_code, reason = "every test binary uses its own part of this module")]

pub mod mirror;
mod ports;
pub mod rights;

use consigner_gate::tls::{ALPN_PEER, client_config};
use consigner_gate::{ClientTls, Door, DoorConfig, DoorLimits, ReloadableTls, ServerTls};
use consigner_raft::{
    AddMember, AuthorizeError, Cluster, ClusterOptions, DiskOptions, InitialiseError, Leadership, Member, OpenError,
    OutboxOptions, Routing, Timing, join_token_hash,
};
use consigner_rules::command::{ClusterIdentity, DataKey};
use consigner_rules::message::SignPath;
use consigner_rules::primitives::ClusterId;
use consigner_rules::slashing::AgreedDuty;
use consigner_rules::{Command, Outcome, Particulars, PublicKey, Root, SealedKey, SignRequest, SigningType};
use consigner_storage::DiskSpace;
use mirror::Mirror;
use ports::free_port;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rights::Rights;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const CLUSTER: ClusterId = ClusterId([7; 16]);
pub const KEY: PublicKey = PublicKey([1; 48]);
pub const GENESIS: Root = Root([9; 32]);
/// How long anything may take on a machine that is loaded and slow.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct Lab {
    pub dir: TempDir,
    ca: Issuer<'static, KeyPair>,
    pub nodes: BTreeMap<u64, Node>,
    members: BTreeMap<u64, Member>,
    snapshot_every: u64,
    pub timing: Timing,
    /// Other than a disk with room, by node; taken at its next start.
    pub disks: BTreeMap<u64, DiskOptions>,
    /// Other than the default, by node; taken at its next start.
    pub outboxes: BTreeMap<u64, OutboxOptions>,
    /// Hashes of join tokens, by node; taken at its next start.
    tokens: BTreeMap<u64, [u8; 32]>,
}

pub struct Node {
    pub cluster: Cluster,
    stop: CancellationToken,
    door: JoinHandle<usize>,
    pub fatal: Arc<Mutex<Vec<String>>>,
    pub mirror: Arc<Mirror>,
    pub rights: Arc<Rights>,
}

impl Node {
    /// Why it had to stop; empty as long as it need not.
    pub fn fatal(&self) -> String {
        self.fatal.lock().unwrap().join("; ")
    }

    pub async fn stop(self) {
        self.stop.cancel();
        // Deafened before, it has ended already.
        if !self.door.is_finished() {
            self.door.await.unwrap();
        }
        self.cluster.shutdown(Duration::from_millis(1)).await;
    }
}

impl Lab {
    pub fn new(nodes: u64, snapshot_every: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "peers");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        std::fs::write(dir.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let members = (1..=nodes)
            .map(|id| {
                let peer_addr = format!("127.0.0.1:{}", free_port());
                let (name, api_url) = (format!("node{id}"), format!("https://127.0.0.1:{id}"));
                (id, Member { name, peer_addr, api_url, ..Member::default() })
            })
            .collect();
        let lab = Self {
            dir,
            ca: Issuer::new(params, key),
            nodes: BTreeMap::new(),
            members,
            snapshot_every,
            disks: BTreeMap::new(),
            outboxes: BTreeMap::new(),
            tokens: BTreeMap::new(),
            timing: Timing::default(),
        };
        for id in 1..=nodes {
            lab.issue(id);
        }
        lab
    }

    fn issue(&self, id: u64) {
        self.issue_as(id, &format!("node{id}"));
    }

    /// A certificate for the next start of a node, of this common name.
    pub fn issue_as(&self, id: u64, name: &str) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        std::fs::write(self.file(id, "cert"), params.signed_by(&key, &self.ca).unwrap().pem()).unwrap();
        std::fs::write(self.file(id, "key"), key.serialize_pem()).unwrap();
    }

    fn file(&self, id: u64, what: &str) -> PathBuf {
        self.dir.path().join(format!("node{id}-{what}.pem"))
    }

    pub fn data_dir(&self, id: u64) -> PathBuf {
        self.dir.path().join(format!("node{id}"))
    }

    pub async fn start(&mut self, id: u64) {
        let node = self.try_start(id).await.unwrap();
        self.nodes.insert(id, node);
    }

    pub async fn try_start(&self, id: u64) -> Result<Node, OpenError> {
        self.try_start_with(self.members[&id].clone(), id, self.data_dir(id)).await
    }

    /// A second node of one id, with a copy of its disk, somewhere else.
    pub async fn start_elsewhere(&self, id: u64, data_dir: PathBuf) -> Node {
        let peer_addr = format!("127.0.0.1:{}", free_port());
        let member = Member { peer_addr, ..self.members[&id].clone() };
        self.try_start_with(member, id, data_dir).await.unwrap()
    }

    async fn try_start_with(&self, member: Member, id: u64, data_dir: PathBuf) -> Result<Node, OpenError> {
        let token = self.tokens.get(&id).copied();
        let ca = self.dir.path().join("ca.pem");
        let (cert, key) = (self.file(id, "cert"), self.file(id, "key"));
        let tls = ClientTls { cert: cert.clone(), key: key.clone(), ca: ca.clone() };
        let fatal: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&fatal);
        let mirror: Arc<Mirror> = Arc::default();
        let rights: Arc<Rights> = Arc::default();
        let told = Arc::clone(&rights);
        let (fed, settling) = (Arc::clone(&mirror), Arc::clone(&mirror));
        let options = ClusterOptions {
            node_id: id,
            cluster_id: CLUSTER,
            member: member.clone(),
            data_dir,
            peer_tls: client_config(&tls, ALPN_PEER).unwrap(),
            timing: self.timing.clone(),
            snapshot_every: self.snapshot_every,
            disk: self.disks.get(&id).cloned().unwrap_or_else(|| disk_at(Arc::new(AtomicU64::new(10)))),
            outbox: self.outboxes.get(&id).cloned().unwrap_or_default(),
            on_keys: Arc::new(move |feed| fed.take(feed)),
            on_settle: Arc::new(move || Box::pin(Arc::clone(&settling).settled())),
            on_policy: Arc::new(move |state| told.take(state)),
            describe: Arc::new(consigner_raft::Description::default),
            join_token: Arc::new(move || token),
            on_fatal: Arc::new(move |reason| noted.lock().unwrap().push(reason.to_owned())),
        };
        let (cluster, service) = Cluster::open(options).await?;
        let addr: SocketAddr = member.peer_addr.parse().unwrap();
        let server = ReloadableTls::load(ServerTls { cert, key, client_ca: ca }, ALPN_PEER).unwrap();
        let config = DoorConfig {
            name: "peer".to_owned(),
            addr,
            tls: Some(server),
            admit: None,
            limits: DoorLimits { drain_timeout: Duration::from_millis(10), ..DoorLimits::peer() },
        };
        let stop = CancellationToken::new();
        let door = Door::bind(config).await.unwrap();
        let door = tokio::spawn(door.serve(service, stop.clone()));
        Ok(Node { cluster, stop, door, fatal, mirror, rights })
    }

    /// Stops a node: its door closes first, so that it is cut off before it can say goodbye.
    pub async fn stop(&mut self, id: u64) {
        self.nodes.remove(&id).unwrap().stop().await;
    }

    /// Starts a new node with a join token, and says how it is to be added.
    pub async fn newcomer(&mut self, id: u64, promote: bool) -> AddMember {
        let cluster = self.nodes.values().next().unwrap().cluster.clone();
        // Raised within a second or two of the cluster's birth; before that there are no tokens.
        until("the rules", || cluster.read(|state| state.rules_version()) >= 2).await;
        let token = cluster.join_token_create(id, Duration::from_secs(600)).await;
        let hash = join_token_hash(&token.unwrap().text);
        AddMember { promote, ..self.stranger(id, Some(hash)).await }
    }

    /// Starts a new node, or the same again, that shows the join token of this hash.
    pub async fn stranger(&mut self, id: u64, token: Option<[u8; 32]>) -> AddMember {
        if self.nodes.contains_key(&id) {
            self.stop(id).await;
        }
        self.tokens.remove(&id);
        self.tokens.extend(token.map(|token| (id, token)));
        #[allow(clippy::map_entry, reason = "the entry would borrow what the certificate is made of")]
        if !self.members.contains_key(&id) {
            let peer_addr = format!("127.0.0.1:{}", free_port());
            let (name, api_url) = (format!("node{id}"), format!("https://127.0.0.1:{id}"));
            self.members.insert(id, Member { name, peer_addr, api_url, ..Member::default() });
            self.issue(id);
        }
        self.start(id).await;
        let Member { peer_addr, api_url, .. } = self.members[&id].clone();
        AddMember { node: id, peer_addr, api_url, catch_up: DEADLINE, promote: true }
    }

    /// Cuts a node off: it hears nobody any more, and goes on.
    pub async fn deafen(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.stop.cancel();
        (&mut node.door).await.unwrap();
    }

    /// Starts all nodes, makes the cluster, imports [`KEY`].
    pub async fn up(nodes: u64, snapshot_every: u64) -> Self {
        let mut lab = Self::new(nodes, snapshot_every);
        lab.found().await;
        lab
    }

    /// As [`Lab::up`], for tests in which the leader must not change by itself: see [`steady`].
    pub async fn steady(nodes: u64, snapshot_every: u64) -> Self {
        let mut lab = Self::new(nodes, snapshot_every);
        lab.timing = steady();
        lab.found().await;
        lab
    }

    /// As [`Lab::up`], of a lab that was made already.
    pub async fn found(&mut self) {
        for id in self.members.keys().copied().collect::<Vec<_>>() {
            self.start(id).await;
        }
        let identity =
            ClusterIdentity { cluster_id: CLUSTER, network: "test".to_owned(), genesis_validators_root: GENESIS };
        let (began, mut is_repeated) = (Instant::now(), false);
        loop {
            match self.nodes[&1].cluster.initialise(self.members.clone(), identity.clone()).await {
                Ok(()) => break,
                // The answer to the first call was lost.
                Err(InitialiseError::AlreadyInitialised) if is_repeated => break,
                Err(InitialiseError::Unavailable(_)) if began.elapsed() < DEADLINE => is_repeated = true,
                Err(error) => panic!("{error}"),
            }
        }
        let data_key = DataKey { id: [3; 16], sealer: "test".to_owned(), wrapped: vec![1, 2, 3] };
        let commands = vec![Command::AddDataKey(data_key), import(KEY)];
        let outcomes = self.nodes[&1].cluster.propose(commands, DEADLINE).await.unwrap();
        // A duplicate of itself: an answer may be lost and the command agreed twice.
        assert!(matches!(outcomes[1], Outcome::KeyImported { public_key: KEY, .. }), "{outcomes:?}");
    }

    pub async fn leader(&self) -> u64 {
        let mut leader = None;
        until("a leader", || {
            leader = self.nodes.iter().find(|(_, n)| n.cluster.leadership() == Leadership::This).map(|(id, _)| *id);
            leader.is_some()
        })
        .await;
        leader.unwrap()
    }

    pub fn cluster(&self, id: u64) -> &Cluster {
        &self.nodes[&id].cluster
    }

    pub fn mirror(&self, id: u64) -> &Mirror {
        &self.nodes[&id].mirror
    }

    pub fn rights(&self, id: u64) -> &Rights {
        &self.nodes[&id].rights
    }

    /// Waits until all these nodes have settled, none of them left out because it was late with an answer.
    pub async fn all_settled(&self, asked: u64, nodes: &[u64]) {
        let began = Instant::now();
        while self.cluster(asked).settle(DEADLINE).await.unwrap().settled != nodes {
            assert!(began.elapsed() < DEADLINE, "not all nodes settle");
        }
    }

    /// A node that does not lead.
    pub async fn follower(&self) -> u64 {
        let leader = self.leader().await;
        *self.nodes.keys().find(|id| **id != leader).unwrap()
    }
}

/// Under these a leader keeps its followers' faith although disk and processor keep it silent for seconds, as those of a
/// loaded machine do: for tests that name a leader and go on with it. A dead leader is replaced at once all the same.
pub fn steady() -> Timing {
    Timing { lease: Duration::from_secs(5), ..Timing::default() }
}

/// Copies a directory as it is now. A node may run in it: temporary files come and go below it.
pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else if let Err(error) = std::fs::copy(entry.path(), &target) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
        }
    }
}

/// A disk of 100 GiB whose use a test sets, percent: how full the disk below it really is must not decide a test.
pub fn disk_at(percent: Arc<AtomicU64>) -> DiskOptions {
    const GIB: u64 = 1 << 30;
    let probe = move |_: &Path| {
        let used = percent.load(Ordering::Relaxed) * GIB;
        Ok(DiskSpace { total: 100 * GIB, used, free: 100 * GIB - used })
    };
    DiskOptions { probe: Arc::new(probe), ..DiskOptions::default() }
}

pub fn sealed(public_key: PublicKey, data_key: u8) -> SealedKey {
    SealedKey { format: 1, public_key, data_key: [data_key; 16], nonce: [0; 12], ciphertext: vec![0; 48] }
}

/// Imports a key without history.
pub fn import(public_key: PublicKey) -> Command {
    Command::ImportKey { sealed: sealed(public_key, 3), history: None, deletions_seen: u64::MAX }
}

pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < DEADLINE, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub fn attestation(source_epoch: u64, target_epoch: u64, root: u8) -> SignRequest {
    request(SignPath::Agreed(AgreedDuty::Attestation { source_epoch, target_epoch }), SigningType::Attestation, root)
}

pub fn block(slot: u64, root: u8) -> SignRequest {
    request(SignPath::Agreed(AgreedDuty::Block { slot }), SigningType::BlockV2, root)
}

pub fn request(path: SignPath, signing_type: SigningType, root: u8) -> SignRequest {
    SignRequest {
        public_key: KEY,
        signing_type,
        signing_root: Root([root; 32]),
        genesis_validators_root: Some(GENESIS),
        path,
        particulars: Particulars::default(),
    }
}

/// Signs, or is refused for a reason: "unavailable" is asked again until the deadline, because an election on a busy
/// machine may take longer than a request waits.
pub async fn sign(cluster: &Cluster, request: &SignRequest) -> Result<Root, AuthorizeError> {
    let began = Instant::now();
    loop {
        match try_sign(cluster, request).await {
            Err(AuthorizeError::Unavailable { .. }) if began.elapsed() < DEADLINE => {}
            answer => return answer,
        }
    }
}

/// One try to sign; answers the root that the permit holds.
pub async fn try_sign(cluster: &Cluster, request: &SignRequest) -> Result<Root, AuthorizeError> {
    let permit = cluster.authorize(request, "client", Routing::Forward, &|_| Ok(())).await?;
    assert_eq!(permit.public_key(), &request.public_key);
    Ok(*permit.signing_root())
}
