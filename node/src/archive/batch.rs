//! Rows of whole entries, as many as go into one transaction.
//!
//! In: what was recorded, entry by entry. Out: a [`Batch`] with the marks before and behind it. An entry is never
//! divided: the mark knows entries only.

use consigner_raft::Recorded;
use consigner_rules::archive::{ArchiveMark, ArchiveRow, archive_rows};
use consigner_rules::codec;

/// A batch is closed at this size of its changes, bytes: what a node holds for the archive stays bounded also when single
/// changes are large (a policy has up to 256 KiB).
const BYTES_MAX: usize = 8 << 20;

/// Rows that go to the database together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) before: ArchiveMark,
    pub(super) rows: Vec<ArchiveRow>,
    pub(super) after: ArchiveMark,
    bytes: usize,
}

impl Batch {
    pub(super) const fn new(before: ArchiveMark) -> Self {
        Self { before, rows: Vec::new(), after: before, bytes: 0 }
    }

    /// Takes one entry.
    pub(super) fn take(&mut self, entry: Recorded) {
        for row in archive_rows(entry.index, entry.proposed_at_ms, entry.changes) {
            self.after.add(&row);
            self.bytes += codec::encode(&row.change).len();
            self.rows.push(row);
        }
    }

    /// Closes it, given up to where no row behind its begin is missing (`None`: the next is), how far rows were wanted, and
    /// whether all up to there were read; `false` if rows are missing among its own. Entries that are known to have changed
    /// nothing are passed.
    #[must_use]
    pub(super) fn closes(&mut self, reach: Option<u64>, upto: u64, is_read: bool) -> bool {
        let Some(edge) = reach.map(|reach| reach.min(upto)) else { return false };
        // Where the log has no end yet, the batch ends with its last row.
        if is_read && edge != u64::MAX && self.after.index <= edge {
            self.after.pass(edge);
        }
        self.after.index <= edge
    }

    /// Whether no further entry shall come in.
    pub(super) const fn is_full(&self, rows: usize) -> bool {
        self.rows.len() >= rows || self.bytes >= BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consigner_rules::Change;
    use consigner_rules::primitives::{ClusterId, PublicKey};

    fn batch(entries: &[u64]) -> Batch {
        let mut batch = Batch::new(ArchiveMark { index: 100, ..ArchiveMark::begin(&ClusterId([1; 16])) });
        for &index in entries {
            let changes = vec![Change::KeyAdded(PublicKey([1; 48]))];
            batch.take(Recorded { index, proposed_at_ms: 1, changes });
        }
        batch
    }

    /// The index behind it, if it may be written.
    fn closed(entries: &[u64], reach: Option<u64>, upto: u64, is_read: bool) -> Option<u64> {
        let mut batch = batch(entries);
        batch.closes(reach, upto, is_read).then_some(batch.after.index)
    }

    #[test]
    fn a_batch_never_passes_over_a_hole() {
        const END: u64 = u64::MAX;
        // Nothing is missing.
        assert_eq!(closed(&[120, 140], Some(END), END, true), Some(140));
        assert_eq!(closed(&[], Some(END), END, true), Some(100), "nothing is there yet");
        assert_eq!(closed(&[120], Some(END), 150, true), Some(150), "up to a hole that is known");
        assert_eq!(closed(&[120], Some(END), 150, false), Some(120), "full: what follows comes next");
        // A hole that is known, and another one below it that is not.
        assert_eq!(closed(&[], None, 500, true), None, "right behind the mark");
        assert_eq!(closed(&[301, 400], None, 500, true), None);
        assert_eq!(closed(&[120, 301], Some(130), 500, true), None, "among the rows");
        assert_eq!(closed(&[120], Some(130), 500, true), Some(130), "as far as nothing is missing");
        assert_eq!(closed(&[], Some(130), END, true), Some(130));
    }
}
