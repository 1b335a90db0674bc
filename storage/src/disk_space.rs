//! How full the disk is, and what a node's data takes of it.
//!
//! In: a directory. Out: numbers. Deliberately absent: what follows from them (`raft`), and waiting: a file system that
//! hangs makes these calls hang, so they belong on a thread that may.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

/// A file system's room, bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskSpace {
    /// What it holds in all.
    pub total: u64,
    /// What this process may still write; less than what is free by what is reserved for root.
    pub free: u64,
    /// What is taken.
    pub used: u64,
}

/// Measures the file system that holds a directory. [`disk_space`], or a test's own.
pub type SpaceProbe = Arc<dyn Fn(&Path) -> io::Result<DiskSpace> + Send + Sync>;

/// What lies in a data directory, bytes as allocated on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DataUse {
    /// Segments of the log.
    pub log: u64,
    /// State and outbox, stores that were set aside included.
    pub state: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Segments of the outbox.
    pub archive: u64,
    /// Everything else: identity, audit.
    pub other: u64,
}

/// Asks the operating system (`statvfs`).
///
/// # Errors
/// The directory is not there, or its file system does not answer.
pub fn disk_space(dir: &Path) -> io::Result<DiskSpace> {
    let found = rustix::fs::statvfs(dir)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(DiskSpace {
        total: bytes(found.f_blocks),
        free: bytes(found.f_bavail),
        used: bytes(found.f_blocks.saturating_sub(found.f_bfree)),
    })
}

impl DiskSpace {
    /// Use in percent as `df` prints it: of what this process could use at most, rounded up.
    #[must_use]
    pub fn used_percent(&self) -> u8 {
        let all = u128::from(self.used) + u128::from(self.free);
        let percent = (u128::from(self.used) * 100).div_ceil(all.max(1));
        u8::try_from(percent).unwrap_or(FULL).min(FULL)
    }
}

/// Sums up a data directory by its parts. Files that vanish meanwhile count as nothing.
///
/// # Errors
/// A directory cannot be read.
pub fn data_use(dir: &Path) -> io::Result<DataUse> {
    let mut sums = DataUse::default();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let bytes = allocated(&entry.path())?;
        let part = match entry.file_name().to_str() {
            Some(LOG_DIR) => &mut sums.log,
            Some(STATE_DIR) => &mut sums.state,
            Some(SNAPSHOTS_DIR) => &mut sums.snapshots,
            Some(ARCHIVE_DIR) => &mut sums.archive,
            Some(_) | None => &mut sums.other,
        };
        *part = part.saturating_add(bytes);
    }
    Ok(sums)
}

fn allocated(path: &Path) -> io::Result<u64> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut bytes = found.blocks().saturating_mul(BLOCK);
    if found.is_dir() {
        let entries = match fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(bytes),
            Err(error) => return Err(error),
        };
        for entry in entries {
            bytes = bytes.saturating_add(allocated(&entry?.path())?);
        }
    }
    Ok(bytes)
}

impl DataUse {
    /// Everything.
    #[must_use]
    pub const fn total(&self) -> u64 {
        let live = self.log.saturating_add(self.state).saturating_add(self.snapshots);
        live.saturating_add(self.archive).saturating_add(self.other)
    }
}

const FULL: u8 = 100;
/// Unit of `st_blocks`, whatever the file system's own blocks are.
const BLOCK: u64 = 512;
const LOG_DIR: &str = "log";
const STATE_DIR: &str = "state";
const SNAPSHOTS_DIR: &str = "snapshots";
const ARCHIVE_DIR: &str = "archive";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn percent_is_what_df_prints() {
        let percent = |used, free| DiskSpace { total: 1000, free, used }.used_percent();
        assert_eq!(percent(0, 1000), 0);
        assert_eq!(percent(1, 999), 1, "rounded up");
        assert_eq!(percent(475, 475), 50, "what is reserved for root counts for neither");
        assert_eq!(percent(950, 0), 100);
        assert_eq!(percent(0, 0), 0, "a file system without blocks is not full");
        assert_eq!(percent(u64::MAX, u64::MAX), 50);
    }

    #[test]
    fn the_parts_of_a_directory_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let parts = [("log/1.wal", 40_000), ("state/sled/db", 20_000), ("snapshots/1", 10_000), ("lock", 5_000)];
        for (name, bytes) in parts.into_iter().chain([("archive/1.seg", 30_000)]) {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![1; bytes]).unwrap();
        }
        let found = data_use(dir.path()).unwrap();
        assert!(found.log >= 40_000 && found.log > found.state && found.state > found.snapshots, "{found:?}");
        assert!(found.archive >= 30_000 && found.other < found.archive, "{found:?}");
        assert!(found.other >= 5_000 && found.total() >= 105_000, "{found:?}");
        let space = disk_space(dir.path()).unwrap();
        assert!(space.total >= space.used && space.total >= space.free && space.total > 0, "{space:?}");
        assert!(data_use(&dir.path().join("nothing")).is_err());
    }
}
