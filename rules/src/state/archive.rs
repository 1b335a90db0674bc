//! How far the archive has come: one record that only moves on.
//!
//! In: the command that moves it, proposed by whoever wrote the rows. Out: an outcome and the record. Every node purges
//! its outbox up to the mark, so a mark that went back or jumped would lose rows. Deliberately absent: whether the rows
//! are where the mark says (the proposer made sure before), and any [`crate::Change`]: the archive would archive itself
//! for ever.

use super::State;
use super::apply::Step;
use super::records;
use crate::archive::ArchiveMark;
use crate::command::{Outcome, Rejection};

impl State {
    /// How far the archive has come; `None` before anything was archived.
    #[must_use]
    pub const fn archive_mark(&self) -> Option<&ArchiveMark> {
        self.archive_mark.as_ref()
    }
}

impl Step<'_> {
    /// Moves the mark on from `after`, where the proposer knew it: of two exporters at a time the later one is rejected.
    pub(super) fn advance_archive(&mut self, after: u64, mark: &ArchiveMark) -> Outcome {
        let held = self.state.archive_mark;
        // The same proposal, sent again because its answer was lost.
        if held.as_ref() == Some(mark) {
            return Outcome::ArchiveAdvanced;
        }
        let index = held.map_or(0, |held| held.index);
        // Fewer rows than before are no fault: an archive that was lost and begun anew counts from its own begin.
        if after != index || mark.index <= after {
            return Outcome::Rejected(Rejection::ArchiveMoved { index });
        }
        self.write(held.as_ref().map(records::archive_mark_record), records::archive_mark_record(mark));
        self.state.archive_mark = Some(*mark);
        Outcome::ArchiveAdvanced
    }
}
