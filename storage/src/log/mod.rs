//! The Raft log: our own write-ahead log (DESIGN 8).
//!
//! In: entries, votes, truncations, purges and the committed position, as opaque bytes and positions.
//! Out: a callback once they would survive a power cut; the same records at the next open.
//!
//! ```text
//! append/save_vote/... -> queue (bounded) -> writer thread -> one frame, one fdatasync -> callbacks
//!                     \-> index (memory)  -> read()
//! open -> recover (check every byte) -> cut a torn tail -> rewrite and fsync what is live -> serve
//! ```
//! Deliberately absent: what an entry or a vote means, retries after an error, reuse of old segments.

mod error;
mod frame;
mod index;
mod options;
mod queue;
mod record;
mod recover;
mod repair;
mod replay;
mod segment;
mod stats;
mod tail;
mod wal;
mod writer;

#[cfg(test)]
mod tests;

pub use error::WalError;
pub use options::{Done, FatalHook, IndexRule, WalOptions};
pub use record::LogPosition;
pub use stats::{FSYNC_BUCKETS_US, WalStats};
pub use wal::Wal;

pub(crate) use segment::holds_segments;
