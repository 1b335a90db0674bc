//! Where the replicated mark and the head of the database stand to each other, and what follows.
//!
//! In: both, and what this node's outbox still has. Out: a [`Course`]. Deliberately absent: doing it ([`super::plan`]).

use super::trouble::Trouble;
use consigner_rules::archive::ArchiveMark;

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// Where every archive of this lineage begins.
    pub(super) begin: ArchiveMark,
    /// The replicated mark; `None` before anything was archived.
    pub(super) mark: Option<ArchiveMark>,
    /// The database's; `None`: nothing was written.
    pub(super) head: Option<ArchiveMark>,
    /// The last log index that this node has applied.
    pub(super) applied: u64,
    /// What this node's outbox misses.
    pub(super) holes: Holes,
}

/// What an outbox misses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Holes {
    /// After this log index nothing is missing.
    pub(super) since: u64,
    /// Each as (after, up to and with), oldest first, as they were seen last.
    pub(super) known: Vec<(u64, u64)>,
    /// Whether every member answered that it has nothing of what is missing.
    pub(super) is_hopeless: bool,
}

impl Holes {
    /// The first hole that begins before `upto` and ends behind `after`. A hole that was not listed yet reaches from
    /// `after` to where nothing is missing any more.
    pub(super) fn first(&self, after: u64) -> Option<(u64, u64)> {
        if self.since <= after {
            return None;
        }
        let listed = self.known.iter().copied().find(|(_, upto)| *upto > after);
        Some(listed.unwrap_or((after, self.since)))
    }
}

/// What follows from a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Course {
    /// Mark and head are one: write what comes behind, up to and with this log index.
    Export { from: ArchiveMark, upto: u64 },
    /// The database is ahead: its rows must be the outbox's, then the mark may follow.
    Follow { mark: ArchiveMark, head: ArchiveMark },
    /// The first export of an outbox that nowhere reaches back to the begin: that is said once, with what is known.
    FirstGap { from: ArchiveMark, upto: u64 },
    /// Not as things are.
    Stop(Trouble),
}

impl Facts {
    /// The mark, or the begin.
    pub(super) fn mark(&self) -> ArchiveMark {
        self.mark.unwrap_or(self.begin)
    }

    /// The head, or the begin.
    pub(super) fn head(&self) -> ArchiveMark {
        self.head.unwrap_or(self.begin)
    }

    pub(super) fn course(&self) -> Course {
        let (mark, head) = (self.mark(), self.head());
        if head.index < mark.index {
            return Course::Stop(behind(&mark, &head));
        }
        if head.index > self.applied {
            let reason = format!(
                "the archive is ahead of the cluster: at log index {}, the cluster at {}; another cluster with the same \
                 id writes there, or this one lost its log",
                head.index, self.applied
            );
            return Course::Stop(Trouble::new("conflict", reason));
        }
        if head.index > mark.index {
            return Course::Follow { mark, head };
        }
        if head != mark {
            return Course::Stop(forked(&mark, &head));
        }
        match self.holes.first(mark.index) {
            None => Course::Export { from: mark, upto: u64::MAX },
            // What lies before the hole is not kept waiting.
            Some((after, _)) if after > mark.index => Course::Export { from: mark, upto: after },
            Some((_, upto)) if self.holes.is_hopeless && self.mark.is_none() && self.head.is_none() => {
                Course::FirstGap { from: mark, upto }
            }
            Some((_, upto)) => Course::Stop(self.hole(mark.index, upto)),
        }
    }

    fn hole(&self, after: u64, upto: u64) -> Trouble {
        let lost = format!("the records of the log indexes after {after} up to {upto} are missing on this node");
        if self.holes.is_hopeless {
            let cure = "and on every other one; `consigner archive backfill --accept-gap` goes on without them";
            Trouble::new("hole", format!("{lost}, {cure}"))
        } else {
            Trouble::new("hole", format!("{lost}; the other members are asked for them"))
        }
    }
}

/// The database lost what it had confirmed.
fn behind(mark: &ArchiveMark, head: &ArchiveMark) -> Trouble {
    let reason = format!(
        "the archive is at log index {}, but had confirmed everything up to {}: the database lost it, or is another one; \
         if nothing better can be restored, `consigner archive backfill` writes again what the nodes still hold",
        head.index, mark.index
    );
    Trouble::new("behind", reason)
}

/// Both are at one place, by different ways.
pub(super) fn forked(mark: &ArchiveMark, head: &ArchiveMark) -> Trouble {
    let reason = format!(
        "the archive at log index {} has another content than the cluster recorded (chain {} with {} rows, expected {} \
         with {}): it was altered, or is another one; see `consigner archive verify`",
        head.index, head.chain, head.rows, mark.chain, mark.rows
    );
    Trouble::new("conflict", reason)
}
