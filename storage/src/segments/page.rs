//! Some rows, in log order, put together from several places that may overlap: each index once.
//!
//! In: rows of segments and of the store. Out: the first of them, bounded in number and bytes. Where two places differ
//! the page ends: nobody can say which of them is right. Deliberately absent: what is missing in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::SegmentError;
use super::segment::Segment;
use super::{Ranges, Row};
use crate::disk::Disk;

/// Rows of the entries after one index.
pub(crate) struct Page {
    after: u64,
    rows: BTreeMap<u64, Vec<u8>>,
    bytes: usize,
    max: usize,
    /// Nothing behind this index belongs to the page any more.
    bound: u64,
    conflict: Option<u64>,
}

impl Page {
    /// At most `max` rows of the entries after `after`, up to and with `upto`.
    pub(crate) fn new(after: u64, upto: u64, max: usize) -> Self {
        Self { after, rows: BTreeMap::new(), bytes: 0, max, bound: upto, conflict: None }
    }

    /// Rows up to this index are of no use.
    pub(crate) fn after(&self) -> u64 {
        self.after
    }

    /// How many rows there may be.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Rows behind this index are of no use any more.
    pub(crate) fn bound(&self) -> u64 {
        self.bound
    }

    /// Adds a row if it belongs here.
    pub(crate) fn add(&mut self, index: u64, row: Vec<u8>) {
        if index <= self.after || index > self.bound {
            return;
        }
        if let Some(known) = self.rows.get(&index) {
            if *known != row {
                self.conflict = Some(index);
                self.bound = index - 1;
                self.drop_behind();
            }
            return;
        }
        self.bytes += row.len();
        self.rows.insert(index, row);
        while self.rows.len() > self.max || (self.bytes > PAGE_BYTES_MAX && self.rows.len() > 1) {
            let Some((last, row)) = self.rows.pop_last() else { return };
            self.bytes -= row.len();
            self.bound = last - 1;
        }
    }

    fn drop_behind(&mut self) {
        let bound = self.bound;
        self.rows.retain(|index, _| *index <= bound);
        self.bytes = self.rows.values().map(Vec::len).sum();
    }

    /// Adds what segments have, whatever overlaps; they are in the order of their begin.
    pub(crate) fn read(&mut self, disk: &dyn Disk, segments: &[Arc<Segment>]) -> Result<(), SegmentError> {
        for segment in segments {
            if segment.info.after >= self.bound {
                return Ok(());
            }
            if segment.info.upto > self.after {
                self.read_one(disk, segment)?;
            }
        }
        Ok(())
    }

    fn read_one(&mut self, disk: &dyn Disk, segment: &Segment) -> Result<(), SegmentError> {
        let file = segment.file(disk)?;
        for block in segment.blocks_after(self.after) {
            if segment.block_first(block) > self.bound {
                return Ok(());
            }
            for (index, row) in segment.read_block(&*file, block)?.unwrap_or_default() {
                self.add(index, row);
            }
        }
        Ok(())
    }

    /// The rows up to the first index that `coverage` lacks.
    pub(crate) fn cut(&mut self, coverage: &Ranges) {
        self.bound = self.bound.min(coverage.reach(self.after).unwrap_or(self.after));
        self.drop_behind();
    }

    /// The rows, in log order.
    ///
    /// # Errors
    /// The first of them stands there twice, differently.
    pub(crate) fn finish(self) -> Result<Vec<Row>, SegmentError> {
        match self.conflict {
            Some(index) if self.rows.is_empty() && self.bound == index - 1 => Err(SegmentError::Conflict(index)),
            Some(_) | None => Ok(self.rows.into_iter().collect()),
        }
    }
}

/// A page is in memory whole; a row may be a quarter of a megabyte, and `max` is the caller's.
const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
