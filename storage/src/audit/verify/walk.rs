//! From the first line to the last: each by itself, each behind the one before it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use super::super::AuditError;
use super::super::files::{self, name};
use super::super::head::Head;
use super::super::line::{self, Hash, NO_HASH, NotALine, Parsed, Why};
use super::super::reader::{LineReader, RawLine};
use super::fault::{Fault, VerifyError, VerifyFailure};
use super::{Anchor, Expect, NOTICES_MAX, Notice, Progress, VerifyReport};
use crate::disk::Disk;

/// A place in the log.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) file: PathBuf,
    pub(super) line: u64,
}

/// A line that says that a file was deleted.
#[derive(Clone, Debug)]
pub(super) struct Deletion {
    pub(super) place: Place,
    pub(super) seq: u64,
    /// The last number in that file.
    pub(super) upto: Option<u64>,
}

/// What the walk found, for the checks at the end.
pub(super) struct Walked {
    pub(super) report: VerifyReport,
    /// The last line.
    pub(super) end: Place,
    /// The key that signed, and the first checkpoint that says so.
    pub(super) key: [u8; 32],
    pub(super) first_checkpoint: (Place, u64),
    /// The anchors of this node that no line was compared with, by number.
    pub(super) anchors: BTreeMap<u64, Anchor>,
}

pub(super) struct Walk<'a> {
    pub(super) expect: &'a Expect,
    pub(super) head: Option<&'a Head>,
    pub(super) report: VerifyReport,
    /// The last line that holds.
    pub(super) last: Option<(u64, Hash, Place)>,
    pub(super) key: Option<[u8; 32]>,
    pub(super) first_checkpoint: Option<(Place, u64)>,
    /// What the cluster remembers of this node, not compared yet.
    pub(super) anchors: BTreeMap<u64, Anchor>,
    /// The keys in them.
    pub(super) known_keys: BTreeSet<[u8; 32]>,
    pub(super) last_checkpoint: Option<u64>,
    /// A line that says so, whose checkpoint is not seen yet.
    pub(super) deletion: Option<Deletion>,
    /// Numbers up to which files were deleted, by lines that say so and that are signed.
    pub(super) deleted: BTreeSet<u64>,
    /// What lies before the first line, if that is not the beginning: its file, the number before it.
    pub(super) missing: Option<(PathBuf, u64)>,
}

/// Walks all files.
pub(super) fn walk(
    disk: &dyn Disk,
    dir: &Path,
    expect: &Expect,
    head: Option<&Head>,
    progress: Progress<'_>,
) -> Result<Walked, VerifyError> {
    let numbers = files::list(disk, dir).map_err(AuditError::io(format!("listing {}", dir.display())))?;
    let nothing = || VerifyError::from(AuditError::Nothing(dir.to_path_buf()));
    let (Some(first), Some(last)) = (numbers.first().copied(), numbers.last().copied()) else { return Err(nothing()) };
    let mut walk = Walk {
        expect,
        head,
        report: VerifyReport::default(),
        last: None,
        key: expect.public_key,
        first_checkpoint: None,
        anchors: BTreeMap::new(),
        known_keys: BTreeSet::new(),
        last_checkpoint: None,
        deletion: None,
        deleted: BTreeSet::new(),
        missing: None,
    };
    let total: u64 = numbers.iter().map(|number| len(disk, &dir.join(name(*number)))).sum::<Result<_, _>>()?;
    let mut read = 0;
    for (number, expected) in numbers.iter().copied().zip(first..) {
        if number != expected {
            let seq = walk.last.as_ref().map(|(seq, ..)| seq + 1);
            return Err(broken(Place { file: dir.join(name(expected)), line: 0 }, seq, Fault::FileGone));
        }
        let follows = numbers.binary_search(&(number + 1)).is_ok();
        let upto = if follows { confirmed(disk, &dir.join(name(number + 1)))? } else { None };
        let path = dir.join(name(number));
        walk.file(disk, &path, number, (number == last, upto), &mut |bytes| progress(read + bytes, total))?;
        read += len(disk, &path)?;
    }
    walk.finish().ok_or_else(|| match expect.from {
        Some(from) => AuditError::Options(format!("there is no checkpoint at or after line {from}")).into(),
        None => nothing(),
    })?
}

fn len(disk: &dyn Disk, path: &Path) -> Result<u64, VerifyError> {
    let reader = LineReader::open(disk, path).map_err(AuditError::io(format!("opening {}", path.display())))?;
    Ok(reader.len())
}

/// If a file begins after a failed write: the last line before it that is known to be on the disk.
fn confirmed(disk: &dyn Disk, path: &Path) -> Result<Option<u64>, VerifyError> {
    let io = || AuditError::io(format!("reading {}", path.display()));
    let mut reader = LineReader::open(disk, path).map_err(io())?;
    let first = reader.next_line().map_err(io())?;
    let parsed = first.as_ref().and_then(|raw| line::parse(raw.bytes).ok());
    let gap = parsed.filter(|parsed| parsed.fields.why == Some(Why::Gap) && parsed.signed_by().is_some());
    Ok(gap.and_then(|parsed| parsed.fields.after))
}

impl Walk<'_> {
    /// One file; `upto`: the lines behind it were never confirmed, and the next file says so.
    fn file(
        &mut self,
        disk: &dyn Disk,
        path: &Path,
        number: u64,
        (is_last, upto): (bool, Option<u64>),
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), VerifyError> {
        let io = || AuditError::io(format!("reading {}", path.display()));
        let mut reader = LineReader::open(disk, path).map_err(io())?;
        let mut place = Place { file: path.to_path_buf(), line: 0 };
        self.report.files += 1;
        if reader.len() == 0 {
            if is_last && self.last.is_some() {
                self.notice(&place, None, "empty: the node stopped, or is, just beginning it".to_owned());
                return Ok(());
            }
            return Err(broken(place, None, Fault::Empty));
        }
        loop {
            if upto.is_some() && upto == self.last.as_ref().map(|(seq, ..)| *seq) {
                return Ok(self.unconfirmed(&mut reader, &place).map_err(io())?);
            }
            let Some(raw) = reader.next_line().map_err(io())? else { break };
            place.line = raw.number;
            let end = raw.offset + raw.bytes.len() as u64 + 1;
            if self.last.is_none() && self.expect.from.is_some_and(|from| !begins(&raw, from)) {
                continue;
            }
            let grows = !raw.finished && is_last;
            let last_deletion = self.deletion.as_ref().map(|deletion| (deletion.place.clone(), deletion.seq));
            match self.line(&raw, &place, number) {
                Ok(()) => {}
                Err((_, Fault::Unfinished)) if grows && still_grows(disk, path, reader.len()).map_err(io())? => {
                    self.notice(&place, None, "being written while it was read".to_owned());
                    return Ok(());
                }
                Err((seq, Fault::Missing { expected, .. })) => {
                    let next = reader.next_line().map_err(io())?.and_then(|raw| line::claimed_seq(raw.bytes));
                    let upto = seq.map_or(expected, |seq| seq - 1);
                    let swapped = next == Some(expected);
                    let fault = if swapped { Fault::Swapped { expected } } else { Fault::Missing { expected, upto } };
                    return Err(broken(place, seq, fault));
                }
                Err((_, Fault::UnsignedDeletion)) if last_deletion.is_some() => {
                    let (place, seq) = last_deletion.unwrap_or((place, 0));
                    return Err(broken(place, Some(seq), Fault::UnsignedDeletion));
                }
                Err((_, Fault::Replaced)) => {
                    let (seq, _, before) = self.last.clone().unwrap_or((0, NO_HASH, place.clone()));
                    let fault = if before.file == place.file { Fault::Replaced } else { Fault::Unchained };
                    let (place, seq) = if fault == Fault::Replaced { (before, seq) } else { (place, seq + 1) };
                    return Err(broken(place, Some(seq), fault));
                }
                Err((seq, fault)) => return Err(broken(place, seq, fault)),
            }
            progress(end);
        }
        if is_last && self.deletion.is_some() && still_grows(disk, path, reader.len()).map_err(io())? {
            self.deletion = None;
            self.notice(&place, None, "being written while it was read".to_owned());
        }
        Ok(())
    }

    /// One line: by itself, in its place, and what it says.
    fn line(&mut self, raw: &RawLine<'_>, place: &Place, number: u64) -> Result<(), (Option<u64>, Fault)> {
        let claimed = line::claimed_seq(raw.bytes);
        let next = self.last.as_ref().map(|(seq, ..)| seq + 1);
        if raw.too_long {
            return Err((next, Fault::NotALine("longer than any line".to_owned())));
        }
        if !raw.finished {
            return Err((next.or(claimed), Fault::Unfinished));
        }
        let parsed = line::parse(raw.bytes).map_err(|why| (next.or(claimed), not_a_line(why)))?;
        let seq = parsed.fields.seq;
        let fault = |fault| (Some(seq), fault);
        self.whose(&parsed).map_err(fault)?;
        self.in_place(&parsed, place, number).map_err(fault)?;
        if parsed.is_checkpoint() {
            self.checkpoint(&parsed, place).map_err(fault)?;
        } else {
            self.report.unsigned += 1;
        }
        self.deletion(&parsed, place).map_err(fault)?;
        self.witnesses(&parsed).map_err(fault)?;
        self.remember(&parsed, place);
        Ok(())
    }

    fn remember(&mut self, parsed: &Parsed<'_>, place: &Place) {
        let fields = &parsed.fields;
        let what = match (fields.kind.as_str(), fields.why) {
            ("left-out", _) => {
                Some(format!("{} lines were left out: {}", fields.count.unwrap_or_default(), fields.reason))
            }
            ("torn", _) => {
                let (bytes, kept) = (fields.bytes.unwrap_or_default(), fields.kept.clone().unwrap_or_default());
                Some(format!("a crash tore the end of the file; {bytes} bytes were cut and are kept in {kept}"))
            }
            ("deleted", _) => Some(format!("{} was deleted (files-max)", fields.file.clone().unwrap_or_default())),
            ("checkpoint", Some(Why::Gap)) => {
                let after = fields.after.unwrap_or_default();
                Some(format!("the disk failed after line {after}: {}", fields.reason))
            }
            ("checkpoint", Some(Why::Start)) if !fields.reason.is_empty() => Some(fields.reason.clone()),
            ("checkpoint", Some(Why::Break)) => Some(format!("a new segment begins: {}", fields.reason)),
            _ => None,
        };
        if let Some(what) = what {
            self.notice(place, Some(fields.seq), what);
        }
        if self.last.is_none() {
            (self.report.first_seq, self.report.first_time_ms) = (fields.seq, fields.time_ms);
        }
        (self.report.last_seq, self.report.last_time_ms) = (fields.seq, fields.time_ms);
        self.report.lines += 1;
        self.last = Some((fields.seq, parsed.hash, place.clone()));
    }

    /// Lines that were on their way when the disk failed: nobody was told that they are there.
    fn unconfirmed(&mut self, reader: &mut LineReader, place: &Place) -> std::io::Result<()> {
        let mut lines = 0u64;
        while reader.next_line()?.is_some() {
            lines += 1;
        }
        if lines > 0 {
            let place = Place { line: place.line + 1, ..place.clone() };
            self.notice(
                &place,
                None,
                format!("{lines} lines were never confirmed: the disk failed while they were written"),
            );
        }
        Ok(())
    }

    pub(super) fn notice(&mut self, place: &Place, seq: Option<u64>, what: String) {
        if self.report.notices.len() < NOTICES_MAX {
            self.report.notices.push(Notice { file: place.file.clone(), line: place.line, seq, what });
        }
    }

    /// `None`: there was no line to begin with.
    fn finish(mut self) -> Option<Result<Walked, VerifyError>> {
        let (seq, hash, end) = self.last.clone()?;
        if let Some(Deletion { place, seq, .. }) = self.deletion.take() {
            return Some(Err(broken(place, Some(seq), Fault::UnsignedDeletion)));
        }
        let (key, first_checkpoint) = (self.key?, self.first_checkpoint.clone()?);
        if let Some((file, upto)) = self.missing.take() {
            if !self.deleted.contains(&upto) {
                return Some(Err(broken(Place { file, line: 0 }, Some(upto), Fault::FileGone)));
            }
            let what = format!("the chain begins here: earlier files were deleted (files-max), up to line {upto}");
            self.notice(&first_checkpoint.0, Some(first_checkpoint.1), what);
        }
        (self.report.last_hash, self.report.public_key) = (hex::encode(hash), hex::encode(key));
        debug_assert_eq!(seq, self.report.last_seq);
        Some(Ok(Walked { report: self.report, end, key, first_checkpoint, anchors: self.anchors }))
    }
}

/// Whether a line is a checkpoint at or after `from`.
fn begins(raw: &RawLine<'_>, from: u64) -> bool {
    line::claimed_seq(raw.bytes).is_some_and(|seq| seq >= from)
        && line::parse(raw.bytes).is_ok_and(|parsed| parsed.is_checkpoint() && parsed.fields.seq >= from)
}

fn not_a_line(why: NotALine) -> Fault {
    match why {
        NotALine::WrongHash => Fault::Altered,
        NotALine::TooLong => Fault::NotALine("longer than any line".to_owned()),
        NotALine::NoHash => Fault::NotALine("it does not end with a hash".to_owned()),
        NotALine::NotOurs(why) => Fault::NotALine(why),
    }
}

/// Whether a file is being written: one write is not seen as a whole.
fn still_grows(disk: &dyn Disk, path: &Path, was: u64) -> std::io::Result<bool> {
    let (_never_sends, pause) = mpsc::channel::<()>();
    for _ in 0..GROWTH_LOOKS {
        let _timeout = pause.recv_timeout(GROWTH_PAUSE);
        if LineReader::open(disk, path)?.len() > was {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(super) fn broken(place: Place, seq: Option<u64>, fault: Fault) -> VerifyError {
    Box::new(VerifyFailure { file: place.file, line: place.line, seq, fault }).into()
}

/// Who remembers a line besides the chain.
pub(super) const HEAD_WITNESS: &str = "the head file";
pub(super) const CLUSTER_WITNESS: &str = "the cluster";

/// A write of a batch takes milliseconds; a cut line never grows.
const GROWTH_PAUSE: Duration = Duration::from_millis(20);
const GROWTH_LOOKS: u32 = 10;
