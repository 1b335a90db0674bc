//! What can go wrong with the audit log.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

/// Why the audit log could not do what was asked.
#[derive(Clone, Debug, Error)]
pub enum AuditError {
    /// The file system failed.
    #[error("audit log: {action} failed")]
    Io {
        /// What was being done, with the file.
        action: String,
        /// The operating system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process writes there.
    #[error("audit log: {} is in use by another process; two nodes must never share an audit directory", .0.display())]
    InUse(PathBuf),
    /// The lines of another node or cluster.
    #[error("audit log: {} holds the lines of {found}, not of {wanted}", .dir.display())]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: String,
        /// Who opens it.
        wanted: String,
    },
    /// The key file is not one.
    #[error("audit log: {} is not a key file of this version ({why}); restore it from a copy, or move it away: the node then makes a new key and the log says so", .path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A setting that cannot work.
    #[error("audit log: {0}")]
    Options(String),
    /// Too many lines wait for the disk.
    #[error("audit log: the queue is full, the disk does not keep up")]
    Full,
    /// An earlier write failed; the log will try a fresh file.
    #[error("audit log: the disk failed: {0}")]
    Failing(String),
    /// The log is closed.
    #[error("audit log: closed")]
    Closed,
    /// The directory holds no audit log.
    #[error("audit log: {} holds no audit log", .0.display())]
    Nothing(PathBuf),
}

impl AuditError {
    /// An [`AuditError::Io`] that says what was being done.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> AuditError {
        move |source| AuditError::Io { action: action.into(), source: Arc::new(source) }
    }

    /// The error with its cause, on one line.
    pub fn full_text(&self) -> String {
        match self {
            AuditError::Io { source, .. } => format!("{self}: {source}"),
            AuditError::InUse(_)
            | AuditError::Foreign { .. }
            | AuditError::Key { .. }
            | AuditError::Options(_)
            | AuditError::Full
            | AuditError::Failing(_)
            | AuditError::Closed
            | AuditError::Nothing(_) => self.to_string(),
        }
    }
}
