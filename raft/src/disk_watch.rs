//! Looks at the disk every second, acts on what it sees, and keeps the log within its bytes.
//!
//! In: the file system, the log, openraft's metrics. Out: levels, gauges, log lines; leadership handed over; snapshots
//! and purges beside those that openraft makes by number of entries. Deliberately absent: what a level means
//! ([`crate::disk_guard`]).

use crate::cluster::{Cluster, Unavailable};
use crate::disk_guard::{DiskLevel, DiskStatus, MARGIN};
use crate::hand_over::HandOverError;
use crate::types::Leadership;
use consigner_storage::{DataUse, DiskSpace, data_use};
use std::io;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// How often the file system is asked: a disk fills by some hundred MiB a second at most, and the marks leave room.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Every so many looks the parts of the data directory are summed up, which reads all its directories.
const LOOKS_PER_SUM: u32 = 10;

/// A file system that takes longer than this to answer is counted as not answering.
const LOOK_DEADLINE: Duration = Duration::from_secs(10);

/// How long one try to hand leadership over may take; the next look tries again.
const HAND_OVER_DEADLINE: Duration = Duration::from_secs(3);

/// A snapshot that was asked for and did not come within this time is asked for again.
const SNAPSHOT_PATIENCE: Duration = Duration::from_secs(30);

impl Cluster {
    /// What this node knows about its disk.
    #[must_use]
    pub fn disk(&self) -> DiskStatus {
        self.inner.disk.status()
    }

    /// Whether this node's disk, and the outbox's share of it, have room for proposals.
    ///
    /// # Errors
    /// [`Unavailable`] with the numbers.
    pub(crate) fn takes_proposals(&self) -> Result<(), Unavailable> {
        let refusal = self.inner.disk.refusal().or_else(|| self.inner.outbox.refusal());
        refusal.map_or(Ok(()), |reason| Err(Unavailable::because(reason)))
    }

    /// Looks and acts for ever.
    pub(crate) async fn watch_disk(self) {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut looks, mut bound) = (0_u32, LogBound::default());
        loop {
            tick.tick().await;
            self.look_at_disk(looks.is_multiple_of(LOOKS_PER_SUM)).await;
            looks = looks.wrapping_add(1);
            if self.inner.disk.is_stopped() {
                self.give_up_the_lead().await;
            }
            if !self.inner.disk.is_starved() {
                self.bound_log(&mut bound).await;
            }
        }
    }

    async fn look_at_disk(&self, sums_up: bool) {
        let (probe, dir) = (self.inner.disk.options.probe.clone(), self.inner.disk.dir.clone());
        let look = tokio::task::spawn_blocking(move || -> io::Result<(DiskSpace, Option<DataUse>)> {
            Ok((probe(&dir)?, sums_up.then(|| data_use(&dir)).transpose()?))
        });
        let looked = match tokio::time::timeout(LOOK_DEADLINE, look).await {
            Ok(Ok(looked)) => looked,
            Ok(Err(error)) => Err(io::Error::other(error)),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        match looked {
            Ok((space, data)) => {
                let (before, now) = self.inner.disk.saw(&space, data.as_ref(), self.outbox_rows());
                if before != now {
                    self.disk_changed(before, now).await;
                }
                publish(&self.disk());
            }
            // What was seen last still holds.
            Err(error) => tracing::warn!(%error, "the disk of the data directory cannot be looked at"),
        }
    }

    async fn disk_changed(&self, before: DiskLevel, level: DiskLevel) {
        let DiskStatus { used_percent, free_bytes, .. } = self.disk();
        let options = &self.inner.disk.options;
        if before == DiskLevel::Stopped || level == DiskLevel::Stopped {
            self.stand_for_elections(level != DiskLevel::Stopped);
        }
        match level {
            DiskLevel::Fine => tracing::info!(used_percent, free_bytes, "the disk has room again"),
            DiskLevel::Warned => {
                let (stop_percent, data) = (options.stop_percent, self.disk());
                tracing::warn!(used_percent, free_bytes, stop_percent, ?data, "the disk fills up");
                // What a snapshot lets go of is free before the disk is full.
                self.make_snapshot().await;
            }
            DiskLevel::Stopped => tracing::error!(
                used_percent,
                free_bytes,
                resumes_at_percent = options.stop_percent.saturating_sub(MARGIN),
                "the disk is too full: this node takes no proposals, leads no longer and is not ready"
            ),
        }
    }

    async fn give_up_the_lead(&self) {
        if self.leadership() != Leadership::This {
            return;
        }
        match self.hand_over(None, HAND_OVER_DEADLINE).await {
            Ok(leader) => tracing::info!(leader, "another node leads, because the disk of this one is too full"),
            Err(HandOverError::NotLeader | HandOverError::InProgress) => {}
            Err(error) => tracing::warn!(%error, "the disk is too full to lead, but nobody takes over"),
        }
    }

    /// A snapshot when enough log has gathered behind the newest one; and no more log behind a snapshot than that.
    async fn bound_log(&self, bound: &mut LogBound) {
        let limit = self.inner.disk.options.snapshot_bytes;
        let wal = &self.inner.wal;
        let snapshot = self.raft().metrics().borrow().snapshot.map(|snapshot| snapshot.index);
        let (gathered, live) = (wal.bytes_after(snapshot), wal.bytes_after(None));
        gauge("consigner_log_since_snapshot_bytes", gathered);
        gauge("consigner_log_live_bytes", live);
        gauge("consigner_log_segments", wal.segments() as u64);
        if gathered >= limit && bound.asks(snapshot, Instant::now()) {
            self.make_snapshot().await;
        }
        // openraft keeps a number of entries behind a snapshot, however large they are.
        let upto = wal.before_last(limit).map(|position| position.index).min(snapshot);
        let purged = wal.purged().map(|position| position.index);
        if let Some(upto) = upto.filter(|upto| live > limit && Some(*upto) > purged)
            && let Err(error) = self.raft().trigger().purge_log(upto).await
        {
            tracing::debug!(%error, "raft has stopped");
        }
    }

    async fn make_snapshot(&self) {
        if let Err(error) = self.raft().trigger().snapshot().await {
            tracing::debug!(%error, "raft has stopped");
        }
    }
}

/// Remembers for which snapshot a successor was asked, and when.
#[derive(Debug, Default)]
struct LogBound(Option<(Option<u64>, Instant)>);

impl LogBound {
    fn asks(&mut self, snapshot: Option<u64>, now: Instant) -> bool {
        let is_pending =
            self.0.is_some_and(|(asked, since)| asked == snapshot && now.duration_since(since) < SNAPSHOT_PATIENCE);
        if !is_pending {
            self.0 = Some((snapshot, now));
        }
        !is_pending
    }
}

fn publish(disk: &DiskStatus) {
    gauge("consigner_disk_free_bytes", disk.free_bytes);
    gauge("consigner_disk_total_bytes", disk.total_bytes);
    gauge("consigner_disk_used_percent", disk.used_percent.into());
    gauge("consigner_disk_level", disk.level as u64);
    let parts = [
        ("log", disk.log_bytes),
        ("state", disk.state_bytes),
        ("snapshots", disk.snapshot_bytes),
        ("archive", disk.archive_bytes),
        ("other", disk.other_bytes),
    ];
    for (part, bytes) in parts {
        #[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
        metrics::gauge!("consigner_data_bytes", "part" => part).set(bytes as f64);
    }
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
fn gauge(name: &'static str, value: u64) {
    metrics::gauge!(name).set(value as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_asked_for_once_until_it_is_there_or_late() {
        let (mut bound, now) = (LogBound::default(), Instant::now());
        assert!(bound.asks(None, now));
        assert!(!bound.asks(None, now + SNAPSHOT_PATIENCE / 2));
        assert!(bound.asks(Some(7), now + SNAPSHOT_PATIENCE / 2), "the next one");
        assert!(!bound.asks(Some(7), now + SNAPSHOT_PATIENCE));
        assert!(bound.asks(Some(7), now + SNAPSHOT_PATIENCE * 2), "it did not come");
    }
}
