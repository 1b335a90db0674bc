//! The audit of a node: lines from `api` to the chain on disk, and the chain's end to the replicated state.
//!
//! ```text
//! AuditLine -> NodeAudit (AuditSink) -> storage::AuditLog -> files
//!                      \-> anchoring: AnchorAudit { node, public_key, sequence, hash } -> every node
//! ```
//! Whoever owns the disk of a node owns the key that signs its chain, too; what the other nodes remember of it he does not
//! own. So the end of the chain is anchored soon after every change, and every few minutes while lines are added.
//! Deliberately absent: which events are lines (`api`), and the chain (`storage`).

mod opening;

use crate::config::AuditConfig;
use consigner_api::audit::{AuditLine, AuditSink};
use consigner_raft::Cluster;
use consigner_rules::command::{AuditAnchor, Rejection};
use consigner_rules::primitives::ClusterId;
use consigner_rules::{Command, Outcome};
use consigner_storage::audit::Lookup;
use consigner_storage::{AuditEntry, AuditError, AuditHead, AuditOptions, AuditStats};
use futures::future::{self, BoxFuture};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use opening::{Patience, Slot};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout};

/// Changes come in bursts (an import of a thousand keys): one anchor for what comes within this time.
const SOON: Duration = Duration::from_secs(2);

/// How long an anchor may take before it is tried again later.
const PROPOSE: Duration = Duration::from_secs(10);

/// How long the cluster may take to say what it remembers of this log; then it is asked again.
const BARRIER: Duration = Duration::from_secs(5);

/// Between two tries while there is no leader.
const RETRY: Duration = Duration::from_secs(1);

const LINES: &str = "consigner_audit_lines_total";
const LEFT_OUT: &str = "consigner_audit_left_out_total";
const WRITE_ERRORS: &str = "consigner_audit_write_errors_total";
const BREAKS: &str = "consigner_audit_chain_breaks_total";
const TORN: &str = "consigner_audit_torn_total";
const FAILING: &str = "consigner_audit_failing";
const QUEUE: &str = "consigner_audit_queue";
const SEQUENCE: &str = "consigner_audit_sequence";
const ANCHORED: &str = "consigner_audit_anchored_sequence";

/// The audit of this node.
pub struct NodeAudit {
    log: Arc<Slot>,
    node: u64,
    /// A change was recorded.
    changed: Arc<Notify>,
    /// The newest line that the cluster remembers.
    anchored: AtomicU64,
}

impl NodeAudit {
    /// Opens the record as configured. Blocks on the disk, for a bounded time. Where the disk cannot be used the node
    /// starts all the same: changes are refused, and it is tried again until it can.
    ///
    /// # Errors
    /// See [`Slot::open`]. A broken chain is no error: it is recorded, logged and counted.
    pub fn open(audit: &AuditConfig, node: u64, cluster_id: ClusterId) -> Result<Arc<Self>, AuditError> {
        let options = AuditOptions {
            rotate_bytes: audit.rotate_bytes,
            files_max: usize::try_from(audit.files_max).unwrap_or(usize::MAX),
            checkpoint_lines: audit.checkpoint_lines,
            checkpoint_every: audit.checkpoint_interval,
            ..AuditOptions::new(audit.dir.clone(), node, cluster_id.0)
        };
        let log = Slot::open(options, Patience::default())?;
        Ok(Arc::new(Self { log, node, changed: Arc::default(), anchored: AtomicU64::new(0) }))
    }

    /// Anchors the chain until it is cancelled: first looks whether the chain holds what the cluster remembers of it.
    pub async fn anchor(self: Arc<Self>, cluster: Cluster, every: Duration) {
        while !self.clone().compare(&cluster).await {
            sleep(RETRY).await;
        }
        let mut due = Instant::now();
        loop {
            tokio::select! {
                () = self.changed.notified() => sleep(SOON).await,
                () = tokio::time::sleep_until(due) => {}
            }
            let done = self.clone().anchor_now(&cluster, PROPOSE).await;
            due = Instant::now() + if done { every } else { RETRY };
        }
    }

    /// Whether the chain could be compared with what the cluster remembers. Where it lacks a line, a new segment begins
    /// behind that line, which says so.
    async fn compare(self: Arc<Self>, cluster: &Cluster) -> bool {
        if self.log.log().is_err() || cluster.ready().is_err() || cluster.barrier(BARRIER).await.is_err() {
            return false;
        }
        let own = |state: &consigner_rules::State| {
            let anchors = state.audit_anchors().filter(|anchor| anchor.node == self.node);
            anchors.cloned().collect::<Vec<AuditAnchor>>()
        };
        let mut anchors = cluster.read(own);
        anchors.sort_by_key(|anchor| anchor.sequence);
        let (audit, looked) = (self.clone(), anchors.clone());
        let missing = tokio::task::spawn_blocking(move || audit.first_missing(&looked)).await;
        match missing {
            Ok(Ok(None)) => true,
            Ok(Ok(Some(why))) => {
                let last = anchors.last().map_or(0, |anchor| anchor.sequence);
                self.begin_segment(last, why).await
            }
            Ok(Err(error)) => {
                tracing::error!(error = error.full_text(), "the audit cannot be compared with the cluster's anchors");
                false
            }
            Err(_) => false,
        }
    }

    fn first_missing(&self, anchors: &[AuditAnchor]) -> Result<Option<String>, AuditError> {
        let log = self.log.log().map_err(AuditError::Failing)?;
        for AuditAnchor { sequence, hash, .. } in anchors {
            let what = match log.find(*sequence)? {
                Lookup::Here(found) if found == *hash => continue,
                Lookup::Behind => continue,
                Lookup::Here(_) => "the cluster remembers another line of this number",
                Lookup::Missing => "the cluster remembers this line, and it is not here",
            };
            return Ok(Some(format!("line {sequence}, hash {}: {what}", hex::encode(hash))));
        }
        Ok(None)
    }

    async fn begin_segment(&self, after: u64, why: String) -> bool {
        let Ok(log) = self.log.log() else { return false };
        let (answer, answered) = oneshot::channel();
        let done = Box::new(move |result: Result<u64, AuditError>| drop(answer.send(result)));
        log.begin_segment(after, why, done);
        matches!(answered.await, Ok(Ok(_)))
    }

    /// Tells the cluster where the chain is, if it does not know. Whether it knows now. `deadline` bounds all of it: a
    /// new segment waits for the disk.
    pub async fn anchor_now(self: Arc<Self>, cluster: &Cluster, deadline: Duration) -> bool {
        timeout(deadline, self.anchor_end(cluster, deadline)).await.unwrap_or(false)
    }

    async fn anchor_end(&self, cluster: &Cluster, deadline: Duration) -> bool {
        let Ok(log) = self.log.log() else { return false };
        let AuditHead { sequence, hash, public_key } = log.head();
        if sequence <= self.anchored.load(Ordering::Relaxed) {
            return true;
        }
        let anchor = AuditAnchor { node: self.node, public_key, sequence, hash };
        let proposed = cluster.propose(vec![Command::AnchorAudit(anchor)], deadline).await;
        match proposed.map(|outcomes| outcomes.into_iter().next()) {
            Ok(Some(Outcome::AuditAnchored)) => {
                self.anchored.fetch_max(sequence, Ordering::Relaxed);
                true
            }
            Ok(Some(Outcome::Rejected(Rejection::AuditWentBack { sequence: known }))) if known > sequence => {
                let why = format!("the cluster remembers line {known} of this chain, which ends at {sequence}");
                self.begin_segment(known, why).await;
                false
            }
            Ok(outcome) => {
                tracing::error!(?outcome, sequence, "the audit was not anchored");
                // Asked again when there are further lines.
                true
            }
            Err(error) => {
                tracing::debug!(%error, sequence, "the audit could not be anchored; tried again");
                false
            }
        }
    }

    /// Writes what is queued and a last checkpoint. Blocks on the disk.
    pub fn close(&self) {
        self.log.close();
    }

    /// Sets the metrics, before a scrape.
    #[expect(clippy::cast_precision_loss, reason = "lines of an audit are far fewer than 2^52")]
    pub fn record(&self) {
        let (log, (missed, errors)) = (self.log.log().ok(), self.log.missed());
        let not_open = AuditStats { failing: true, ..AuditStats::default() };
        let stats = log.as_ref().map_or(not_open, |log| log.stats());
        counter!(LINES).absolute(stats.lines);
        counter!(LEFT_OUT).absolute(missed + stats.left_out);
        counter!(WRITE_ERRORS).absolute(errors + stats.write_errors);
        counter!(BREAKS).absolute(stats.breaks);
        counter!(TORN).absolute(stats.torn);
        gauge!(FAILING).set(f64::from(u8::from(stats.failing)));
        gauge!(QUEUE).set(stats.queued as f64);
        gauge!(SEQUENCE).set(log.map_or(0, |log| log.head().sequence) as f64);
        gauge!(ANCHORED).set(self.anchored.load(Ordering::Relaxed) as f64);
    }
}

/// Registers the help texts.
pub fn describe() {
    describe_counter!(LINES, "Lines of the audit that are on this node's disk, checkpoints included");
    describe_counter!(LEFT_OUT, "Lines of the audit that were not written: queue full, or the disk failed");
    describe_counter!(WRITE_ERRORS, "Writes of the audit that failed");
    describe_counter!(
        BREAKS,
        "Times that the chain of the audit did not hold when it was looked at: somebody should look"
    );
    describe_counter!(TORN, "Ends of audit files that a crash tore and that were cut");
    describe_gauge!(FAILING, "1 while the audit cannot be written: changes are refused");
    describe_gauge!(QUEUE, "Lines of the audit that wait for the disk");
    describe_gauge!(SEQUENCE, "Number of the newest line of the audit on this node's disk");
    describe_gauge!(ANCHORED, "Number of the newest line of this node's audit that the cluster remembers");
}

impl AuditSink for NodeAudit {
    fn note(&self, line: AuditLine) {
        match self.log.log() {
            Ok(log) => log.append(entry(line)),
            Err(_not_open) => self.log.leave_out(),
        }
    }

    fn keep(&self, line: AuditLine) -> BoxFuture<'_, Result<(), String>> {
        let log = match self.log.log() {
            Ok(log) => log,
            Err(reason) => {
                self.log.leave_out();
                return Box::pin(future::ready(Err(reason)));
            }
        };
        let (answer, answered) = oneshot::channel();
        let changed = self.changed.clone();
        let done = Box::new(move |result: Result<u64, AuditError>| {
            changed.notify_one();
            // Nobody waits any more when the caller hung up; the line is written all the same.
            drop(answer.send(result));
        });
        log.append_durably(entry(line), done);
        Box::pin(async move {
            let written = answered.await.map_err(|_| "the writer of the audit is gone".to_owned())?;
            written.map(drop).map_err(|error| error.full_text())
        })
    }
}

fn entry(line: AuditLine) -> AuditEntry {
    let AuditLine { time_ms, door, identity, proof, address, operation, key, log_index, outcome, reason } = line;
    AuditEntry {
        time_ms,
        door,
        identity,
        proof: proof.to_owned(),
        address: address.map(|address| address.to_string()),
        operation,
        key: key.map(|key| key.to_string()),
        log_index,
        outcome: outcome.to_owned(),
        reason,
    }
}
