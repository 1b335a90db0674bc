//! The form of a line: how it is written, and what a reader takes from it.
//!
//! ```text
//! {"seq":7,"prev":"<hash of line 6>",...,"hash":"<hash>"}\n
//! ```
//! `hash` is the SHA-256 of the line's own bytes up to, not including, `,"hash":"`. So there is nothing to canonicalise:
//! what is hashed is what is written. A checkpoint ends with `,"signature":"<128 digits>","hash":"<64 digits>"}`; what
//! is signed is [`CHECKPOINT_PURPOSE`], a newline, and the line's bytes up to `,"signature":"`.
//! Deliberately absent: in which order lines follow each other ([`super::verify`]).

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::entry::AuditEntry;
use super::key::{AuditKey, is_signed};
use super::options::LINE_BYTES_MAX;
use super::text::{time_text, unhex};

/// SHA-256.
pub type Hash = [u8; 32];

/// What stands before the first line of a segment.
pub(crate) const NO_HASH: Hash = [0; 32];

/// What a line says besides its place in the chain.
#[derive(Serialize, Clone, Debug)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Body {
    /// A decision.
    Event(AuditEntry),
    /// Signed.
    Checkpoint(Checkpoint),
    /// Lines that were not written.
    LeftOut { count: u64, reason: String },
    /// The end of a file was cut after a crash, before the line `before`; the bytes lie in `kept`.
    Torn { file: String, before: u64, bytes: u64, kept: String, sha256: String },
    /// A file is deleted because of `files_max`; its last line is `upto`. Counts only if a checkpoint follows directly.
    Deleted { file: String, upto: u64 },
}

/// What a checkpoint says.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Checkpoint {
    pub(crate) why: Why,
    /// For people; empty where `why` says it all.
    pub(crate) reason: String,
    /// The last line before a gap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) after: Option<u64>,
    pub(crate) format: u32,
    pub(crate) cluster: String,
    pub(crate) public_key: String,
}

/// Why a checkpoint stands where it stands.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Why {
    /// The first line ever.
    First,
    /// The node started.
    Start,
    /// So many lines, or so much time.
    Periodic,
    /// The last line of a file that is full.
    Full,
    /// The first line of the file after it.
    File,
    /// Right behind a line that says that a file is deleted.
    Deleted,
    /// The node stopped.
    Stop,
    /// The first line of a fresh file after a failed write: numbers between `after` and this one are not used.
    Gap,
    /// The first line of a new segment: what came before is not whole.
    Break,
}

#[derive(Serialize)]
struct Frame<'a> {
    seq: u64,
    prev: String,
    time_ms: u64,
    time: String,
    node: u64,
    #[serde(flatten)]
    body: &'a Body,
}

/// Writes a line, with its newline; returns its hash too. `None`: serde_json refuses, which it has no reason to.
pub(crate) fn compose(
    key: &AuditKey,
    node: u64,
    (seq, prev): (u64, &Hash),
    time_ms: u64,
    body: &Body,
) -> Option<(String, Hash)> {
    let frame = Frame { seq, prev: hex::encode(prev), time_ms, time: time_text(time_ms), node, body };
    let mut text = serde_json::to_string(&frame).ok()?;
    text.pop(); // the closing brace
    if matches!(body, Body::Checkpoint(_)) {
        let signature = hex::encode(key.sign(CHECKPOINT_PURPOSE, &text));
        text.push_str(SIGNATURE_FIELD);
        text.push_str(&signature);
        text.push('"');
    }
    let hash = hash_of(text.as_bytes());
    text.push_str(HASH_FIELD);
    text.push_str(&hex::encode(hash));
    text.push_str("\"}\n");
    Some((text, hash))
}

pub(crate) fn hash_of(bytes: &[u8]) -> Hash {
    let mut hash = NO_HASH;
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// A line whose bytes give its hash.
#[derive(Debug)]
pub(crate) struct Parsed<'a> {
    /// The line without its newline.
    pub(crate) text: &'a str,
    pub(crate) hash: Hash,
    pub(crate) fields: Fields,
}

/// What readers look at; a line may hold more.
#[derive(Deserialize, Debug, Clone)]
pub(crate) struct Fields {
    pub(crate) seq: u64,
    pub(crate) prev: String,
    pub(crate) time_ms: u64,
    pub(crate) node: u64,
    pub(crate) kind: String,
    pub(crate) why: Option<Why>,
    #[serde(default)]
    pub(crate) reason: String,
    pub(crate) after: Option<u64>,
    pub(crate) format: Option<u32>,
    pub(crate) cluster: Option<String>,
    pub(crate) public_key: Option<String>,
    pub(crate) signature: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) upto: Option<u64>,
    pub(crate) count: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) kept: Option<String>,
}

/// Why bytes are not a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NotALine {
    /// Longer than any line.
    TooLong,
    /// It does not end with a hash.
    NoHash,
    /// Its bytes do not give the hash it ends with.
    WrongHash,
    /// The hash fits, but it is not a line of this format.
    NotOurs(String),
}

/// Checks a line by itself.
pub(crate) fn parse(line: &[u8]) -> Result<Parsed<'_>, NotALine> {
    if line.len() > LINE_BYTES_MAX {
        return Err(NotALine::TooLong);
    }
    let text = std::str::from_utf8(line).map_err(|_| NotALine::NoHash)?;
    let (head, found) =
        text.len().checked_sub(TAIL_BYTES).and_then(|at| text.split_at_checked(at)).ok_or(NotALine::NoHash)?;
    let found = found.strip_prefix(HASH_FIELD).and_then(|tail| tail.strip_suffix("\"}"));
    let found = found.and_then(unhex::<32>).ok_or(NotALine::NoHash)?;
    let hash = hash_of(head.as_bytes());
    if hash != found {
        return Err(NotALine::WrongHash);
    }
    let fields: Fields = serde_json::from_str(text).map_err(|error| NotALine::NotOurs(error.to_string()))?;
    if fields.seq > SEQ_MAX {
        return Err(NotALine::NotOurs(format!("its number is above {SEQ_MAX}")));
    }
    Ok(Parsed { text, hash, fields })
}

/// The number that a line claims to have, whether or not the rest of it holds: to name a place.
pub(crate) fn claimed_seq(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(br#"{"seq":"#)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
}

impl Parsed<'_> {
    /// That a file was deleted.
    pub(crate) fn is_deletion(&self) -> bool {
        self.fields.kind == "deleted"
    }

    pub(crate) fn is_checkpoint(&self) -> bool {
        self.fields.kind == "checkpoint"
    }

    /// Whether the hash of the line before is this one.
    pub(crate) fn follows(&self, prev: &Hash) -> bool {
        unhex::<32>(&self.fields.prev).as_ref() == Some(prev)
    }

    /// The key that a checkpoint names, if it has signed it.
    pub(crate) fn signed_by(&self) -> Option<[u8; 32]> {
        let public = self.fields.public_key.as_deref().and_then(unhex::<32>)?;
        let signature = self.fields.signature.as_deref().and_then(unhex::<64>)?;
        let tail = SIGNATURE_FIELD.len() + 2 * signature.len() + 1 + TAIL_BYTES;
        let (signed, rest) = self.text.split_at_checked(self.text.len().checked_sub(tail)?)?;
        let last_field = rest.starts_with(SIGNATURE_FIELD);
        (last_field && is_signed(&public, CHECKPOINT_PURPOSE, signed, &signature)).then_some(public)
    }
}

/// Highest number of a line, 2^53: what every reader of JSON holds exactly, and nothing that is added to it overflows.
pub(crate) const SEQ_MAX: u64 = 1 << 53;

/// Version of the lines, named in every checkpoint.
pub(crate) const FORMAT: u32 = 1;

/// What a signature under a checkpoint is for.
pub(crate) const CHECKPOINT_PURPOSE: &str = "consigner audit checkpoint 1";

const HASH_FIELD: &str = r#","hash":""#;
const SIGNATURE_FIELD: &str = r#","signature":""#;
/// `,"hash":"`, 64 digits, `"}`.
const TAIL_BYTES: usize = HASH_FIELD.len() + 64 + 2;
