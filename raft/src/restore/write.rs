//! The data directory of the first node of a restored cluster.
//!
//! In: a state that was reborn. Out: a directory in which a cluster of one node starts as from a snapshot: snapshot, a
//! log that was purged up to it, a vote for nobody. It is made in `DIR/restoring` and moved up, the `initialized` marker
//! last: what is interrupted starts nowhere. Deliberately absent: anything of the old disks but the state.

use crate::snapshot_body;
use crate::typ::{self, SnapshotMeta, StoredMembership, Vote};
use crate::types::Member;
use consigner_rules::primitives::ClusterId;
use consigner_rules::{State, codec};
use consigner_storage::log::{Done, WalError, WalOptions};
use consigner_storage::{DataDir, DataDirError, Disk as _, LogPosition, NodeIdentity, RealDisk, SnapshotError};
use openraft::Membership;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Who starts the new cluster.
#[derive(Debug, Clone)]
pub struct NewNode {
    /// Its id.
    pub node_id: u64,
    /// The new cluster.
    pub cluster_id: ClusterId,
    /// How it advertises itself.
    pub member: Member,
    /// Where its data will lie: absent, or an empty directory.
    pub data_dir: PathBuf,
}

/// Why the data directory was not made.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// A node runs on it.
    #[error("{} is in use by a running node; a restore makes a new data directory", .0.display())]
    InUse(PathBuf),
    /// Something lies there.
    #[error("{} is not empty (it holds {found}); a restore makes a new data directory, and overwrites none", .dir.display())]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
        /// One of its entries.
        found: String,
    },
    /// The file system failed.
    #[error("{}: {action} failed", .dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What was being done.
        action: &'static str,
        /// The operating system's error.
        source: io::Error,
    },
    /// The directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The log.
    #[error("the new log")]
    Log(#[from] WalError),
}

/// Where the new log begins. Terms and indexes of the old cluster mean nothing in the new one.
const fn beginning(node: u64) -> LogPosition {
    LogPosition { term: 1, node, index: 0 }
}

/// No node has this id.
const NOBODY: u64 = 0;
const RESTORING: &str = "restoring";
const INITIALIZED: &str = "initialized";
const LOCK: &str = "lock";
/// In the root of a fresh file system.
const LOST_AND_FOUND: &str = "lost+found";

/// Whether a restore may write here; to be asked before anything else is done.
///
/// # Errors
/// [`WriteError::InUse`], [`WriteError::NotEmpty`].
pub fn check_vacant(dir: &Path) -> Result<(), WriteError> {
    let io = |action| move |source| WriteError::Io { dir: dir.to_path_buf(), action, source };
    if !RealDisk.exists(dir).map_err(io("looking for it"))? {
        return Ok(());
    }
    let names = RealDisk.list(dir).map_err(io("listing it"))?;
    if names.iter().any(|name| name == LOCK) && RealDisk.lock(&dir.join(LOCK)).map_err(io("locking it"))?.is_none() {
        return Err(WriteError::InUse(dir.to_path_buf()));
    }
    match names.into_iter().find(|name| name != LOST_AND_FOUND) {
        Some(found) => Err(WriteError::NotEmpty { dir: dir.to_path_buf(), found }),
        None => Ok(()),
    }
}

/// Makes the data directory: all of it, durably, or nothing that starts.
///
/// # Errors
/// [`WriteError`].
pub fn write(node: &NewNode, state: &State) -> Result<(), WriteError> {
    let dir = &node.data_dir;
    check_vacant(dir)?;
    let io = |action| move |source| WriteError::Io { dir: dir.clone(), action, source };
    let restoring = dir.join(RESTORING);
    let made = fill(&restoring, node, state);
    if made.is_err() {
        // Ours alone: the directory was empty a moment ago. What the first error says matters more than this one.
        let _best_effort = std::fs::remove_dir_all(&restoring);
    }
    made?;
    let names = RealDisk.list(&restoring).map_err(io("listing what was made"))?;
    let (marker, others): (Vec<_>, Vec<_>) =
        names.into_iter().filter(|name| name != LOCK).partition(|name| name == INITIALIZED);
    for name in others.iter().chain(&marker) {
        if name == INITIALIZED {
            // Everything that the marker promises is there, names and all, before it is.
            RealDisk.sync_dir(dir).map_err(io("syncing it"))?;
        }
        RealDisk.rename(&restoring.join(name), &dir.join(name)).map_err(io("moving what was made"))?;
    }
    RealDisk.sync_dir(dir).map_err(io("syncing it"))?;
    // Empty but for the lock; if it stays, it harms nobody.
    let _best_effort = std::fs::remove_dir_all(&restoring);
    Ok(())
}

fn fill(dir: &Path, node: &NewNode, state: &State) -> Result<(), WriteError> {
    let identity = NodeIdentity { node_id: node.node_id, cluster_id: node.cluster_id.0 };
    let data = DataDir::open(Arc::new(RealDisk), dir, identity)?;
    let position = beginning(node.node_id);
    let member = Member { incarnation: hex::encode(data.incarnation()), ..node.member.clone() };
    let membership: Membership<u64, Member> =
        Membership::new(vec![BTreeSet::from([node.node_id])], BTreeMap::from([(node.node_id, member)]));
    let log_id = typ::log_id(&position);
    let meta = SnapshotMeta {
        last_log_id: Some(log_id),
        last_membership: StoredMembership::new(Some(log_id), membership),
        snapshot_id: "restored".to_owned(),
    };
    let body = snapshot_body::encode(state.records());
    data.open_snapshots()?.write(Some(position), &codec::encode(&meta), &body)?;
    let past = data.past()?;
    past.write().map_err(|source| WriteError::Io { dir: dir.to_path_buf(), action: "marking its past", source })?;
    let wal = data.open_wal(WalOptions::default())?;
    let vote: Vote = Vote::new(position.term, NOBODY);
    written(|done| wal.save_vote(codec::encode(&vote).into(), done))?;
    wal.save_committed(Some(position));
    written(|done| wal.purge(position, done))?;
    Ok(())
}

/// Waits until the log's writer reports one request.
fn written(request: impl FnOnce(Done)) -> Result<(), WalError> {
    let (report, reported) = std::sync::mpsc::channel();
    // The receiver is gone only when this thread is.
    request(Box::new(move |result| drop(report.send(result))));
    reported.recv().unwrap_or_else(|_| Err(WalError::Misuse("the log writer is gone".to_owned())))
}
