//! What goes to the archive, in which order, and how far it has come: the rows, their hash chain, the mark.
//!
//! In: the changes of applied entries, in log order. Out: [`ArchiveRow`]s, each named for ever by (log index, place in
//! the entry), and an [`ArchiveMark`] whose chain proves that nothing is missing, altered, doubled or out of order.
//! Deliberately absent: any I/O; who writes the rows where; and the cluster, which keeps the mark as one record.
//!
//! The chain is format 1: what it hashes may never change, or an old archive could not be verified any more.

use crate::codec;
use crate::command::Change;
use crate::primitives::{ClusterId, Root};
use ethereum_hashing::hash_fixed;
use serde::{Deserialize, Serialize};

/// What every chain begins with, followed by the 16 bytes of the lineage.
const BEGIN: &[u8] = b"consigner archive 1";

/// First byte of what is hashed for a row.
const ROW: u8 = 0;

/// First byte of what is hashed for a gap.
const GAP: u8 = 1;

/// One change as it lies in the archive. The same on every node, whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRow {
    /// Log index of the entry that made the change.
    pub index: u64,
    /// Its place among the changes of that entry, from 0.
    pub ordinal: u32,
    /// When the entry was proposed, in milliseconds since the Unix epoch, by the proposer's clock.
    pub proposed_at_ms: u64,
    /// What happened.
    pub change: Change,
}

/// The rows of one entry, in the order in which its changes happened.
pub fn archive_rows(index: u64, proposed_at_ms: u64, changes: Vec<Change>) -> impl Iterator<Item = ArchiveRow> {
    (0_u32..).zip(changes).map(move |(ordinal, change)| ArchiveRow { index, ordinal, proposed_at_ms, change })
}

/// How far the archive of one lineage (the life of one cluster id) has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveMark {
    /// All entries up to and with this log index are archived, or lie in a gap that the archive names.
    pub index: u64,
    /// Rows since the lineage's begin; in an archive that was lost and begun anew, since then.
    pub rows: u64,
    /// The chain over these rows and gaps.
    pub chain: Root,
}

impl ArchiveMark {
    /// The mark of an archive that holds nothing yet.
    #[must_use]
    pub fn begin(lineage: &ClusterId) -> Self {
        Self { index: 0, rows: 0, chain: Root(hash_fixed(&[BEGIN, lineage.as_bytes()].concat())) }
    }

    /// Passes one row. Rows come in log order, those of one entry in their order within it.
    pub fn add(&mut self, row: &ArchiveRow) {
        let place = [row.index.to_be_bytes(), row.proposed_at_ms.to_be_bytes()];
        let parts: [&[u8]; 6] = [
            &[ROW],
            self.chain.as_bytes(),
            &place[0],
            &row.ordinal.to_be_bytes(),
            &place[1],
            &codec::encode(&row.change),
        ];
        self.chain = Root(hash_fixed(&parts.concat()));
        self.rows = self.rows.saturating_add(1);
        self.pass(row.index);
    }

    /// Passes entries that changed nothing, up to and with `index`. Never lowers the mark.
    pub fn pass(&mut self, index: u64) {
        self.index = self.index.max(index);
    }

    /// Passes entries whose rows nobody has any more, up to and with `upto`: the chain says so for ever. Does nothing
    /// if the mark is there already.
    pub fn skip(&mut self, upto: u64) {
        if upto <= self.index {
            return;
        }
        let (from, to) = (self.index.to_be_bytes(), upto.to_be_bytes());
        let parts: [&[u8]; 4] = [&[GAP], self.chain.as_bytes(), &from, &to];
        self.chain = Root(hash_fixed(&parts.concat()));
        self.index = upto;
    }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
