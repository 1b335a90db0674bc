//! How much of its share of the disk the outbox takes, and what follows from it.
//!
//! ```text
//! Fine --(50 % of the share)--> Half --(80 %)--> High --(100 %)--> Full --(3 points below a mark)--> ..
//! ```
//! In: what the keeper saw. Out: the [`OutboxLevel`], with hysteresis, and why this node takes no proposals. Deliberately
//! absent: looking and acting ([`super::keeper`]).
//!
//! A full outbox stops proposals, but unlike a full disk it must not keep a node from leading for good: only a leader
//! moves the mark, and if every outbox is full nobody else could.

use super::serve::ANSWERS_MAX;
use super::{Healing, OutboxLevel, OutboxMode, OutboxOptions, OutboxStatus};
use crate::disk_guard::MARGIN;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Shares of the share, percent: when somebody should look, when somebody must, and when there is none left.
const HALF_PERCENT: u64 = 50;
const HIGH_PERCENT: u64 = 80;
const FULL_PERCENT: u64 = 100;

/// The outbox of this node as it was last seen.
pub(crate) struct OutboxGuard {
    pub(crate) options: OutboxOptions,
    /// Answers to members that are being read.
    pub(crate) answers: Arc<Semaphore>,
    seen: Mutex<OutboxStatus>,
    is_full: AtomicBool,
}

impl OutboxGuard {
    /// Has not looked yet.
    pub(crate) fn new(options: OutboxOptions) -> Self {
        let answers = Arc::new(Semaphore::new(ANSWERS_MAX));
        Self { options, answers, seen: Mutex::default(), is_full: AtomicBool::new(false) }
    }

    /// What the outbox may take, bytes; `None` while the disk was not looked at.
    pub(crate) fn limit(&self, disk_total: u64) -> Option<u64> {
        let limit = u128::from(disk_total) * u128::from(self.options.share_percent) / 100;
        u64::try_from(limit).ok().filter(|_| disk_total > 0)
    }

    /// Takes in what was seen, and whether the archive ever took anything; its level is judged here. Answers the level
    /// before and the one now.
    pub(crate) fn saw(&self, status: OutboxStatus, has_mark: bool) -> (OutboxLevel, OutboxLevel) {
        let mut seen = self.lock();
        let before = seen.level;
        let level = next(before, status.bytes, status.limit_bytes);
        *seen = OutboxStatus { level, healing: seen.healing.take(), ..status };
        self.is_full.store(level == OutboxLevel::Full && has_mark && self.stops_when_full(), Ordering::Relaxed);
        (before, level)
    }

    /// Without an archive elsewhere nothing waits for anything, and stopping would not help: these rows are where they
    /// belong. They are bounded by retention, and by the marks of the disk. The same holds until an archive has taken the
    /// first of them: rows of years may be here when one is configured, and that must not end signing at once.
    const fn stops_when_full(&self) -> bool {
        matches!(self.options.mode, OutboxMode::Archived)
    }

    /// Takes in how the search for missing rows stands.
    pub(crate) fn heals(&self, healing: Option<Healing>) {
        self.lock().healing = healing;
    }

    /// As it was last seen.
    pub(crate) fn status(&self) -> OutboxStatus {
        self.lock().clone()
    }

    /// Whether this node leaves proposing, and leading where it can, to others.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Why this node takes no proposals, if so.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.is_full().then(|| {
            let OutboxStatus { rows, bytes, limit_bytes, oldest_index, .. } = self.status();
            let (bytes, limit, share) = (bytes >> 10, limit_bytes >> 10, self.options.share_percent);
            let oldest = oldest_index.unwrap_or_default();
            format!(
                "the outbox of this node is full: {rows} entries since log index {oldest} wait for the archive and take \
                 {bytes} of {limit} KiB ({share} % of the file system); until the archive takes them, this node takes no \
                 proposals and does not lead where another can"
            )
        })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, OutboxStatus> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an outbox stands after a look, given where it stood. Without a limit yet it stands where it stood.
fn next(before: OutboxLevel, bytes: u64, limit: u64) -> OutboxLevel {
    if limit == 0 {
        return before;
    }
    let percent = u128::from(bytes) * 100 / u128::from(limit);
    let marks =
        [(OutboxLevel::Full, FULL_PERCENT), (OutboxLevel::High, HIGH_PERCENT), (OutboxLevel::Half, HALF_PERCENT)];
    let reached = marks.into_iter().find(|(level, mark)| {
        // Left only some points below, so that one entry more or less does not decide who proposes.
        let is_left_below = before >= *level;
        if is_left_below { percent > u128::from(mark - u64::from(MARGIN)) } else { percent >= u128::from(*mark) }
    });
    reached.map_or(OutboxLevel::Fine, |(level, _)| level)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(bytes: u64) -> OutboxStatus {
        OutboxStatus { rows: 7, bytes, limit_bytes: 100 << 10, oldest_index: Some(3), ..OutboxStatus::default() }
    }

    #[test]
    fn marks_are_reached_at_once_and_left_three_points_below() {
        use OutboxLevel::{Fine, Full, Half, High};
        let guard = OutboxGuard::new(OutboxOptions { mode: OutboxMode::Archived, ..OutboxOptions::default() });
        let course = [
            (49, Fine),
            (50, Half),
            (48, Half),
            (47, Fine),
            (80, High),
            (78, High),
            (77, Half),
            (100, Full),
            (98, Full),
            (97, High),
            (150, Full),
            (0, Fine),
        ];
        let mut before = Fine;
        for (percent, level) in course {
            assert_eq!(guard.saw(status(percent << 10), true), (before, level), "{percent} %");
            assert_eq!((guard.is_full(), guard.refusal().is_some()), (level == Full, level == Full));
            before = level;
        }
    }

    #[test]
    fn the_reason_names_the_numbers_and_only_an_archive_elsewhere_is_waited_for() {
        let guard = OutboxGuard::new(OutboxOptions { mode: OutboxMode::Archived, ..OutboxOptions::default() });
        guard.saw(status(120 << 10), true);
        let refusal = guard.refusal().unwrap_or_default();
        assert!(refusal.contains("7 entries since log index 3"), "{refusal}");
        assert!(refusal.contains("120 of 100 KiB (20 % of the file system)"), "{refusal}");
        guard.saw(status(0), true);
        assert_eq!(guard.saw(status(120 << 10), false).1, OutboxLevel::Full);
        assert_eq!(guard.refusal(), None, "no archive has taken anything yet");
        let guard = OutboxGuard::new(OutboxOptions::default());
        assert_eq!(guard.saw(status(120 << 10), true).1, OutboxLevel::Full);
        assert_eq!(guard.refusal(), None);
    }

    #[test]
    fn a_share_is_of_the_whole_file_system_once_that_is_known() {
        let guard = OutboxGuard::new(OutboxOptions { share_percent: 20, ..OutboxOptions::default() });
        assert_eq!((guard.limit(0), guard.limit(1_000), guard.limit(u64::MAX)), (None, Some(200), Some(u64::MAX / 5)));
    }
}
