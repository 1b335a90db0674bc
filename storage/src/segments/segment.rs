//! One segment that lies there: what it covers, and its rows, block by block.
//!
//! In: a file. Out: rows that check; what does not is a [`SegmentFault`] with the log indexes that it costs. Header,
//! footer and directory are checked at open, a block when it is read. Where the end of a file is damaged, the blocks
//! before it are still read. Deliberately absent: keeping files open (an
//! archive has thousands) and repairing them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use consigner_rules::archive::{ArchiveMark, archive_rows};
use consigner_rules::primitives::ClusterId;

use super::error::{SegmentError, SegmentFault, io_error};
use super::format::{BLOCK_HEADER, BlockHeader, ENTRY_HEADER, FOOTER, Footer, HEADER, Header, Place};
use super::writer::{SUFFIX, decode_row};
use super::{Ranges, Row};
use crate::disk::{Disk, DiskFile, OpenMode};

/// What is known of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Name of the file.
    pub name: String,
    /// It holds all rows of the entries after this log index ..
    pub after: u64,
    /// .. up to and with this one.
    pub upto: u64,
    /// Entries with a row.
    pub entries: u64,
    /// When the oldest of them was proposed, in milliseconds since the Unix epoch.
    pub oldest_ms: u64,
    /// When the newest was.
    pub newest_ms: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of its rows before they were compressed.
    pub plain_bytes: u64,
    /// Where the gap began that was there when it was written; the same as `after` if there was none.
    pub gap_from: u64,
    /// The mark with which it begins.
    pub before: ArchiveMark,
    /// The mark with which it ends.
    pub end: ArchiveMark,
}

/// A segment whose frame is good.
#[derive(Debug)]
pub(crate) struct Segment {
    path: PathBuf,
    header: Header,
    pub(crate) info: SegmentInfo,
    /// Of all before the footer; `None` if the footer cannot be read.
    pub(super) sha256: Option<[u8; 32]>,
    places: Vec<Place>,
    faults: Mutex<Vec<SegmentFault>>,
}

impl Segment {
    /// Opens one. The inner error is what is wrong with it.
    pub(crate) fn open(
        disk: &dyn Disk,
        dir: &Path,
        name: &str,
        lineage: &ClusterId,
    ) -> Result<Result<Self, Unfit>, SegmentError> {
        let path = dir.join(name);
        let file = disk.open(&path, OpenMode::Read).map_err(io_error("opening", &path))?;
        let len = file.len().map_err(io_error("measuring", &path))?;
        let frame = match Frame::read(&*file, len) {
            Ok(frame) => frame,
            Err(Unread::Io(source)) => return Err(io_error("reading", &path)(source)),
            Err(Unread::Damaged(why)) => return salvage(&*file, path, name, lineage, why),
        };
        Ok(frame.into_segment(path, name, lineage, len))
    }

    /// What can be read of it.
    pub(crate) fn coverage(&self) -> Ranges {
        let mut ranges = Ranges::default();
        ranges.add(self.info.after, self.info.upto);
        for fault in self.faults().iter() {
            ranges.remove(fault.after, fault.upto);
        }
        ranges
    }

    /// What was found wrong in it since it was opened.
    pub(crate) fn faults(&self) -> MutexGuard<'_, Vec<SegmentFault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The blocks that may hold entries after `after`, by number.
    pub(crate) fn blocks_after(&self, after: u64) -> std::ops::Range<usize> {
        self.places.partition_point(|place| place.last <= after)..self.places.len()
    }

    /// Index of the first entry of a block.
    pub(crate) fn block_first(&self, block: usize) -> u64 {
        self.places.get(block).map_or(u64::MAX, |place| place.first)
    }

    /// Where the file lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file for reading blocks.
    pub(crate) fn file(&self, disk: &dyn Disk) -> Result<Box<dyn DiskFile>, SegmentError> {
        disk.open(&self.path, OpenMode::Read).map_err(io_error("opening", &self.path))
    }

    /// The rows of a block; `None` if it is damaged, which is noted.
    pub(crate) fn read_block(&self, file: &dyn DiskFile, block: usize) -> Result<Option<Vec<Row>>, SegmentError> {
        let Some(place) = self.places.get(block) else { return Ok(Some(Vec::new())) };
        match read_block(file, &self.header, *place, block) {
            Ok(rows) => Ok(Some(rows)),
            Err(Unread::Io(source)) => Err(io_error("reading", &self.path)(source)),
            Err(Unread::Damaged(why)) => {
                self.note(block, format!("block {block}: {why}"));
                Ok(None)
            }
        }
    }

    /// A damaged block costs the entries from the block before to its own last one.
    fn note(&self, block: usize, why: String) {
        let before = block.checked_sub(1).and_then(|before| self.places.get(before));
        let after = before.map_or(self.info.after, |place| place.last);
        let last = block + 1 == self.places.len();
        let upto = if last { self.info.upto } else { self.places.get(block).map_or(after, |place| place.last) };
        let fault = SegmentFault { name: self.info.name.clone(), after, upto, why };
        let mut faults = self.faults();
        if !faults.iter().any(|known| (known.after, known.upto) == (after, upto)) {
            tracing::error!(%fault, "a segment of the archive is damaged; it is kept, and its rows count as missing");
            faults.push(fault);
        }
    }
}

/// Opens what is left of a segment whose end is damaged: the blocks behind a good header, as far as they are good.
fn salvage(
    file: &dyn DiskFile,
    path: PathBuf,
    name: &str,
    lineage: &ClusterId,
    why: String,
) -> Result<Result<Segment, Unfit>, SegmentError> {
    let bytes = file.len().map_err(io_error("measuring", &path))?;
    let head = read(file, 0, HEADER).map_err(Unread::from).and_then(|head| Ok(Header::decode(&head)?));
    let header = match head {
        Err(Unread::Io(source)) => return Err(io_error("reading", &path)(source)),
        Err(Unread::Damaged(_)) => return Ok(Err(Unfit::Damaged(why))),
        Ok(header) if header.lineage != *lineage => return Ok(Err(Unfit::Foreign(header.lineage))),
        Ok(header) => header,
    };
    let Some((after, upto)) = range_of(name).filter(|(after, _)| *after == header.before.index) else {
        return Ok(Err(Unfit::Damaged(why)));
    };
    let before = header.before;
    let mut info = SegmentInfo {
        name: name.to_owned(),
        after,
        upto,
        entries: 0,
        oldest_ms: u64::MAX,
        newest_ms: 0,
        bytes,
        plain_bytes: 0,
        gap_from: header.gap_from,
        before,
        end: before,
    };
    let (mut places, mut offset) = (Vec::new(), HEADER as u64);
    while let Ok((place, rows, next)) = next_block(file, &header, offset, places.len()) {
        if place.first <= info.end.index || place.last > upto {
            break;
        }
        for (index, row) in rows {
            let (ms, changes) = decode_row(index, &row)?;
            (info.oldest_ms, info.newest_ms) = (info.oldest_ms.min(ms), info.newest_ms.max(ms));
            archive_rows(index, ms, changes).for_each(|row| info.end.add(&row));
            info.end.pass(index);
            info.entries += 1;
            info.plain_bytes += (ENTRY_HEADER + row.len()) as u64;
        }
        places.push(place);
        offset = next;
    }
    info.oldest_ms = info.oldest_ms.min(info.newest_ms);
    let fault = SegmentFault { name: name.to_owned(), after: info.end.index, upto, why };
    Ok(Ok(Segment { path, header, info, sha256: None, places, faults: Mutex::new(vec![fault]) }))
}

/// The block at `offset`, whatever the directory says, and where the next one begins.
fn next_block(
    file: &dyn DiskFile,
    header: &Header,
    offset: u64,
    number: usize,
) -> Result<(Place, Vec<Row>, u64), Unread> {
    let block = BlockHeader::decode(&read(file, offset, BLOCK_HEADER)?)?;
    let place = Place { offset, first: block.first, last: block.last, entries: block.entries };
    let rows = read_block(file, header, place, number)?;
    let next = offset.saturating_add(BLOCK_HEADER as u64).saturating_add(u64::from(block.compressed));
    Ok((place, rows, next))
}

/// The entries that a file should hold, by its name.
pub(super) fn range_of(name: &str) -> Option<(u64, u64)> {
    let mut parts = name.strip_suffix(SUFFIX)?.split('-');
    let mut number = || parts.next()?.parse::<u64>().ok();
    let range = (number()?, number()?);
    (range.0 <= range.1).then_some(range)
}

/// Why a file is not used.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// It is not what was written.
    Damaged(String),
    /// It is whole, and of this other cluster.
    Foreign(ClusterId),
}

enum Unread {
    Io(io::Error),
    Damaged(String),
}

impl From<io::Error> for Unread {
    /// A file that is too short, or a sector that cannot be read, is damage; the rest is the machine's trouble.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof || error.raw_os_error() == Some(EIO) {
            return Self::Damaged(format!("it cannot be read: {error}"));
        }
        Self::Io(error)
    }
}

impl From<String> for Unread {
    fn from(why: String) -> Self {
        Self::Damaged(why)
    }
}

struct Frame {
    header: Header,
    footer: Footer,
    places: Vec<Place>,
}

impl Frame {
    fn read(file: &dyn DiskFile, len: u64) -> Result<Self, Unread> {
        let header = Header::decode(&read(file, 0, HEADER)?)?;
        let at = len.checked_sub(FOOTER as u64).ok_or_else(|| "it is too short".to_owned())?;
        let footer = Footer::decode(&read(file, at, FOOTER)?)?;
        let directory_len = footer.directory_len();
        if footer.directory.checked_add(directory_len as u64) != Some(at) || footer.file_len != len {
            return Err(Unread::Damaged("its length is not that of its footer".into()));
        }
        let directory = read(file, footer.directory, directory_len)?;
        if crc32fast::hash(&directory) != footer.directory_crc {
            return Err(Unread::Damaged("the checksum of its directory does not match".into()));
        }
        let places = directory.chunks_exact(PLACE_LEN).map(Place::decode).collect();
        Ok(Self { header, footer, places })
    }

    fn into_segment(self, path: PathBuf, name: &str, lineage: &ClusterId, len: u64) -> Result<Segment, Unfit> {
        let Self { header, footer, places } = self;
        if header.lineage != *lineage {
            return Err(Unfit::Foreign(header.lineage));
        }
        let (after, upto) = (footer.after, footer.end.index);
        if after != header.before.index || !name.starts_with(&format!("{after:020}-{upto:020}")) {
            return Err(Unfit::Damaged("its name, header and footer are not of the same entries".into()));
        }
        let info = SegmentInfo {
            name: name.to_owned(),
            after,
            upto,
            entries: footer.entries,
            oldest_ms: footer.oldest_ms,
            newest_ms: footer.newest_ms,
            bytes: len,
            plain_bytes: footer.plain_bytes,
            gap_from: header.gap_from,
            before: header.before,
            end: footer.end,
        };
        Ok(Segment { path, header, info, sha256: Some(footer.sha256), places, faults: Mutex::default() })
    }
}

fn read_block(file: &dyn DiskFile, header: &Header, place: Place, number: usize) -> Result<Vec<Row>, Unread> {
    let head = read(file, place.offset, BLOCK_HEADER)?;
    let block = BlockHeader::decode(&head)?;
    let content = read(
        file,
        place.offset.saturating_add(BLOCK_HEADER as u64),
        usize::try_from(block.compressed).unwrap_or(usize::MAX),
    )?;
    let rows = block.open(header, &head, &content)?;
    let here = (block.first, block.last, block.entries, usize::try_from(block.number).ok());
    if here != (place.first, place.last, place.entries, Some(number)) {
        return Err(Unread::Damaged("it is not the block of the directory".into()));
    }
    Ok(rows)
}

fn read(file: &dyn DiskFile, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

const PLACE_LEN: usize = super::format::PLACE;
/// Linux: the device could not read.
const EIO: i32 = 5;
