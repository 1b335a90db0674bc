//! The audit log of a node: one JSON line per decision that matters, in a hash chain with signed checkpoints.
//!
//! In: [`AuditEntry`]s. Out: lines that survive a power cut, and the means to prove that none was removed, altered or
//! moved: [`verify`] walks the whole chain, [`show`] finds lines in it.
//!
//! ```text
//! append / append_durably -> queue (bounded, never waits) -> writer thread
//!                                    lines + checkpoint -> one write, one fdatasync -> callbacks, head file
//! open -> lock, key -> scan the newest file -> cut a torn tail, or begin a new segment -> start checkpoint -> serve
//! ```
//!
//! ```text
//! DIR/lock              flock of the running process
//! DIR/key, DIR/key.pub  Ed25519 seed (0600) and public key, hexadecimal
//! DIR/head              the last checkpoint: sequence, hash, signature
//! DIR/audit-N.jsonl     the lines; each file begins with a signed checkpoint
//! DIR/audit-N.jsonl.torn-SEQ   what was cut from the end of a file after a crash
//! ```
//! The format is in `docs/FORMATS.md`, exactly enough that a script of twenty lines can check it.
//! Deliberately absent: what the lines mean, which of them are worth writing, and the copy of the head that the cluster
//! keeps (`raft`): whoever owns this disk and the key on it can rewrite everything *but* that copy.

mod entry;
mod error;
mod files;
mod head;
mod key;
mod line;
mod log;
mod open;
mod options;
mod pen;
mod queue;
mod reader;
mod rotation;
mod scan;
mod show;
mod text;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

pub use entry::{AuditEntry, AuditHead, AuditStats};
pub use error::AuditError;
pub use files::holds_lines;
pub use line::Hash;
pub use log::{AuditLog, Lookup, Written};
pub use options::AuditOptions;
pub use show::{Filter, Shown, Shows, show};
pub use text::{parse_time, time_text};
pub use verify::{Anchor, Expect, Fault, Notice, VerifyError, VerifyFailure, VerifyReport, verify, verify_on};
