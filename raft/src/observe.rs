//! What the outside sees of changes and of Raft: counters and gauges.

use crate::types::{NodeStatus, Role};
use consigner_rules::Change;
use consigner_rules::command::RefusedRecord;
use consigner_rules::slashing::AgreedDuty;
use consigner_storage::log::{FSYNC_BUCKETS_US, WalStats};

/// Counts what a batch changed.
pub fn changes(changes: &[Change]) {
    for change in changes {
        if let Some(record) = change.signed() {
            metrics::counter!("consigner_recorded_total", "duty" => duty_name(&record.duty)).increment(1);
        }
        if let Some(record) = change.refused() {
            metrics::counter!("consigner_refused_total", "duty" => duty_name(&record.duty)).increment(1);
            let RefusedRecord { public_key, duty, signing_root, peer, violation, node } = record;
            tracing::debug!(%public_key, ?duty, %signing_root, peer, %violation, node, "refused");
        }
        match change {
            Change::Signed { .. }
            | Change::SignedVia { .. }
            | Change::Refused { .. }
            | Change::RefusedVia { .. }
            | Change::ClusterInitialised(_)
            | Change::DataKeyAdded(_)
            | Change::KeyAdded(_)
            | Change::HistoryMerged(_)
            | Change::HighWatermarkSet(_)
            | Change::PolicyRenewed(_)
            | Change::KeyRemoved(_)
            | Change::KeysResealed { .. }
            | Change::DataKeyRemoved(_)
            | Change::TokenAdded { .. }
            | Change::TokenRevoked { .. }
            | Change::AuditAnchored(_)
            | Change::JoinTokenAdded { .. }
            | Change::JoinTokenRevoked { .. } => {}
            Change::RulesRaised(version) => tracing::info!(version, "the cluster moved to newer rules"),
            Change::NodeAdmitted { node, name, .. } => tracing::info!(node, name, "a node was admitted"),
            Change::NodeRetired { node } => tracing::info!(node, "a node left for good"),
            Change::Resumed(floor) => tracing::warn!(?floor, "the restored cluster signs again, above this floor"),
        }
    }
}

const fn duty_name(duty: &AgreedDuty) -> &'static str {
    match duty {
        AgreedDuty::Block { .. } => "block",
        AgreedDuty::Attestation { .. } => "attestation",
        AgreedDuty::VoluntaryExit { .. } => "voluntary_exit",
    }
}

/// Publishes a node's own status and the log's counters.
#[expect(clippy::cast_precision_loss, reason = "gauges are floating point; indexes stay far below 2^52")]
pub fn publish(status: &NodeStatus, wal: &WalStats) {
    let gauge = |name: &'static str, value: Option<u64>| {
        if let Some(value) = value {
            metrics::gauge!(name).set(value as f64);
        }
    };
    gauge("consigner_raft_term", Some(status.term));
    gauge("consigner_raft_commit_index", status.commit_index);
    gauge("consigner_raft_applied_index", status.applied_index);
    gauge("consigner_raft_last_log_index", status.last_log_index);
    gauge("consigner_raft_snapshot_index", status.snapshot_index);
    gauge("consigner_ready", Some(u64::from(status.ready)));
    for role in [Role::Leader, Role::Follower, Role::Candidate, Role::Learner, Role::Stopped] {
        let value = if status.role == role { 1.0 } else { 0.0 };
        metrics::gauge!("consigner_raft_role", "role" => format!("{role:?}").to_lowercase()).set(value);
    }
    metrics::counter!("consigner_log_fsyncs_total").absolute(wal.fsyncs);
    metrics::counter!("consigner_log_frames_total").absolute(wal.frames);
    metrics::counter!("consigner_log_entries_total").absolute(wal.entries);
    metrics::counter!("consigner_log_bytes_total").absolute(wal.bytes);
    metrics::counter!("consigner_log_fsync_microseconds_total").absolute(wal.fsync_total_us);
    gauge("consigner_log_fsync_max_microseconds", Some(wal.fsync_max_us));
    for (bound, count) in cumulative(wal) {
        metrics::counter!("consigner_log_fsync_bucket_total", "le_microseconds" => bound).absolute(count);
    }
}

/// How many fsyncs took up to each bound, as Prometheus has its buckets: each holds those below it.
fn cumulative(wal: &WalStats) -> impl Iterator<Item = (String, u64)> {
    let bounds = FSYNC_BUCKETS_US.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
    let counts = wal.fsync_buckets.into_iter().scan(0_u64, |sum, count| {
        *sum = sum.saturating_add(count);
        Some(*sum)
    });
    bounds.zip(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bucket_holds_every_fsync() {
        let mut wal = WalStats { fsyncs: 6, ..WalStats::default() };
        wal.fsync_buckets[0] = 1;
        wal.fsync_buckets[3] = 3;
        wal.fsync_buckets[FSYNC_BUCKETS_US.len()] = 2;
        let buckets: Vec<_> = cumulative(&wal).collect();
        assert_eq!(buckets.first(), Some(&("50".to_owned(), 1)));
        assert_eq!(buckets.get(3), Some(&("500".to_owned(), 4)));
        assert_eq!(buckets.last(), Some(&("+Inf".to_owned(), wal.fsyncs)));
    }
}
