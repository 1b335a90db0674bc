//! Whether log, snapshot and state of one node fit together (DESIGN 8, trap 5).
//!
//! In: positions. Out: yes, or the reason why this node must not start as who it was. Pure.
//! Deliberately absent: the missing or empty log beside an `initialized` marker ([`crate::DataDir`]) and what lies
//! inside the log ([`crate::Wal`]): those are refused earlier.

use thiserror::Error;

use crate::log::LogPosition;

/// What was found on the disk, after each part was opened and checked by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StartFacts {
    /// The oldest entry in the log ([`crate::Wal::first`]).
    pub log_first: Option<LogPosition>,
    /// The newest entry, or the purged position ([`crate::Wal::last`]).
    pub log_last: Option<LogPosition>,
    /// Up to where the log was purged.
    pub purged: Option<LogPosition>,
    /// How far the cluster had agreed, as the log remembers it.
    pub committed: Option<LogPosition>,
    /// What the newest good snapshot covers; `None` without one, or when it covers nothing.
    pub snapshot: Option<LogPosition>,
    /// What the state has applied; `None` when it is empty or has to be rebuilt.
    pub state: Option<LogPosition>,
}

/// Why a node must not start. All of them mean: replace the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum StartRefusal {
    /// Entries are missing at the front of the log.
    #[error("the log begins at index {first} although it was purged up to {purged:?}: entries are missing")]
    GapAfterPurge {
        /// Index of the first entry.
        first: u64,
        /// Index up to which it was purged.
        purged: Option<u64>,
    },
    /// Purged entries that nothing else holds.
    #[error("the log was purged up to {purged}, but snapshot ({snapshot:?}) and state ({state:?}) end before that")]
    PurgedBeyondSnapshot {
        /// Index up to which it was purged.
        purged: u64,
        /// Index the snapshot covers.
        snapshot: Option<u64>,
        /// Index the state has applied.
        state: Option<u64>,
    },
    /// The state knows more than the log, and no snapshot covers the difference.
    #[error(
        "the state has applied {state}, the log ends at {log:?} and the snapshot at {snapshot:?}: the log lost its end"
    )]
    StateAheadOfLog {
        /// Index the state has applied.
        state: u64,
        /// Index of the newest entry.
        log: Option<u64>,
        /// Index the snapshot covers.
        snapshot: Option<u64>,
    },
    /// The log remembers agreement on entries that it does not hold.
    #[error(
        "index {committed} was committed, the log ends at {log:?} and the snapshot at {snapshot:?}: the log lost its end"
    )]
    CommittedAheadOfLog {
        /// The committed index.
        committed: u64,
        /// Index of the newest entry.
        log: Option<u64>,
        /// Index the snapshot covers.
        snapshot: Option<u64>,
    },
    /// Two parts hold different entries for one index.
    #[error("{what} and another part disagree on index {index}: these are not parts of one node's history")]
    Diverged {
        /// Which part.
        what: &'static str,
        /// The index.
        index: u64,
    },
}

/// Checks that the parts fit together.
///
/// # Errors
/// The first rule that is broken, as a [`StartRefusal`].
pub fn check_start(facts: &StartFacts) -> Result<(), StartRefusal> {
    let index = |position: Option<LogPosition>| position.map(|position| position.index);
    let (purged, snapshot, state, log) =
        (index(facts.purged), index(facts.snapshot), index(facts.state), index(facts.log_last));
    if let Some(first) = index(facts.log_first)
        && purged.map_or(Some(0), |purged| purged.checked_add(1)) != Some(first)
    {
        return Err(StartRefusal::GapAfterPurge { first, purged });
    }
    if let Some(purged) = purged
        && snapshot.max(state).is_none_or(|covered| covered < purged)
    {
        return Err(StartRefusal::PurgedBeyondSnapshot { purged, snapshot, state });
    }
    let held = log.max(snapshot);
    if let Some(state) = state.filter(|state| Some(*state) > held) {
        return Err(StartRefusal::StateAheadOfLog { state, log, snapshot });
    }
    if let Some(committed) = index(facts.committed).filter(|committed| Some(*committed) > held) {
        return Err(StartRefusal::CommittedAheadOfLog { committed, log, snapshot });
    }
    agree("the state", facts.state, facts)?;
    agree("the snapshot", facts.snapshot, facts)?;
    agree("the committed position", facts.committed, facts)
}

/// All committed positions with one index must be the same position. The log's own end is left out: behind an
/// installed snapshot it may lawfully hold an entry that lost, until the purge comes.
fn agree(what: &'static str, part: Option<LogPosition>, facts: &StartFacts) -> Result<(), StartRefusal> {
    let Some(part) = part else { return Ok(()) };
    let known = [facts.purged, facts.snapshot, facts.state, facts.committed];
    let other = known.iter().flatten().find(|known| known.index == part.index && **known != part);
    other.map_or(Ok(()), |_| Err(StartRefusal::Diverged { what, index: part.index }))
}
