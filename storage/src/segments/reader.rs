//! Reads an archive of segments from outside: beside a running node, or without any.
//!
//! In: a directory and whose it should be. Out: its rows in log order, each once; a file that is damaged comes in
//! between as an error, and the rows behind it follow. Nothing is written. Deliberately absent: the newest rows, which
//! lie in the state store until they are spilled.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consigner_rules::primitives::ClusterId;

use super::catalog::Catalog;
use super::error::{SegmentError, SegmentFault};
use super::page::Page;
use super::segment::SegmentInfo;
use super::{Ranges, Row};
use crate::disk::{Disk, RealDisk};

/// The rows of the segments in a directory.
pub struct SegmentReader {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    lineage: ClusterId,
    catalog: Catalog,
    after: u64,
    rows: VecDeque<Row>,
    told: Vec<SegmentFault>,
    is_done: bool,
}

impl SegmentReader {
    /// Looks through `dir`, which is `archive` in a data directory; files of other clusters than `lineage` are faults.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn open(dir: &Path, lineage: &ClusterId) -> Result<Self, SegmentError> {
        Self::open_on(Arc::new(RealDisk), dir, lineage)
    }

    pub(super) fn open_on(disk: Arc<dyn Disk>, dir: &Path, lineage: &ClusterId) -> Result<Self, SegmentError> {
        let catalog = Catalog::read(&*disk, dir, lineage)?;
        let (dir, lineage) = (dir.to_path_buf(), *lineage);
        Ok(Self { disk, dir, lineage, catalog, after: 0, rows: VecDeque::new(), told: Vec::new(), is_done: false })
    }

    /// Begins behind log index `after`.
    #[must_use]
    pub fn after(mut self, after: u64) -> Self {
        self.after = after;
        self
    }

    /// The segments, in log order.
    pub fn segments(&self) -> impl Iterator<Item = &SegmentInfo> {
        self.catalog.segments.iter().map(|segment| &segment.info)
    }

    /// What is wrong, as far as it was read.
    #[must_use]
    pub fn faults(&self) -> Vec<SegmentFault> {
        self.catalog.all_faults()
    }

    /// The entries whose rows are missing between what was removed on purpose and the end of the last segment.
    #[must_use]
    pub fn holes(&self) -> Ranges {
        let coverage = self.catalog.coverage();
        let end = self.catalog.segments.iter().map(|segment| segment.info.upto).max().unwrap_or(0);
        coverage.gaps(self.catalog.floor(), end)
    }

    fn fill(&mut self) -> Result<(), SegmentError> {
        for _ in 0..RETRIES {
            let mut page = Page::new(self.after, u64::MAX, PAGE_ROWS);
            match page.read(&*self.disk, &self.catalog.segments) {
                Ok(()) => {}
                // The running node removed it: what it held is in the archive elsewhere, or too old to be kept.
                Err(SegmentError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    self.catalog = Catalog::read(&*self.disk, &self.dir, &self.lineage)?;
                    continue;
                }
                Err(error) => return Err(error),
            }
            self.rows = page.finish()?.into();
            self.is_done = self.rows.is_empty();
            self.after = self.rows.back().map_or(self.after, |(index, _)| *index);
            return Ok(());
        }
        self.is_done = true;
        Ok(())
    }
}

impl Iterator for SegmentReader {
    type Item = Result<Row, SegmentError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rows.is_empty()
            && !self.is_done
            && let Err(error) = self.fill()
        {
            self.is_done = true;
            return Some(Err(error));
        }
        if let Some(fault) = self.catalog.all_faults().into_iter().find(|fault| !self.told.contains(fault)) {
            self.told.push(fault.clone());
            return Some(Err(SegmentError::Fault(fault)));
        }
        self.rows.pop_front().map(Ok)
    }
}

/// Rows read at once.
const PAGE_ROWS: usize = 4096;
/// Each time a segment went away between looking and reading; a node removes a few a day.
const RETRIES: usize = 100;
