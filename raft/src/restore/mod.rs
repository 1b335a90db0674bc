//! A new cluster out of what is left of a lost one (DESIGN 9).
//!
//! ```text
//! backups, survivors' disks -> sources -> combine -> State (reborn by the caller) -> write -> a data directory of one
//! interchange files, the archive ------------^            ^-- a floor from the clock
//! ```
//! In: sources, each checked by itself. Out: a state in which every watermark is the greatest of all sources (S3), and a
//! data directory in which a cluster of one node starts with it. Deliberately absent: keys (sealed anew by `keys`),
//! any belief that the sources know everything: that is what the floor is for.

mod floor;
mod merge;
mod source;
#[cfg(test)]
mod survivor_tests;
#[cfg(test)]
mod tests;
mod write;

pub use floor::{FloorError, RESUME_AHEAD_MAX, RESUME_MARGIN, ResumeAt, current_epoch, floor_before, resume_floor};
pub use merge::{Combined, MergeError, Records, RecordsKind, SourceReport, combine};
pub use source::{Source, SourceError, SourceKind};
pub use write::{NewNode, WriteError, check_vacant, write};
