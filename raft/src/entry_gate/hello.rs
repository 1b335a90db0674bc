//! Asking to be let in, and letting in.
//!
//! In: what this disk holds, and what other disks say of themselves. Out: an open gate, or a node that stops with the
//! reason. Two rounds: the first only asks, so that a copy that somebody refuses has taken the original's place nowhere;
//! the second is remembered. Afterwards members that were away are told as they come back.
//!
//! Deliberately absent: waiting for a leader, and belief in a member whose own start is refused here.

use super::boots::{BootRefusal, Known};
use super::electorate::Electorate;
use super::floors::Behind;
use crate::cluster::Cluster;
use crate::log_store;
use crate::peer::guard::{Admitted, Refusal};
use crate::peer::link::CallError;
use crate::peer::wire::{self, Greeting, Hello, Welcome};
use crate::types::{Election, Member};
use consigner_storage::{Boot, LogPosition};
use http::StatusCode;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a member may take to answer: a look at the caller's address and a disk write.
const HELLO_DEADLINE: Duration = Duration::from_millis(600);

/// How long whoever serves at a member's address may take to say which start it is.
const WHO_DEADLINE: Duration = Duration::from_millis(200);

/// First pause between two rounds; doubled each time: nodes that start together find each other within milliseconds.
const PAUSE_MIN: Duration = Duration::from_millis(5);

/// Longest pause between two rounds.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// How often members that were away are tried.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How long a voter that knows of nobody else listens before it takes part: if its disk is from before the cluster grew,
/// the present leader calls, every heartbeat (see [`Refusal::Outgrown`]).
const LISTEN: Duration = Duration::from_millis(500);

/// How long the only voter waits for learners that give no answer: one of them may know that it votes by now.
const LEARNERS_WAIT: Duration = Duration::from_secs(5);

/// What one member answered.
enum Heard {
    /// It would let, or has let, this node in.
    Welcome,
    /// It answers, and does not yet.
    HeldBack(String),
    /// No answer, or one of a node that is not listened to itself.
    Silent(String),
    /// This node is to stop.
    Expelled,
}

/// What a round of asking found.
#[derive(Default)]
struct Round {
    welcomed: BTreeSet<u64>,
    silent: BTreeMap<u64, String>,
    held_back: BTreeMap<u64, String>,
    is_expelled: bool,
}

impl Round {
    fn take(&mut self, node: u64, heard: Heard) {
        match heard {
            Heard::Welcome => drop(self.welcomed.insert(node)),
            Heard::HeldBack(why) => drop(self.held_back.insert(node, why)),
            Heard::Silent(why) => drop(self.silent.insert(node, why)),
            Heard::Expelled => self.is_expelled = true,
        }
    }

    /// Who vouches for this disk is enough, and nobody who answers objects. Whoever does not answer cannot be waited for:
    /// a node must come back while another is down.
    fn lets_in(&self, electorate: &Electorate) -> bool {
        !self.is_expelled && self.held_back.is_empty() && electorate.is_enough(&self.welcomed)
    }

    fn describe(&self) -> String {
        let list = |nodes: &BTreeMap<u64, String>| {
            nodes.iter().map(|(node, why)| format!("node {node}: {why}")).collect::<Vec<_>>().join("; ")
        };
        let (silent, held_back) = (list(&self.silent), list(&self.held_back));
        let welcomed: Vec<_> = self.welcomed.iter().map(ToString::to_string).collect();
        format!(
            "this node has started and waits until enough members vouch for its disk (so far: {}){}{}",
            if welcomed.is_empty() { "none".to_owned() } else { welcomed.join(", ") },
            if held_back.is_empty() { String::new() } else { format!("; not let in yet by {held_back}") },
            if silent.is_empty() { String::new() } else { format!("; no answer from {silent}") },
        )
    }
}

/// Asks to be let in, then keeps telling those who were away. Runs until it is cancelled.
pub async fn introduce(cluster: Cluster, electorate: Electorate) {
    if !cluster.inner.entry.is_open() {
        if electorate.is_enough(&BTreeSet::new()) {
            tokio::time::sleep(LISTEN).await;
            if cluster.nobody_objects(&electorate).await {
                cluster.inner.entry.open();
            }
        } else {
            cluster.seek_entry(&electorate).await;
        }
        if cluster.inner.entry.is_open() {
            cluster.entered();
        }
    }
    cluster.keep_told().await;
}

impl Cluster {
    /// Returns when the gate is open, by the members' or the operator's word, or shut for good.
    async fn seek_entry(&self, electorate: &Electorate) {
        metrics::gauge!("consigner_entry_waiting").set(1.0);
        let mut pause = PAUSE_MIN;
        while !self.inner.entry.is_open() && !self.inner.entry.is_expelled() {
            let mut round = self.round(electorate, false).await;
            if round.lets_in(electorate) {
                round = self.round(electorate, true).await;
                if round.lets_in(electorate) {
                    tracing::info!(by = ?round.welcomed, "the members vouch for this node's disk");
                    self.inner.entry.open();
                    return;
                }
            }
            let reason = round.describe();
            if pause >= PAUSE_MAX {
                tracing::warn!(reason, "not let in yet");
            }
            self.inner.entry.wait(reason, round.silent.into_keys().collect(), !round.held_back.is_empty());
            // News, the operator's word among them, cut the pause short.
            drop(tokio::time::timeout(pause, self.inner.entry.news.notified()).await);
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Whether no other member objects to the only voter: of an old disk, its learners of then may be the voters of now.
    async fn nobody_objects(&self, electorate: &Electorate) -> bool {
        let until = tokio::time::Instant::now() + LEARNERS_WAIT;
        loop {
            let round = self.round(electorate, true).await;
            if round.is_expelled || self.inner.entry.is_expelled() {
                return false;
            }
            let is_late = tokio::time::Instant::now() >= until;
            if round.held_back.is_empty() && (round.silent.is_empty() || is_late) {
                return true;
            }
            tracing::warn!(reason = round.describe(), "the only voter waits for its learners");
            self.inner.entry.wait(round.describe(), round.silent.into_keys().collect(), !round.held_back.is_empty());
            tokio::time::sleep(PAUSE_MAX).await;
        }
    }

    /// Asks all other members at once.
    async fn round(&self, electorate: &Electorate, register: bool) -> Round {
        let asked = electorate.others().map(|(id, member)| async move { (id, self.hello(id, member, register).await) });
        let mut round = Round::default();
        for (id, heard) in futures::future::join_all(asked).await {
            round.take(id, heard);
        }
        round
    }

    async fn hello(&self, node: u64, member: &Member, register: bool) -> Heard {
        let (last, term_asked) = self.disk_position();
        let question = Hello { last, term: term_asked, register };
        let called = self.inner.links.call((node, member), wire::HELLO, &question, HELLO_DEADLINE).await;
        match called {
            Ok(Greeting::Welcome(welcome)) => self.learn(node, welcome).await,
            Ok(Greeting::Behind { floor, term, reason }) => {
                // What was asked may have been overtaken on its way; this disk as it is now decides.
                let (last, here) = self.disk_position();
                if here > term_asked {
                    // Another leader may lawfully have taken back what was acknowledged in that term.
                    return Heard::HeldBack(reason);
                }
                if (Behind { floor, term }).holds(last, here) {
                    self.inner.links.expelled(node, &reason);
                    return Heard::Expelled;
                }
                Heard::HeldBack(reason)
            }
            Err(CallError::Expelled { .. }) => Heard::Expelled,
            // Only these speak of this start. Whoever does not know this node, or cannot answer, has no opinion of it.
            Err(CallError::Refused {
                reason, status: StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_EARLY, ..
            }) => Heard::HeldBack(reason),
            Err(
                error @ (CallError::Refused { .. }
                | CallError::Decode { .. }
                | CallError::Channel { .. }
                | CallError::Stranger { .. }),
            ) => Heard::Silent(crate::chain(&error)),
        }
    }

    /// Takes over the starts that a member knows.
    async fn learn(&self, from: u64, welcome: Welcome) -> Heard {
        let me = self.node_id();
        self.guard().learn_members(from, welcome.members);
        let members: BTreeSet<u64> = self.known_members().into_keys().collect();
        let boots: Vec<(u64, Boot)> = welcome
            .boots
            .iter()
            .filter(|(node, ..)| *node != me && members.contains(node))
            .filter_map(|(node, incarnation, tag)| Some((*node, Boot::parse(incarnation, tag)?)))
            .collect();
        let book = std::sync::Arc::clone(&self.inner.boots);
        match tokio::task::spawn_blocking(move || book.learn(boots)).await {
            Ok(Ok(())) => Heard::Welcome,
            Ok(Err(error)) => {
                self.stop_for(&error);
                Heard::Expelled
            }
            Err(_) => Heard::HeldBack("this node could not take over what a member knows".to_owned()),
        }
    }

    /// How far this disk has come, and in which term it voted last.
    fn disk_position(&self) -> (Option<LogPosition>, u64) {
        let inner = &self.inner;
        let applied = *inner.shared.watch_index().borrow();
        let vote = log_store::read_vote(&inner.wal).ok().flatten();
        (inner.wal.last().max(applied), vote.map_or(0, |vote| vote.leader_id().term))
    }

    /// Tells members that were away, that came later, or that started anew. Runs until it is cancelled.
    async fn keep_told(&self) {
        let mut told = BTreeSet::new();
        loop {
            if self.inner.entry.is_expelled() {
                return;
            }
            for node in self.inner.entry.take_to_tell() {
                told.remove(&node);
            }
            if self.inner.entry.take_stranger() {
                told.clear();
            }
            let mut members = self.guard().told_members();
            members.extend(self.known_members());
            let away = members.iter().filter(|(node, _)| **node != self.node_id() && !told.contains(*node));
            let asked = away.map(|(node, member)| async move { (*node, self.hello(*node, member, true).await) });
            for (node, heard) in futures::future::join_all(asked).await {
                if let Heard::Welcome = heard {
                    told.insert(node);
                }
            }
            drop(tokio::time::timeout(TELL_EVERY, self.inner.entry.news.notified()).await);
        }
    }

    /// The members as Raft goes by them now.
    fn known_members(&self) -> BTreeMap<u64, Member> {
        let metrics = self.raft().metrics();
        let now = metrics.borrow();
        now.membership_config.membership().nodes().map(|(id, member)| (*id, member.clone())).collect()
    }

    /// The gate is open.
    pub(super) fn entered(&self) {
        metrics::gauge!("consigner_entry_waiting").set(0.0);
        if self.timing().election == Election::Builtin {
            self.raft().runtime_config().elect(true);
        }
    }

    /// Answers a node that asks to be let in.
    pub(crate) async fn greet(&self, from: Admitted, hello: Hello) -> Result<Greeting, Refusal> {
        let node = from.node;
        // A node that knows no membership has nothing to hold against anybody, and nothing to remember.
        let Some(member) = self.guard().member(node) else { return Ok(Greeting::Welcome(self.welcome())) };
        let known = self.inner.boots.judge(node, &from.boot, &member.incarnation)?;
        if known == Known::Same {
            return Ok(Greeting::Welcome(self.welcome()));
        }
        let noted = self.read(|state| state.position_of(node));
        let behind = self.inner.floors.behind(node, noted, hello.term);
        if behind.holds(hello.last, hello.term) {
            let reason = Refusal::RolledBack { node, last: hello.last, term: hello.term, behind }.to_string();
            metrics::counter!("consigner_peer_boot_refusals_total", "reason" => "rolled_back").increment(1);
            tracing::error!(reason, "a node is not let in");
            return Ok(Greeting::Behind { floor: behind.floor, term: behind.term, reason });
        }
        if !hello.register {
            let serving = self.inner.links.who((node, &member), WHO_DEADLINE).await;
            return match serving.filter(|serving| *serving != from.boot) {
                Some(_) => Err(Refusal::TwoStarts { node, address: member.peer_addr }),
                None => Ok(Greeting::Welcome(self.welcome())),
            };
        }
        let (book, boot) = (std::sync::Arc::clone(&self.inner.boots), from.boot);
        let remembered = tokio::task::spawn_blocking(move || book.let_in(node, &boot, &member.incarnation)).await;
        match remembered {
            Ok(remembered) => remembered?,
            Err(error) => return Err(BootRefusal::Memory(std::io::Error::other(error)).into()),
        }
        tracing::info!(node, start = boot.counter, "a node was let in");
        // It may have forgotten this node's start, or never heard of it.
        self.inner.entry.tell_again(node);
        Ok(Greeting::Welcome(self.welcome()))
    }

    fn welcome(&self) -> Welcome {
        Welcome { boots: self.inner.boots.all(), members: self.known_members() }
    }
}
