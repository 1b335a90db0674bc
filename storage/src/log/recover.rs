//! Reads a log back: every byte checked, every rule of how the log is written asserted again on reading.
//!
//! In: a directory of segments. Out: what they say, and where the valid part of the last one ends; or a refusal.
//! Deliberately absent: writing. [`super::repair`] does that, once the whole log is known to be good.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::frame::{self, Expected, FORMAT_VERSION, SECTOR};
use super::index::Location;
use super::options::WalOptions;
use super::replay::{Checkpoint, Replay};
use super::segment::{self, FRAMES_START, SegmentHead};
use super::tail::{self, Tail};
use super::{WalError, index::Index, repair};
use crate::disk::{self, Disk, DiskFile, OpenMode, TEMPORARY_EXTENSION};

/// One segment of an open log.
pub(crate) struct Segment {
    pub(crate) number: u64,
    /// Size by its header, bytes.
    pub(crate) size: u64,
    /// Highest index of an entry in it that was not truncated.
    pub(crate) max_index: Option<u64>,
    pub(crate) file: Arc<dyn DiskFile>,
}

/// A cut to make: the bytes of an interrupted write.
pub(crate) struct Torn {
    /// From the place of the broken frame to the last byte that is not zero.
    pub(crate) bytes: Bytes,
    pub(crate) why: &'static str,
}

/// What the log says.
pub(crate) struct Recovered {
    pub(crate) index: Index,
    pub(crate) checkpoint: Checkpoint,
    /// Oldest first; the last one is written on.
    pub(crate) segments: VecDeque<Segment>,
    /// Where the next frame of the last segment goes.
    pub(crate) valid_end: u64,
    pub(crate) next: Expected,
    /// The valid bytes of the last segment, to be written and synced again.
    pub(crate) valid: Bytes,
    pub(crate) torn: Option<Torn>,
    /// Left by a process whose disk failed: no page of the live segments is trusted to be on the disk.
    pub(crate) suspect: bool,
}

/// Reads the log in `dir`; creates it when it is empty and `options.create` says so.
pub(crate) fn recover(disk: &dyn Disk, dir: &Path, options: &WalOptions) -> Result<Recovered, WalError> {
    let numbers = prepare(disk, dir, options)?;
    let suspect = repair::is_suspect(disk, dir)?;
    let mut scan = Scan { replay: Replay::new(options), next: None, segments: VecDeque::new() };
    let mut end = None;
    for (place, number) in numbers.iter().enumerate() {
        if place > 0 && numbers.get(place - 1).and_then(|before| before.checked_add(1)) != Some(*number) {
            return Err(WalError::Incomplete(format!("segment {} is missing", number.saturating_sub(1))));
        }
        end = Some(scan.segment(disk, dir, *number, place + 1 == numbers.len())?);
    }
    let (Some(end), Some(next)) = (end, scan.next) else {
        return Err(WalError::Incomplete(format!("no segment in {}", dir.display())));
    };
    let (index, checkpoint) = scan.replay.finish()?;
    let Scan { segments, .. } = scan;
    Ok(Recovered { index, checkpoint, segments, valid_end: end.at, next, valid: end.valid, torn: end.torn, suspect })
}

/// Removes half-made files and finds the segments, making the first one in a new log.
fn prepare(disk: &dyn Disk, dir: &Path, options: &WalOptions) -> Result<Vec<u64>, WalError> {
    let fail = |what: &'static str| WalError::io(format!("{what} {}", dir.display()));
    for name in disk.list(dir).map_err(fail("listing"))? {
        if name.ends_with(&format!(".{TEMPORARY_EXTENSION}")) {
            disk.remove(&dir.join(name)).map_err(fail("removing a temporary file in"))?;
        }
    }
    let numbers = segment::list(disk, dir).map_err(fail("listing"))?;
    if !numbers.is_empty() {
        return Ok(numbers);
    }
    if !options.create {
        return Err(WalError::Incomplete(format!(
            "no segment in {}, yet this node was initialized: its log is lost; replace the node",
            dir.display()
        )));
    }
    create_first(disk, dir, options.segment_bytes)?;
    Ok(vec![FIRST_SEGMENT])
}

fn create_first(disk: &dyn Disk, dir: &Path, size: u64) -> Result<(), WalError> {
    let first = Expected { nonce: new_nonce(), sequence: 1, chain: 0 };
    let (checkpoint, _) = frame::encode(first, &Checkpoint::default().records());
    segment::create(disk, dir, SegmentHead { number: FIRST_SEGMENT, size, first }, &checkpoint)?;
    Ok(())
}

/// A number that no other log has: bytes of a foreign log in one of our files must not pass for ours. Not a secret.
fn new_nonce() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id()) | 1
}

/// Where the last segment's valid part ends.
struct End {
    at: u64,
    valid: Bytes,
    torn: Option<Torn>,
}

struct Scan {
    replay: Replay,
    /// What the next frame must carry; `None` before the first segment.
    next: Option<Expected>,
    segments: VecDeque<Segment>,
}

impl Scan {
    fn segment(&mut self, disk: &dyn Disk, dir: &Path, number: u64, last: bool) -> Result<End, WalError> {
        let (file, bytes) = load(disk, dir, number).map_err(WalError::io(format!("reading segment {number}")))?;
        let head = SegmentHead::decode(&bytes, number)?;
        self.check_head(&head, &bytes, last)?;
        let mut next = head.first;
        self.segments.push_back(Segment { number, size: head.size, max_index: None, file });
        let mut at = usize::try_from(FRAMES_START).unwrap_or(usize::MAX);
        let size = usize::try_from(head.size).unwrap_or(usize::MAX);
        while let Some((extent, chain)) = self.frame(&bytes, size, at, next, number)? {
            at += extent;
            next = Expected { nonce: next.nonce, sequence: next.sequence.saturating_add(1), chain };
        }
        self.next = Some(next);
        if at == usize::try_from(FRAMES_START).unwrap_or(usize::MAX) {
            return Err(WalError::Corrupt(format!("segment {number} has no checkpoint")));
        }
        let torn = match tail::classify(bytes.get(at..).unwrap_or_default(), next) {
            Tail::Clean => None,
            Tail::Torn { used, why } if last => Some(Torn { bytes: bytes.slice(at..at + used), why }),
            Tail::Torn { why, .. } => {
                return Err(WalError::Corrupt(format!("segment {number} at {at}: {why}, and later segments exist")));
            }
            Tail::Corrupt(why) => return Err(WalError::Corrupt(format!("segment {number} at {at}: {why}"))),
        };
        Ok(End { at: at as u64, valid: bytes.slice(..at), torn })
    }

    fn check_head(&self, head: &SegmentHead, bytes: &[u8], last: bool) -> Result<(), WalError> {
        let number = head.number;
        if self.next.is_some_and(|next| next != head.first) {
            return Err(WalError::Corrupt(format!(
                "segment {number} does not continue the one before: frames between them are lost"
            )));
        }
        let len = bytes.len() as u64;
        if len < head.size || (len > head.size && !last) {
            let size = head.size;
            return Err(WalError::Incomplete(format!("segment {number} has {len} bytes instead of {size}")));
        }
        if segment::is_sealed(bytes, head)? && last {
            return Err(WalError::Incomplete(format!("segment {number} has a successor, which is missing")));
        }
        Ok(())
    }

    /// Takes in the frame at `at`; `None` when no valid one stands there.
    fn frame(
        &mut self,
        bytes: &Bytes,
        size: usize,
        at: usize,
        next: Expected,
        number: u64,
    ) -> Result<Option<(usize, u32)>, WalError> {
        let rest = bytes.get(at..size).unwrap_or_default();
        let Some(header) = frame::decode_header(rest) else { return Ok(None) };
        if header.version != FORMAT_VERSION {
            return Err(WalError::Format { found: header.version, supported: FORMAT_VERSION });
        }
        if header.expected != next {
            return Ok(None);
        }
        let Some(chain) = frame::check_body(&header, rest) else { return Ok(None) };
        let bad = |why: String| WalError::Corrupt(format!("segment {number}, frame {}: {why}", next.sequence));
        let frame = bytes.slice(at..at + header.extent());
        let records = frame::decode_records(&header, &frame).map_err(|record| bad(record.0.to_owned()))?;
        if at as u64 == FRAMES_START {
            let records = records.into_iter().map(|(_, record)| record);
            self.replay.checkpoint(records, self.segments.len() == 1).map_err(bad)?;
        } else {
            for (offset, record) in records {
                let location = Location { segment: number, offset: (at + offset) as u64 };
                note_indexes(&mut self.segments, &record);
                self.replay.record(record, location).map_err(bad)?;
            }
        }
        Ok(Some((header.extent(), chain)))
    }
}

/// Keeps each segment's highest live index, by which purging finds what can be unlinked. The record is written to
/// the last segment of the list.
pub(crate) fn note_indexes(segments: &mut VecDeque<Segment>, record: &super::record::Record) {
    use super::record::Record;
    match record {
        Record::Entry(position, _) => {
            if let Some(segment) = segments.back_mut() {
                segment.max_index = segment.max_index.max(Some(position.index));
            }
        }
        Record::Truncate(from) => {
            for segment in segments.iter_mut() {
                segment.max_index = segment.max_index.and_then(|max| Some(max.min(from.checked_sub(1)?)));
            }
        }
        Record::Vote(_) | Record::Purge(_) | Record::Committed(_) | Record::Last(_) => {}
    }
}

fn load(disk: &dyn Disk, dir: &Path, number: u64) -> io::Result<(Arc<dyn DiskFile>, Bytes)> {
    let path = segment::path(dir, number);
    let bytes = disk::read_file(disk, &path)?;
    Ok((Arc::from(disk.open(&path, OpenMode::ReadWrite)?), Bytes::from(bytes)))
}

const FIRST_SEGMENT: u64 = 1;
const _: () = assert!(FRAMES_START.is_multiple_of(SECTOR as u64));
