//! Writes one segment: rows in, and a file that is durable, named and never changed again.
//!
//! In: rows in log order. Out: the mark with which they end. The order is the rule: temporary file, fdatasync, rename,
//! fsync of the directory; only then does [`SegmentWriter::finish`] return, and only then may the rows leave the store.
//! Whatever fails leaves nothing behind but a temporary file. Deliberately absent: where rows come from.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use consigner_rules::archive::{ArchiveMark, archive_rows};
use consigner_rules::primitives::ClusterId;
use consigner_rules::{Change, codec};

use super::error::{SegmentError, io_error};
use super::format::{BLOCK_PLAIN, BlockHeader, ENTRY_HEADER, FOOTER, Footer, Header, Place, ROW_BYTES_MAX};
use crate::disk::{Disk, DiskFile, OpenMode, TEMPORARY_EXTENSION};

/// A segment that is being written.
pub(crate) struct SegmentWriter<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    temporary: PathBuf,
    file: Box<dyn DiskFile>,
    header: Header,
    end: ArchiveMark,
    /// Entries that wait for their block.
    block: Vec<u8>,
    waiting: Waiting,
    places: Vec<Place>,
    offset: u64,
    hash: Context,
    entries: u64,
    plain_bytes: u64,
    times: Option<(u64, u64)>,
}

#[derive(Default)]
struct Waiting {
    entries: u32,
    first: u64,
    last: u64,
}

impl<'a> SegmentWriter<'a> {
    /// Begins a segment behind `mark`; entries between it and `after` are a gap that the chain names.
    pub(crate) fn begin(
        disk: &'a dyn Disk,
        dir: &'a Path,
        lineage: ClusterId,
        mark: ArchiveMark,
        after: u64,
    ) -> Result<Self, SegmentError> {
        let mut before = mark;
        before.skip(after);
        let header = Header { lineage, before, gap_from: mark.index };
        let temporary = dir.join(format!("{after:020}.{TEMPORARY_EXTENSION}"));
        let file = disk.open(&temporary, OpenMode::Replace).map_err(io_error("creating", &temporary))?;
        let mut writer = Self {
            disk,
            dir,
            temporary,
            file,
            header,
            end: before,
            block: Vec::new(),
            waiting: Waiting::default(),
            places: Vec::new(),
            offset: 0,
            hash: Context::new(&SHA256),
            entries: 0,
            plain_bytes: 0,
            times: None,
        };
        writer.put(&header.encode())?;
        Ok(writer)
    }

    /// Adds the row of an entry behind those that are there.
    pub(crate) fn add(&mut self, index: u64, row: &[u8]) -> Result<(), SegmentError> {
        if index <= self.end.index {
            return Err(SegmentError::Misplaced { index, after: self.end.index, upto: u64::MAX });
        }
        if row.len() > ROW_BYTES_MAX {
            return Err(SegmentError::TooLong(index));
        }
        let (proposed_at_ms, changes) = decode_row(index, row)?;
        for row in archive_rows(index, proposed_at_ms, changes) {
            self.end.add(&row);
        }
        self.end.pass(index);
        let (oldest, newest) = self.times.unwrap_or((proposed_at_ms, proposed_at_ms));
        self.times = Some((oldest.min(proposed_at_ms), newest.max(proposed_at_ms)));
        if self.waiting.entries == 0 {
            self.waiting.first = index;
        }
        self.waiting.last = index;
        self.waiting.entries += 1;
        self.entries += 1;
        self.block.extend_from_slice(&index.to_le_bytes());
        self.block.extend_from_slice(&u32::try_from(row.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.block.extend_from_slice(row);
        self.plain_bytes += (ENTRY_HEADER + row.len()) as u64;
        if self.block.len() >= BLOCK_PLAIN { self.end_block() } else { Ok(()) }
    }

    /// Ends the segment: it covers everything up to and with `upto`. Durable when this returns, its name too, which is
    /// the answer.
    pub(crate) fn finish(mut self, upto: u64) -> Result<String, SegmentError> {
        let written = self.write_end(upto);
        let named = written.and_then(|()| self.name(upto));
        if named.is_err() {
            // Only tidiness: what is left under a temporary name is removed at the next start.
            let _removed = self.disk.remove(&self.temporary);
        }
        named
    }

    fn write_end(&mut self, upto: u64) -> Result<(), SegmentError> {
        self.end_block()?;
        self.end.pass(upto);
        let directory = self.offset;
        let places: Vec<u8> = self.places.iter().flat_map(Place::encode).collect();
        self.put(&places)?;
        let hash = std::mem::replace(&mut self.hash, Context::new(&SHA256)).finish();
        let (oldest_ms, newest_ms) = self.times.unwrap_or_default();
        let footer = Footer {
            blocks: u32::try_from(self.places.len()).unwrap_or(u32::MAX),
            directory,
            after: self.header.before.index,
            end: self.end,
            entries: self.entries,
            oldest_ms,
            newest_ms,
            plain_bytes: self.plain_bytes,
            first: self.places.first().map_or(0, |place| place.first),
            last: self.places.last().map_or(0, |place| place.last),
            file_len: self.offset + FOOTER as u64,
            sha256: hash.as_ref().try_into().unwrap_or_default(),
            directory_crc: crc32fast::hash(&places),
        };
        self.put(&footer.encode())?;
        self.file.sync_data().map_err(io_error("syncing", &self.temporary))
    }

    fn name(&mut self, upto: u64) -> Result<String, SegmentError> {
        let name = self.free_name(upto)?;
        let path = self.dir.join(&name);
        self.disk.rename(&self.temporary, &path).map_err(io_error("naming", &path))?;
        if let Err(error) = self.disk.sync_dir(self.dir) {
            // It may or may not be there after a power cut: it is not relied upon, and better gone.
            let _removed = self.disk.remove(&path);
            return Err(io_error("syncing", self.dir)(error));
        }
        Ok(name)
    }

    /// A damaged file of the same range is kept, so its name is not free.
    fn free_name(&self, upto: u64) -> Result<String, SegmentError> {
        let range = format!("{:020}-{upto:020}", self.header.before.index);
        let mut name = format!("{range}{SUFFIX}");
        let mut number = 1_u64;
        while self.disk.exists(&self.dir.join(&name)).map_err(io_error("looking into", self.dir))? {
            number += 1;
            name = format!("{range}-{number}{SUFFIX}");
        }
        Ok(name)
    }

    fn end_block(&mut self) -> Result<(), SegmentError> {
        let Waiting { entries, first, last } = std::mem::take(&mut self.waiting);
        if entries == 0 {
            return Ok(());
        }
        let plain = std::mem::take(&mut self.block);
        let content = zstd::bulk::compress(&plain, LEVEL).map_err(io_error("compressing for", &self.temporary))?;
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let number = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        let block = BlockHeader { compressed: len(&content), plain: len(&plain), entries, first, last, number };
        self.places.push(Place { offset: self.offset, first, last, entries });
        let head = block.encode(&self.header, &content);
        self.put(&head)?;
        self.put(&content)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), SegmentError> {
        self.file.write_all_at(bytes, self.offset).map_err(io_error("writing", &self.temporary))?;
        self.hash.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Leaves nothing behind: the rows could not be had.
    pub(crate) fn give_up(self) {
        let _removed = self.disk.remove(&self.temporary);
    }
}

/// What a row of the outbox holds: when its entry was proposed, and what it changed.
pub(crate) fn decode_row(index: u64, row: &[u8]) -> Result<(u64, Vec<Change>), SegmentError> {
    codec::decode(row).map_err(|source| SegmentError::Row { index, source })
}

/// zstd's own default: three more levels cost twice the time for a twentieth of the bytes.
const LEVEL: i32 = 3;
/// Ends the name of a segment.
pub(super) const SUFFIX: &str = ".seg";
