//! What the exporter does next, given what happened: the one place that decides when the mark moves.
//!
//! ```text
//! Look -> Gather -> Write -> (committed) -> Advance -> Gather ..
//!   |-> Replay -> (the same chain) -----------^
//!   '-> WriteGap -> (committed) --------------'        any failure -> Pause -> Look
//! ```
//! In: events. Out: steps. The mark moves for what is [`Committed`] alone, and only a write that the database confirmed,
//! or rows found there that are the outbox's own, make one. Every node purges up to the mark, so a mark ahead of the rows
//! would lose them. Deliberately absent: I/O, clocks, chance.

use super::batch::Batch;
use super::facts::{Course, Facts, forked};
use super::trouble::{Cure, Trouble};
use consigner_rules::archive::ArchiveMark;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Find out where mark, head and outbox are.
    Look,
    /// Compute the chain over the outbox's rows behind `from` up to and with `upto`.
    Replay { from: ArchiveMark, upto: u64 },
    /// Read rows behind `from`, up to and with `upto`.
    Gather { from: ArchiveMark, upto: u64 },
    /// Write these rows.
    Write(Batch),
    /// Write that these rows are lost.
    WriteGap { before: ArchiveMark, after: ArchiveMark },
    /// Move the replicated mark.
    Advance(Committed),
    /// There is nothing to do for a while.
    Rest,
    /// Something is wrong; wait, then go on with [`Event::Rested`].
    Pause(Trouble),
}

/// What lies in the database for certain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Committed {
    from: ArchiveMark,
    to: ArchiveMark,
}

impl Committed {
    /// For a backfill, which wrote from a head that the mark does not lead to. Only after the database confirmed it.
    pub(super) const fn between(from: ArchiveMark, to: ArchiveMark) -> Self {
        Self { from, to }
    }

    /// The index of the mark that this continues.
    pub(super) const fn after(&self) -> u64 {
        self.from.index
    }

    /// The mark that may be agreed.
    pub(super) const fn mark(&self) -> ArchiveMark {
        self.to
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// [`Step::Look`] found this.
    Looked(Facts),
    /// [`Step::Replay`] came to this mark.
    Replayed(ArchiveMark),
    /// [`Step::Gather`] read this; whether more is to be had at once.
    Gathered { batch: Batch, is_full: bool },
    /// The database confirmed [`Step::Write`] or [`Step::WriteGap`].
    Written,
    /// The cluster agreed to [`Step::Advance`].
    Advanced,
    /// The pause is over.
    Rested,
    /// The step failed.
    Failed(Trouble),
}

/// Where the exporter is.
#[derive(Debug)]
pub(super) struct Plan {
    doing: Doing,
    /// Whether the last look followed a surprise: the next one is not answered at once any more.
    surprised: bool,
}

/// What the next event is about.
#[derive(Debug)]
enum Doing {
    Looking,
    Replaying { mark: ArchiveMark, head: ArchiveMark },
    Gathering { upto: u64 },
    Writing { to: Committed, upto: u64, is_full: bool },
    Advancing { to: ArchiveMark, upto: u64, is_full: bool },
    Resting { from: ArchiveMark, upto: u64 },
    Pausing,
}

impl Plan {
    /// Begins with a look.
    pub(super) const fn begin() -> (Self, Step) {
        (Self { doing: Doing::Looking, surprised: false }, Step::Look)
    }

    /// The step that follows from an event.
    pub(super) fn next(&mut self, event: Event) -> Step {
        match (std::mem::replace(&mut self.doing, Doing::Pausing), event) {
            (_, Event::Failed(trouble)) => self.after_trouble(trouble),
            (Doing::Looking, Event::Looked(facts)) => self.after_look(&facts),
            (Doing::Replaying { mark, head }, Event::Replayed(reached)) => self.after_replay(mark, head, reached),
            (Doing::Gathering { upto }, Event::Gathered { batch, is_full }) => self.after_gather(batch, upto, is_full),
            (Doing::Writing { to, upto, is_full }, Event::Written) => {
                self.doing = Doing::Advancing { to: to.to, upto, is_full };
                Step::Advance(to)
            }
            (Doing::Advancing { to, upto, is_full }, Event::Advanced) => self.after_advance(to, upto, is_full),
            (Doing::Resting { from, upto }, Event::Rested) => self.gather(from, upto),
            // After a pause, and if an event ever came that nothing had asked for: where things stand is looked up.
            (
                Doing::Looking
                | Doing::Replaying { .. }
                | Doing::Gathering { .. }
                | Doing::Writing { .. }
                | Doing::Advancing { .. }
                | Doing::Resting { .. }
                | Doing::Pausing,
                Event::Looked(_)
                | Event::Replayed(_)
                | Event::Gathered { .. }
                | Event::Written
                | Event::Advanced
                | Event::Rested,
            ) => self.look(),
        }
    }

    fn look(&mut self) -> Step {
        self.doing = Doing::Looking;
        Step::Look
    }

    fn gather(&mut self, from: ArchiveMark, upto: u64) -> Step {
        self.doing = Doing::Gathering { upto };
        Step::Gather { from, upto }
    }

    fn after_trouble(&mut self, trouble: Trouble) -> Step {
        if trouble.cure == Cure::LookAgain && !std::mem::replace(&mut self.surprised, true) {
            return self.look();
        }
        self.doing = Doing::Pausing;
        Step::Pause(trouble)
    }

    fn after_look(&mut self, facts: &Facts) -> Step {
        match facts.course() {
            Course::Export { from, upto } => self.gather(from, upto),
            Course::Follow { mark, head } => {
                let mut skipped = mark;
                skipped.skip(head.index);
                if skipped == head {
                    // A gap that was written, and not noted: another node led before.
                    return self.advance(mark, head);
                }
                self.doing = Doing::Replaying { mark, head };
                Step::Replay { from: mark, upto: head.index }
            }
            Course::FirstGap { from, upto } => {
                let mut after = from;
                after.skip(upto);
                let to = Committed { from, to: after };
                self.doing = Doing::Writing { to, upto: u64::MAX, is_full: true };
                Step::WriteGap { before: from, after }
            }
            Course::Stop(trouble) => {
                self.doing = Doing::Pausing;
                Step::Pause(trouble)
            }
        }
    }

    fn after_replay(&mut self, mark: ArchiveMark, head: ArchiveMark, mut reached: ArchiveMark) -> Step {
        reached.pass(head.index);
        if reached == head { self.advance(mark, head) } else { Step::Pause(forked(&reached, &head)) }
    }

    /// Rows that were found in the database and are the outbox's own. What follows is looked up again: holes may be there.
    fn advance(&mut self, from: ArchiveMark, to: ArchiveMark) -> Step {
        self.doing = Doing::Advancing { to, upto: 0, is_full: true };
        Step::Advance(Committed { from, to })
    }

    /// A batch without rows may still move: to the edge of a hole, where the next look finds it.
    fn after_gather(&mut self, batch: Batch, upto: u64, is_full: bool) -> Step {
        if batch.after == batch.before {
            self.doing = Doing::Resting { from: batch.before, upto };
            return Step::Rest;
        }
        let to = Committed { from: batch.before, to: batch.after };
        self.doing = Doing::Writing { to, upto, is_full };
        Step::Write(batch)
    }

    fn after_advance(&mut self, to: ArchiveMark, upto: u64, is_full: bool) -> Step {
        self.surprised = false;
        if to.index >= upto {
            return self.look();
        }
        // Before a hole there is an end to come to.
        if is_full || upto != u64::MAX {
            return self.gather(to, upto);
        }
        self.doing = Doing::Resting { from: to, upto };
        Step::Rest
    }
}
