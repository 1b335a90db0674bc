//! Segments: files of outbox rows, compressed, checksummed and chained; the archive of a node without a database.
//!
//! ```text
//! DIR/AFTER-UPTO.seg     all rows of the entries (AFTER, UPTO], as 20 digits each; `-2`, `-3` .. if the name is taken
//! DIR/base               where what was removed ended: the mark with which the oldest segment begins
//! DIR/*.tmp              not finished: removed when the outbox opens
//! ```
//! In: rows in log order. Out: the same rows, or the name of the file that is not what was written. A segment is written
//! whole, made durable, named, and never changed again; one that is damaged or of another cluster is named and kept, and
//! what it covered counts as missing.
//! Deliberately absent: rows that are not in a segment yet, when to spill, and when to remove ([`crate::outbox`]).

mod base;
mod catalog;
mod error;
mod format;
mod page;
mod ranges;
mod reader;
mod segment;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

pub(crate) use base::{read_base, write_base};
pub(crate) use catalog::Catalog;
pub use error::{SegmentError, SegmentFault};
pub(crate) use page::Page;
pub use ranges::Ranges;
pub use reader::SegmentReader;
pub(crate) use segment::Segment;
pub use segment::SegmentInfo;
#[cfg(test)]
pub(crate) use verify::verify_on;
pub use verify::{Progress, SegmentsReport, verify_segments};
pub(crate) use writer::{SegmentWriter, decode_row};

/// A row of the outbox: the log index of its entry, and `codec::encode(&(proposed_at_ms, changes))`.
pub type Row = (u64, Vec<u8>);
