//! What a survivor's disk leads to: snapshot, the whole log behind it, and nothing that does not fit.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::{Source, SourceError};
use crate::snapshot_body;
use crate::typ::{self, Entry, Proposal};
use consigner_rules::command::{Checkpoint, ClusterIdentity, HistoryImport, ImportedBlock};
use consigner_rules::primitives::ClusterId;
use consigner_rules::{Command, CommandBatch, PublicKey, Root, State};
use consigner_storage::log::{Done, WalOptions};
use consigner_storage::{DataDir, LogPosition, NodeIdentity, RealDisk};
use openraft::EntryPayload;
use std::path::Path;
use std::sync::{Arc, mpsc};

const CLUSTER: ClusterId = ClusterId([1; 16]);
const KEY: PublicKey = PublicKey([5; 48]);

fn batch(commands: Vec<Command>) -> CommandBatch {
    CommandBatch { proposed_at_ms: 0, checkpoint: None, commands }
}

fn born(cluster_id: ClusterId) -> CommandBatch {
    let identity = ClusterIdentity { cluster_id, network: "test".into(), genesis_validators_root: Root([9; 32]) };
    batch(vec![Command::Initialise(identity)])
}

/// The cluster is born at index 0; each further entry raises the slot to its index times ten.
fn life(entries: u64) -> Vec<CommandBatch> {
    let raise = |index: u64| {
        let block = Some(ImportedBlock { slot: index * 10, signing_root: None });
        batch(vec![Command::ImportHistory(HistoryImport { public_key: KEY, block, attestation: None })])
    };
    std::iter::once(born(CLUSTER)).chain((1..entries).map(raise)).collect()
}

const fn at(index: u64) -> LogPosition {
    LogPosition { term: 2, node: 1, index }
}

fn written(request: impl FnOnce(Done)) {
    let (done, heard) = mpsc::channel();
    request(Box::new(move |result| done.send(result).unwrap()));
    heard.recv().unwrap().unwrap();
}

/// A node's disk with these entries, agreed up to `committed`, with a snapshot after `snapshot`.
fn disk(dir: &Path, batches: &[CommandBatch], committed: u64, snapshot: Option<u64>) -> DataDir {
    let identity = NodeIdentity { node_id: 1, cluster_id: CLUSTER.0 };
    let data = DataDir::open(Arc::new(RealDisk), dir, identity).unwrap();
    let wal = data.open_wal(WalOptions::default()).unwrap();
    wal.save_committed(Some(at(committed)));
    let mut state = State::default();
    for (index, batch) in (0..).zip(batches) {
        let payload = EntryPayload::Normal(Proposal(Arc::new(batch.clone())));
        let entry = Entry { log_id: typ::log_id(&at(index)), payload };
        written(|done| wal.append(vec![(at(index), typ::encode_entry(&entry))], done));
        state.apply(batch);
        if snapshot == Some(index) {
            let body = snapshot_body::encode(state.records());
            data.open_snapshots().unwrap().write(Some(at(index)), b"not read", &body).unwrap();
        }
    }
    data
}

fn slot(source: &Source) -> Option<u64> {
    source.maxima().slot
}

#[test]
fn the_whole_log_counts_agreed_or_not() {
    let dir = tempfile::tempdir().unwrap();
    drop(disk(dir.path(), &life(10), 6, None));
    let source = Source::from_survivor(dir.path()).unwrap();
    assert_eq!((slot(&source), source.uncommitted, source.position), (Some(90), 3, Some(at(9))));
}

#[test]
fn a_snapshot_is_where_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let data = disk(dir.path(), &life(10), 9, Some(5));
    let wal = data.open_wal(WalOptions::default()).unwrap();
    written(|done| wal.purge(at(3), done));
    drop((wal, data));
    let source = Source::from_survivor(dir.path()).unwrap();
    assert_eq!((slot(&source), source.uncommitted, source.position), (Some(90), 0, Some(at(9))));
}

#[test]
fn entries_that_lost_against_an_installed_snapshot_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let data = disk(dir.path(), &life(10), 3, None);
    let mut state = State::default();
    for batch in life(6) {
        state.apply(&batch);
    }
    let position = LogPosition { term: 7, ..at(5) };
    let body = snapshot_body::encode(state.records());
    data.open_snapshots().unwrap().write(Some(position), b"not read", &body).unwrap();
    drop(data);
    let source = Source::from_survivor(dir.path()).unwrap();
    assert_eq!((slot(&source), source.position), (Some(50), Some(position)));
}

#[test]
fn a_log_that_no_snapshot_leads_to_is_refused() {
    for (snapshot, purged) in [(None, 3), (Some(2), 4), (None, 9), (Some(5), 9)] {
        let dir = tempfile::tempdir().unwrap();
        let data = disk(dir.path(), &life(10), 9, snapshot);
        let wal = data.open_wal(WalOptions::default()).unwrap();
        written(|done| wal.purge(at(purged), done));
        drop((wal, data));
        let refused = Source::from_survivor(dir.path());
        assert!(matches!(refused, Err(SourceError::Gap { .. })), "{snapshot:?} {purged}: {refused:?}");
    }
}

#[test]
fn a_state_that_is_not_the_proposers_is_refused() {
    let mut batches = life(6);
    let mut state = State::default();
    for batch in &batches {
        state.apply(batch);
    }
    batches.extend(life(2).split_off(1));
    batches[6].checkpoint = Some(Checkpoint { index: 5, digest: state.digest() });
    let dir = tempfile::tempdir().unwrap();
    drop(disk(dir.path(), &batches, 6, None));
    assert!(Source::from_survivor(dir.path()).is_ok());
    batches[6].checkpoint = Some(Checkpoint { index: 5, digest: Root([1; 32]) });
    let dir = tempfile::tempdir().unwrap();
    drop(disk(dir.path(), &batches, 6, None));
    let refused = Source::from_survivor(dir.path());
    assert!(matches!(refused, Err(SourceError::Diverged { index: 5, .. })), "{refused:?}");
}

#[test]
fn a_disk_without_a_cluster_of_another_or_of_the_future_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(disk(dir.path(), &[], 0, None));
    assert!(matches!(Source::from_survivor(dir.path()), Err(SourceError::Empty)));
    let dir = tempfile::tempdir().unwrap();
    drop(disk(dir.path(), &[born(ClusterId([2; 16]))], 0, None));
    assert!(matches!(Source::from_survivor(dir.path()), Err(SourceError::TwoClusters { .. })));
    let dir = tempfile::tempdir().unwrap();
    let future = batch(vec![Command::RaiseRules { version: u32::MAX }]);
    drop(disk(dir.path(), &[born(CLUSTER), future], 1, None));
    assert!(matches!(Source::from_survivor(dir.path()), Err(SourceError::TooNew(_))));
}
