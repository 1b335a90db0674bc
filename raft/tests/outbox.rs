//! The outbox by the mark of the archive: what leaves it, what must not, what a full one refuses, and how holes heal.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_raft::{
    AdvanceError, AuthorizeError, Cluster, DiskOptions, Leadership, OutboxLevel, OutboxMode, OutboxOptions, Recorded,
    RecordedError, Retention, SpillLimits,
};
use consigner_rules::Command;
use consigner_rules::archive::{ArchiveMark, archive_rows};
use consigner_rules::command::ClusterIdentity;
use consigner_storage::{DiskSpace, OutboxError};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::{DEADLINE, GENESIS, Lab, attestation, sign, steady, try_sign, until};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Rows read at once.
const ROWS: usize = 1_000;

fn archived() -> OutboxOptions {
    OutboxOptions { mode: OutboxMode::Archived, ..OutboxOptions::default() }
}

/// Spills almost at once what a snapshot covers.
fn spilling(mode: OutboxMode) -> OutboxOptions {
    OutboxOptions { mode, spill: SpillLimits { rows: 4, bytes: MIB }, ..OutboxOptions::default() }
}

async fn lab_with(nodes: u64, snapshot_every: u64, outbox: impl Fn(u64) -> OutboxOptions) -> Lab {
    let mut lab = Lab::new(nodes, snapshot_every);
    lab.timing = steady();
    lab.outboxes = (1..=nodes).map(|id| (id, outbox(id))).collect();
    lab.found().await;
    until("the rules", || lab.nodes.values().all(|node| node.cluster.read(|state| state.rules_version()) >= 3)).await;
    lab
}

/// Votes for these targets, through any node.
async fn attest(cluster: &Cluster, targets: std::ops::RangeInclusive<u64>) {
    for target in targets {
        sign(cluster, &attestation(target - 1, target, 1)).await.unwrap();
    }
}

/// All rows after an index; one answer may hold fewer than there are.
fn rows(cluster: &Cluster, after: u64) -> Vec<Recorded> {
    let mut all = Vec::new();
    let mut reached = after;
    loop {
        let some = cluster.recorded_after(reached, ROWS).unwrap();
        let Some(last) = some.last() else { return all };
        reached = last.index;
        all.extend(some);
    }
}

/// All nodes have applied what was agreed so far.
async fn all_level(lab: &Lab) {
    for node in lab.nodes.values() {
        node.cluster.barrier(DEADLINE).await.unwrap();
    }
}

/// The mark over these rows, from the beginning of the log on.
fn mark_over(cluster: &Cluster, recorded: &[Recorded]) -> ArchiveMark {
    let mut mark = ArchiveMark::begin(&cluster.lineage());
    for entry in recorded {
        for row in archive_rows(entry.index, entry.proposed_at_ms, entry.changes.clone()) {
            mark.add(&row);
        }
    }
    mark
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_an_outbox_before_the_mark_confirms_it() {
    let embedded = OutboxMode::Embedded(Retention::default());
    let modes = [OutboxMode::Archived, OutboxMode::Archived, embedded];
    let options = |id: u64| OutboxOptions { mode: modes[usize::try_from(id).unwrap() - 1], ..archived() };
    let lab = lab_with(3, 10_000, options).await;
    attest(lab.cluster(1), 1..=12).await;
    all_level(&lab).await;
    let all = rows(lab.cluster(1), 0);
    assert!(all.len() >= 12);
    // Each keeper has had its turn with all of them before it.
    let kept = |id: u64| lab.cluster(id).outbox_status().rows >= all.len() as u64;
    until("a turn of every keeper", || (1..=3).all(kept)).await;
    assert!((1..=3).all(|id| rows(lab.cluster(id), 0) == all), "nothing is archived yet");

    let half = &all[..all.len() / 2];
    let mark = mark_over(lab.cluster(2), half);
    lab.cluster(2).advance_archive(0, mark).await.unwrap();
    let rest = &all[half.len()..];
    let purged = |id: u64| lab.cluster(id).outbox_status().oldest_index == Some(rest[0].index);
    until("those that are archived leave", || (1..=2).all(purged)).await;
    for id in 1..=2 {
        assert_eq!(rows(lab.cluster(id), 0), rest, "and no others, node {id}");
        let hole = lab.cluster(id).recorded_whole(0, ROWS).unwrap_err();
        assert!(matches!(hole, RecordedError::Outbox(OutboxError::Hole { after: 0, upto }) if upto == mark.index));
        assert_eq!(lab.cluster(id).recorded_whole(mark.index, ROWS).unwrap(), rest);
        assert_eq!(lab.cluster(id).recorded_since().unwrap(), mark.index);
        assert_eq!(lab.cluster(id).archive_mark(), Some(mark));
        until("the count of it", || lab.cluster(id).status().outbox_rows == rest.len() as u64).await;
    }
    lab.cluster(3).barrier(DEADLINE).await.unwrap();
    assert_eq!(lab.cluster(3).archive_mark(), Some(mark));
    assert_eq!(rows(lab.cluster(3), 0), all, "where the rows are the archive, no mark removes them");

    // The same again is the same; another start, or more than is applied, is not.
    lab.cluster(1).advance_archive(0, mark).await.unwrap();
    let later = mark_over(lab.cluster(3), &all);
    let moved = lab.cluster(1).advance_archive(0, later).await.unwrap_err();
    assert!(matches!(moved, AdvanceError::Moved { index } if index == mark.index), "{moved}");
    let beyond = ArchiveMark { index: lab.cluster(1).applied_index() + 1_000, ..later };
    let ahead = lab.cluster(1).advance_archive(mark.index, beyond).await.unwrap_err();
    assert!(matches!(ahead, AdvanceError::NotApplied { .. }), "{ahead}");
    lab.cluster(1).advance_archive(mark.index, later).await.unwrap();
    until("all are archived", || (1..=2).all(|id| lab.cluster(id).outbox_status().rows == 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_came_back_by_snapshot_gets_its_rows_from_the_members() {
    // Nothing is healed on a disk that fills up, as that of the machine may.
    let room = Arc::new(AtomicU64::new(100 * GIB));
    let disk = DiskOptions { snapshot_bytes: MIB, ..disk_of_size(&room) };
    let mut lab = Lab::new(3, 10_000);
    lab.timing = steady();
    lab.disks = (1..=3).map(|id| (id, disk.clone())).collect();
    lab.outboxes = (1..=3).map(|id| (id, archived())).collect();
    lab.found().await;
    until("the rules", || lab.nodes.values().all(|node| node.cluster.read(|state| state.rules_version()) >= 3)).await;
    attest(lab.cluster(1), 1..=5).await;
    let archived = rows(lab.cluster(1), 0);
    let mark = mark_over(lab.cluster(1), &archived);
    lab.cluster(1).advance_archive(0, mark).await.unwrap();
    attest(lab.cluster(1), 6..=10).await;
    let behind = lab.follower().await;
    lab.cluster(behind).barrier(DEADLINE).await.unwrap();
    let left = lab.cluster(behind).applied_index();
    lab.stop(behind).await;

    // Until the log that the node would need is gone, with its files, from both of the others.
    let others: Vec<u64> = lab.nodes.keys().copied().collect();
    let old: Vec<BTreeSet<OsString>> = others.iter().map(|id| log_files(&lab.data_dir(*id))).collect();
    let is_gone = |lab: &Lab| {
        let now = others.iter().map(|id| log_files(&lab.data_dir(*id)));
        old.iter().zip(now).all(|(old, now)| old.is_disjoint(&now))
    };
    let (began, mut target) = (Instant::now(), 10);
    while !is_gone(&lab) {
        assert!(began.elapsed() < 2 * DEADLINE, "the log is not purged");
        target += 1;
        attest(lab.cluster(others[0]), target..=target).await;
        lab.cluster(others[0]).propose((0..8).map(|_| heavy()).collect(), DEADLINE).await.unwrap();
        // Purging follows once a second; more than enough need not be written.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    lab.start(behind).await;
    lab.cluster(behind).barrier(DEADLINE).await.unwrap();
    assert!(lab.cluster(behind).status().snapshot_index.is_some_and(|index| index > left));
    until("its hole is filled", || lab.cluster(behind).recorded_since().unwrap() <= mark.index).await;
    let there = rows(lab.cluster(others[0]), mark.index);
    assert!(there.len() >= 11);
    assert_eq!(rows(lab.cluster(behind), mark.index), there, "nothing is missing, and nothing is there twice");
    let healed = || lab.cluster(behind).outbox_status();
    until("it says so", || healed().holes.iter().all(|(_, upto)| *upto <= mark.index) && healed().healing.is_none())
        .await;
    assert_eq!(lab.nodes[&behind].fatal(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_outbox_stops_proposals_and_the_moved_mark_frees_it() {
    let disks: Vec<Arc<AtomicU64>> = (0..3).map(|_| Arc::new(AtomicU64::new(100 * GIB))).collect();
    let disk_of = |id: u64| &disks[usize::try_from(id).unwrap() - 1];
    let mut lab = Lab::new(3, 10_000);
    lab.timing = steady();
    lab.disks = (1..=3).map(|id| (id, disk_of_size(disk_of(id)))).collect();
    lab.outboxes = (1..=3).map(|id| (id, archived())).collect();
    lab.found().await;
    until("the rules", || lab.nodes.values().all(|node| node.cluster.read(|state| state.rules_version()) >= 3)).await;
    attest(lab.cluster(1), 1..=2).await;
    // Only an archive that has taken something is waited for.
    let first = mark_over(lab.cluster(1), &rows(lab.cluster(1), 0));
    lab.cluster(1).advance_archive(0, first).await.unwrap();
    attest(lab.cluster(1), 3..=10).await;
    all_level(&lab).await;

    // A disk of which a fifth is less than these rows take.
    let full = lab.leader().await;
    disk_of(full).store(1_000, Ordering::Relaxed);
    until("it is full", || lab.cluster(full).outbox_status().level == OutboxLevel::Full).await;
    let leads = |id: &u64| lab.cluster(*id).leadership() == Leadership::This;
    let others: Vec<u64> = lab.nodes.keys().copied().filter(|id| *id != full).collect();
    until("a node with room leads", || others.iter().any(leads)).await;
    refused_as_full(lab.cluster(full)).await;
    let not_ready = |cluster: &Cluster| cluster.ready().err().map(|error| error.reason).unwrap_or_default();
    until("it says why", || not_ready(lab.cluster(full)).contains("20 % of the file system")).await;
    attest(lab.cluster(others[0]), 11..=11).await;

    for id in &others {
        disk_of(*id).store(1_000, Ordering::Relaxed);
    }
    until("all are full", || others.iter().all(|id| lab.cluster(*id).outbox_status().level == OutboxLevel::Full)).await;
    for node in lab.nodes.values() {
        refused_as_full(&node.cluster).await;
        let proposed = node.cluster.propose(vec![Command::RenewPolicy], DEADLINE).await;
        assert!(proposed.unwrap_err().to_string().contains("the outbox of this node is full"));
    }
    // Somebody leads all the same, and what empties the outboxes comes through from any node.
    all_level(&lab).await;
    let mut mark = first;
    for entry in rows(lab.cluster(full), first.index) {
        for row in archive_rows(entry.index, entry.proposed_at_ms, entry.changes) {
            mark.add(&row);
        }
    }
    lab.cluster(full).advance_archive(first.index, mark).await.unwrap();
    until("all are ready again", || lab.nodes.values().all(|node| node.cluster.ready().is_ok())).await;
    disks.iter().for_each(|disk| disk.store(100 * GIB, Ordering::Relaxed));
    for (id, target) in lab.nodes.keys().zip(20..) {
        attest(lab.cluster(*id), target..=target).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_node_keeps_its_rows_and_segments() {
    let mut lab = lab_with(1, 10, |_| spilling(OutboxMode::Archived)).await;
    attest(lab.cluster(1), 1..=40).await;
    let spilled = || lab.cluster(1).outbox_status().segments > 0;
    until("a segment", spilled).await;
    attest(lab.cluster(1), 41..=45).await;
    let before = rows(lab.cluster(1), 0);
    assert!(before.len() >= 45);
    lab.stop(1).await;
    lab.start(1).await;
    until("it leads", || lab.cluster(1).leadership() == Leadership::This).await;
    attest(lab.cluster(1), 46..=46).await;
    let after = rows(lab.cluster(1), 0);
    assert_eq!(after[..before.len()], before, "each once, in order, from segments and store");
    assert_eq!((after.len(), lab.cluster(1).recorded_since().unwrap()), (before.len() + 1, 0));
    until("both parts are counted", || lab.cluster(1).status().outbox_rows == after.len() as u64).await;
    let mark = mark_over(lab.cluster(1), &after);
    lab.cluster(1).advance_archive(0, mark).await.unwrap();
    until("rows and segments leave", || {
        let status = lab.cluster(1).outbox_status();
        (status.rows, status.segments) == (0, 0)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_rows_are_the_archive_retention_alone_removes_them() {
    let retention = Retention { age: None, bytes: Some(1) };
    let lab = lab_with(2, 10, |id| match id {
        1 => spilling(OutboxMode::Embedded(Retention::default())),
        _ => spilling(OutboxMode::Embedded(retention)),
    })
    .await;
    attest(lab.cluster(1), 1..=40).await;
    until("old rows leave", || lab.cluster(2).outbox_status().since > 0).await;
    let kept = |id: u64, after| rows(lab.cluster(id), after);
    lab.cluster(2).barrier(DEADLINE).await.unwrap();
    attest(lab.cluster(1), 41..=45).await;
    all_level(&lab).await;
    let since = lab.cluster(2).recorded_since().unwrap();
    assert_eq!(lab.cluster(1).recorded_since().unwrap(), 0);
    let (here, there) = (kept(1, 0), kept(2, 0));
    assert!(here.len() >= 45 && there.len() < here.len(), "{} {}", here.len(), there.len());
    assert_eq!(there[..], here[here.len() - there.len()..], "what stays is whole");
    assert!(there.first().is_none_or(|oldest| since < oldest.index));
    assert_eq!(lab.cluster(2).outbox_status().healing, None, "nobody asks for what was let go of on purpose");
}

/// Requests to sign are refused for that reason, as soon as no other one stands before it.
async fn refused_as_full(cluster: &Cluster) {
    let began = Instant::now();
    loop {
        let refused = try_sign(cluster, &attestation(90, 91, 9)).await.unwrap_err();
        let AuthorizeError::Unavailable { reason } = refused else { panic!("{refused:?}") };
        if reason.contains("the outbox of this node is full") {
            return;
        }
        assert!(began.elapsed() < DEADLINE, "{reason}");
    }
}

/// A disk of so many bytes, of which nothing is used.
fn disk_of_size(total: &Arc<AtomicU64>) -> DiskOptions {
    let total = Arc::clone(total);
    let probe = move |_: &Path| Ok(DiskSpace { total: total.load(Ordering::Relaxed), used: 0, free: GIB });
    DiskOptions { probe: Arc::new(probe), ..DiskOptions::default() }
}

/// A command that is refused, large, and leaves no row.
fn heavy() -> Command {
    let network = "x".repeat(128 * 1024);
    Command::Initialise(ClusterIdentity { cluster_id: support::CLUSTER, network, genesis_validators_root: GENESIS })
}

fn log_files(data_dir: &Path) -> BTreeSet<OsString> {
    let entries = std::fs::read_dir(data_dir.join("log")).unwrap().filter_map(Result::ok);
    let wal = |name: &OsString| Path::new(name).extension().is_some_and(|extension| extension == "wal");
    entries.map(|entry| entry.file_name()).filter(wal).collect()
}
