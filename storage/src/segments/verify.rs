//! Proves that segments are what was written: every byte, every row, one chain.
//!
//! In: a directory. Out: a report that names each fault. Bounded memory, whatever lies there; beside a running node a
//! segment that is removed meanwhile is passed over. Deliberately absent: comparing with the live state or a database
//! (the command line does, by the mark), and changing anything.

use std::io;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use consigner_rules::archive::{ArchiveMark, archive_rows};
use consigner_rules::primitives::ClusterId;

use super::Ranges;
use super::catalog::Catalog;
use super::error::{SegmentError, SegmentFault, io_error};
use super::format::FOOTER;
use super::page::Page;
use super::segment::Segment;
use super::writer::decode_row;
use crate::disk::{Disk, DiskFile, RealDisk};

/// How far the verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Bytes of segments that were read.
    pub bytes: u64,
    /// Of so many.
    pub of: u64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentsReport {
    /// Segments that are there.
    pub segments: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of their rows before compression.
    pub plain_bytes: u64,
    /// Entries with a row.
    pub entries: u64,
    /// Changes in them: the rows of an archive.
    pub rows: u64,
    /// Log index of the first entry.
    pub first: Option<u64>,
    /// Log index of the last.
    pub last: Option<u64>,
    /// Everything up to and with this log index was removed on purpose.
    pub floor: u64,
    /// Where what was removed ended, if anything was.
    pub base: Option<ArchiveMark>,
    /// Entries whose rows are missing, `(after, upto]`.
    pub holes: Ranges,
    /// The chain over all rows and holes, from the base or the lineage's begin.
    pub mark: ArchiveMark,
    /// What is not what was written.
    pub damaged: Vec<SegmentFault>,
}

impl SegmentsReport {
    /// Whether nothing is missing, altered or doubled.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.holes.is_empty() && self.damaged.is_empty()
    }
}

/// Reads everything in `dir`, which is `archive` in a data directory, and tells `progress` about every megabyte.
///
/// # Errors
/// The file system failed. What is wrong with the archive is in the report.
pub fn verify_segments(
    dir: &Path,
    lineage: &ClusterId,
    progress: &mut dyn FnMut(Progress),
) -> Result<SegmentsReport, SegmentError> {
    verify_on(&RealDisk, dir, lineage, progress)
}

pub(crate) fn verify_on(
    disk: &dyn Disk,
    dir: &Path,
    lineage: &ClusterId,
    progress: &mut dyn FnMut(Progress),
) -> Result<SegmentsReport, SegmentError> {
    let catalog = Catalog::read(disk, dir, lineage)?;
    // A base in the middle of a segment lies behind the begin of its chain.
    let first = catalog.segments.first().map(|segment| segment.info.before);
    let base = catalog.base.filter(|base| first.is_none_or(|first| base.index <= first.index));
    let of = catalog.segments.iter().map(|segment| segment.info.bytes).sum();
    let mut walk = Walk {
        disk,
        progress,
        seen: Progress { bytes: 0, of },
        mark: base.or(first).unwrap_or_else(|| ArchiveMark::begin(lineage)),
        base: catalog.base,
        before: None,
        entries: 0,
        rows: 0,
        ends: None,
        gone: Ranges::default(),
        faults: Vec::new(),
    };
    for segment in &catalog.segments {
        walk.segment(segment)?;
    }
    Ok(walk.report(&catalog))
}

struct Walk<'a> {
    disk: &'a dyn Disk,
    progress: &'a mut dyn FnMut(Progress),
    seen: Progress,
    mark: ArchiveMark,
    base: Option<ArchiveMark>,
    before: Option<Arc<Segment>>,
    entries: u64,
    rows: u64,
    ends: Option<(u64, u64)>,
    /// Of segments that went away meanwhile.
    gone: Ranges,
    faults: Vec<SegmentFault>,
}

impl Walk<'_> {
    fn segment(&mut self, segment: &Arc<Segment>) -> Result<(), SegmentError> {
        match self.read(segment) {
            Err(SegmentError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                self.gone.add(segment.info.after, segment.info.upto);
                self.mark = segment.info.end;
            }
            result => result?,
        }
        self.before = Some(segment.clone());
        Ok(())
    }

    fn read(&mut self, segment: &Arc<Segment>) -> Result<(), SegmentError> {
        let file = segment.file(self.disk)?;
        let found = self.hash(&*file, segment)?;
        if segment.sha256.is_some_and(|sha256| sha256 != found) {
            self.fault(segment, "its SHA-256 is not that of its footer");
        }
        let info = &segment.info;
        // Where a gap was when it was written, its rows may have come later: then the file before begins another chain.
        let before = self.before.as_ref().map(|before| before.info.end);
        if info.gap_from == info.after && before.is_some_and(|end| end.index == info.after && end != info.before) {
            self.fault(segment, "it does not continue the chain of the one before");
        }
        self.compare_overlap(segment)?;
        self.mark.skip(info.after);
        let mut own = info.before;
        for block in segment.blocks_after(0) {
            let Some(rows) = segment.read_block(&*file, block)? else { continue };
            for (index, row) in rows {
                self.row(index, &row, &mut own, segment);
            }
        }
        let is_whole = segment.faults().is_empty();
        own.pass(info.upto);
        if is_whole && own != info.end {
            self.fault(segment, "its rows do not give the chain of its footer");
        }
        self.skip_lost(segment);
        self.mark.pass(info.upto);
        Ok(())
    }

    fn row(&mut self, index: u64, row: &[u8], own: &mut ArchiveMark, segment: &Segment) {
        let (proposed_at_ms, changes) = match decode_row(index, row) {
            Ok(row) => row,
            Err(error) => return self.fault(segment, &error.to_string()),
        };
        let is_new = index > self.mark.index;
        // The archive's own mark, somewhere in this segment, knows what was filled in before.
        if let Some(base) = self.base.filter(|base| self.mark.index <= base.index && index > base.index) {
            self.mark = base;
        }
        if is_new {
            // Blocks that could not be read before this row: a hole like any other.
            let lost = segment.coverage().gaps(self.mark.index, index - 1);
            if let Some(&(_, upto)) = lost.as_slice().last() {
                self.mark.skip(upto);
            }
        }
        for row in archive_rows(index, proposed_at_ms, changes) {
            own.add(&row);
            if is_new {
                self.mark.add(&row);
                self.rows += 1;
            }
        }
        if is_new {
            self.mark.pass(index);
            self.entries += 1;
            self.ends = Some((self.ends.map_or(index, |(first, _)| first), index));
        }
    }

    fn skip_lost(&mut self, segment: &Segment) {
        let lost = segment.coverage().gaps(self.mark.index, segment.info.upto);
        if let Some(&(_, upto)) = lost.as_slice().last() {
            self.mark.skip(upto);
        }
    }

    /// Where two segments hold the same entries, they hold the same rows.
    fn compare_overlap(&mut self, segment: &Arc<Segment>) -> Result<(), SegmentError> {
        let Some(before) = self.before.clone() else { return Ok(()) };
        let mut after = segment.info.after;
        while after < before.info.upto.min(segment.info.upto) {
            let mut page = Page::new(after, before.info.upto.min(segment.info.upto), COMPARED);
            page.read(self.disk, &[before.clone(), segment.clone()])?;
            let bound = page.bound();
            match page.finish() {
                Ok(_) => after = bound,
                Err(SegmentError::Conflict(index)) => {
                    self.fault(segment, &format!("its row of log index {index} is not that of {}", before.info.name));
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn hash(&mut self, file: &dyn DiskFile, segment: &Segment) -> Result<[u8; 32], SegmentError> {
        let mut hash = Context::new(&SHA256);
        let end = segment.info.bytes.saturating_sub(FOOTER as u64);
        let (mut at, mut buffer) = (0, vec![0; CHUNK]);
        while at < end {
            let len = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
            let part = buffer.get_mut(..len).unwrap_or_default();
            match file.read_exact_at(part, at) {
                // A sector that cannot be read: the block that it lies in will say so.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof || error.raw_os_error() == Some(5) => break,
                result => result.map_err(io_error("reading", segment.path()))?,
            }
            hash.update(part);
            at += len as u64;
            self.seen.bytes += len as u64;
            (self.progress)(self.seen);
        }
        Ok(hash.finish().as_ref().try_into().unwrap_or_default())
    }

    fn fault(&mut self, segment: &Segment, why: &str) {
        let info = &segment.info;
        let fault = SegmentFault { name: info.name.clone(), after: info.after, upto: info.upto, why: why.to_owned() };
        if self.faults.iter().filter(|known| known.name == fault.name).count() < FAULTS_PER_FILE {
            self.faults.push(fault);
        }
    }

    fn report(self, catalog: &Catalog) -> SegmentsReport {
        let mut damaged = catalog.all_faults();
        damaged.extend(self.faults);
        let mut coverage = catalog.coverage();
        coverage.add_all(&self.gone);
        let end = catalog.segments.iter().map(|segment| segment.info.upto).max().unwrap_or(0);
        let end = damaged.iter().map(|fault| fault.upto).fold(end, u64::max);
        let sum = |of: fn(&Segment) -> u64| catalog.segments.iter().map(|segment| of(segment)).sum();
        SegmentsReport {
            segments: catalog.segments.len() as u64,
            bytes: sum(|segment| segment.info.bytes),
            plain_bytes: sum(|segment| segment.info.plain_bytes),
            entries: self.entries,
            rows: self.rows,
            first: self.ends.map(|(first, _)| first),
            last: self.ends.map(|(_, last)| last),
            floor: catalog.floor(),
            base: catalog.base,
            holes: coverage.gaps(catalog.floor(), end),
            mark: self.mark,
            damaged,
        }
    }
}

/// Bytes hashed at once.
const CHUNK: usize = 1024 * 1024;
/// Rows compared at once.
const COMPARED: usize = 4096;
/// One bad file must not fill the report.
const FAULTS_PER_FILE: usize = 8;
