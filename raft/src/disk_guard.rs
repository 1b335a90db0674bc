//! When a disk is too full to go on, and what a node then leaves to others.
//!
//! ```text
//! Fine --(use >= warn)--> Warned --(use >= stop, or hardly a segment left)--> Stopped --(3 points below, room)--> ..
//! ```
//! In: how full the file system of the data directory is. Out: the [`DiskLevel`], with hysteresis, and whether this node
//! may take proposals, lead, and take appends. Deliberately absent: looking and acting ([`crate::disk_watch`]).
//!
//! A log that cannot be written stops the node for good (DESIGN 8). So a node gives up leading and proposing while there
//! is still room for what the others decide, and at the very end refuses their appends: it falls behind, and lives.

use consigner_storage::{DataUse, DiskSpace, SpaceProbe, disk_space};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Marks of a node's disk, and what bounds its log.
#[derive(Clone)]
pub struct DiskOptions {
    /// From this use on the node warns, percent.
    pub warn_percent: u8,
    /// From this use on it takes no proposals and does not lead, percent.
    pub stop_percent: u8,
    /// Bytes of log after which a snapshot is made, and that are kept behind the newest at most.
    pub snapshot_bytes: u64,
    /// How the file system is measured.
    pub probe: SpaceProbe,
}

/// How full the disk is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskLevel {
    /// There is room.
    #[default]
    Fine,
    /// Somebody should look.
    Warned,
    /// No proposals, no leadership.
    Stopped,
}

/// What a node knows about its disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// What follows from it.
    pub level: DiskLevel,
    /// Use of the file system, percent, as `df` prints it.
    pub used_percent: u8,
    /// What this process may still write, bytes.
    pub free_bytes: u64,
    /// What the file system holds in all, bytes.
    pub total_bytes: u64,
    /// The log's segments, bytes.
    pub log_bytes: u64,
    /// State and outbox, bytes.
    pub state_bytes: u64,
    /// Snapshots, bytes.
    pub snapshot_bytes: u64,
    /// Segments of the outbox, bytes.
    #[serde(default)]
    pub archive_bytes: u64,
    /// Audit and the rest of the data directory, bytes.
    pub other_bytes: u64,
    /// Rows that wait for the archive.
    pub outbox_rows: u64,
}

/// Free room below which a node stops whatever the percentage says: four segments of the log, for a segment that is
/// begun, a snapshot, and what sled writes behind.
pub(crate) const STOP_FREE: u64 = 32 * 1024 * 1024;

/// Free room below which a node takes no appends: the next segment might not fit any more.
pub(crate) const STARVED_FREE: u64 = 12 * 1024 * 1024;

/// Points of use below a mark at which it is left again, so that one snapshot more or less does not decide who leads.
pub(crate) const MARGIN: u8 = 3;

/// About two seconds of a leader that is as busy as a slow disk allows.
const SNAPSHOT_BYTES: u64 = 64 * 1024 * 1024;

const WARN_PERCENT: u8 = 80;
const STOP_PERCENT: u8 = 95;

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            warn_percent: WARN_PERCENT,
            stop_percent: STOP_PERCENT,
            snapshot_bytes: SNAPSHOT_BYTES,
            probe: Arc::new(disk_space),
        }
    }
}

impl fmt::Debug for DiskOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { warn_percent, stop_percent, snapshot_bytes, probe: _ } = self;
        write!(f, "DiskOptions {{ {warn_percent} %, {stop_percent} %, {snapshot_bytes} bytes }}")
    }
}

impl DiskOptions {
    /// Where a disk stands after a look, given where it stood.
    fn next(&self, before: DiskLevel, space: &DiskSpace) -> DiskLevel {
        let used = space.used_percent();
        let (margin, room) = if before == DiskLevel::Stopped { (MARGIN, STOP_FREE * 2) } else { (0, STOP_FREE) };
        if is_reached(used, self.stop_percent, margin) || space.free < room {
            return DiskLevel::Stopped;
        }
        let margin = if before == DiskLevel::Fine { 0 } else { MARGIN };
        if is_reached(used, self.warn_percent, margin) { DiskLevel::Warned } else { DiskLevel::Fine }
    }
}

/// Whether a mark is reached; with a margin, whether it is not left yet.
const fn is_reached(used: u8, mark: u8, margin: u8) -> bool {
    if margin == 0 { used >= mark } else { used > mark.saturating_sub(margin) }
}

/// The disk of this node as it was last seen.
pub(crate) struct DiskGuard {
    pub(crate) options: DiskOptions,
    pub(crate) dir: PathBuf,
    seen: Mutex<DiskStatus>,
    is_stopped: AtomicBool,
    is_starved: AtomicBool,
}

impl DiskGuard {
    /// Has not looked yet.
    pub(crate) fn new(options: DiskOptions, dir: PathBuf) -> Self {
        let (is_stopped, is_starved) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { options, dir, seen: Mutex::default(), is_stopped, is_starved }
    }

    /// Takes in what was measured; answers the level before and the one now.
    pub(crate) fn saw(&self, space: &DiskSpace, data: Option<&DataUse>, outbox_rows: u64) -> (DiskLevel, DiskLevel) {
        let mut seen = self.lock();
        let before = seen.level;
        seen.level = self.options.next(before, space);
        (seen.used_percent, seen.free_bytes, seen.total_bytes) = (space.used_percent(), space.free, space.total);
        seen.outbox_rows = outbox_rows;
        if let Some(data) = data {
            (seen.log_bytes, seen.state_bytes) = (data.log, data.state);
            (seen.snapshot_bytes, seen.archive_bytes, seen.other_bytes) = (data.snapshots, data.archive, data.other);
        }
        self.is_stopped.store(seen.level == DiskLevel::Stopped, Ordering::Relaxed);
        self.is_starved.store(space.free < STARVED_FREE, Ordering::Relaxed);
        (before, seen.level)
    }

    /// As it was last seen.
    pub(crate) fn status(&self) -> DiskStatus {
        self.lock().clone()
    }

    /// Whether this node leaves leading and proposing to others.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Relaxed)
    }

    /// Whether not even what others decide can be written safely.
    pub(crate) fn is_starved(&self) -> bool {
        self.is_starved.load(Ordering::Relaxed)
    }

    /// Whether what other members hold for this node may be added: not so close to the stop mark that the addition itself
    /// would end this node's leadership. The warning alone is no reason: these rows would lie here anyway, had nothing
    /// been lost, and a copy that is missing on a disk that stays at 85 % would be missing for good.
    pub(crate) fn has_room_for_healing(&self) -> bool {
        let seen = self.lock();
        let is_near = is_reached(seen.used_percent, self.options.stop_percent, MARGIN);
        !is_near && (seen.total_bytes == 0 || seen.free_bytes >= STOP_FREE * 2)
    }

    /// Why this node takes no proposals, if so.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.is_stopped().then(|| {
            let (seen, stop) = (self.status(), self.options.stop_percent);
            let (used, free) = (seen.used_percent, seen.free_bytes >> 20);
            format!(
                "the disk of this node is {used} % full, {free} MiB are free: from {stop} % on it takes no proposals \
                 and does not lead"
            )
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, DiskStatus> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn space(used_percent: u64) -> DiskSpace {
        DiskSpace { total: 100 * GIB, used: used_percent * GIB, free: (100 - used_percent) * GIB }
    }

    fn guard() -> DiskGuard {
        DiskGuard::new(DiskOptions::default(), PathBuf::new())
    }

    #[test]
    fn marks_are_reached_at_once_and_left_three_points_below() {
        use DiskLevel::{Fine, Stopped, Warned};
        let guard = guard();
        let course = [
            (79, Fine),
            (80, Warned),
            (78, Warned),
            (77, Fine),
            (79, Fine),
            (94, Warned),
            (95, Stopped),
            (93, Stopped),
            (92, Warned),
            (94, Warned),
            (99, Stopped),
            (76, Fine),
        ];
        let mut before = Fine;
        for (percent, level) in course {
            assert_eq!(guard.saw(&space(percent), None, 0), (before, level), "{percent} %");
            assert_eq!(guard.is_stopped(), level == Stopped);
            assert_eq!(guard.refusal().is_some(), level == Stopped);
            before = level;
        }
    }

    #[test]
    fn what_is_missing_comes_back_until_shortly_before_the_stop_mark() {
        let guard = guard();
        assert!(guard.has_room_for_healing(), "not looked yet");
        for (percent, has_room) in
            [(79, true), (80, true), (92, true), (93, false), (95, false), (92, true), (10, true)]
        {
            guard.saw(&space(percent), None, 0);
            assert_eq!(guard.has_room_for_healing(), has_room, "{percent} %");
        }
        let little = DiskSpace { total: GIB, used: GIB / 2, free: STOP_FREE * 2 - 1 };
        guard.saw(&little, None, 0);
        assert!(!guard.has_room_for_healing(), "few bytes are left, whatever the percentage says");
    }

    #[test]
    fn on_a_small_disk_it_is_the_free_room_that_counts() {
        let guard = guard();
        let space = |free| DiskSpace { total: GIB / 2, used: GIB / 16, free };
        assert_eq!(guard.saw(&space(STOP_FREE), None, 0).1, DiskLevel::Fine);
        assert_eq!(guard.saw(&space(STOP_FREE - 1), None, 0).1, DiskLevel::Stopped);
        assert!(!guard.is_starved());
        guard.saw(&space(STARVED_FREE - 1), None, 0);
        assert!(guard.is_starved());
        assert_eq!(guard.saw(&space(STOP_FREE * 2 - 1), None, 0).1, DiskLevel::Stopped, "not for a moment's room");
        assert!(!guard.is_starved());
        assert_eq!(guard.saw(&space(STOP_FREE * 2), None, 0).1, DiskLevel::Fine);
    }

    #[test]
    fn the_reason_names_the_numbers() {
        let guard = guard();
        let data = DataUse { log: 1, state: 2, snapshots: 3, archive: 5, other: 4 };
        guard.saw(&space(96), Some(&data), 7);
        let refusal = guard.refusal().unwrap_or_default();
        assert!(refusal.contains("96 % full, 4096 MiB are free: from 95 % on"), "{refusal}");
        guard.saw(&space(97), None, 8);
        let status = guard.status();
        assert_eq!((status.log_bytes, status.state_bytes, status.snapshot_bytes, status.other_bytes), (1, 2, 3, 4));
        assert_eq!(status.archive_bytes, 5);
        assert_eq!((status.outbox_rows, status.used_percent), (8, 97));
    }
}
