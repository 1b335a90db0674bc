//! `disk.*` and `raft.snapshot-bytes`: how much of the disk a node may fill.
//!
//! In: settings. Out: marks in order, and a bound of the log. Deliberately absent: looking at the disk.

use super::resolve::Resolver;
use super::values;

/// Marks of the data directory's file system, and what bounds the log on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskConfig {
    /// From this use on the node warns, percent.
    pub warn_percent: u8,
    /// From this use on the node takes no proposals and leads no longer, percent.
    pub stop_percent: u8,
    /// Bytes of log after which a snapshot is made, and that are kept behind one at most.
    pub snapshot_bytes: u64,
}

/// A file system that is full to the last block cannot even be cleaned up safely.
const PERCENT_MAX: u64 = 99;

/// Below this a node would do little else than write snapshots: two segments of the log.
const SNAPSHOT_BYTES_MIN: u64 = 16 * 1024 * 1024;

impl Resolver<'_> {
    pub(super) fn disk(&mut self) -> Option<DiskConfig> {
        let (warn, stop) = (self.percent("disk.warn-percent"), self.percent("disk.stop-percent"));
        let snapshot_bytes = self.scalar("raft.snapshot-bytes", values::bytes);
        let (warn_percent, stop_percent, snapshot_bytes) = (warn?, stop?, snapshot_bytes?);
        if warn_percent >= stop_percent {
            self.complain("disk.warn-percent", "must be less than disk.stop-percent".to_owned());
        }
        if snapshot_bytes < SNAPSHOT_BYTES_MIN {
            self.complain("raft.snapshot-bytes", "must be at least 16MiB".to_owned());
        }
        Some(DiskConfig { warn_percent, stop_percent, snapshot_bytes })
    }

    fn percent(&mut self, path: &str) -> Option<u8> {
        let percent = self.number(path, 1)?;
        if percent > PERCENT_MAX {
            self.complain(path, format!("must be at most {PERCENT_MAX}"));
        }
        u8::try_from(percent.min(PERCENT_MAX)).ok()
    }
}
