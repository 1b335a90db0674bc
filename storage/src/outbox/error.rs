//! Why the outbox could not do what was asked. None of it is a reason to stop signing.

use thiserror::Error;

use crate::segments::SegmentError;
use crate::state::StateError;

/// Why rows were not read, moved or removed.
#[derive(Debug, Error)]
pub enum OutboxError {
    /// The state store failed.
    #[error(transparent)]
    Store(#[from] StateError),
    /// A segment, or the directory, failed. Rows that were to be spilled are still in the store.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// Rows of these entries are missing here.
    #[error("the rows of the entries after log index {after}, up to and with {upto}, are missing on this node")]
    Hole {
        /// After this index ..
        after: u64,
        /// .. up to and with this one.
        upto: u64,
    },
}
