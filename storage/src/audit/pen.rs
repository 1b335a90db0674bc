//! Lines on their way: numbered, chained, signed where it is due, not yet on the disk.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::AuditError;
use super::key::AuditKey;
use super::line::{self, Body, Checkpoint, FORMAT, SEQ_MAX, Why};
use super::scan::Tip;

/// Who writes.
pub(crate) struct Ink {
    pub(crate) key: AuditKey,
    pub(crate) node: u64,
    pub(crate) cluster: [u8; 16],
}

/// Lines behind a tip.
pub(crate) struct Pen {
    ink: Arc<Ink>,
    /// The last of them.
    pub(crate) tip: Tip,
    pub(crate) text: String,
    pub(crate) lines: u64,
    /// The newest checkpoint among them.
    pub(crate) signed: Option<Tip>,
    pub(crate) signed_count: u64,
    /// Lines behind that checkpoint.
    pub(crate) unsigned: u64,
}

impl Pen {
    pub(crate) fn new(ink: &Arc<Ink>, tip: Tip) -> Pen {
        let (text, ink) = (String::new(), Arc::clone(ink));
        Pen { ink, tip, text, lines: 0, signed: None, signed_count: 0, unsigned: 0 }
    }

    pub(crate) fn put(&mut self, time_ms: u64, body: &Body) -> Result<(), AuditError> {
        let next = self.tip.seq.checked_add(1).filter(|seq| *seq <= SEQ_MAX);
        let used_up = || AuditError::io("numbering a line")(std::io::ErrorKind::QuotaExceeded.into());
        let seq = next.ok_or_else(used_up)?;
        let composed = line::compose(&self.ink.key, self.ink.node, (seq, &self.tip.hash), time_ms, body);
        let unwritable = || AuditError::io("composing a line")(std::io::ErrorKind::InvalidData.into());
        let (text, hash) = composed.ok_or_else(unwritable)?;
        self.text.push_str(&text);
        self.tip = Tip { seq, hash };
        self.lines += 1;
        self.unsigned += 1;
        if matches!(body, Body::Checkpoint(_)) {
            (self.signed, self.unsigned) = (Some(self.tip), 0);
            self.signed_count += 1;
        }
        Ok(())
    }

    /// A line of the log itself, now.
    pub(crate) fn note(&mut self, body: &Body) -> Result<(), AuditError> {
        self.put(now_ms(), body)
    }

    /// A checkpoint; `after`: the last line before a gap.
    pub(crate) fn sign(&mut self, why: Why, reason: String, after: Option<u64>) -> Result<(), AuditError> {
        let (cluster, public_key) = (hex::encode(self.ink.cluster), hex::encode(self.ink.key.public()));
        self.note(&Body::Checkpoint(Checkpoint { why, reason, after, format: FORMAT, cluster, public_key }))
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
