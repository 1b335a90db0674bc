//! A development cluster whose archive is the test's Postgres, and what is asked of both.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use crate::archive_db::archive_db;
use crate::common::{Dev, START, STOP, attestation, deployment, free_base_port, mainnet};
use crate::postgres::{OWNER, PASSWORD, Postgres, READER, WRITER};
use consigner_node::client::ClusterClient;
use consigner_node::client::faults;
use consigner_node::client::signing::{Chain, Signed, public_keys, sign};
use consigner_rules::PublicKey;
use consigner_storage::archive::{Archive, Roles, migrate, verify};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long anything may take on a loaded machine; pauses between the exporter's tries are part of it.
const DEADLINE: Duration = Duration::from_secs(120);

/// Of the first attestation of `common::attestation`, behind the newest fork.
const FIRST_TARGET: u64 = 10;

pub struct Site<'p> {
    postgres: &'p Postgres,
    dir: tempfile::TempDir,
    dev: Dev,
    chain: Chain,
    key: PublicKey,
    /// Attestations that were acknowledged.
    signed: u64,
    /// Whether the database lost rows: then those that it has are the newest, without a hole among them.
    is_lossy: bool,
}

impl<'p> Site<'p> {
    pub async fn start(postgres: &'p Postgres, url: &str, binding: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        secret(&postgres.path("archive-password"), PASSWORD);
        let overlay = overlay(postgres, dir.path(), url, binding);
        let port = free_base_port(3).to_string();
        let arguments = ["--base-port", &port, "--validators", "1", "--config-overlay", overlay.to_str().unwrap()];
        let cluster = dir.path().join("cluster");
        let mut dev = Dev::start(&cluster, &arguments);
        dev.until_ready();
        let keys = public_keys(&deployment(&cluster).signer(2).unwrap().following(true)).await.unwrap();
        Self { postgres, dir, dev, chain: mainnet(), key: keys[0], signed: 0, is_lossy: false }
    }

    /// The same cluster with another way to the database.
    pub async fn restart_with(&mut self, url: &str, binding: &str) {
        self.dev.signal(Signal::TERM);
        assert_eq!(self.dev.ended(STOP).code(), Some(0), "{:#?}", self.dev.printed);
        let overlay = overlay(self.postgres, self.dir.path(), url, binding);
        self.dev = Dev::start(&self.dir(), &["--config-overlay", overlay.to_str().unwrap()]);
        self.dev.until_ready();
    }

    pub fn dir(&self) -> PathBuf {
        self.dir.path().join("cluster")
    }

    pub fn text(&self) -> &'static str {
        // The few texts of one test.
        Box::leak(self.dir().to_str().unwrap().to_owned().into_boxed_str())
    }

    pub fn admin(&self) -> ClusterClient {
        deployment(&self.dir()).admin().unwrap()
    }

    pub const fn signed(&self) -> u64 {
        self.signed
    }

    pub fn password(&self, text: &str) {
        secret(&self.postgres.path("archive-password"), text);
    }

    /// Signs so many attestations; each must succeed, with or without a database.
    pub async fn sign(&mut self, count: u64) {
        let signer = deployment(&self.dir()).signer(2).unwrap().following(true);
        for _ in 0..count {
            let duty = attestation(&self.chain, self.key, self.signed, 1);
            let until = Instant::now() + START;
            loop {
                match sign(&signer, &duty).await {
                    Ok(Signed::Signature(_)) => break,
                    // While leadership moves.
                    Ok(_) | Err(_) if Instant::now() < until => tokio::time::sleep(Duration::from_millis(50)).await,
                    other => panic!("not signed: {other:?}"),
                }
            }
            self.signed += 1;
        }
    }

    /// From now on only the newest rows are expected.
    pub const fn forget_the_lost(&mut self) {
        self.is_lossy = true;
    }

    pub async fn leader(&self) -> u64 {
        faults::leader(&self.admin()).await.unwrap()
    }

    /// `GET /admin/v1/archive` of the leader.
    pub async fn view(&self) -> Value {
        let until = Instant::now() + START;
        loop {
            let admin = self.admin();
            for endpoint in admin.endpoints() {
                let Ok(answer) = admin.only(endpoint).get_json("/admin/v1/archive", START).await else { continue };
                let Ok(view) = answer.json::<Value>() else { continue };
                if view["leader"] == true {
                    return view;
                }
            }
            assert!(Instant::now() < until, "no leader");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn status(&self) -> Value {
        self.view().await["exporter"].clone()
    }

    /// Waits until the leader says why it does not export.
    pub async fn paused(&self, class: &str, reason: &str) {
        let until = Instant::now() + DEADLINE;
        loop {
            let status = self.status().await;
            let text = status["trouble"]["reason"].as_str().unwrap_or_default();
            if status["trouble"]["class"] == class && text.contains(reason) {
                assert_eq!(status["state"], "paused");
                return;
            }
            assert!(Instant::now() < until, "no trouble {class} with {reason:?}: {status:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until everything that was signed is in the database, once, and the cluster agrees.
    pub async fn archived(&self) {
        let until = Instant::now() + DEADLINE;
        loop {
            let view = self.view().await;
            let status = &view["exporter"];
            if status["state"] == "exporting" && status["head"] == view["mark"] && self.holds_all() {
                return;
            }
            let found = self.found();
            assert!(Instant::now() < until, "{found:?} of {} attestations are there: {view:#}", self.signed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Every attestation has a target of its own, one higher than the one before.
    fn holds_all(&self) -> bool {
        let Some((count, targets)) = self.found() else { return false };
        // A request that was sent twice may stand there twice; that no row does, the verification shows.
        let newest = self.signed == targets.1 + 1 - self.first_target() && count == targets.1 + 1 - targets.0;
        newest && (self.is_lossy || count == self.signed)
    }

    fn first_target(&self) -> u64 {
        self.chain.newest_fork_epoch() + FIRST_TARGET
    }

    /// How many attestations, their least and their greatest target.
    fn found(&self) -> Option<(u64, (u64, u64))> {
        let question = "SELECT count(DISTINCT target_epoch), min(target_epoch), max(target_epoch) FROM consigner.signed_attestations";
        let text = self.postgres.try_sql("archive", question).ok()?;
        let mut numbers = text.trim().split(',').map(|number| number.parse().ok());
        Some((numbers.next()??, (numbers.next()??, numbers.next()??)))
    }

    pub async fn lineage(&self) -> String {
        let text = std::fs::read_to_string(self.dir().join("node1/config.yaml")).unwrap();
        let line = text.lines().skip_while(|line| !line.starts_with("cluster:")).find(|line| line.contains("id:"));
        line.unwrap().split(':').nth(1).unwrap().trim().trim_matches(['"', '\'']).trim_start_matches("0x").to_owned()
    }

    /// Makes the tables.
    pub async fn migrate(&self) {
        let roles = Roles { writer: Some(WRITER.to_owned()), reader: Some(READER.to_owned()) };
        migrate::apply(&mut self.connect(OWNER).await, &roles).await.unwrap();
    }

    /// Nothing is missing, altered or doubled, and the archive is where the cluster says.
    pub async fn verified(&self) {
        let mut archive = self.connect(READER).await;
        let lineages = archive.lineages().await.unwrap();
        let report = verify(&mut archive, &lineages[0], None, |_| {}).await.unwrap();
        assert!(report.is_complete(), "{report:#?}");
        let view = self.view().await;
        assert_eq!(report.head.unwrap().chain.to_string(), view["mark"]["chain"], "{view:#}");
    }

    /// `POST /admin/v1/archive/backfill` at the leader: status and body.
    pub async fn backfill(&self, accept_gap: bool) -> (u16, String) {
        let until = Instant::now() + START;
        loop {
            for endpoint in self.admin().endpoints() {
                let body = json!({ "accept_gap": accept_gap }).to_string();
                let asked = self.admin().only(endpoint).post_json("/admin/v1/archive/backfill", body, START).await;
                let Ok(answer) = asked else { continue };
                if answer.response.status != 503 {
                    let text = String::from_utf8_lossy(&answer.response.body).into_owned();
                    return (answer.response.status.as_u16(), text);
                }
            }
            assert!(Instant::now() < until, "no leader fills it");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn connect(&self, role: &str) -> Archive {
        archive_db(self.postgres, role, "archive", DEADLINE).connect().await.unwrap()
    }
}

fn overlay(postgres: &Postgres, dir: &Path, url: &str, binding: &str) -> PathBuf {
    let file = |name: &str| postgres.path(name).display().to_string();
    let text = format!(
        "archive:\n  postgres:\n    url: \"{url}\"\n    ca: {ca}\n    cert: {cert}\n    key: {key}\n    \
         password-file: {password}\n    channel-binding: {binding}\n    flush-interval: 200ms\n",
        ca = file("ca.pem"),
        cert = file(&format!("{WRITER}.pem")),
        key = file(&format!("{WRITER}-key.pem")),
        password = file("archive-password"),
    );
    let overlay = dir.join("overlay.yaml");
    std::fs::write(&overlay, text).unwrap();
    overlay
}

fn secret(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
