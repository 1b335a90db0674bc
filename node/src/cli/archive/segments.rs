//! The rows of a node's own archive: its segments, and behind them the rows of its store, if the node does not run.
//!
//! In: a data directory. Out: its rows in log order, and what could not be read. The store is opened on a copy, because
//! opening it changes it; a node that runs is never disturbed: its lock is taken only for the time of the copy.
//! Deliberately absent: proof (`storage::verify_segments`).

use super::place::Segments;
use crate::cli::progress::Progress;
use consigner_rules::archive::{ArchiveRow, archive_rows};
use consigner_rules::{Change, codec};
use consigner_storage::{Disk as _, RealDisk, SegmentError, SegmentReader, StateError, StateStore};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Rows of the store that are read at one time.
const PAGE_ROWS: usize = 1_000;

/// Below a data directory.
const LOCK: &str = "lock";
const STATE: &str = "state";

/// The bytes of a node's store are sealed keys, too: for the owner alone.
const PRIVATE_DIR: u32 = 0o700;

/// Why rows cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// The segments.
    #[error(transparent)]
    Segments(#[from] SegmentError),
    /// The copy of the store.
    #[error("the newest rows cannot be read: {action} {}", path.display())]
    Copy {
        /// What was being done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store.
    #[error("the newest rows cannot be read out of a copy of the node's store")]
    Store(#[from] StateError),
}

/// Where the newest rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// Read as well.
    Read,
    /// In the store of a node that runs: not read.
    Running,
    /// There is no store.
    None,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    /// Rows.
    pub(super) rows: u64,
    /// Log index of the last entry that has one; 0 without.
    pub(super) last: u64,
    /// What could not be read, or is missing, in words.
    pub(super) faults: Vec<String>,
    /// Entries that are known to be missing, as (after, upto).
    pub(super) holes: Vec<(u64, u64)>,
    /// Where the newest rows are.
    pub(super) tail: Tail,
}

impl Read {
    /// For people.
    pub(super) fn tail_text(&self) -> String {
        match self.tail {
            Tail::Read => "the newest rows, which no segment holds yet, were read out of the node's store".to_owned(),
            Tail::Running => format!(
                "the node runs: its rows after log index {} lie in its store and are not read here; `consigner history \
                 export --complete` has them",
                self.last
            ),
            Tail::None => {
                "there is no store beside the segments: rows that were not spilled yet are not here".to_owned()
            }
        }
    }
}

/// Reads every row, in log order. Beside a running node rows that leave meanwhile are not faults.
pub(super) fn rows(segments: &Segments, mut take: impl FnMut(ArchiveRow)) -> Result<Read, ReadError> {
    let mut read = Read { rows: 0, last: 0, faults: Vec::new(), holes: Vec::new(), tail: Tail::None };
    if segments.dir.is_dir() {
        of_segments(segments, &mut read, &mut take)?;
    }
    let Some(data_dir) = &segments.data_dir else { return Ok(read) };
    match Copied::of(data_dir)? {
        Copy::Running => read.tail = Tail::Running,
        Copy::Nothing => {}
        Copy::Made(copy) => {
            of_store(&copy.0, &mut read, &mut take)?;
            read.tail = Tail::Read;
        }
    }
    Ok(read)
}

fn of_segments(segments: &Segments, read: &mut Read, take: &mut impl FnMut(ArchiveRow)) -> Result<(), ReadError> {
    let mut reader = SegmentReader::open(&segments.dir, &segments.lineage)?;
    read.holes = reader.holes().as_slice().to_vec();
    let entries = reader.segments().map(|segment| segment.entries).sum();
    let mut progress = Progress::new("read", "entries", entries);
    let mut done = 0;
    for row in &mut reader {
        match row {
            Ok((index, bytes)) => {
                read.entry(index, &bytes, take);
                done += 1;
                progress.reached(done);
            }
            Err(SegmentError::Fault(fault)) => read.faults.push(SegmentError::Fault(fault).to_string()),
            Err(error) => return Err(error.into()),
        }
    }
    let missing = |(after, upto): &(u64, u64)| format!("the rows of log indexes {} to {upto} are missing", after + 1);
    let holes: Vec<String> = read.holes.iter().map(missing).collect();
    read.faults.extend(holes);
    Ok(())
}

fn of_store(state: &Path, read: &mut Read, take: &mut impl FnMut(ArchiveRow)) -> Result<(), ReadError> {
    let (store, _) = StateStore::open(state)?;
    let since = store.outbox_since()?;
    // Without a segment nobody says where the rows should begin: what retention took and what a snapshot stood for.
    if let Some(since) = since.filter(|since| read.last > 0 && *since > read.last && *since != u64::MAX) {
        read.faults.push(format!("the rows of log indexes {} to {since} are missing", read.last + 1));
        read.holes.push((read.last, since));
    }
    let mut after = read.last;
    loop {
        let page = store.outbox_scan(after, u64::MAX, PAGE_ROWS)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = *last;
        for (index, row) in page {
            match row {
                Some(bytes) => read.entry(index, &bytes, take),
                None => read.faults.push(format!("the store's row of log index {index} is not what was written")),
            }
        }
    }
}

impl Read {
    fn entry(&mut self, index: u64, bytes: &[u8], take: &mut impl FnMut(ArchiveRow)) {
        let (proposed_at_ms, changes): (u64, Vec<Change>) = match codec::decode(bytes) {
            Ok(entry) => entry,
            Err(error) => {
                return self.faults.push(format!("the row of log index {index} cannot be read: {error}"));
            }
        };
        self.last = self.last.max(index);
        for row in archive_rows(index, proposed_at_ms, changes) {
            self.rows += 1;
            take(row);
        }
    }
}

/// A copy of a store; removed with this value.
struct Copied(PathBuf);

/// What became of the wish for one.
enum Copy {
    Made(Copied),
    Running,
    Nothing,
}

impl Copied {
    fn of(data_dir: &Path) -> Result<Copy, ReadError> {
        let (lock, state) = (data_dir.join(LOCK), data_dir.join(STATE));
        if !state.is_dir() {
            return Ok(Copy::Nothing);
        }
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| ReadError::Copy { action, path, source }
        };
        // A directory without a lock file was copied; nobody runs on it.
        let held = match lock.is_file() {
            true => match RealDisk.lock(&lock).map_err(failed("locking", &lock))? {
                Some(held) => Some(held),
                None => return Ok(Copy::Running),
            },
            false => None,
        };
        let place = std::env::temp_dir().join(format!("consigner-archive-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(PRIVATE_DIR).create(&place).map_err(failed("making", &place))?;
        let copied = Self(place.clone());
        copy(&state, &place).map_err(failed("copying", &state))?;
        drop(held);
        Ok(Copy::Made(copied))
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let _left_behind_in_the_worst_case = std::fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            std::fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use consigner_rules::primitives::ClusterId;

    #[test]
    fn a_directory_without_anything_has_no_rows_and_a_held_lock_is_respected() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().to_owned();
        let segments = Segments {
            data_dir: Some(data_dir.clone()),
            dir: data_dir.join("archive"),
            lineage: ClusterId([1; 16]),
            genesis: None,
            network: None,
        };
        let none = rows(&segments, |_| ()).unwrap();
        assert_eq!((none.rows, none.tail), (0, Tail::None));
        let (store, _) = StateStore::open(&data_dir.join(STATE)).unwrap();
        store.close().unwrap();
        let held = RealDisk.lock(&data_dir.join(LOCK)).unwrap().unwrap();
        assert_eq!(rows(&segments, |_| ()).unwrap().tail, Tail::Running);
        drop(held);
        assert_eq!(rows(&segments, |_| ()).unwrap().tail, Tail::Read);
        assert!(!std::env::temp_dir().join(format!("consigner-archive-{}", std::process::id())).exists());
    }
}
