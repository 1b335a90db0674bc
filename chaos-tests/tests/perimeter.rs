//! One table against each node of a live cluster: without a policy, with one, and on a node that was down meanwhile.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

#[path = "perimeter/document.rs"]
mod document;
#[path = "common/policy.rs"]
mod policy;
#[path = "perimeter/row.rs"]
mod row;
#[path = "perimeter/scene.rs"]
mod scene;
#[path = "perimeter/table.rs"]
mod table;
#[path = "common/world.rs"]
mod world;

use consigner_chaos::oracle::Courier;
use consigner_chaos::storm::Steady;
use consigner_gate::ClientTls;
use row::{Door, Row};
use rustix::process::Signal;
use scene::{Phase, Scene};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use table::{AROUND, OPERATING, SIGNING, TOKENS};
use world::{NODES, key, until};

/// Answers of a node that came back before something is held to be so.
const ANSWERS_MIN: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn every_node_answers_and_records_as_the_table_says_before_and_after_a_policy() {
    let begun = Instant::now();
    let mut scene = Scene::start().await;
    println!("the cluster with all its listeners: {:?}", begun.elapsed());
    as_the_table_says(&scene, &NODES, Phase::Before).await;
    println!("{} rows on 3 nodes without a policy: {:?}", rows().len(), begun.elapsed());
    // Not the leader, and not node 1, through which the policy is applied.
    let leader = scene.world.leader().await;
    let down = NODES.into_iter().find(|node| *node != leader && *node != 1).unwrap();
    let up: Vec<u64> = NODES.into_iter().filter(|node| *node != down).collect();
    let absent = Absent::go(&scene, down).await;
    scene.apply(1).await;
    let acknowledged = absent.now();
    scene.make_tokens(up[1]).await;
    as_the_table_says(&scene, &up, Phase::After).await;
    absent.comes_back(&scene, acknowledged).await;
    as_the_table_says(&scene, &[down], Phase::After).await;
    every_chain_is_whole(&scene).await;
}

fn rows() -> Vec<&'static Row> {
    [SIGNING, AROUND, OPERATING, TOKENS].into_iter().flatten().collect()
}

async fn as_the_table_says(scene: &Scene, nodes: &[u64], phase: Phase) {
    let mut differences = Vec::new();
    for node in nodes {
        differences.extend(scene.differences(*node, phase, &rows()).await);
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// A node that is down while the policy changes, and a client that asks it for signatures all the time.
struct Absent {
    node: u64,
    pid: u32,
    courier: Arc<Courier>,
    asking: Steady,
}

impl Absent {
    /// Lets the client begin and takes the node down. The supervisor starts it again and again, without a
    /// configuration.
    async fn go(scene: &Scene, node: u64) -> Self {
        let (world, last) = (&scene.world, key(scene::VALIDATORS - 1));
        let courier = world.courier_of(&scene.client());
        let asking = Steady::start(&courier, &world.chain, &[last], &[node], world.chain.modern_epoch());
        until("signatures of the node that will be down", async || asking.signed() >= ANSWERS_MIN).await;
        let pid = world.cluster.pid(node).unwrap();
        let file = scene.config(node);
        std::fs::rename(&file, file.with_extension("away")).unwrap();
        world.cluster.signal(pid, Signal::KILL).unwrap();
        scene.until_gone(pid).await;
        Self { node, pid, courier, asking }
    }

    fn now(&self) -> Duration {
        self.courier.history().clock().now()
    }

    /// Gives the node its configuration back; from its first answer on it refuses the client.
    async fn comes_back(self, scene: &Scene, acknowledged: Duration) {
        let file = scene.config(self.node);
        std::fs::rename(file.with_extension("away"), &file).unwrap();
        scene.until_back(&[(self.node, self.pid)]).await;
        let answers = || self.courier.history().answers_of(self.node, &key(scene::VALIDATORS - 1), acknowledged);
        let refused = || answers().iter().filter(|one| one.status() == Some(403)).count();
        until("refusals of the node that was down", async || refused() >= ANSWERS_MIN).await;
        let signed: Vec<String> = answers().iter().filter(|one| one.is_ok()).map(ToString::to_string).collect();
        assert_eq!(signed, Vec::<String>::new(), "node {} signed by the policy of before", self.node);
        let _signed_before = self.asking.stop().await;
    }
}

/// `consigner audit verify` on each node while all run, against what another node remembers of it; and on a copy that
/// lacks one line.
async fn every_chain_is_whole(scene: &Scene) {
    for node in NODES {
        let lines = scene.audit(node).len();
        assert!(lines > rows().len() / 2, "node {node} recorded {lines} events only");
        let other = scene.door(node % 3 + 1, Door::Admin);
        let dir = scene.world.cluster.dir().join(format!("node{node}/data"));
        let verify = [&["audit", "verify", "--data-dir", dir.to_str().unwrap()][..], &operator(scene, other)].concat();
        let ended = scene.world.cli.plainly(&verify).await.unwrap();
        assert_eq!(ended.code, Some(0), "node {node}: {}{}", ended.stdout, ended.stderr);
        println!("node {node}, {lines} events: {}", ended.stdout.trim_end());
    }
    why_was_it_refused(scene).await;
    a_line_less_is_noticed(scene).await;
}

/// Flags for a command that asks a node.
fn operator(scene: &Scene, door: SocketAddr) -> Vec<&'static str> {
    let ClientTls { cert, key, ca } = scene.world.cluster.manifest().admin();
    let file = |path: PathBuf| path.to_str().unwrap().to_owned();
    let flags = ["--endpoint".to_owned(), format!("https://{door}"), "--ca".to_owned(), file(ca)];
    let flags = flags.into_iter().chain(["--cert".to_owned(), file(cert), "--key".to_owned(), file(key)]);
    flags.map(|flag| -> &'static str { flag.leak() }).collect()
}

/// The question that an operator has.
async fn why_was_it_refused(scene: &Scene) {
    let second = key(2).to_string();
    let ended = scene.world.cli.run(&["audit", "show"], &["--key", &second, "--outcome", "refused", "--json"]).await;
    let ended = ended.unwrap();
    let lines: Vec<&str> = ended.stdout.lines().filter(|line| line.contains("does not grant ATTESTATION")).collect();
    assert!(ended.code == Some(0) && lines.len() >= NODES.len(), "{}{}", ended.stdout, ended.stderr);
}

async fn a_line_less_is_noticed(scene: &Scene) {
    let copy = scene.world.cluster.dir().join("a-line-less");
    let whole = scene.world.cluster.dir().join("node1/data/audit");
    std::fs::create_dir(&copy).unwrap();
    let mut removed = String::new();
    for entry in std::fs::read_dir(whole).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        let mut bytes = std::fs::read(entry.path()).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let victim = text.lines().find(|line| line.contains("\"operation\":\"policy_apply\""));
        if let Some(line) = victim.filter(|_| removed.is_empty()) {
            removed = entry.file_name().to_string_lossy().into_owned();
            bytes = text.replace(&format!("{line}\n"), "").into_bytes();
        }
        std::fs::write(copy.join(entry.file_name()), bytes).unwrap();
    }
    let removed_from = if removed.is_empty() { panic!("node 1 did not record a policy") } else { removed };
    let ended = scene.world.cli.plainly(&["audit", "verify", "--data-dir", copy.to_str().unwrap()]).await.unwrap();
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(ended.code == Some(1) && said.contains(&removed_from), "a line less in {removed_from}: {said}");
}
