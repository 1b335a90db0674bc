//! Where a chain does not hold, and how.

use std::path::PathBuf;

use serde::Serialize;
use thiserror::Error;

use super::super::AuditError;

/// Why a log could not be verified.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// It does not hold.
    #[error(transparent)]
    Broken(#[from] Box<VerifyFailure>),
    /// It could not be read.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// The first place where a log does not hold.
#[derive(Clone, PartialEq, Eq, Debug, Error, Serialize)]
#[error("{}{}{}: {fault}", .file.display(), place(.line), number(.seq))]
pub struct VerifyFailure {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1; 0 for the file as a whole.
    pub line: u64,
    /// The line's number in the chain, as far as one can tell.
    pub seq: Option<u64>,
    /// What is wrong.
    #[serde(serialize_with = "in_words")]
    pub fault: Fault,
}

fn place(line: &u64) -> String {
    if *line == 0 { String::new() } else { format!(" line {line}") }
}

fn number(seq: &Option<u64>) -> String {
    seq.map(|seq| format!(" (seq {seq})")).unwrap_or_default()
}

fn in_words<S: serde::Serializer>(fault: &Fault, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&fault.to_string())
}

/// What is wrong at a place.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Fault {
    /// The bytes were changed.
    #[error("altered: the bytes of this line do not give its hash")]
    Altered,
    /// Not a line at all.
    #[error("damaged: this is no line of an audit log ({0})")]
    NotALine(String),
    /// Cut in its middle.
    #[error("cut off: this line has no end")]
    Unfinished,
    /// Numbers are missing before this line.
    #[error("removed: lines {expected} to {upto} are missing before this line")]
    Missing {
        /// The first missing number.
        expected: u64,
        /// The last missing number.
        upto: u64,
    },
    /// Two lines changed places.
    #[error("moved: line {expected} belongs here, and stands behind it")]
    Swapped {
        /// What belongs here.
        expected: u64,
    },
    /// The number was used before.
    #[error("repeated or moved: line {expected} belongs here")]
    Repeated {
        /// What belongs here.
        expected: u64,
    },
    /// The line was rewritten together with its own hash.
    #[error("replaced: the next line follows another line than this one")]
    Replaced,
    /// A segment or a file begins as if nothing had been before.
    #[error("this line does not follow the last line of the file before it")]
    Unchained,
    /// No valid signature.
    #[error("forged: the signature of this checkpoint does not fit; it, or a line since {since}, was rewritten")]
    Forged {
        /// `line N`, or `the beginning`.
        since: String,
    },
    /// Signed, by somebody else.
    #[error("forged: signed with the key {found}, expected {expected}")]
    ForeignKey {
        /// Hexadecimal.
        found: String,
        /// Hexadecimal.
        expected: String,
    },
    /// The log of another node or cluster than the one that was to be verified.
    #[error("foreign: this is the log of {found}, not of {expected}")]
    NotExpected {
        /// Node or cluster.
        found: String,
        /// Node or cluster.
        expected: String,
    },
    /// The cluster remembers logs, and not this one.
    #[error(
        "foreign: the cluster remembers logs of {known}, and none of node {node} (a node that began just now is \
         remembered after its audit.anchor-interval)"
    )]
    NotAnchored {
        /// Who wrote the lines, as they say.
        node: u64,
        /// The nodes that the cluster knows.
        known: String,
    },
    /// A deletion of a file that nobody signed.
    #[error("forged: this line says that a file was deleted, and no signed checkpoint stands right behind it")]
    UnsignedDeletion,
    /// A deletion of a file, where none is ever deleted.
    #[error("forged: this line says that a file was deleted, and audit.files-max is 0: this node deletes none")]
    NeverDeletes,
    /// A line of another log.
    #[error("foreign: this line is of {found}, the lines before it are of {expected}")]
    Foreign {
        /// Node or cluster.
        found: String,
        /// Node or cluster.
        expected: String,
    },
    /// The first line of a file is missing.
    #[error("a file begins with a checkpoint; its first line is missing")]
    NoCheckpoint,
    /// A version that this program does not know.
    #[error("format {0} is not known to this program")]
    Format(u32),
    /// A whole file is missing.
    #[error("this file is missing, and no line says that it was deleted")]
    FileGone,
    /// The file is empty.
    #[error("this file is empty, and files follow it")]
    Empty,
    /// The node itself found the chain broken.
    #[error("the node found its chain broken when it wrote this line: {reason}; line {expected} was expected here")]
    Recorded {
        /// As the node said it.
        reason: String,
        /// The next number of the segment before.
        expected: u64,
    },
    /// Lines were cut from the end.
    #[error("cut off: lines {from} to {upto} are missing at the end; {witness} names line {upto}")]
    CutOff {
        /// The first missing number.
        from: u64,
        /// The last line that is known.
        upto: u64,
        /// Who knows.
        witness: &'static str,
    },
    /// Somebody knows another line of this number.
    #[error("rewritten: {witness} knows this line with the hash {expected}")]
    Rewritten {
        /// Who knows.
        witness: &'static str,
        /// Hexadecimal.
        expected: String,
    },
    /// No head file.
    #[error("this file is missing")]
    HeadGone,
    /// The head file was changed.
    #[error("damaged: {0}")]
    HeadDamaged(&'static str),
    /// Another key than the one that signed.
    #[error("replaced: it holds the key {found}; the checkpoints are signed with {expected}")]
    KeyReplaced {
        /// Hexadecimal.
        found: String,
        /// Hexadecimal.
        expected: String,
    },
    /// Not a key file.
    #[error("damaged: it holds no key")]
    KeyDamaged,
}
