//! S9 in the middle of the fire: a client is taken out of the policy while it asks all nodes for signatures.
//!
//! On a runtime of one thread, so that "after the acknowledgement" means something (`oracle::custody`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "common/policy.rs"]
mod policy;
#[path = "common/world.rs"]
mod world;

use consigner_chaos::faults::until_restarted;
use consigner_chaos::invariants::s6::FREEZE;
use consigner_chaos::invariants::s9::{self, Revocation};
use consigner_chaos::oracle::{Courier, Fault};
use consigner_chaos::perimeter::Subject;
use consigner_chaos::storm::rush::{CALM, everything};
use consigner_chaos::storm::{Rush, Steady};
use policy::{apply, everybody};
use rustix::process::Signal;
use std::sync::Arc;
use std::time::Duration;
use world::{NODES, World, key, until, until_signed};

/// Every certificate of the CA may ask, as far as the node's configuration goes: the policy decides.
const OVERLAY: &str = "api: {clients: ['*'], tls: API_TLS}\npeer: {tls: PEER_TLS}\n";

/// Clients of the one that leaves, over all nodes.
const CLIENTS: usize = 15;

/// Answers of each node before something is held to be so.
const ANSWERS_MIN: usize = 10;

/// Requests that a node has to sign at once when it is frozen: far more than it has threads.
const BURST: usize = 60;

/// How long a node serves that hears of no leader (docs/DESIGN.md, 4a; the default of `raft.lease`).
const LEASE: Duration = Duration::from_millis(750);

/// Less than a lease lasts, and more than a change of policy takes that waits for nobody.
const HICCUP: Duration = Duration::from_millis(350);

/// Those who leave, and the frozen node meanwhile.
const LEAVERS: [(&str, Frozen); 4] =
    [("vc-1", Frozen::Nobody), ("vc-2", Frozen::Briefly), ("vc-3", Frozen::Follower), ("vc-4", Frozen::Leader)];

/// Who does not answer while the policy changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frozen {
    Nobody,
    /// A follower, for less than its lease lasts: it must be waited for.
    Briefly,
    Follower,
    Leader,
}

#[tokio::test]
async fn after_an_acknowledged_revocation_no_node_signs_for_the_client() {
    let world = World::start(OVERLAY, 6).await;
    let mut inside = vec!["vc-stays", "vc-1", "vc-2", "vc-3", "vc-4"];
    world.lay(&[("policy.yaml".to_owned(), everybody(&inside))]);
    world.command(&["policy", "apply"], &[world.cluster.dir().join("policy.yaml").to_str().unwrap()]).await;
    let stays = world.identity("stays", &Subject::client("vc-stays"));
    for ((name, frozen), number) in LEAVERS.into_iter().zip(0..) {
        let leaver = Leaver::new(&world, name, number);
        // Beside a frozen node others fail for reasons of their own.
        let epoch = world.chain.modern_epoch() + number * 100_000;
        let staying = [key(4), key(5)];
        let others = (frozen == Frozen::Nobody)
            .then(|| Steady::start(&world.courier_of(&stays.files), &world.chain, &staying, &NODES, epoch));
        inside.retain(|other| *other != name);
        leaver.leaves(&inside, frozen).await;
        if let Some(others) = others {
            until_signed(&others, ANSWERS_MIN).await;
            let (signed, failed) = others.stop().await;
            assert_eq!(failed, Vec::<String>::new(), "others were refused, beside {signed} signatures");
        }
    }
    // Of the record of all nodes, frozen ones among them, nothing is missing.
    world.command(&["audit", "verify"], &[]).await;
}

/// A client that will be taken out.
struct Leaver<'w> {
    world: &'w World,
    courier: Arc<Courier>,
    /// Of its own validator.
    number: u64,
}

impl<'w> Leaver<'w> {
    fn new(world: &'w World, name: &str, number: u64) -> Self {
        let files = world.identity(name, &Subject::client(name)).files;
        Self { world, courier: world.courier_of(&files), number }
    }

    async fn leaves(&self, inside: &[&str], frozen: Frozen) {
        let (chain, seed) = (&self.world.chain, u64::from(std::process::id()));
        let everything = everything(chain, key(self.number), chain.modern_epoch() + 10, seed).unwrap();
        let mut rush = Rush::start(&self.courier, &everything, CLIENTS, CALM);
        self.until_answered(&NODES, self.now(), 200).await;
        let freeze = self.freeze(frozen, &mut rush).await;
        let asked = NODES.into_iter().find(|node| freeze.as_ref().is_none_or(|fault| !fault.nodes.contains(node)));
        let sent_at = self.now();
        let policy = everybody(inside);
        let applied = apply(self.world, self.world.api(asked.unwrap()), &policy);
        tokio::join!(applied, self.thaw_soon(frozen, freeze.as_ref()));
        let revocation = Revocation { sent_at, at: self.courier.history().acknowledged().await };
        // A node that gave no answer until now: its lease was waited for, whatever else this took. It runs from when the
        // node was frozen, which on a starved machine is a while before the policy is sent.
        let was_silent = matches!(frozen, Frozen::Follower | Frozen::Leader);
        let silent = freeze.as_ref().map_or(Duration::ZERO, |freeze| revocation.at.saturating_sub(freeze.at));
        assert!(!was_silent || silent >= LEASE, "a frozen node was not waited for: {silent:?}");
        let faults: Vec<Fault> = match freeze {
            None => Vec::new(),
            Some(freeze) => vec![self.thaw(freeze).await],
        };
        self.until_answered(&NODES, self.now(), 403).await;
        rush.stop().await;
        let violations = s9::check(&NODES, &self.courier.history().exchanges(), &revocation, &faults);
        let shown: Vec<String> = violations.iter().map(ToString::to_string).collect();
        assert!(shown.is_empty(), "{frozen:?} frozen: {}\n{}", shown.join("\n"), self.world.cluster.log_tails());
    }

    /// Stops a node in the middle of signing.
    async fn freeze(&self, frozen: Frozen, rush: &mut Rush) -> Option<Fault> {
        let leader = self.world.leader().await;
        let victim = match frozen {
            Frozen::Nobody => return None,
            Frozen::Briefly | Frozen::Follower => NODES.into_iter().find(|node| *node != leader).unwrap(),
            Frozen::Leader => leader,
        };
        rush.burst(victim, BURST);
        self.until_answered(&[victim], self.now(), 200).await;
        rush.burst(victim, BURST);
        tokio::task::yield_now().await;
        let pid = self.world.cluster.pid(victim).unwrap();
        self.world.cluster.signal(pid, Signal::STOP).unwrap();
        let at = self.now();
        Some(Fault { name: FREEZE, nodes: vec![victim], pids: vec![pid], at, quorum_at: at, healed_at: None })
    }

    /// Ends a freeze that is to be shorter than a lease.
    async fn thaw_soon(&self, frozen: Frozen, freeze: Option<&Fault>) {
        let Some(freeze) = freeze.filter(|_| frozen == Frozen::Briefly) else { return };
        // Not synchronisation: the length of the pause is the fault.
        tokio::time::sleep(HICCUP).await;
        self.go_on(freeze);
    }

    fn go_on(&self, freeze: &Fault) {
        for pid in &freeze.pids {
            self.world.cluster.signal(*pid, Signal::CONT).unwrap();
        }
    }

    async fn thaw(&self, freeze: Fault) -> Fault {
        let others: Vec<u64> = NODES.into_iter().filter(|node| !freeze.nodes.contains(node)).collect();
        self.until_answered(&others, self.now(), 403).await;
        self.go_on(&freeze);
        until_restarted(&self.world.cluster, &self.world.courier(), &[]).await.unwrap();
        Fault { healed_at: Some(self.now()), ..freeze }
    }

    /// Waits until each of these nodes has answered so, often enough.
    async fn until_answered(&self, nodes: &[u64], since: Duration, status: u16) {
        for node in nodes {
            let enough = async || {
                let answers = self.courier.history().answers_of(*node, &key(self.number), since);
                answers.iter().filter(|one| one.status() == Some(status)).count() >= ANSWERS_MIN
            };
            until(&format!("answers {status} of node {node}"), enough).await;
        }
    }

    fn now(&self) -> Duration {
        self.courier.history().clock().now()
    }
}
