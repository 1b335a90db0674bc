//! The outbox: what applied entries changed, until it may go; rows in the state store, older ones in segments.
//!
//! ```text
//! apply -> rows in sled -> (spill) -> segments -> (purge: the archive has them | retention) -> gone
//!                              ^-- (fill) rows of other nodes, where a snapshot stood for entries
//! ```
//! In: rows that the state machine wrote, rows of other nodes, the mark of the archive. Out: rows in log order, each
//! index once, and which entries lack theirs. A row leaves the store only when a segment that holds it is durable and was
//! read back; it leaves the node only by [`Outbox::purge`] or [`Outbox::retain`]. Damage is a hole with a name, never an
//! end: nothing here is on the path of a signature.
//! Deliberately absent: who reads, when to spill, and who is asked for missing rows (`raft`).

mod error;
mod fill;
mod read;
mod remove;
mod spill;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use consigner_rules::primitives::ClusterId;

use crate::disk::{self, Disk, RealDisk, TEMPORARY_EXTENSION};
use crate::segments::{Catalog, Page, Ranges, Row, SegmentError, SegmentFault, decode_row};
use crate::state::{FoundRow, StateError, StateStore};

pub use error::OutboxError;
pub use remove::{Removed, Retention};
pub use spill::{SpillLimits, Spilled};

/// Rows of the store and segments behind one face. All calls block on the disk.
pub struct Outbox {
    store: Arc<StateStore>,
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    lineage: ClusterId,
    /// Held by whoever moves or removes rows, from the first look to the end.
    moving: Mutex<()>,
    /// What lies in the directory. Locked for writing only while rows go from one place to the other, so that a reader
    /// finds each in one of them.
    catalog: RwLock<Catalog>,
    /// Rows of the store that are not what was written.
    damaged: Mutex<BTreeSet<u64>>,
    /// Rows of the store that are not what the segment of their index holds.
    conflicts: Mutex<BTreeSet<u64>>,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Outbox {
    /// Opens the segments in `dir` (`archive` in the data directory; made if missing) beside the rows of `store`. What is
    /// damaged or of another cluster is named in [`Outbox::faults`] and otherwise left as it is.
    ///
    /// # Errors
    /// The directory cannot be made, listed or synced.
    pub fn open(store: Arc<StateStore>, dir: &Path, lineage: ClusterId) -> Result<Self, OutboxError> {
        Self::open_on(Arc::new(RealDisk), store, dir, lineage)
    }

    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        store: Arc<StateStore>,
        dir: &Path,
        lineage: ClusterId,
    ) -> Result<Self, OutboxError> {
        let io = |action| move |source| SegmentError::Io { action, path: dir.to_path_buf(), source };
        disk::create_dir_durably(&*disk, dir).map_err(io("creating"))?;
        for name in disk.list(dir).map_err(io("listing"))? {
            if Path::new(&name).extension().is_some_and(|extension| extension == TEMPORARY_EXTENSION) {
                disk.remove(&dir.join(&name)).map_err(io("tidying"))?;
            }
        }
        // A killed process may have left a name in the page cache alone; rows leave the store on its account.
        disk.sync_dir(dir).map_err(io("syncing"))?;
        let catalog = RwLock::new(Catalog::read(&*disk, dir, &lineage)?);
        let (damaged, conflicts) = (Mutex::default(), Mutex::default());
        Ok(Self { store, disk, dir: dir.to_path_buf(), lineage, moving: Mutex::default(), catalog, damaged, conflicts })
    }

    /// The log index after which no row is missing here; `u64::MAX` while that is not known. Spilling does not raise it;
    /// snapshots, purges, retention and damage do.
    ///
    /// # Errors
    /// The store failed.
    pub fn since(&self) -> Result<u64, OutboxError> {
        Ok(since(&self.coverage(&self.catalog())?))
    }

    /// The entries whose rows are missing here, `(after, upto]`, oldest first: between what was removed on purpose and
    /// [`Outbox::since`].
    ///
    /// # Errors
    /// The store failed.
    pub fn holes(&self) -> Result<Vec<(u64, u64)>, OutboxError> {
        let catalog = self.catalog();
        let coverage = self.coverage(&catalog)?;
        match since(&coverage) {
            // Nothing is known yet: the machine did not begin.
            u64::MAX => Ok(Vec::new()),
            since => Ok(coverage.gaps(catalog.floor(), since).as_slice().to_vec()),
        }
    }

    /// The first entries behind `after` of which no row is missing here, as a range (after, up to and with); `None` if
    /// there are none, or nothing is known yet.
    ///
    /// # Errors
    /// The store failed.
    pub fn covered_after(&self, after: u64) -> Result<Option<(u64, u64)>, OutboxError> {
        let coverage = self.coverage(&self.catalog())?;
        Ok(coverage.within(after, u64::MAX).as_slice().first().copied())
    }

    /// Files, and parts of files, that are not what was written, and rows that contradict a segment.
    #[must_use]
    pub fn faults(&self) -> Vec<SegmentFault> {
        let (catalog, store) = (self.catalog(), "state".to_owned());
        let floor = catalog.floor();
        let mut faults = catalog.all_faults();
        let row = |index: &u64, why: &str| SegmentFault {
            name: store.clone(),
            after: index - 1,
            upto: *index,
            why: why.to_owned(),
        };
        faults.extend(lock(&self.damaged).iter().map(|index| row(index, "its row is damaged")));
        faults.extend(lock(&self.conflicts).iter().map(|index| row(index, "its row is not that of a segment")));
        // What the archive has confirmed, or retention gave up, is no loss any more.
        faults.retain(|fault| fault.upto == 0 || fault.upto > floor);
        faults
    }

    /// Entries with a row here; one that is being moved may count twice.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let segments: u64 = self.catalog().segments.iter().map(|segment| segment.info.entries).sum();
        segments.saturating_add(self.store.outbox_len())
    }

    /// What they take: in the store as they are, in segments compressed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segment_bytes().saturating_add(self.store.outbox_bytes())
    }

    /// What segments take.
    #[must_use]
    pub fn segment_bytes(&self) -> u64 {
        self.catalog().segments.iter().map(|segment| segment.info.bytes).sum()
    }

    /// Segments that are there and good.
    #[must_use]
    pub fn segments(&self) -> u64 {
        self.catalog().segments.len() as u64
    }

    /// The oldest row behind what was purged: log index, and when it was proposed (milliseconds since the Unix epoch).
    ///
    /// # Errors
    /// It cannot be read.
    pub fn oldest(&self) -> Result<Option<(u64, u64)>, OutboxError> {
        let catalog = self.catalog();
        let floor = catalog.floor();
        if let Some(first) = catalog.segments.iter().find(|segment| segment.info.upto > floor)
            && first.info.after >= floor
            && first.info.entries > 0
        {
            return Ok(Some((first.block_first(0), first.info.oldest_ms)));
        }
        let mut page = Page::new(floor, u64::MAX, 1);
        self.gather(&catalog, &mut page)?;
        let row = page.finish()?.pop();
        Ok(row.map(|(index, row)| decode_row(index, &row).map(|(ms, _)| (index, ms))).transpose()?)
    }

    /// Everything that is complete here, in both parts.
    fn coverage(&self, catalog: &Catalog) -> Result<Ranges, StateError> {
        let mut coverage = self.store_coverage()?;
        coverage.add_all(&catalog.coverage());
        Ok(coverage)
    }

    fn store_coverage(&self) -> Result<Ranges, StateError> {
        let mut coverage = self.store.outbox_coverage()?;
        for index in lock(&self.damaged).iter() {
            coverage.remove(index - 1, *index);
        }
        Ok(coverage)
    }

    /// Rows of the store up to and with `upto`; a damaged one is noted and left out.
    fn scan(&self, after: u64, upto: u64, max: usize) -> Result<Vec<FoundRow>, StateError> {
        let rows = self.store.outbox_scan(after, upto, max)?;
        for (index, _) in rows.iter().filter(|(_, row)| row.is_none()) {
            if lock(&self.damaged).insert(*index) {
                tracing::error!(index, "a row of the outbox is damaged in the state store and counts as missing");
            }
        }
        Ok(rows)
    }

    /// Fills a page with what segments and store have.
    fn gather(&self, catalog: &Catalog, page: &mut Page) -> Result<(), OutboxError> {
        page.read(&*self.disk, &catalog.segments)?;
        let mut after = page.after();
        loop {
            // One more than fits ends the page. A scan that stopped early, or met damaged rows, is gone on with: else
            // rows of segments behind what it did not reach would pass for the next ones.
            let rows = self.scan(after, page.bound(), page.max().saturating_add(1))?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            after = *last;
            for (index, row) in rows {
                if let Some(row) = row {
                    page.add(index, row);
                }
            }
        }
    }

    fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn catalog_mut(&self) -> RwLockWriteGuard<'_, Catalog> {
        self.catalog.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_moving(&self) -> MutexGuard<'_, ()> {
        lock(&self.moving)
    }
}

/// Where the range without an end begins.
fn since(coverage: &Ranges) -> u64 {
    coverage.as_slice().last().filter(|(_, upto)| *upto == u64::MAX).map_or(u64::MAX, |(after, _)| *after)
}

/// Strictly rising, and of these entries.
fn check_order(rows: &[Row], after: u64, upto: u64) -> Result<(), SegmentError> {
    let mut before = after;
    for &(index, _) in rows {
        if index <= before || index > upto {
            return Err(SegmentError::Misplaced { index, after: before, upto });
        }
        before = index;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
