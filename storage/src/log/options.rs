//! Settings and callbacks of the log, with the limits it keeps.

use std::fmt;
use std::sync::Arc;

use super::WalError;

/// Called once, from the writer thread, when a request is durable or has failed. Must not block and must not call
/// back into the same log's blocking methods.
pub type Done = Box<dyn FnOnce(Result<(), WalError>) + Send>;

/// Called at most once with the reason when the log can no longer be trusted: the node stops its process.
pub type FatalHook = Arc<dyn Fn(&str) + Send + Sync>;

/// Which indexes an append may carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IndexRule {
    /// Each entry follows the one before, the first follows the purged position: what Raft does.
    #[default]
    Consecutive,
    /// Any rising indexes. openraft's conformance suite writes logs with holes; nothing else may use this.
    Rising,
}

/// Settings of one log.
#[derive(Clone)]
pub struct WalOptions {
    /// Size of a new segment file, bytes. Small values are for tests; see [`MIN_SEGMENT_BYTES`].
    pub segment_bytes: u64,
    /// Payload bytes of recent entries kept in memory; older ones are read back from their segment.
    pub cache_bytes: usize,
    /// Whether an empty directory becomes a new log. `false` beside an `initialized` marker: there a missing log is
    /// a lost disk, not a fresh start (DESIGN 8, trap 5).
    pub create: bool,
    /// Which indexes an append may carry.
    pub indexes: IndexRule,
    /// Told once when the log is poisoned.
    pub on_fatal: FatalHook,
}

impl Default for WalOptions {
    fn default() -> Self {
        WalOptions {
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            cache_bytes: DEFAULT_CACHE_BYTES,
            create: true,
            indexes: IndexRule::Consecutive,
            on_fatal: Arc::new(|reason| tracing::error!(reason, "the log can no longer be trusted")),
        }
    }
}

impl fmt::Debug for WalOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalOptions")
            .field("segment_bytes", &self.segment_bytes)
            .field("cache_bytes", &self.cache_bytes)
            .field("create", &self.create)
            .field("indexes", &self.indexes)
            .finish_non_exhaustive()
    }
}

/// 8 MiB: about 16,000 single-entry frames, and a file that is zero-filled and synced in some ten milliseconds.
pub const DEFAULT_SEGMENT_BYTES: u64 = 8 * 1024 * 1024;

/// Least size of a segment: header, seal, checkpoint and some frames.
pub const MIN_SEGMENT_BYTES: u64 = 8 * 1024;

/// 64 MiB of recent payloads: followers that lag by less are fed from memory.
pub const DEFAULT_CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Largest payload of one entry or vote. The cluster caps an append at 256 KiB; this leaves room and still bounds
/// what recovery has to hold.
pub const MAX_PAYLOAD_BYTES: usize = 4 * 1024 * 1024;

/// Most payload bytes of one call: one call is one frame at most, and a frame's length is a `u32`.
pub const MAX_CALL_BYTES: usize = 256 * 1024 * 1024;

/// Calls waiting for the writer. openraft has at most a few in flight; a full queue makes the caller wait.
pub const QUEUE_CALLS: usize = 1024;

/// Payload bytes waiting for the writer before callers wait (a single larger call is let through alone).
pub const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// The writer stops adding calls to a frame at this size, so that one fsync never waits for an endless write.
pub const FRAME_TARGET_BYTES: usize = 4 * 1024 * 1024;
