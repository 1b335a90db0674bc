//! When to stand for election: a pure state machine. Liveness only; safety is openraft's.
//!
//! ```text
//! Calm --leader silent or gone--> asking, again and again --a quorum agrees, its leases are over--> Standing
//!   ^                                |  a better candidate agrees, too: Deferring, once                |
//!   '------- a leader is heard ------'------------------- no leader in time: Resting <-----------------'
//! ```
//! In: [`Input`]s with the time. Out: [`Action`]s. A peer agrees only if it hears no leader either, so that neither a
//! thawed follower nor one that a firewall cuts off from the leader deposes it. Deliberately absent: clocks, sockets,
//! openraft.

use super::messages::{Action, Answer, Input, Now, Settings, View, is_quorum};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A loop that is so late was frozen, or starved: what it did not hear meanwhile says nothing about the leader.
pub const LATE: Duration = Duration::from_millis(100);

/// How often in a row lateness excuses silence; a machine that is always late must elect somebody, too. Peers guard
/// against haste.
const EXCUSES_MAX: u32 = 3;

/// How long a vote for a candidate without a result is waited for, and a start without any leader.
const LEADERLESS: Duration = Duration::from_millis(250);

/// Pause between the first rounds of questions: peers notice a dead leader some milliseconds apart ...
const ROUND: Duration = Duration::from_millis(10);

/// ... of which there are so many; afterwards the pause doubles ...
const QUICK_ROUNDS: u32 = 12;

/// ... up to this: a cluster that heals finds its leader within L1's second.
const ROUND_MAX: Duration = Duration::from_millis(200);

/// A suspicion must be so old before a node stands: two rounds, in which a better candidate notices, too.
const SETTLE: Duration = Duration::from_millis(20);

/// Answers to questions older than this count no more.
const FRESH: Duration = Duration::from_millis(300);

/// What a better candidate is given to stand by itself: a round of questions and an election.
const DEFER: Duration = Duration::from_millis(120);

/// How long an election may take before it has failed: two fsyncs and two round trips on a busy machine.
const STAND: Duration = Duration::from_millis(300);

/// Rest after the first failed election; it doubles with each further one ...
const REST: Duration = Duration::from_millis(50);

/// ... so many times, up to 800 ms.
const REST_DOUBLINGS: u32 = 4;

/// openraft's lease is over strictly after its end, and travels in microseconds.
const LEASE_MARGIN: Duration = Duration::from_millis(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Calm,
    Deferring { until: Now },
    Standing { until: Now },
    Resting { until: Now },
}

/// The machine of one node.
#[derive(Debug)]
pub struct Driver {
    settings: Settings,
    view: View,
    /// When term or leader last changed.
    changed: Now,
    /// Last sign of life of the leader.
    heard: Now,
    /// Last append of the leader that openraft accepted.
    accepted: Now,
    /// Nodes whose doors are closed, and since when that is known.
    gone: BTreeMap<u64, Now>,
    looked: Option<Now>,
    excuses: u32,
    /// [`LEADERLESS`] with jitter.
    patience: Duration,
    phase: Phase,
    /// Since when this node suspects the leader.
    suspected: Option<Now>,
    rounds: u32,
    asked: Option<Now>,
    answers: BTreeMap<u64, Answered>,
    failures: u32,
    is_retired: bool,
    heartbeats: bool,
    wake: Option<Now>,
    jitter: u64,
}

/// What a peer said last.
#[derive(Debug, Clone, Copy)]
struct Answered {
    asked: Now,
    /// Its lease is counted from here: that is later than the peer counts, never earlier.
    received: Now,
    answer: Answer,
}

/// A possible success.
struct Chance {
    /// When enough voters' leases are over.
    from: Now,
    /// Whether nobody who agrees would make a better leader.
    is_best: bool,
}

impl Driver {
    /// A node that has heard nothing yet; it gives a leader the benefit of the doubt.
    pub fn new(settings: Settings, now: Now) -> Self {
        let jitter = settings.seed | 1;
        Self {
            settings,
            view: View::default(),
            changed: now,
            heard: now,
            accepted: now,
            gone: BTreeMap::new(),
            looked: None,
            excuses: 0,
            patience: LEADERLESS,
            phase: Phase::Calm,
            suspected: None,
            rounds: 0,
            asked: None,
            answers: BTreeMap::new(),
            failures: 0,
            is_retired: false,
            heartbeats: true,
            wake: None,
            jitter,
        }
    }

    /// Takes one step.
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Action> {
        match input {
            Input::Look(view) => return self.look(now, view),
            Input::Heard { leader, term, arrived, accepted } => self.hear(now, (leader, term), arrived, accepted),
            Input::Gone(node) => {
                self.gone.insert(node, now);
            }
            Input::Answered { node, asked, answer } => {
                self.answers.insert(node, Answered { asked, received: now, answer });
            }
            Input::Stand => {
                let may = self.may_stand() && !self.view.leads;
                return if may { self.stand(now) } else { Vec::new() };
            }
            Input::Retire => self.is_retired = true,
            Input::Return => self.is_retired = false,
        }
        self.act(now)
    }

    /// When the next step is due at the latest, if that is sooner than the next look.
    pub const fn wake(&self) -> Option<Now> {
        self.wake
    }

    /// Whether this node leads, as openraft says, but no quorum has stood behind it for X.
    pub const fn lacks_quorum(&self) -> bool {
        !self.heartbeats
    }

    /// Answers a peer's question.
    pub fn answer(&self, now: Now) -> Answer {
        let is_late = self.looked.is_none_or(|looked| now.saturating_sub(looked) > LATE);
        let lease_end = match self.view.leader {
            Some(_) if !self.view.leads => self.accepted + self.settings.lease + LEASE_MARGIN,
            // A leader's own faith in itself ran out soon after its election, and a vote without a result binds nobody.
            Some(_) => self.changed + self.settings.lease + LEASE_MARGIN,
            None => now,
        };
        let left = lease_end.saturating_sub(now).as_micros();
        Answer {
            agrees: self.view.may_vote && !is_late && self.suspects(now),
            term: self.view.term,
            last: self.view.last,
            lease_left_us: u64::try_from(left).unwrap_or(u64::MAX),
        }
    }

    fn look(&mut self, now: Now, view: View) -> Vec<Action> {
        let is_late = self.looked.is_some_and(|looked| now.saturating_sub(looked) > LATE);
        self.looked = Some(now);
        if is_late && self.excuses < EXCUSES_MAX {
            self.excuses += 1;
            (self.heard, self.changed) = (now, now);
        }
        self.follow(now, view);
        let wanted = self.view.quorum_silence.is_none_or(|silence| silence <= self.settings.silence);
        let mut actions = self.act(now);
        if wanted != self.heartbeats {
            self.heartbeats = wanted;
            actions.push(Action::Heartbeats(wanted));
        }
        actions
    }

    fn follow(&mut self, now: Now, view: View) {
        let before = std::mem::replace(&mut self.view, view);
        let (term, leader, voted_for) = (self.view.term, self.view.leader, self.view.voted_for);
        if (before.term, before.leader, before.voted_for) == (term, leader, voted_for) {
            return;
        }
        (self.changed, self.heard, self.accepted) = (now, now, now);
        self.patience = LEADERLESS + self.jitter(LEADERLESS / 3);
        match leader {
            Some(leader) => {
                self.gone.remove(&leader);
                (self.failures, self.phase) = (0, Phase::Calm);
            }
            // The vote that this node gave itself.
            None if voted_for == self.settings.me => {}
            None => self.phase = Phase::Calm,
        }
    }

    fn hear(&mut self, now: Now, (leader, term): (u64, u64), arrived: Now, accepted: bool) {
        let is_ours = self.view.leader == Some(leader) && self.view.term == term;
        // openraft may know a newer leader than the last look.
        let is_newer = accepted && term >= self.view.term;
        if !is_ours && !is_newer {
            return;
        }
        self.heard = self.heard.max(arrived);
        self.excuses = 0;
        if accepted {
            self.accepted = now;
        }
        if self.gone.get(&leader).is_some_and(|gone| *gone < arrived) {
            self.gone.remove(&leader);
        }
    }

    /// Whether this node hears no leader.
    fn suspects(&self, now: Now) -> bool {
        match self.view.leader {
            Some(_) if self.view.leads => self.lacks_quorum(),
            Some(leader) => self.gone.contains_key(&leader) || now.saturating_sub(self.heard) > self.settings.silence,
            None => now.saturating_sub(self.changed) > self.patience || self.is_alone(),
        }
    }

    fn is_alone(&self) -> bool {
        is_quorum(&self.view.voters, &BTreeSet::from([self.settings.me]))
    }

    fn may_stand(&self) -> bool {
        self.view.may_vote && !self.is_retired && self.view.voters.iter().any(|set| set.contains(&self.settings.me))
    }

    fn act(&mut self, now: Now) -> Vec<Action> {
        self.wake = None;
        if !self.settings.campaigns || self.view.leads || !self.may_stand() {
            self.calm();
            return Vec::new();
        }
        match self.phase {
            Phase::Standing { until } | Phase::Resting { until } if now < until => {
                self.wake = Some(until);
                return Vec::new();
            }
            Phase::Standing { .. } => {
                let until = now + self.rest();
                (self.phase, self.wake) = (Phase::Resting { until }, Some(until));
                return Vec::new();
            }
            Phase::Resting { .. } => self.calm(),
            Phase::Calm | Phase::Deferring { .. } => {}
        }
        if !self.suspects(now) {
            self.calm();
            return Vec::new();
        }
        self.campaign(now)
    }

    fn campaign(&mut self, now: Now) -> Vec<Action> {
        self.suspected.get_or_insert(now);
        let settled = match self.suspected {
            Some(suspected) if !self.is_alone() => suspected + SETTLE,
            Some(_) | None => now,
        };
        match (self.chance(now), self.phase) {
            (Some(chance), _) if chance.from.max(settled) > now => self.wake_at(chance.from.max(settled)),
            (Some(chance), _) if chance.is_best => return self.stand(now),
            (Some(_), Phase::Deferring { until }) if now >= until => return self.stand(now),
            (Some(_), Phase::Deferring { until }) => self.wake_at(until),
            (Some(_), _) => {
                let until = now + DEFER + self.jitter(DEFER);
                self.phase = Phase::Deferring { until };
                self.wake_at(until);
            }
            (None, _) => {}
        }
        self.ask(now)
    }

    fn ask(&mut self, now: Now) -> Vec<Action> {
        let pause = match self.rounds.checked_sub(QUICK_ROUNDS) {
            None => ROUND,
            Some(slow) => (ROUND * 2_u32.pow(slow.min(REST_DOUBLINGS))).min(ROUND_MAX),
        };
        let due = self.asked.map_or(now, |asked| asked + pause);
        if due > now {
            self.wake_at(due);
            return Vec::new();
        }
        let all: BTreeSet<u64> = self.view.voters.iter().flatten().copied().collect();
        let to: Vec<u64> = all.into_iter().filter(|node| *node != self.settings.me).collect();
        self.asked = Some(now);
        self.rounds += 1;
        self.wake_at(now + pause);
        vec![Action::Ask { asked: now, to }]
    }

    /// Whether, and when, a quorum would vote for this node by the rules of openraft.
    fn chance(&self, now: Now) -> Option<Chance> {
        let is_voter = |node: &u64| self.view.voters.iter().any(|set| set.contains(node));
        let counts = |node: &u64, said: &Answered| {
            said.answer.agrees && is_voter(node) && now.saturating_sub(said.asked) <= FRESH
        };
        let agreeing: Vec<_> = self.answers.iter().filter(|(node, said)| counts(node, said)).collect();
        let own = (self.view.last, self.view.term, self.settings.me);
        let is_best = agreeing.iter().all(|(node, said)| (said.answer.last, said.answer.term, **node) < own);
        // openraft grants a vote only to a log that ends no earlier than the voter's.
        let mut willing: Vec<(Now, u64)> = agreeing
            .iter()
            .filter(|(_, said)| said.answer.last <= self.view.last)
            .map(|(node, said)| (said.received + Duration::from_micros(said.answer.lease_left_us), **node))
            .collect();
        willing.sort_unstable();
        let mut granted = BTreeSet::from([self.settings.me]);
        let mut from = now;
        for (lease_end, node) in willing {
            if is_quorum(&self.view.voters, &granted) {
                break;
            }
            granted.insert(node);
            from = from.max(lease_end);
        }
        is_quorum(&self.view.voters, &granted).then_some(Chance { from, is_best })
    }

    fn stand(&mut self, now: Now) -> Vec<Action> {
        let until = now + STAND;
        (self.phase, self.wake) = (Phase::Standing { until }, Some(until));
        self.answers.clear();
        vec![Action::Elect]
    }

    /// An election failed: so long this node leaves the field to others.
    fn rest(&mut self) -> Duration {
        let longest = REST * 2_u32.pow(self.failures.min(REST_DOUBLINGS));
        self.failures = self.failures.saturating_add(1);
        longest / 2 + self.jitter(longest / 2)
    }

    fn calm(&mut self) {
        self.phase = Phase::Calm;
        (self.suspected, self.rounds, self.asked) = (None, 0, None);
        self.answers.clear();
    }

    fn wake_at(&mut self, at: Now) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Something from nothing up to `most`; no more random than two nodes need to get out of step.
    fn jitter(&mut self, most: Duration) -> Duration {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        let share = u32::try_from(self.jitter % 1_000).unwrap_or(0);
        most * share / 1_000
    }
}

#[cfg(test)]
#[path = "driver_tests.rs"]
mod tests;
