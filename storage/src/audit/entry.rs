//! What goes into the audit log, and what it says about itself.

use serde::Serialize;

use super::line::Hash;

/// One decision. Never a secret: what is written here is shipped elsewhere and read by many.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct AuditEntry {
    /// When it happened, milliseconds since 1970 by this machine's clock; information only.
    #[serde(skip)]
    pub time_ms: u64,
    /// Through which door, if through one.
    pub door: Option<String>,
    /// Who.
    pub identity: String,
    /// What the identity rests on: `certificate`, `token`, `node`, ...
    pub proof: String,
    /// From where.
    pub address: Option<String>,
    /// What was to be done.
    pub operation: String,
    /// Public key of the validator it is about, `0x` and 96 hexadecimal digits.
    pub key: Option<String>,
    /// Position in the replicated log of what decided it.
    pub log_index: Option<u64>,
    /// What became of it: `done`, `refused`, ...
    pub outcome: String,
    /// Why, in words.
    pub reason: String,
}

impl AuditEntry {
    /// Cuts every text to [`FIELD_BYTES_MAX`]: a caller chooses some of them, and a line must stay a line.
    pub(crate) fn bounded(mut self) -> AuditEntry {
        let texts = [&mut self.identity, &mut self.proof, &mut self.operation, &mut self.outcome, &mut self.reason];
        let optional = [&mut self.door, &mut self.address, &mut self.key];
        for text in texts.into_iter().chain(optional.into_iter().flatten()) {
            cut(text);
        }
        self
    }
}

fn cut(text: &mut String) {
    if text.len() > FIELD_BYTES_MAX {
        text.truncate(text.floor_char_boundary(FIELD_BYTES_MAX));
        text.push('…');
    }
}

/// The newest line that is on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuditHead {
    /// Its number.
    pub sequence: u64,
    /// Its hash.
    pub hash: Hash,
    /// The key that signs this node's checkpoints.
    pub public_key: [u8; 32],
}

/// Counters since open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AuditStats {
    /// Lines on the disk, checkpoints and notes included.
    pub lines: u64,
    /// Signed checkpoints among them.
    pub checkpoints: u64,
    /// Writes with their fdatasync.
    pub batches: u64,
    /// Lines that were not written: the queue was full, or the disk failed.
    pub left_out: u64,
    /// Writes, fsyncs or other file operations that failed.
    pub write_errors: u64,
    /// Segments that were begun because the chain was not whole: somebody should look.
    pub breaks: u64,
    /// Torn tails that were cut at open.
    pub torn: u64,
    /// Entries that wait for the writer now.
    pub queued: u64,
    /// Whether the last write failed and the log waits to try a fresh file.
    pub failing: bool,
}

/// Longest text of one field, bytes: longer than any certificate subject in use, and ten of them fit in a line.
pub(crate) const FIELD_BYTES_MAX: usize = 2048;
