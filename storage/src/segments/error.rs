//! What can be wrong with segments.

use std::fmt;
use std::io;
use std::path::PathBuf;

use consigner_rules::codec;
use thiserror::Error;

/// Why rows could not be written to or read from segments.
#[derive(Debug, Error)]
pub enum SegmentError {
    /// The file system failed.
    #[error("archive: {action} {} failed", .path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// A segment is not what was written.
    #[error("archive: {0}")]
    Fault(SegmentFault),
    /// Two rows of one log index differ.
    #[error("archive: there are two different rows of log index {0}")]
    Conflict(u64),
    /// A row cannot be read by this version, so it cannot go into the chain.
    #[error("archive: the row of log index {index} cannot be read by this version")]
    Row {
        /// Its entry.
        index: u64,
        /// What is wrong.
        #[source]
        source: codec::DecodeError,
    },
    /// A row is longer than any that this version writes.
    #[error("archive: the row of log index {0} is too long for a segment")]
    TooLong(u64),
    /// Rows were given that do not rise, or lie outside their range.
    #[error("archive: row {index} does not belong to the entries after {after}, up to {upto}")]
    Misplaced {
        /// The row.
        index: u64,
        /// The range.
        after: u64,
        /// Its end.
        upto: u64,
    },
}

/// A file, or a part of one, that is not what was written. The file is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFault {
    /// Name of the file.
    pub name: String,
    /// Entries after this log index cannot be read from it ..
    pub after: u64,
    /// .. up to and with this one; the same when it is not known which.
    pub upto: u64,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for SegmentFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, after, upto, why } = self;
        write!(f, "{name} is not used: {why}")?;
        if upto > after {
            write!(f, " (entries after log index {after}, up to and with {upto})")?;
        }
        Ok(())
    }
}

pub(crate) fn io_error(action: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> SegmentError {
    move |source| SegmentError::Io { action, path: path.to_path_buf(), source }
}
