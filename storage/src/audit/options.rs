//! Settings of the audit log, with the limits it keeps.

use std::path::PathBuf;
use std::time::Duration;

use super::AuditError;

/// Settings of one audit log.
#[derive(Clone, Debug)]
pub struct AuditOptions {
    /// Where its files lie; created if missing.
    pub dir: PathBuf,
    /// The node that writes.
    pub node_id: u64,
    /// Its cluster.
    pub cluster_id: [u8; 16],
    /// A new file begins when a file would grow beyond this, bytes.
    pub rotate_bytes: u64,
    /// Files kept; 0 keeps all. The deletion of the oldest is itself a line.
    pub files_max: usize,
    /// A checkpoint is signed after this many lines.
    pub checkpoint_lines: u64,
    /// A checkpoint is signed at most this long after a line was written.
    pub checkpoint_every: Duration,
    /// After a failed write: how long to wait before a fresh file is tried; doubles up to [`RETRY_PAUSE_MAX`].
    pub retry_pause: Duration,
}

impl AuditOptions {
    /// The defaults, for this directory, node and cluster.
    pub fn new(dir: PathBuf, node_id: u64, cluster_id: [u8; 16]) -> AuditOptions {
        AuditOptions {
            dir,
            node_id,
            cluster_id,
            rotate_bytes: DEFAULT_ROTATE_BYTES,
            files_max: 0,
            checkpoint_lines: DEFAULT_CHECKPOINT_LINES,
            checkpoint_every: DEFAULT_CHECKPOINT_EVERY,
            retry_pause: DEFAULT_RETRY_PAUSE,
        }
    }

    pub(crate) fn check(&self) -> Result<(), AuditError> {
        let wrong = |why: String| Err(AuditError::Options(why));
        if self.rotate_bytes < MIN_ROTATE_BYTES {
            return wrong(format!("files of {} bytes are too small, at least {MIN_ROTATE_BYTES}", self.rotate_bytes));
        }
        if self.files_max == 1 {
            return wrong("at least two files must be kept, or all (0)".to_owned());
        }
        if self.checkpoint_lines == 0 {
            return wrong("a checkpoint needs at least one line".to_owned());
        }
        Ok(())
    }
}

/// 64 MiB: about 130,000 lines, and a start reads one file.
pub const DEFAULT_ROTATE_BYTES: u64 = 64 * 1024 * 1024;

/// Least size of a file: its own checkpoints and some lines.
pub const MIN_ROTATE_BYTES: u64 = 16 * 1024;

/// A checkpoint costs a signature, a line and two small fsyncs.
pub const DEFAULT_CHECKPOINT_LINES: u64 = 1000;

/// What was written after the last checkpoint can be cut off unnoticed where the cluster does not know it yet.
pub const DEFAULT_CHECKPOINT_EVERY: Duration = Duration::from_secs(10);

/// A disk that is full or away is asked again soon, but not in a busy loop.
pub const DEFAULT_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// And at least this often.
pub const RETRY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Entries waiting for the writer before [`super::AuditLog::append`] counts instead of queueing: at most 10 MiB or so.
pub(crate) const QUEUE_LINES: usize = 8192;

/// So many places more for entries whose caller waits: a flood of the others must not turn an import away.
pub(crate) const QUEUE_RESERVE: usize = 1024;

/// The writer stops adding entries to a batch here, so that one fsync never waits for an endless write.
pub(crate) const BATCH_BYTES: usize = 1024 * 1024;

/// Longest line that a reader takes for one. Ten fields of 2 KiB, each byte escaped as six, and the frame around them.
pub(crate) const LINE_BYTES_MAX: usize = 256 * 1024;
