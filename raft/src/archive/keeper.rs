//! Keeps the outbox: once a second what the archive has is purged, what waits long is spilled, what is missing is asked
//! for, and what all of it takes is looked at.
//!
//! In: the applied mark, the durable snapshot, the outbox. Out: a smaller outbox, its level, gauges, log lines.
//! Deliberately absent: what a level means ([`super::guard`]), and writing to the archive.
//!
//! Everything that touches the disk runs on a thread that may block, one turn at a time: applying never waits for it.

use super::{KeepError, OutboxLevel, OutboxMode, OutboxStatus};
use crate::cluster::Cluster;
use crate::hand_over::HandOverError;
use crate::types::{Leadership, NodeStatus};
use consigner_rules::archive::ArchiveMark;
use consigner_storage::outbox::{Retention, SpillLimits};
use consigner_storage::{Outbox, OutboxError};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::MissedTickBehavior;

/// How often the outbox is looked at: a mark moves every second or two, and rows come by some hundred a second.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Faults that a status names; who has more has a broken disk.
const FAULTS_TOLD: usize = 16;

/// How long one try to hand leadership over may take; the next turn tries again.
const HAND_OVER_DEADLINE: Duration = Duration::from_secs(3);

impl Cluster {
    /// Keeps the outbox for ever.
    pub(crate) async fn keep_outbox(self) {
        let mut tick = tokio::time::interval(KEEP_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let Ok(outbox) = self.outbox() else { return };
            let failed = match self.tidy(&outbox).await {
                Ok((seen, failed)) => {
                    self.saw_outbox(seen);
                    failed.map(KeepError::Outbox)
                }
                Err(error) => Some(error),
            };
            if let Some(error) = failed {
                metrics::counter!("consigner_outbox_failures_total").increment(1);
                tracing::error!(error = crate::chain(&error), "the outbox cannot be kept");
            }
            self.heal(&outbox).await;
            if self.inner.outbox.is_full() {
                self.leave_the_lead_to_one_with_room().await;
            }
        }
    }

    /// One turn on the disk: what was seen, and what failed first.
    async fn tidy(&self, outbox: &Arc<Outbox>) -> Result<(OutboxStatus, Option<OutboxError>), KeepError> {
        let (mark, applied) = (self.archive_mark(), self.applied_index());
        let options = &self.inner.outbox.options;
        let orders = Orders {
            purge: purgeable(&options.mode, mark, applied),
            // A segment is written before its rows go: where hardly anything fits, it is left for later.
            spill: (!self.inner.disk.is_starved()).then_some(options.spill),
            // Rows of entries that no durable snapshot covers are written again when the log is replayed after a crash.
            spill_upto: self.durable_index(),
            retention: match &options.mode {
                OutboxMode::Archived => None,
                OutboxMode::Embedded(retention) => Some(*retention),
            },
            now_ms: now_ms(),
            before: self.inner.outbox.status(),
        };
        let outbox = Arc::clone(outbox);
        super::off_the_runtime(move || Ok(orders.carry_out(&outbox))).await
    }

    fn saw_outbox(&self, seen: OutboxStatus) {
        let guard = &self.inner.outbox;
        let limit_bytes = guard.limit(self.disk().total_bytes).unwrap_or_default();
        let status = OutboxStatus { limit_bytes, ..seen };
        let known = guard.status().faults;
        for fault in status.faults.iter().filter(|fault| !known.contains(fault)) {
            tracing::error!(fault, "the outbox is damaged; what is missing is asked of the members");
        }
        let (before, level) = guard.saw(status, self.archive_mark().is_some());
        let status = guard.status();
        if before != level {
            tell(before, &status, guard.refusal());
        }
        publish(&status, now_ms());
    }

    /// Only to a voter that is ready: one whose outbox is full as well would do no better, and somebody must lead for the
    /// archive to take what all of them hold.
    async fn leave_the_lead_to_one_with_room(&self) {
        if self.leadership() != Leadership::This {
            return;
        }
        let members = self.cluster_status().await;
        let has_room = |(id, status): &(u64, NodeStatus)| *id != self.node_id() && status.ready;
        let voters = self.status().voters;
        let answers = members.into_iter().filter_map(|(id, status)| Some((id, status.ok()?)));
        let Some((to, _)) = answers.filter(|(id, _)| voters.contains(id)).find(has_room) else { return };
        match self.hand_over(Some(to), HAND_OVER_DEADLINE).await {
            Ok(leader) => tracing::info!(leader, "another node leads, because the outbox of this one is full"),
            Err(HandOverError::NotLeader | HandOverError::InProgress) => {}
            Err(error) => tracing::warn!(%error, to, "the outbox is full, but a node with room did not take the lead"),
        }
    }
}

/// Up to where rows may leave: what the replicated mark, as applied here, says that the archive holds, and nothing more.
/// Where there is no archive elsewhere the rows are the archive, whatever a mark of earlier days says.
fn purgeable(mode: &OutboxMode, mark: Option<ArchiveMark>, applied: u64) -> Option<ArchiveMark> {
    match mode {
        OutboxMode::Archived => mark.filter(|mark| mark.index <= applied),
        OutboxMode::Embedded(_) => None,
    }
}

/// What one turn is to do.
struct Orders {
    purge: Option<ArchiveMark>,
    spill: Option<SpillLimits>,
    spill_upto: u64,
    retention: Option<Retention>,
    now_ms: u64,
    /// What was seen last stands for what cannot be seen now.
    before: OutboxStatus,
}

impl Orders {
    /// Each part by itself: what cannot be spilled must not keep what may leave, nor hide how much there is.
    fn carry_out(self, outbox: &Outbox) -> (OutboxStatus, Option<OutboxError>) {
        let mut first = First(None);
        if let Some(mark) = &self.purge {
            first.of(outbox.purge(mark));
        }
        if let Some(limits) = self.spill {
            // One segment a turn, so that a turn stays short.
            first.of(outbox.spill(limits, self.spill_upto));
        }
        if let Some(retention) = self.retention {
            first.of(outbox.retain(retention, self.now_ms));
        }
        let before = self.before;
        let oldest = first.of(outbox.oldest());
        let status = OutboxStatus {
            rows: outbox.rows(),
            bytes: outbox.bytes(),
            segments: outbox.segments(),
            oldest_index: oldest.map_or(before.oldest_index, |oldest| oldest.map(|(index, _)| index)),
            oldest_ms: oldest.map_or(before.oldest_ms, |oldest| oldest.map(|(_, at)| at)),
            since: first.of(outbox.since()).unwrap_or(before.since),
            holes: first.of(outbox.holes()).unwrap_or(before.holes),
            faults: outbox.faults().iter().take(FAULTS_TOLD).map(ToString::to_string).collect(),
            ..OutboxStatus::default()
        };
        (status, first.0)
    }
}

/// The first error of several parts.
struct First(Option<OutboxError>);

impl First {
    fn of<T>(&mut self, part: Result<T, OutboxError>) -> Option<T> {
        match part {
            Ok(done) => Some(done),
            Err(error) => {
                self.0.get_or_insert(error);
                None
            }
        }
    }
}

fn tell(before: OutboxLevel, status: &OutboxStatus, refusal: Option<String>) {
    let OutboxStatus { rows, bytes, limit_bytes, level, oldest_index, .. } = *status;
    match (refusal, level) {
        (Some(reason), _) => tracing::error!(reason, "the outbox is full: this node is not ready"),
        (None, OutboxLevel::Fine) => tracing::info!(rows, bytes, limit_bytes, "the outbox has room again"),
        (None, OutboxLevel::Half | OutboxLevel::High | OutboxLevel::Full) if level < before => {
            tracing::info!(rows, bytes, limit_bytes, ?level, "the outbox shrinks");
        }
        (None, OutboxLevel::Half | OutboxLevel::High | OutboxLevel::Full) => {
            tracing::warn!(rows, bytes, limit_bytes, oldest_index, ?level, "the outbox takes much of its share");
        }
    }
}

fn publish(status: &OutboxStatus, now_ms: u64) {
    gauge("consigner_outbox_rows", status.rows);
    gauge("consigner_outbox_bytes", status.bytes);
    gauge("consigner_outbox_segments", status.segments);
    gauge("consigner_outbox_limit_bytes", status.limit_bytes);
    gauge("consigner_outbox_level", status.level as u64);
    gauge("consigner_outbox_oldest_index", status.oldest_index.unwrap_or_default());
    let age = status.oldest_ms.map_or(0, |since| now_ms.saturating_sub(since) / 1_000);
    gauge("consigner_outbox_oldest_age_seconds", age);
    gauge("consigner_outbox_holes", status.holes.len() as u64);
    gauge("consigner_outbox_faults", status.faults.len() as u64);
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
fn gauge(name: &'static str, value: u64) {
    metrics::gauge!(name).set(value as f64);
}

/// By this node's clock, milliseconds since the Unix epoch: for ages, which bound nothing but retention.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use consigner_rules::primitives::ClusterId;
    use consigner_rules::{Change, Root, codec};
    use consigner_storage::{StateStore, StateWrite};

    fn mark(index: u64) -> Option<ArchiveMark> {
        Some(ArchiveMark { index, rows: 1, chain: Root([1; 32]) })
    }

    #[test]
    fn nothing_leaves_that_the_archive_did_not_confirm() {
        let archived = OutboxMode::Archived;
        assert_eq!(purgeable(&archived, None, 100), None);
        assert_eq!(purgeable(&archived, mark(40), 100), mark(40));
        assert_eq!(purgeable(&archived, mark(101), 100), None, "what is not applied here cannot have been archived");
        let embedded = OutboxMode::Embedded(Retention::default());
        assert_eq!(purgeable(&embedded, mark(40), 100), None, "the rows are the archive");
    }

    #[test]
    fn what_cannot_be_spilled_hides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = StateStore::open(&dir.path().join("state")).unwrap();
        store.outbox_begins(0).unwrap();
        for index in 1..=3 {
            let outbox = Some((index, codec::encode(&(index, Vec::<Change>::new()))));
            store.commit(StateWrite { outbox, meta: vec![1], ..StateWrite::default() }).unwrap();
        }
        let archive = dir.path().join("archive");
        let outbox = Outbox::open(Arc::new(store), &archive, ClusterId([7; 16])).unwrap();
        std::fs::remove_dir_all(&archive).unwrap();
        let orders = Orders {
            purge: None,
            spill: Some(SpillLimits { rows: 1, bytes: 1 }),
            spill_upto: 3,
            retention: Some(Retention::default()),
            now_ms: 9,
            before: OutboxStatus::default(),
        };
        let (seen, failed) = orders.carry_out(&outbox);
        assert!(failed.is_some(), "there is no directory to spill into");
        assert_eq!((seen.rows, seen.oldest_index, seen.since), (3, Some(1), 0));
    }
}
