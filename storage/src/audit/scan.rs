//! What an open finds in the newest file: the lines that chain, and where that ends.
//!
//! In: one file. Out: a [`Scan`]. Every line's hash and place and every signature is checked. Deliberately absent: the
//! files before it ([`super::verify`] walks them all), and what to do about damage ([`super::open`]).

use std::path::Path;

use super::AuditError;
use super::head::Head;
use super::line::{self, Hash, Parsed};
use super::reader::{LineReader, RawLine};
use crate::disk::Disk;

/// The last line of a chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tip {
    pub(crate) seq: u64,
    pub(crate) hash: Hash,
}

/// What one file holds.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The last line up to which everything chains; `None`: not even the first line holds.
    pub(crate) tip: Option<Tip>,
    /// Number and `prev` of the first line.
    pub(crate) first: Option<(u64, Hash)>,
    /// Bytes up to the end of `tip`.
    pub(crate) good: u64,
    /// Bytes in the file.
    pub(crate) len: u64,
    /// The key that signed the newest checkpoint.
    pub(crate) signer: Option<[u8; 32]>,
    /// Hash of the line that the head file names, if it is here.
    pub(crate) at_head: Option<Hash>,
    /// Lines behind that checkpoint, up to `tip`.
    pub(crate) unsigned: u64,
    /// A line behind `tip` that says that a file was deleted, until the checkpoint that must follow is seen.
    held: Option<Tip>,
    /// Why the rest of the file does not chain.
    pub(crate) damage: Option<String>,
    /// Lines behind the damage, the damaged one included.
    pub(crate) lost: u64,
}

/// Reads the whole file.
pub(crate) fn scan(disk: &dyn Disk, path: &Path, head: Option<&Head>) -> Result<Scan, AuditError> {
    let io = |action: &str| AuditError::io(format!("{action} {}", path.display()));
    let mut reader = LineReader::open(disk, path).map_err(io("opening"))?;
    let mut scan = Scan { len: reader.len(), ..Scan::default() };
    while let Some(raw) = reader.next_line().map_err(io("reading"))? {
        if scan.damage.is_none() {
            match next(&scan, &raw) {
                Ok(parsed) => {
                    let end = raw.offset + raw.bytes.len() as u64 + 1;
                    scan.take(&parsed, end, head);
                }
                Err(why) => scan.spoilt(format!("line {}: {why}", raw.number)),
            }
        }
        scan.lost += u64::from(scan.damage.is_some());
    }
    if scan.held.is_some() {
        scan.spoilt(UNSIGNED_DELETION.to_owned());
    }
    Ok(scan)
}

/// Checks that a line is whole and follows the ones before it.
fn next<'a>(scan: &Scan, raw: &RawLine<'a>) -> Result<Parsed<'a>, &'static str> {
    if !raw.finished {
        return Err("it has no end");
    }
    let parsed = line::parse(raw.bytes).map_err(|_| "it is not a line whose bytes give its hash")?;
    match scan.held.or(scan.tip) {
        Some(tip) if tip.seq.checked_add(1) != Some(parsed.fields.seq) => return Err("its number does not follow"),
        Some(tip) if !parsed.follows(&tip.hash) => return Err("it follows another line than the one before it"),
        Some(_) if scan.held.is_some() && !parsed.is_checkpoint() => return Err(UNSIGNED_DELETION),
        None if !parsed.is_checkpoint() => return Err("a file begins with a checkpoint"),
        Some(_) | None => {}
    }
    if parsed.is_checkpoint() && parsed.signed_by().is_none() {
        return Err("its signature does not fit");
    }
    Ok(parsed)
}

impl Scan {
    /// From here on nothing chains; a deletion that nobody signed is none.
    fn spoilt(&mut self, why: String) {
        self.lost += u64::from(self.held.take().is_some());
        self.damage = Some(why);
    }

    fn take(&mut self, parsed: &Parsed<'_>, end: u64, head: Option<&Head>) {
        let seq = parsed.fields.seq;
        if self.first.is_none() {
            self.first = super::text::unhex(&parsed.fields.prev).map(|prev| (seq, prev));
        }
        if parsed.is_deletion() {
            self.held = Some(Tip { seq, hash: parsed.hash });
            return;
        }
        self.held = None;
        self.unsigned += 1;
        if parsed.is_checkpoint() {
            self.unsigned = 0;
            self.signer = parsed.signed_by();
        }
        if head.is_some_and(|head| head.seq == seq) {
            self.at_head = Some(parsed.hash);
        }
        self.tip = Some(Tip { seq, hash: parsed.hash });
        self.good = end;
    }
}

/// Anybody could write it, and nobody would miss the file.
const UNSIGNED_DELETION: &str = "a file was deleted, says a line without a checkpoint right behind it";
