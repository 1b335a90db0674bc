//! Proof that no line was removed, altered, moved or added: the whole chain, line by line.
//!
//! In: a directory, and what is known from elsewhere ([`Expect`]). Out: what was proved, or the first place where it
//! does not hold. Reads a log that is being written, too: head first, then lines.
//! What it cannot prove, without the cluster's anchor: that whoever holds the node's key file and disk has not rewritten
//! all of it; and nothing proves lines behind both the last checkpoint and the last anchor.

mod ends;
mod fault;
mod links;
mod walk;

pub use fault::{Fault, VerifyError, VerifyFailure};

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::AuditError;
use super::line::Hash;
use crate::disk::{Disk, RealDisk};

/// A line as the cluster remembers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Anchor {
    /// Whose line.
    pub node: u64,
    /// The key of that node's checkpoints.
    pub public_key: [u8; 32],
    /// Its number.
    pub sequence: u64,
    /// Its hash.
    pub hash: Hash,
}

/// What is known from elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// The cluster's anchors; those of other nodes are left alone. `None`: the cluster was not asked.
    pub anchors: Option<Vec<Anchor>>,
    /// The key that must have signed.
    pub public_key: Option<[u8; 32]>,
    /// The node that must have written the lines; `None`: whoever the first line names.
    pub node: Option<u64>,
    /// Its cluster.
    pub cluster: Option<[u8; 16]>,
    /// `audit.files-max` of the node: with 0 no file is ever deleted, and no line may say so. `None`: not known.
    pub files_max: Option<u64>,
    /// Begin with the first checkpoint at or after this line: for a log whose earlier damage is known.
    pub from: Option<u64>,
}

/// Something that is as it should be, and worth knowing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Notice {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1; 0 for the file as a whole.
    pub line: u64,
    /// The line's number in the chain.
    pub seq: Option<u64>,
    /// In words.
    pub what: String,
}

/// What was proved.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct VerifyReport {
    /// The node that wrote it.
    pub node: u64,
    /// Its cluster, hexadecimal.
    pub cluster: String,
    /// The key that signed, hexadecimal.
    pub public_key: String,
    /// Files read.
    pub files: u64,
    /// Lines that hold.
    pub lines: u64,
    /// Signed checkpoints among them.
    pub checkpoints: u64,
    /// Number of the first line.
    pub first_seq: u64,
    /// Number of the last line.
    pub last_seq: u64,
    /// Hash of the last line, hexadecimal.
    pub last_hash: String,
    /// Time of the first line, milliseconds since 1970.
    pub first_time_ms: u64,
    /// Time of the last line, milliseconds since 1970.
    pub last_time_ms: u64,
    /// Lines behind the last checkpoint: nothing but the chain itself holds them.
    pub unsigned: u64,
    /// The cluster's newest anchor that was found in the chain.
    pub anchor: Option<u64>,
    /// What else there is to know; at most [`NOTICES_MAX`].
    pub notices: Vec<Notice>,
}

/// Told while it reads: bytes read, bytes in all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// Verifies a directory.
///
/// # Errors
/// [`VerifyError::Broken`] with the place; [`VerifyError::Audit`] when it cannot be read.
pub fn verify(dir: &Path, expect: &Expect, progress: Progress<'_>) -> Result<VerifyReport, VerifyError> {
    if !dir.is_dir() {
        return Err(ends::nothing(dir, expect, None));
    }
    verify_on(&RealDisk, dir, expect, progress)
}

/// [`verify`] on another file system.
///
/// # Errors
/// As there.
pub fn verify_on(
    disk: &dyn Disk,
    dir: &Path,
    expect: &Expect,
    progress: Progress<'_>,
) -> Result<VerifyReport, VerifyError> {
    let head = ends::read_head(disk, dir)?;
    let walked = match walk::walk(disk, dir, expect, head.as_ref(), progress) {
        Err(VerifyError::Audit(AuditError::Nothing(_))) => return Err(ends::nothing(dir, expect, head.as_ref())),
        walked => walked?,
    };
    ends::check(disk, dir, expect, head.as_ref(), walked)
}

/// A log of many years stays readable.
pub const NOTICES_MAX: usize = 1000;
