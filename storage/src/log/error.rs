//! What can go wrong with the log.

use std::io;
use std::sync::Arc;

use thiserror::Error;

/// Why the log could not do what was asked. Every variant except [`WalError::Misuse`] means: stop the node.
#[derive(Clone, Debug, Error)]
pub enum WalError {
    /// A write, fsync, directory fsync, rename or unlink failed. Never retried: after a failed fsync the page cache
    /// says nothing about the disk (DESIGN 8, trap 4).
    #[error("log: {action} failed")]
    Io {
        /// What was being done, with the file.
        action: String,
        /// The operating system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// Bytes that were once durable are not what was written.
    #[error("log: corrupt: {0}; restore this node from its peers (replace it), do not delete files by hand")]
    Corrupt(String),
    /// The directory is not what the `initialized` marker promises: missing, empty or shortened (DESIGN 8, trap 5).
    #[error("log: incomplete: {0}")]
    Incomplete(String),
    /// Written by another version of the format.
    #[error("log: format version {found}, this program reads version {supported}")]
    Format {
        /// Version found on disk.
        found: u32,
        /// The version this program reads and writes.
        supported: u32,
    },
    /// An earlier error ended this log's life; nothing is accepted or acknowledged any more.
    #[error("log: stopped after an earlier error: {0}")]
    Poisoned(String),
    /// The caller asked for something that makes no sense (a gap, an oversized entry). The log is unharmed.
    #[error("log: refused: {0}")]
    Misuse(String),
    /// The log was dropped while the call waited.
    #[error("log: closed")]
    Closed,
}

impl WalError {
    /// An [`WalError::Io`] that says what was being done.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> WalError {
        move |source| WalError::Io { action: action.into(), source: Arc::new(source) }
    }

    /// The error with its cause, on one line, for the stop reason and the suspect mark.
    pub(crate) fn full_text(&self) -> String {
        match self {
            WalError::Io { source, .. } => format!("{self}: {source}"),
            WalError::Corrupt(_)
            | WalError::Incomplete(_)
            | WalError::Format { .. }
            | WalError::Poisoned(_)
            | WalError::Misuse(_)
            | WalError::Closed => self.to_string(),
        }
    }
}
