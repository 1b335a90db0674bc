//! What a start must find before anything is served: one consistent past, and no claim to lead.
//!
//! In: a data directory. Out: the log, a verified state, the snapshots; or the reason why this node must not start.
//! Deliberately absent: repair. What cannot be trusted is rebuilt from what can, or refused.

use crate::entry_gate::boots::Boots;
use crate::entry_gate::electorate::Electorate;
use crate::entry_gate::way_out;
use crate::log_store;
use crate::machine::Standing;
use crate::snapshot_body::{self, Truncated};
use crate::typ::{self, Vote};
use consigner_rules::State;
use consigner_rules::codec::{self, DecodeError};
use consigner_rules::primitives::ClusterId;
use consigner_rules::state::CorruptRecord;
use consigner_storage::log::{Wal, WalError, WalOptions};
use consigner_storage::{
    Boot, DataDir, DataDirError, NodeIdentity, Opened, Outbox, OutboxError, PastMarker, RealDisk, SnapshotError,
    SnapshotStore, StartFacts, StartRefusal, StateError, StateStore, check_start,
};
use std::path::Path;
use std::sync::Arc;

/// Why a node cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory is not this node's, or in use.
    #[error("data directory refused")]
    DataDir(#[from] DataDirError),
    /// The log cannot be trusted.
    #[error("log refused")]
    Log(#[from] WalError),
    /// The snapshots cannot be read.
    #[error("snapshots refused")]
    Snapshot(#[from] SnapshotError),
    /// The state store cannot be used.
    #[error("state store refused")]
    State(#[from] StateError),
    /// The directory of the outbox cannot be used. What is wrong with its files is no reason not to start.
    #[error("outbox refused")]
    Outbox(#[from] OutboxError),
    /// Log, snapshot and state do not fit together.
    #[error("this node must not start as who it was; replace it")]
    Inconsistent(#[from] StartRefusal),
    /// A state or snapshot, but no vote (nothing is ever applied without one), or an empty log that was not empty.
    #[error("this node has a past but no vote in its log: the log was lost; replace this node")]
    VoteMissing,
    /// The first record of the log could not be prepared.
    #[error("the marker of a past cannot be written")]
    Past(#[source] std::io::Error),
    /// Something stored cannot be decoded by this binary.
    #[error("stored data cannot be read by this version")]
    Decode(#[from] DecodeError),
    /// A stored record cannot be read.
    #[error("stored state cannot be read by this version")]
    Record(#[from] CorruptRecord),
    /// The snapshot's body is damaged inside a valid checksum.
    #[error("the snapshot cannot be read")]
    SnapshotBody(#[from] Truncated),
    /// The timers do not fit together.
    #[error("raft timers: {0}")]
    Timing(String),
    /// The membership names another disk for this node.
    #[error("node {node} was admitted with disk {admitted}, this is disk {found}: it is not the disk it was; {}", way_out(*node))]
    OtherDisk {
        /// This node.
        node: u64,
        /// The incarnation in the membership.
        admitted: String,
        /// The directory's.
        found: String,
    },
    /// openraft could not start.
    #[error("raft could not start: {0}")]
    Raft(String),
}

/// Where segments lie in the data directory.
const OUTBOX_DIR: &str = "archive";

/// No node has this id.
const NOBODY: u64 = 0;

/// A node's past, opened and checked.
pub struct Recovered {
    /// Holds the lock; kept as long as the node runs.
    pub dir: DataDir,
    /// Log and vote.
    pub wal: Arc<Wal>,
    /// Written before the first record of the log is acknowledged.
    pub past: Arc<PastMarker>,
    /// Snapshots.
    pub snapshots: Arc<SnapshotStore>,
    /// The state store, equal to `state`.
    pub store: Arc<StateStore>,
    /// What the store's outbox rows and the segments hold together.
    pub outbox: Arc<Outbox>,
    /// The state at `standing`.
    pub state: State,
    /// Where in the log it stands.
    pub standing: Standing,
    /// This start, counted on the disk.
    pub boot: Boot,
    /// The newest starts of the others.
    pub boots: Arc<Boots>,
    /// Who must vouch for this node's disk.
    pub electorate: Electorate,
}

/// Opens everything below `path` and checks it. Blocking: called before the node serves anything.
///
/// # Errors
/// [`OpenError`] with the reason.
pub fn recover(path: &Path, node_id: u64, cluster_id: ClusterId, options: WalOptions) -> Result<Recovered, OpenError> {
    let identity = NodeIdentity { node_id, cluster_id: cluster_id.0 };
    let dir = DataDir::open(Arc::new(RealDisk), path, identity)?;
    let (wal, past) = (dir.open_wal(options)?, dir.past()?);
    let empty = wal.vote().is_none() && wal.last().is_none();
    if past.is_written() && empty {
        return Err(OpenError::VoteMissing);
    }
    if !empty {
        past.write().map_err(OpenError::Past)?;
    }
    let snapshots = dir.open_snapshots()?;
    for damaged in snapshots.damaged() {
        tracing::error!(name = damaged.name, why = damaged.why, "damaged snapshot left aside");
    }
    let (store, opened) = StateStore::open(&dir.state_dir())?;
    let (store, base) = match opened {
        Opened::Clean(loaded) => match verified(&loaded) {
            // An empty store beside a log with a past is not clean but lost, between two steps of an earlier rebuild.
            Ok((_, standing)) if standing.applied.is_none() && has_past(&wal, &snapshots) => {
                tracing::warn!("the state store is empty; rebuilding from snapshot and log");
                (store, None)
            }
            Ok(base) => (store, Some(base)),
            Err(Unverified::Newer(newer)) => {
                // As clean as it was found: a newer binary goes on from here.
                store.close()?;
                return Err(OpenError::Record(newer));
            }
            Err(Unverified::Damaged(reason)) => set_aside(store, reason)?,
        },
        Opened::Rebuild { reason, outbox_rows } => {
            tracing::warn!(reason, outbox_rows, "state store set aside; rebuilding from snapshot and log");
            (store, None)
        }
    };
    let facts = facts(&wal, &snapshots, base.as_ref().and_then(|(_, standing)| standing.applied.as_ref()));
    check_start(&facts)?;
    if wal.vote().is_none() && (facts.snapshot.is_some() || facts.state.is_some()) {
        return Err(OpenError::VoteMissing);
    }
    let rebuilt = base.is_none();
    let (state, standing) = match base {
        Some(base) => base,
        None => rebuild(&store, &snapshots)?,
    };
    if rebuilt {
        metrics::counter!("consigner_state_rebuilds_total").increment(1);
    }
    let (wal, snapshots, store) = (Arc::new(wal), Arc::new(snapshots), Arc::new(store));
    let outbox = Arc::new(Outbox::open(Arc::clone(&store), &dir.path().join(OUTBOX_DIR), cluster_id)?);
    let electorate = electorate(node_id, &standing, &wal, dir.incarnation())?;
    // Counted only once everything is found good: a start that is refused uses up no number.
    let boots = Arc::new(Boots::new(dir.peers()?));
    let boot = dir.next_boot()?;
    let past = Arc::new(past);
    Ok(Recovered { dir, wal, past, snapshots, store, outbox, state, standing, boot, boots, electorate })
}

/// The newest membership of this disk's past, if it names this disk.
fn electorate(node: u64, standing: &Standing, wal: &Wal, incarnation: [u8; 16]) -> Result<Electorate, OpenError> {
    let electorate = Electorate::of(node, &standing.membership, wal)?;
    let (admitted, found) = (electorate.incarnation(node).unwrap_or_default(), hex::encode(incarnation));
    if !admitted.is_empty() && admitted != found {
        return Err(OpenError::OtherDisk { node, admitted: admitted.to_owned(), found });
    }
    Ok(electorate)
}

type Base = (State, Standing);

/// Why a stored state is not used.
enum Unverified {
    /// It is whole, but newer than this binary: neither touched nor rebuilt, which would end in the same place.
    Newer(CorruptRecord),
    /// It can be rebuilt from snapshot and log.
    Damaged(String),
}

/// The state that was stored, if its digest over all records is the stored one.
fn verified(loaded: &consigner_storage::Loaded) -> Result<Base, Unverified> {
    let records = loaded.records.iter().map(|(key, value)| (key, value));
    let state = State::from_records(records).map_err(|error| match error {
        CorruptRecord::NewerRules { .. } => Unverified::Newer(error),
        CorruptRecord::UnknownKey(_) | CorruptRecord::Value { .. } | CorruptRecord::Misplaced(_) => {
            Unverified::Damaged(crate::chain(&error))
        }
    })?;
    if loaded.meta.is_empty() && loaded.records.is_empty() {
        return Ok((state, Standing::default()));
    }
    let digest = state.digest().0;
    if digest != loaded.digest {
        return Err(Unverified::Damaged(format!(
            "stored digest {} is not that of the records, {}",
            hex::encode(loaded.digest),
            hex::encode(digest)
        )));
    }
    let standing = codec::decode(&loaded.meta).map_err(|error| Unverified::Damaged(crate::chain(&error)))?;
    Ok((state, standing))
}

fn has_past(wal: &Wal, snapshots: &SnapshotStore) -> bool {
    wal.purged().is_some() || snapshots.latest_info().is_some_and(|info| info.position.is_some())
}

fn set_aside(store: StateStore, reason: String) -> Result<(StateStore, Option<Base>), OpenError> {
    tracing::error!(reason, "state store set aside; rebuilding from snapshot and log");
    let (store, _) = store.set_aside(reason)?;
    Ok((store, None))
}

fn facts(wal: &Wal, snapshots: &SnapshotStore, applied: Option<&typ::LogId>) -> StartFacts {
    StartFacts {
        log_first: wal.first(),
        log_last: wal.last(),
        purged: wal.purged(),
        committed: wal.committed(),
        snapshot: snapshots.latest_info().and_then(|info| info.position),
        state: applied.map(typ::position),
    }
}

/// Starts from the newest snapshot; openraft then applies the log behind it.
fn rebuild(store: &StateStore, snapshots: &SnapshotStore) -> Result<Base, OpenError> {
    let Some(snapshot) = snapshots.latest()? else { return Ok(Base::default()) };
    let meta: typ::SnapshotMeta = codec::decode(&snapshot.meta)?;
    let records = snapshot_body::decode(&snapshot.body)?;
    let state = State::from_records(records.iter().map(|(key, value)| (key, value)))?;
    let standing = Standing { applied: meta.last_log_id, membership: meta.last_membership };
    store.replace_all(records, codec::encode(&standing), state.digest().0, [])?;
    Ok((state, standing))
}

/// Replaces, durably, a stored claim to lead by a vote for nobody in the next term.
///
/// openraft 0.9 makes a node whose stored vote is its own and committed a leader at once, in the old term. After a
/// disk rollback it would propose new entries at old indexes, which followers skip by log id and acknowledge: a
/// "quorum" without the record. An election compares logs first (DESIGN 7a). The vote is for node 0, which no node is,
/// so that it ranks below every real vote of that term: a successor elected meanwhile is not deposed by our return.
///
/// # Errors
/// [`OpenError`] when the log fails.
pub async fn renounce_leadership(wal: &Wal, node_id: u64) -> Result<(), OpenError> {
    let Some(vote) = log_store::read_vote(wal)? else { return Ok(()) };
    let leader = vote.leader_id();
    if leader.node_id == node_id && vote.is_committed() {
        let nobody = Vote::new(leader.term + 1, NOBODY);
        tracing::info!(old = %vote, new = %nobody, "this node led when it stopped; leading again needs an election");
        log_store::save_vote(wal, &nobody).await?;
    }
    Ok(())
}
