//! The cluster of the table, everybody who calls it, and what its audit says.

use super::document::{OVERLAY, policy};
use super::policy::apply;
use super::row::{Ask, CUT, Door, Line, Row, Shows};
use super::world::{NODES, POLL, World, key, until};
use bytes::Bytes;
use consigner_chaos::faults::until_restarted;
use consigner_chaos::oracle::Content;
use consigner_chaos::perimeter::credentials::{self, ADMIN};
use consigner_chaos::perimeter::jwt::{AUDIENCE, ISSUER, Issuer};
use consigner_chaos::perimeter::{Authority, Call, Caller, Came, Identity, Subject, Tool};
use consigner_gate::ClientTls;
use consigner_rules::SigningType;
use http::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Interop validators; the last one is for loads beside the table.
pub const VALIDATORS: u64 = 4;

/// Offsets of the listeners of their own from the API port.
const KEYMANAGER_OFFSET: u16 = 3;
const ADMIN_OFFSET: u16 = 4;
const TOKEN_OFFSET: u16 = 5;

/// Differences after which no more are looked for on a node.
const DIFFERENCES_MAX: usize = 12;

/// A line of the audit is written beside the answer, by another thread.
const LINE_DEADLINE: Duration = Duration::from_secs(60);

/// Whose certificates are out of their time.
const UNTIMELY: [&str; 2] = ["early", "expired"];

/// A slot of many centuries ahead.
const FAR_AHEAD: u64 = 1 << 40;

/// Whether there is a policy yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The nodes' own configuration decides.
    Before,
    /// The policy does.
    After,
}

/// The cluster and everybody around it.
pub struct Scene {
    /// The cluster.
    pub world: World,
    callers: BTreeMap<&'static str, Caller>,
    /// Those for whom curl calls.
    untimely: BTreeMap<&'static str, Identity>,
    texts: BTreeMap<&'static str, String>,
    curl: Option<Tool>,
    /// Of the pinned certificate.
    pinned: String,
    steps: AtomicU64,
}

impl Scene {
    /// Starts the cluster with listeners of their own for key managers, operators and tokens.
    pub async fn start() -> Self {
        let issuer = Issuer::new("first").unwrap();
        let admins = Authority::new("administrators").unwrap();
        let mut files = vec![
            ("certs/jwks.json".to_owned(), issuer.jwks()),
            ("certs/admins-ca.pem".to_owned(), admins.pem().to_owned()),
            ("certs/admins.crl".to_owned(), admins.revoked(&[]).unwrap()),
        ];
        files.extend(credentials::pair("certs/admin", admins.issue(&Subject::client(ADMIN)).unwrap()));
        let world = World::start_with(OVERLAY, VALIDATORS, |_| files).await;
        let (identities, revoked) = identities(&world, &admins);
        let pinned = identities["vc-pinned"].leaf.fingerprint.clone();
        let (untimely, timely): (BTreeMap<_, _>, BTreeMap<_, _>) =
            identities.into_iter().partition(|(stem, _)| UNTIMELY.contains(stem));
        let mut callers: BTreeMap<&'static str, Caller> =
            timely.into_iter().map(|(stem, identity)| (stem, Caller::new(&identity.files).unwrap())).collect();
        callers.insert("dev-client", Caller::new(&world.cluster.manifest().client()).unwrap());
        callers.insert("dev-admin", world.admin());
        let curl = Tool::find("curl", "callers without a certificate, and with one that is out of its time");
        let scene = Self { world, callers, untimely, texts: texts(&issuer), curl, pinned, steps: AtomicU64::new(1) };
        let list = scene.world.credentials.clients.revoked(&[revoked]).unwrap();
        scene.world.lay(&[("certs/clients.crl".to_owned(), list)]);
        scene.open_listeners().await;
        scene
    }

    /// Gives each node ports of its own, which no overlay can, and starts all of them again.
    async fn open_listeners(&self) {
        for node in NODES {
            let file = self.config(node);
            let listen = |offset| format!("  listen: {}\n", self.listener(node, offset));
            let text = std::fs::read_to_string(&file).unwrap();
            let text = text.replace("\nkeymanager:\n", &format!("\nkeymanager:\n{}", listen(KEYMANAGER_OFFSET)));
            let text = format!("{text}\nadmin:\n{}token-door:\n{}", listen(ADMIN_OFFSET), listen(TOKEN_OFFSET));
            std::fs::write(&file, text).unwrap();
        }
        let victims: Vec<(u64, u32)> = NODES.map(|node| (node, self.world.cluster.pid(node).unwrap())).into();
        for (_, pid) in &victims {
            self.world.cluster.signal(*pid, Signal::TERM).unwrap();
        }
        self.until_back(&victims).await;
    }

    /// Waits until nodes run as other processes and all are ready.
    pub async fn until_back(&self, victims: &[(u64, u32)]) {
        until_restarted(&self.world.cluster, &self.world.courier(), victims).await.unwrap();
    }

    /// A node's configuration.
    pub fn config(&self, node: u64) -> PathBuf {
        self.world.cluster.dir().join(format!("node{node}/config.yaml"))
    }

    fn listener(&self, node: u64, offset: u16) -> SocketAddr {
        let mut address = self.world.api(node);
        address.set_port(address.port() + offset);
        address
    }

    /// Where a door is.
    pub fn door(&self, node: u64, door: Door) -> SocketAddr {
        match door {
            Door::Api => self.world.api(node),
            Door::KeyManager => self.listener(node, KEYMANAGER_OFFSET),
            Door::Admin => self.listener(node, ADMIN_OFFSET),
            Door::Token => self.listener(node, TOKEN_OFFSET),
            Door::Metrics => self.world.metrics_door(node),
        }
    }

    /// Applies the policy of the table through a node.
    pub async fn apply(&self, node: u64) {
        let keys: Vec<_> = (0..VALIDATORS).map(key).collect();
        apply(&self.world, self.door(node, Door::Admin), &policy(&keys, &self.pinned)).await;
    }

    /// Makes the tokens of the table, one of which is revoked.
    pub async fn make_tokens(&mut self, node: u64) {
        for name in ["signer", "revoked"] {
            let body = json!({"name": name, "roles": ["validator"]}).to_string();
            let made = self.operate(node, "/admin/v1/policy/tokens", body).await;
            self.texts.insert(name, made["token"].as_str().unwrap().to_owned());
            if name == "revoked" {
                let body = json!({"id": made["id"]}).to_string();
                self.operate(node, "/admin/v1/policy/tokens/revoke", body).await;
            }
        }
    }

    async fn operate(&self, node: u64, path: &str, body: String) -> Value {
        let came = self.world.admin().call(self.door(node, Door::Admin), &Call::post(path, body)).await;
        assert_eq!(came.status(), Some(200), "{path}: {came}");
        serde_json::from_str(&came.text()).unwrap()
    }

    /// Asks one node everything; what did not come as the table says.
    pub async fn differences(&self, node: u64, phase: Phase, rows: &[&Row]) -> Vec<String> {
        let mut differences = Vec::new();
        for row in rows {
            // A line that does not come is waited for; so many do not come by mistake.
            if differences.len() >= DIFFERENCES_MAX {
                break;
            }
            if let Some(difference) = self.difference(node, phase, row).await {
                differences.push(difference);
            }
        }
        differences
    }

    async fn difference(&self, node: u64, phase: Phase, row: &Row) -> Option<String> {
        let ((before, after), (line_before, line_after)) = (row.status, row.line);
        let (expected, line) = match phase {
            Phase::Before => (before, line_before),
            Phase::After => (after, line_after),
        };
        let known = self.audit(node).len();
        let came = self.asked(node, row).await?;
        let place = format!("node {node}, {phase:?}: {}", row.name);
        if came.status().unwrap_or(CUT) != expected {
            return Some(format!("{place}: expected {expected}, came {came}"));
        }
        let line = line?;
        let seen = self.line_since(node, known, line).await.err()?;
        Some(format!("{place}: no line of the audit like {line:?}, but\n  {}", seen.join("\n  ")))
    }

    /// `None`: it cannot be asked on this machine.
    async fn asked(&self, node: u64, row: &Row) -> Option<Came> {
        let (door, call) = (self.door(node, row.door), self.call(row));
        if row.door == Door::Metrics {
            return Some(self.callers["dev-client"].call_plainly(door, &call).await);
        }
        if let Some(caller) = self.callers.get(row.who) {
            return Some(caller.call(door, &call).await);
        }
        let ca = self.world.cluster.dir().join("certs/ca.pem");
        let own = self.untimely.get(row.who).map(|identity| &identity.files);
        assert!(own.is_some() || row.who.is_empty(), "nobody is {}", row.who);
        Some(call.by_curl(self.curl.as_ref()?, door, &ca, own).await)
    }

    fn call(&self, row: &Row) -> Call {
        let call = match row.ask {
            Ask::Get(path) => Call::get(path),
            Ask::Post(path) => Call::post(path, "{}"),
            Ask::DeleteNothing => {
                Call::new(Method::DELETE, "/eth/v1/keystores", Bytes::from_static(b"{\"pubkeys\":[]}"))
            }
            Ask::Vote(_)
            | Ask::Block(_)
            | Ask::Sync(_)
            | Ask::Ahead(_)
            | Ask::Exit(_)
            | Ask::Deposit(_)
            | Ask::Registration(_)
            | Ask::ForeignRegistration(_) => self.signing(row.ask),
        };
        let authorization = match row.shows {
            Shows::Nothing => None,
            Shows::Token(name) | Shows::Text(name) => Some(format!("Bearer {}", self.texts[name])),
            Shows::Password(name) => Some(credentials::basic("anybody", &self.texts[name])),
        };
        let host = row.host.map(str::to_owned);
        Call { authorization, host, from: row.from, on_behalf_of: row.on_behalf_of, ..call }
    }

    /// Each message is a new one, so that nothing is a repetition that was judged before.
    fn signing(&self, ask: Ask) -> Call {
        let step = self.steps.fetch_add(1, Ordering::Relaxed);
        let (chain, epoch) = (&self.world.chain, self.world.chain.modern_epoch() + step);
        let unslashable = |kind| Content::Unslashable { kind };
        let (number, content, head) = match ask {
            Ask::Vote(number) => (number, Content::Attestation { source: epoch, target: epoch + 1 }, step),
            Ask::Block(number) => (number, Content::Block { slot: epoch * chain.slots_per_epoch() }, step),
            Ask::Sync(number) => (number, unslashable(SigningType::SyncCommitteeMessage), step),
            Ask::Ahead(number) => (number, unslashable(SigningType::SyncCommitteeMessage), FAR_AHEAD + step),
            Ask::Exit(number) => (number, unslashable(SigningType::VoluntaryExit), step),
            Ask::Deposit(number) => (number, unslashable(SigningType::Deposit), step),
            Ask::Registration(number) | Ask::ForeignRegistration(number) => {
                (number, unslashable(SigningType::ValidatorRegistration), step)
            }
            Ask::Get(_) | Ask::Post(_) | Ask::DeleteNothing => unreachable!("nothing to sign"),
        };
        let message = chain.message(key(number), content, head).unwrap();
        let mut body = String::from_utf8(message.body.to_vec()).unwrap();
        if matches!(ask, Ask::ForeignRegistration(_)) {
            body = body.replace(super::document::FEE_RECIPIENT, &format!("0x{}", "66".repeat(20)));
        }
        Call::post(&format!("/api/v1/eth2/sign/{}", key(number)), body)
    }

    /// Every line of a node's audit that tells of an event.
    pub fn audit(&self, node: u64) -> Vec<String> {
        let dir = self.world.cluster.dir().join(format!("node{node}/data/audit"));
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
        files.sort();
        let lines = files.iter().map(|file| std::fs::read_to_string(file).unwrap_or_default());
        // The last line may be half-written.
        let whole = lines.flat_map(|text| {
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            text[..whole].lines().map(str::to_owned).collect::<Vec<_>>()
        });
        whole.filter(|line| line.contains("\"kind\":\"event\"")).collect()
    }

    /// Waits for a line after the first `known` ones; else those that came.
    async fn line_since(&self, node: u64, known: usize, line: Line) -> Result<(), Vec<String>> {
        let until = Instant::now() + LINE_DEADLINE;
        loop {
            let new: Vec<String> = self.audit(node).into_iter().skip(known).collect();
            if new.iter().any(|text| is_like(text, line)) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(new);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The files of the client that the policy does not know.
    pub fn client(&self) -> ClientTls {
        self.world.cluster.manifest().client()
    }

    /// Waits until the process of a node is gone.
    pub async fn until_gone(&self, pid: u32) {
        until("the end of a node", async || self.world.cluster.signal(pid, Signal::CONT).is_err()).await;
    }
}

fn is_like(text: &str, line: Line) -> bool {
    let Ok(seen) = serde_json::from_str::<Value>(text) else { return false };
    let names = |field: &str| seen[field].as_str().unwrap_or_default().contains(line.names);
    seen["operation"] == line.operation && seen["outcome"] == line.outcome && (names("identity") || names("reason"))
}

/// Everybody, and the serial number of the one that is revoked.
fn identities(world: &World, admins: &Authority) -> (BTreeMap<&'static str, Identity>, u64) {
    let client = Subject::client;
    let subjects = [
        ("vc-cn", client("vc-cn")),
        ("vc-dns", client("vc-dns").dns("vc.example")),
        ("vc-spiffe", client("vc-spiffe").uri("spiffe://example/vc")),
        ("vc-pinned", client("vc-pinned")),
        ("vc-impostor", client("vc-pinned")),
        ("vc-unlisted", client("vc-unlisted")),
        ("vc-votes", client("vc-votes")),
        ("vc-exits", client("vc-exits")),
        ("viewer", client("viewer")),
        ("nobody", client("nobody")),
        ("false-admin", client(ADMIN)),
        ("expired", client("vc-cn").expired()),
        ("early", client("vc-cn").early()),
        ("servers-only", client("vc-cn").for_servers_only()),
        ("revoked", client("vc-cn")),
    ];
    let mut identities: BTreeMap<&'static str, Identity> =
        subjects.into_iter().map(|(stem, subject)| (stem, world.identity(stem, &subject))).collect();
    for stem in ["old-admin", "auditor", "keeper", "visitor"] {
        let leaf = admins.issue(&client(stem)).unwrap();
        identities.insert(stem, credentials::identity(world.cluster.dir(), stem, leaf).unwrap());
    }
    let stranger = Authority::new("strangers").unwrap().issue(&client("vc-cn")).unwrap();
    identities.insert("foreign", credentials::identity(world.cluster.dir(), "foreign", stranger).unwrap());
    let revoked = identities["revoked"].leaf.serial;
    (identities, revoked)
}

/// Texts of tokens; those of the cluster are only shaped like one until there are some.
fn texts(issuer: &Issuer) -> BTreeMap<&'static str, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = |audience: &str, group: &str, ends: u64| {
        let begun = now - 7200;
        json!({"iss": ISSUER, "aud": audience, "sub": "somebody", "groups": [group], "iat": begun, "exp": ends})
    };
    let (day, ago) = (now + 86_400, now - 3600);
    let token = |issuer: &Issuer, claims: &Value| issuer.token(claims).unwrap();
    // A key of the same name.
    let forger = Issuer::new("first").unwrap();
    let shaped = format!("cst_{}_{}", "1".repeat(16), "2".repeat(64));
    BTreeMap::from([
        ("signer", shaped.clone()),
        ("revoked", shaped.clone()),
        ("forged", shaped),
        ("jwt", token(issuer, &claims(AUDIENCE, "consigner-ops", day))),
        ("jwt-guest", token(issuer, &claims(AUDIENCE, "guests", day))),
        ("jwt-expired", token(issuer, &claims(AUDIENCE, "consigner-ops", ago))),
        ("jwt-audience", token(issuer, &claims("others", "consigner-ops", day))),
        ("jwt-forged", token(&forger, &claims(AUDIENCE, "consigner-ops", day))),
    ])
}
