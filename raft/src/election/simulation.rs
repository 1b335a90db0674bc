//! A network of drivers under virtual time, each above a model of openraft's rules for votes, leases and appends.
//!
//! In: faults (cut links, lost messages, frozen and killed nodes). Out: who leads, and how many elections it took.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::driver::Driver;
use super::messages::{Action, Answer, Input, Now, Settings, View, is_quorum};
use consigner_storage::LogPosition;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub const X: Duration = Duration::from_millis(750);
pub const LEASE: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_millis(10);
/// openraft's tick is 1.5 heartbeats.
const HEARTBEAT: Duration = Duration::from_millis(75);
const LATENCY: Duration = Duration::from_millis(1);
/// From the death of a process until a connect is refused.
const REFUSED: Duration = Duration::from_millis(4);

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[derive(Debug, Clone)]
enum Message {
    Append { term: u64, last: Option<LogPosition>, voters: Vec<BTreeSet<u64>> },
    Appended,
    HigherVote { term: u64, voted_for: u64 },
    Vote { term: u64, last: Option<LogPosition> },
    Voted { term: u64, granted: bool },
    PreVote { asked: Now },
    PreVoted { asked: Now, answer: Answer },
}

#[derive(Debug, Clone)]
enum Event {
    Look,
    Heartbeat,
    Gone(u64),
    Deliver(u64, Message),
}

pub struct SimNode {
    pub driver: Driver,
    pub term: u64,
    pub leads: bool,
    pub last: Option<LogPosition>,
    pub voters: Vec<BTreeSet<u64>>,
    pub may_vote: bool,
    voted_for: u64,
    is_committed: bool,
    touched: Now,
    votes: BTreeSet<u64>,
    acked: BTreeMap<u64, Now>,
    heartbeats: bool,
    is_alive: bool,
    frozen_until: Now,
}

pub struct Sim {
    pub now: Now,
    pub nodes: BTreeMap<u64, SimNode>,
    /// Elections that anybody stood for, in order.
    pub stood: Vec<(Now, u64)>,
    /// Messages from .. to .. that never arrive.
    pub cut: BTreeSet<(u64, u64)>,
    /// Of a thousand messages, so many are lost.
    pub loss: u64,
    queue: BTreeMap<(Now, u64), (u64, Event)>,
    sequence: u64,
    random: u64,
}

impl Sim {
    /// So many voters, all up to date; nobody leads yet.
    pub fn new(voters: u64) -> Self {
        let all: BTreeSet<u64> = (1..=voters).collect();
        let mut sim = Self {
            now: Duration::from_secs(1),
            nodes: BTreeMap::new(),
            stood: Vec::new(),
            cut: BTreeSet::new(),
            loss: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            random: 0x9e37_79b9_7f4a_7c15,
        };
        for id in 1..=voters {
            sim.add(id, vec![all.clone()]);
        }
        sim
    }

    pub fn add(&mut self, id: u64, voters: Vec<BTreeSet<u64>>) {
        let settings = Settings { me: id, silence: X, lease: LEASE, campaigns: true, seed: id * 77 };
        let node = SimNode {
            driver: Driver::new(settings, self.now),
            term: 1,
            leads: false,
            last: Some(LogPosition { term: 1, node: 0, index: 10 }),
            voters,
            may_vote: true,
            voted_for: 0,
            is_committed: false,
            touched: self.now,
            votes: BTreeSet::new(),
            acked: BTreeMap::new(),
            heartbeats: true,
            is_alive: true,
            frozen_until: Duration::ZERO,
        };
        self.nodes.insert(id, node);
        self.push(ms(id), id, Event::Look);
        self.push(ms(id), id, Event::Heartbeat);
    }

    /// Runs until somebody leads with everybody in `nodes` following; answers how long it took.
    pub fn until_led(&mut self, nodes: &[u64]) -> Duration {
        let begun = self.now;
        while self.leader_of(nodes).is_none() {
            assert!(self.now - begun < Duration::from_secs(20), "no leader of {nodes:?}; stood: {:?}", self.stood);
            self.run(ms(1));
        }
        self.now - begun
    }

    /// The node that leads by the word of all of these.
    pub fn leader_of(&self, nodes: &[u64]) -> Option<u64> {
        let leader = nodes.iter().copied().find(|id| self.nodes[id].leads)?;
        let term = self.nodes[&leader].term;
        let follows = |id: &u64| {
            let node = &self.nodes[id];
            node.term == term && node.voted_for == leader && node.is_committed
        };
        nodes.iter().all(follows).then_some(leader)
    }

    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some((&(at, sequence), _)) = self.queue.first_key_value() {
            if at > until {
                break;
            }
            let Some((id, event)) = self.queue.remove(&(at, sequence)) else { break };
            self.now = self.now.max(at);
            let node = &self.nodes[&id];
            if !node.is_alive {
                continue;
            }
            if node.frozen_until > self.now {
                // What arrives meanwhile waits in the socket, in order.
                let thaw = node.frozen_until;
                self.sequence += 1;
                self.queue.insert((thaw, self.sequence), (id, event));
                continue;
            }
            self.happen(id, event);
        }
        self.now = until;
    }

    /// The process dies; everybody who is not cut off from it finds its door closed.
    pub fn kill(&mut self, id: u64) {
        self.vanish(id);
        self.refuse(id);
    }

    /// The machine goes dark: nobody is refused.
    pub fn vanish(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        (node.is_alive, node.leads) = (false, false);
    }

    /// Connections to `id` drop and new ones are refused, for every node that is not cut off.
    pub fn refuse(&mut self, id: u64) {
        for other in self.nodes.keys().copied().filter(|other| *other != id).collect::<Vec<_>>() {
            if !self.cut.contains(&(other, id)) {
                self.refuse_one(other, id);
            }
        }
    }

    pub fn refuse_one(&mut self, at: u64, gone: u64) {
        self.push(REFUSED, at, Event::Gone(gone));
    }

    pub fn freeze(&mut self, id: u64, time: Duration) {
        self.nodes.get_mut(&id).unwrap().frozen_until = self.now + time;
    }

    /// Cuts or heals both directions.
    pub fn link(&mut self, one: u64, other: u64, is_up: bool) {
        for pair in [(one, other), (other, one)] {
            if is_up {
                self.cut.remove(&pair);
            } else {
                self.cut.insert(pair);
            }
        }
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn push(&mut self, after: Duration, id: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), (id, event));
    }

    fn send(&mut self, from: u64, to: u64, message: Message) {
        let is_lost = self.random() % 1_000 < self.loss;
        if !is_lost && !self.cut.contains(&(from, to)) {
            self.push(LATENCY, to, Event::Deliver(from, message));
        }
    }

    fn happen(&mut self, id: u64, event: Event) {
        match event {
            Event::Look => {
                let view = self.view(id);
                self.step(id, Input::Look(view));
                let wake = self.nodes[&id].driver.wake().map_or(LOOK, |wake| wake.saturating_sub(self.now).max(ms(1)));
                self.push(wake.min(LOOK), id, Event::Look);
            }
            Event::Heartbeat => {
                if self.nodes[&id].leads {
                    self.append(id);
                }
                // Without heartbeats the questions of the serving lease remain.
                let pause = if self.nodes[&id].heartbeats { HEARTBEAT } else { X / 5 };
                self.push(pause, id, Event::Heartbeat);
            }
            Event::Gone(node) => self.step(id, Input::Gone(node)),
            Event::Deliver(from, message) => self.deliver(id, from, message),
        }
    }

    fn view(&self, id: u64) -> View {
        let node = &self.nodes[&id];
        // The youngest moment since which a quorum has answered.
        let mut acked: Vec<(Now, u64)> = node.acked.iter().map(|(peer, at)| (*at, *peer)).collect();
        acked.sort_unstable_by(|one, other| other.cmp(one));
        let mut quorum = BTreeSet::from([id]);
        let mut since = self.now;
        for (at, peer) in acked {
            if is_quorum(&node.voters, &quorum) {
                break;
            }
            quorum.insert(peer);
            since = at;
        }
        View {
            term: node.term,
            voted_for: node.voted_for,
            leader: node.is_committed.then_some(node.voted_for),
            leads: node.leads,
            voters: node.voters.clone(),
            last: node.last,
            may_vote: node.may_vote,
            quorum_silence: node.leads.then(|| self.now - since),
        }
    }

    fn step(&mut self, id: u64, input: Input) {
        let now = self.now;
        for action in self.nodes.get_mut(&id).unwrap().driver.step(now, input) {
            match action {
                Action::Ask { asked, to } => {
                    for peer in to {
                        self.send(id, peer, Message::PreVote { asked });
                    }
                }
                Action::Elect => self.elect(id),
                Action::Heartbeats(on) => self.nodes.get_mut(&id).unwrap().heartbeats = on,
            }
        }
    }

    fn elect(&mut self, id: u64) {
        self.stood.push((self.now, id));
        let now = self.now;
        let node = self.nodes.get_mut(&id).unwrap();
        assert!(!node.leads && node.may_vote && node.voters.iter().any(|set| set.contains(&id)));
        node.term += 1;
        (node.voted_for, node.is_committed, node.touched) = (id, false, now);
        node.votes = BTreeSet::from([id]);
        let (term, last) = (node.term, node.last);
        for peer in self.peers(id) {
            self.send(id, peer, Message::Vote { term, last });
        }
        self.count(id);
    }

    fn peers(&self, id: u64) -> Vec<u64> {
        let all: BTreeSet<u64> = self.nodes[&id].voters.iter().flatten().copied().collect();
        all.into_iter().filter(|peer| *peer != id).collect()
    }

    fn count(&mut self, id: u64) {
        let now = self.now;
        let node = self.nodes.get_mut(&id).unwrap();
        if node.leads || node.is_committed || !is_quorum(&node.voters, &node.votes) {
            return;
        }
        (node.leads, node.is_committed) = (true, true);
        node.acked = node.votes.iter().filter(|peer| **peer != id).map(|peer| (*peer, now)).collect();
        let index = node.last.map_or(0, |last| last.index + 1);
        node.last = Some(LogPosition { term: node.term, node: id, index });
        let term = node.term;
        let others = self.nodes.iter().filter(|(other, node)| **other != id && node.leads && node.term == term);
        assert_eq!(others.count(), 0, "two leaders in term {term}");
        self.append(id);
    }

    /// To voters and learners alike.
    fn append(&mut self, id: u64) {
        let node = &self.nodes[&id];
        let message = Message::Append { term: node.term, last: node.last, voters: node.voters.clone() };
        for peer in self.nodes.keys().copied().filter(|peer| *peer != id).collect::<Vec<_>>() {
            self.send(id, peer, message.clone());
        }
    }

    fn deliver(&mut self, id: u64, from: u64, message: Message) {
        let now = self.now;
        let node = self.nodes.get_mut(&id).unwrap();
        match message {
            Message::Append { term, last, voters } => {
                if (term, from) < (node.term, node.voted_for) {
                    let higher = Message::HigherVote { term: node.term, voted_for: node.voted_for };
                    return self.send(id, from, higher);
                }
                (node.term, node.voted_for, node.is_committed, node.leads) = (term, from, true, false);
                (node.touched, node.last, node.voters) = (now, node.last.max(last), voters);
                self.step(id, Input::Heard { leader: from, term, arrived: now, accepted: true });
                self.send(id, from, Message::Appended);
            }
            Message::Appended => {
                node.acked.insert(from, now);
            }
            Message::HigherVote { term, voted_for } => {
                if (term, voted_for) > (node.term, node.voted_for) {
                    (node.term, node.voted_for, node.is_committed, node.leads) = (term, voted_for, false, false);
                }
            }
            Message::Vote { term, last } => {
                let is_bound = node.is_committed && now <= node.touched + LEASE;
                let granted =
                    !is_bound && last >= node.last && (term, from) >= (node.term, node.voted_for) && node.may_vote;
                if granted {
                    (node.term, node.voted_for, node.is_committed) = (term, from, false);
                    (node.leads, node.touched) = (false, now);
                }
                let term = node.term;
                self.send(id, from, Message::Voted { term, granted });
            }
            Message::Voted { term, granted } => {
                if granted && term == node.term && node.voted_for == id {
                    node.votes.insert(from);
                    self.count(id);
                } else if term > node.term {
                    (node.term, node.voted_for, node.is_committed, node.leads) = (term, 0, false, false);
                }
            }
            Message::PreVote { asked } => {
                let answer = node.driver.answer(now);
                self.send(id, from, Message::PreVoted { asked, answer });
            }
            Message::PreVoted { asked, answer } => self.step(id, Input::Answered { node: from, asked, answer }),
        }
    }
}
