//! openraft's own conformance suite for log storage and state machine, on a real disk.

#![allow(clippy::unwrap_used, reason = "tests")]

use crate::log_store::LogStore;
use crate::machine::{Machine, MachineParts, Shared, Standing};
use crate::typ::{StorageError, TypeConfig};
use consigner_rules::State;
use consigner_storage::log::{IndexRule, Wal, WalOptions};
use consigner_storage::{RealDisk, SnapshotStore, StateStore};
use openraft::testing::{StoreBuilder, Suite};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::watch;

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError> {
        let dir = tempfile::tempdir().unwrap();
        for name in ["log", "snapshots", "state"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        // The suite writes logs with holes, which our log refuses elsewhere.
        let options = WalOptions { indexes: IndexRule::Rising, segment_bytes: 1 << 16, ..WalOptions::default() };
        let wal = Wal::open(Arc::new(RealDisk), &dir.path().join("log"), options).unwrap();
        let snapshots = SnapshotStore::open(Arc::new(RealDisk), &dir.path().join("snapshots")).unwrap();
        let (store, _) = StateStore::open(&dir.path().join("state")).unwrap();
        let (durable, _) = watch::channel(None);
        let parts = MachineParts {
            store: Arc::new(store),
            snapshots: Arc::new(snapshots),
            durable,
            writing: std::sync::Mutex::default(),
            on_keys: Arc::new(|_| {}),
            on_policy: Arc::new(|_| {}),
            on_fatal: Arc::new(|reason| tracing::error!(reason, "fatal")),
        };
        let shared = Arc::new(Shared::new(State::default(), Standing::default()));
        // The suite purges without snapshots.
        Ok((dir, LogStore::new(Arc::new(wal), None), Machine::new(shared, parts)))
    }
}

#[test]
fn openraft_storage_suite() {
    Suite::test_all(Builder).unwrap();
}
