//! What each peer is known to have acknowledged: below that its disk cannot lawfully be.
//!
//! In: the peers' answers to this node's appends, snapshots and requests for votes. Out: per peer a committed position,
//! and, as long as no later leader can have truncated it, the exact end of its log. In memory: what lasts is what the
//! leader notes in the replicated state ([`super::notes`]).

use consigner_rules::command::NodePosition;
use consigner_storage::LogPosition;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What this process saw of its peers.
#[derive(Debug, Default)]
pub struct Floors {
    seen: Mutex<BTreeMap<u64, Seen>>,
    /// What leaders had noted when this process started, in entries that were not applied yet.
    noted: BTreeMap<u64, NodePosition>,
}

/// What one peer acknowledged to this process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    /// The newest committed position on its disk.
    committed: Option<LogPosition>,
    /// The newest term in which it gave this node a vote or followed it: stored on its disk before it answered.
    term: u64,
    /// The newest position that it acknowledged in that term, committed or not.
    in_term: Option<LogPosition>,
}

/// A disk is behind what it acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// Its log must reach this.
    pub floor: Option<LogPosition>,
    /// Its vote must be of this term, at least.
    pub term: u64,
}

impl Behind {
    /// Whether a disk that is here now is behind.
    pub fn holds(&self, last: Option<LogPosition>, term: u64) -> bool {
        last < self.floor || term < self.term
    }
}

impl Floors {
    /// Has seen nothing yet; `noted` is what the log says.
    pub fn new(noted: BTreeMap<u64, NodePosition>) -> Self {
        Self { noted, ..Self::default() }
    }

    /// A follower holds the leader's log up to `matched`. `term` is the leader's, `committed` how far it has agreed.
    pub fn acknowledged(&self, node: u64, term: u64, matched: Option<LogPosition>, committed: Option<LogPosition>) {
        let mut seen = self.lock();
        let seen = seen.entry(node).or_default();
        if term > seen.term {
            (seen.term, seen.in_term) = (term, None);
        }
        if term == seen.term {
            seen.in_term = seen.in_term.max(matched);
        }
        // A committed position of a later term means that this node was deposed meanwhile: what was matched may be gone.
        let Some(committed) = committed.filter(|committed| committed.term <= term) else { return };
        // Both lie in the leader's own log, so that the lower index is the earlier one.
        let floor = matched.map(|matched| if matched.index <= committed.index { matched } else { committed });
        seen.committed = seen.committed.max(floor);
    }

    /// A peer gave this node its vote.
    pub fn voted(&self, node: u64, term: u64) {
        let mut seen = self.lock();
        let seen = seen.entry(node).or_default();
        if term > seen.term {
            (seen.term, seen.in_term) = (term, None);
        }
    }

    /// The newest committed position that a peer acknowledged to this process.
    pub fn committed(&self, node: u64) -> Option<LogPosition> {
        self.lock().get(&node).and_then(|seen| seen.committed)
    }

    /// What a peer's disk must reach, by what this process saw and by what was noted.
    ///
    /// In the newest term in which it followed this node, nobody but this node could have truncated its log: if its vote
    /// is still of that term, its log ends where it said, to the entry.
    pub fn behind(&self, node: u64, noted: Option<NodePosition>, term: u64) -> Behind {
        let seen = self.lock().get(&node).copied().unwrap_or_default();
        let noted = noted.max(self.noted.get(&node).copied());
        let mut floor = seen.committed.max(noted.map(position));
        if term == seen.term {
            floor = floor.max(seen.in_term);
        }
        Behind { floor, term: seen.term }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The log's form of a noted position.
pub fn position(noted: NodePosition) -> LogPosition {
    LogPosition { term: noted.term, node: noted.leader, index: noted.index }
}

/// The noted form of a position.
pub fn noted(position: LogPosition) -> NodePosition {
    NodePosition { term: position.term, leader: position.node, index: position.index }
}
