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

    /// Whether no further entry shall come in.
    pub(super) const fn is_full(&self, rows: usize) -> bool {
        self.rows.len() >= rows || self.bytes >= BYTES_MAX
    }
}
