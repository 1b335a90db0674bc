//! What was recorded, entry by entry, out of this node's outbox.
//!
//! In: a log index. Out: the changes of the entries after it, in log order, and from where on none is missing on this
//! node. Deliberately absent: what they are for (an export, the archive), and how the outbox is kept ([`crate::archive`]).

use crate::cluster::{Cluster, Unavailable};
use crate::recover::Recovered;
use consigner_rules::{Change, codec};
use consigner_storage::{Outbox, OutboxError};
use std::sync::{Arc, PoisonError};

/// What one entry of the log changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Index of the entry.
    pub index: u64,
    /// When its proposer sent it, in milliseconds since the Unix epoch; information only.
    pub proposed_at_ms: u64,
    /// In the order in which they happened.
    pub changes: Vec<Change>,
}

/// Why the outbox gives no rows.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// The node is stopping.
    #[error(transparent)]
    Stopping(#[from] Unavailable),
    /// Store or segments failed.
    #[error("the outbox cannot be read")]
    Outbox(#[from] OutboxError),
    /// A row was written by another version.
    #[error("the outbox row of log index {index} cannot be read by this version")]
    Row {
        /// Its entry.
        index: u64,
        /// What is wrong.
        #[source]
        source: codec::DecodeError,
    },
}

impl Cluster {
    /// What at most `max` entries after log index `after` changed, in log order, fewer where they are large; entries
    /// without a change are left out, and so are those whose rows are missing here. None only if there are no more.
    /// Blocking: it reads from the disk.
    ///
    /// # Errors
    /// [`RecordedError`].
    pub fn recorded_after(&self, after: u64, max: usize) -> Result<Vec<Recorded>, RecordedError> {
        let rows = self.outbox()?.read_after(after, max)?;
        rows.into_iter().map(|(index, row)| decoded(index, &row)).collect()
    }

    /// As [`Cluster::recorded_after`], but only as far as no row is missing here, judged after reading: whoever copies rows
    /// elsewhere cannot pass over a hole. Blocking.
    ///
    /// # Errors
    /// [`RecordedError`]: [`OutboxError::Hole`] in it if the rows of the entry right after `after` are missing here.
    pub fn recorded_whole(&self, after: u64, max: usize) -> Result<Vec<Recorded>, RecordedError> {
        let rows = self.outbox()?.read_whole(after, max)?;
        rows.into_iter().map(|(index, row)| decoded(index, &row)).collect()
    }

    /// The log index after which no recorded change is missing on this node: 0 since its birth, else up to where rows were
    /// purged or a snapshot took the place of the entries, unless the members gave them back. Not known: `u64::MAX`.
    /// Blocking.
    ///
    /// # Errors
    /// [`RecordedError`].
    pub fn recorded_since(&self) -> Result<u64, RecordedError> {
        Ok(self.outbox()?.since()?)
    }

    /// Up to which log index no recorded change behind `after` is missing here; `None` if those of the very next entry
    /// are. Asked after reading, it says how far what was read is everything. Blocking.
    ///
    /// # Errors
    /// [`RecordedError`].
    pub fn recorded_reach(&self, after: u64) -> Result<Option<u64>, RecordedError> {
        Ok(self.outbox()?.reach(after)?)
    }

    /// The log indexes whose changes are missing here, each as (after, up to and with), oldest first, as of now. Blocking.
    ///
    /// # Errors
    /// [`RecordedError`].
    pub fn recorded_holes(&self) -> Result<Vec<(u64, u64)>, RecordedError> {
        Ok(self.outbox()?.holes()?)
    }

    /// Index of the last entry whose changes can be read from the outbox.
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.inner.shared.watch_index().borrow().map_or(0, |position| position.index)
    }

    /// The outbox, until the node stops.
    pub(crate) fn outbox(&self) -> Result<Arc<Outbox>, Unavailable> {
        let outbox = self.recovered(|recovered| Arc::clone(&recovered.outbox));
        outbox.ok_or_else(|| Unavailable::because("the node is stopping"))
    }

    /// Entries with a row here, in store and segments, as the keeper saw them last: the outbox itself may wait for a disk
    /// that hangs, and statuses are told on async threads.
    pub(crate) fn outbox_rows(&self) -> u64 {
        self.inner.outbox.status().rows
    }

    /// The last log index that a durable snapshot covers: entries up to it are never applied again.
    pub(crate) fn durable_index(&self) -> u64 {
        let position = self.recovered(|recovered| recovered.snapshots.latest_info().and_then(|info| info.position));
        position.flatten().map_or(0, |position| position.index)
    }

    fn recovered<T>(&self, read: impl FnOnce(&Recovered) -> T) -> Option<T> {
        let recovered = self.inner.recovered.lock().unwrap_or_else(PoisonError::into_inner);
        recovered.as_ref().map(read)
    }
}

/// A row as it lies in the outbox.
pub(crate) fn decoded(index: u64, row: &[u8]) -> Result<Recorded, RecordedError> {
    let (proposed_at_ms, changes) = codec::decode(row).map_err(|source| RecordedError::Row { index, source })?;
    Ok(Recorded { index, proposed_at_ms, changes })
}
