//! What was recorded, entry by entry, out of this node's outbox.
//!
//! In: a log index. Out: the changes of the entries after it, in log order, and from where on none is missing on this
//! node. Deliberately absent: what they are for (an export, the archive), and rows of other nodes.

use crate::cluster::{Cluster, Unavailable};
use consigner_rules::{Change, codec};
use consigner_storage::StateError;
use consigner_storage::state::StateStore;
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
    /// The store failed.
    #[error("the outbox cannot be read")]
    Store(#[from] StateError),
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
    /// What at most `max` entries after log index `after` changed, in log order; entries without a change are left out.
    /// Blocking: it reads from the disk.
    ///
    /// # Errors
    /// [`RecordedError`].
    pub fn recorded_after(&self, after: u64, max: usize) -> Result<Vec<Recorded>, RecordedError> {
        let Some(from) = after.checked_add(1) else { return Ok(Vec::new()) };
        let rows = self.store()?.outbox_read(from, max)?;
        rows.into_iter().map(|(index, row)| decoded(index, &row)).collect()
    }

    /// The log index after which no recorded change is missing on this node: 0 since its birth, else where a snapshot
    /// took the place of the entries before. Blocking.
    ///
    /// # Errors
    /// [`RecordedError`].
    pub fn recorded_since(&self) -> Result<u64, RecordedError> {
        let noted = self.store()?.outbox_since()?;
        // It is noted at every start; were it not, nothing could be promised.
        Ok(noted.unwrap_or(u64::MAX))
    }

    /// Index of the last entry whose changes can be read from the outbox.
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.inner.shared.watch_index().borrow().map_or(0, |position| position.index)
    }

    fn store(&self) -> Result<Arc<StateStore>, Unavailable> {
        let recovered = self.inner.recovered.lock().unwrap_or_else(PoisonError::into_inner);
        let store = recovered.as_ref().map(|recovered| recovered.store.clone());
        store.ok_or_else(|| Unavailable::because("the node is stopping"))
    }
}

fn decoded(index: u64, row: &[u8]) -> Result<Recorded, RecordedError> {
    let (proposed_at_ms, changes) = codec::decode(row).map_err(|source| RecordedError::Row { index, source })?;
    Ok(Recorded { index, proposed_at_ms, changes })
}
