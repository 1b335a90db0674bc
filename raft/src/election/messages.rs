//! What the driver is told, what it asks for, and what nodes say to each other before an election.
//!
//! In and out: plain values. Deliberately absent: decisions ([`super::driver`]) and calls ([`super::run`]).

use consigner_storage::LogPosition;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Duration;

/// Time since the process began to look; on a clock that counts suspend.
pub type Now = Duration;

/// What does not change while the process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// This node.
    pub me: u64,
    /// X: after so much silence a leader is suspected, and a leader that no quorum acknowledges stops its heartbeats.
    pub silence: Duration,
    /// How long openraft's voters keep faith in a leader after its last append.
    pub lease: Duration,
    /// Whether this node campaigns by this driver; if not, openraft's own timers do.
    pub campaigns: bool,
    /// Beginning of the jitter.
    pub seed: u64,
}

/// What openraft says right now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// Term of the stored vote.
    pub term: u64,
    /// The node that the stored vote is for.
    pub voted_for: u64,
    /// That node, if a quorum granted it.
    pub leader: Option<u64>,
    /// Whether this node leads.
    pub leads: bool,
    /// Voters; two sets while the membership changes.
    pub voters: Vec<BTreeSet<u64>>,
    /// End of this node's log.
    pub last: Option<LogPosition>,
    /// Whether this node may campaign and vote at all: its peers know that its disk is the newest of its id.
    pub may_vote: bool,
    /// How long ago a quorum last stood behind this node, if it leads.
    pub quorum_silence: Option<Duration>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A look at openraft, every few milliseconds and whenever it changes.
    Look(View),
    /// An append or a part of a snapshot came in.
    Heard {
        /// The sender.
        leader: u64,
        /// Its term.
        term: u64,
        /// When it arrived; it may have waited for the disk since.
        arrived: Now,
        /// Whether openraft has accepted it: its lease runs from now on.
        accepted: bool,
    },
    /// The connection to this node dropped and a new one is refused, or it said goodbye.
    Gone(u64),
    /// A peer answered a pre-vote.
    Answered {
        /// The peer.
        node: u64,
        /// When it was asked.
        asked: Now,
        /// What it said.
        answer: Answer,
    },
    /// The leader asks this node to take over.
    Stand,
    /// This node stops, or has no room to lead: it votes, but stands no more.
    Retire,
    /// It stands again.
    Return,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Ask these nodes whether they, too, hear no leader.
    Ask {
        /// To be handed back with the answers.
        asked: Now,
        /// The other voters.
        to: Vec<u64>,
    },
    /// Stand for election.
    Elect,
    /// Let openraft send heartbeats, or stop them.
    Heartbeats(bool),
}

/// The answer to a pre-vote: would you vote if I stood?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Whether this node hears no leader either.
    pub agrees: bool,
    /// Its term.
    pub term: u64,
    /// End of its log.
    pub last: Option<LogPosition>,
    /// Microseconds until openraft grants a vote here.
    pub lease_left_us: u64,
}

/// Whether `granted` holds a majority of every set.
pub fn is_quorum(sets: &[BTreeSet<u64>], granted: &BTreeSet<u64>) -> bool {
    !sets.is_empty() && sets.iter().all(|set| set.intersection(granted).count() > set.len() / 2)
}
