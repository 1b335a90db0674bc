//! The state machine: applies committed entries to [`State`], persists what changed, builds and installs snapshots.
//!
//! In: committed entries, in order. Out: outcomes. The verdict on a slashable message is reached in
//! [`State::apply`], from the verified state in memory, never from the store.
//! Deliberately absent: anything that could make two nodes apply differently.

use crate::clock;
use crate::cluster::{OnFatal, OnPolicy};
use crate::key_feed::{self, KeyFeed, OnKeys};
use crate::snapshot_body;
use crate::typ::{self, Answer, Entry, LogId, Snapshot, SnapshotMeta, StorageError, StoredMembership, TypeConfig};
use consigner_rules::command::Checkpoint;
use consigner_rules::state::{TooNew, TouchedKeys};
use consigner_rules::{Change, CommandBatch, Root, State, codec};
use consigner_storage::state::{StateStore, StateWrite};
use consigner_storage::{LogPosition, SnapshotStore};
use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, StorageIOError};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io::Cursor;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;

/// How many digests of past indexes are kept to compare with a proposer's: far more than entries are in flight.
const DIGESTS_KEPT: usize = 4_096;

/// What is stored beside the records: where in the log the state stands. Format version in [`codec`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Last applied entry.
    pub applied: Option<LogId>,
    /// Last applied membership.
    pub membership: StoredMembership,
}

/// The applied state, shared with readers.
pub struct Shared {
    applied: RwLock<AppliedState>,
    /// Index of the last applied entry, published after its effects are visible.
    index: watch::Sender<Option<LogPosition>>,
}

struct AppliedState {
    state: State,
    standing: Standing,
    digests: VecDeque<(u64, Root)>,
    /// When a node was last seen to leave the membership, or may have left it unseen.
    left: clock::Instant,
}

impl Shared {
    /// Starts from a loaded state.
    pub fn new(state: State, standing: Standing) -> Self {
        let (index, _) = watch::channel(standing.applied.as_ref().map(typ::position));
        let applied = AppliedState { state, standing, digests: VecDeque::new(), left: clock::Instant::now() };
        Self { applied: RwLock::new(applied), index }
    }

    /// Reads the applied state.
    pub fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock_read().state)
    }

    /// Reads state and standing together.
    pub fn read_standing<T>(&self, read: impl FnOnce(&State, &Standing) -> T) -> T {
        let applied = self.lock_read();
        read(&applied.state, &applied.standing)
    }

    /// The newest index at which the digest is known, for a proposal to carry.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.lock_read().digests.back().map(|(index, digest)| Checkpoint { index: *index, digest: *digest })
    }

    /// For how long no node has left the membership, as far as this node can know.
    pub fn since_a_node_left(&self) -> Duration {
        self.lock_read().left.elapsed()
    }

    /// Follows the last applied position.
    pub fn watch_index(&self) -> watch::Receiver<Option<LogPosition>> {
        self.index.subscribe()
    }

    // A panic while the lock is held is a bug in `apply`; the process stops with it (panic hook of the node), so a
    // poisoned lock is never served from for longer than that takes.
    fn lock_read(&self) -> std::sync::RwLockReadGuard<'_, AppliedState> {
        self.applied.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_write(&self) -> std::sync::RwLockWriteGuard<'_, AppliedState> {
        self.applied.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the machine needs besides the state.
pub struct MachineParts {
    /// Where records are kept.
    pub store: Arc<StateStore>,
    /// Where snapshots are kept.
    pub snapshots: Arc<SnapshotStore>,
    /// Published after a snapshot is durable.
    pub durable: watch::Sender<Option<LogPosition>>,
    /// Told of keys before the index that brought them is published.
    pub on_keys: OnKeys,
    /// Told of the policy and the tokens, likewise.
    pub on_policy: OnPolicy,
    /// One snapshot is written at a time, so that an older one never follows a newer one.
    pub writing: Mutex<()>,
    /// Stops the node.
    pub on_fatal: OnFatal,
}

impl MachineParts {
    fn lock_writing(&self) -> std::sync::MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes that snapshots cover `position`; never takes back what was covered.
    fn covered(&self, position: Option<LogPosition>) {
        self.durable.send_if_modified(|durable| {
            let rises = *durable < position;
            if rises {
                *durable = position;
            }
            rises
        });
    }
}

/// The state machine as openraft drives it.
#[derive(Clone)]
pub struct Machine {
    shared: Arc<Shared>,
    parts: Arc<MachineParts>,
}

impl Machine {
    /// Puts the machine together; feeds the keys and the policy of the loaded state.
    pub fn new(shared: Arc<Shared>, parts: MachineParts) -> Self {
        let applied = shared.read_standing(|_, standing| standing.applied.map_or(0, |applied| applied.index));
        if let Err(error) = parts.store.outbox_begins(applied) {
            (parts.on_fatal)(&format!("the state store failed: {}", crate::chain(&error)));
        }
        shared.read(|state| {
            (parts.on_keys)(KeyFeed::Replaced(state));
            (parts.on_policy)(state);
        });
        Self { shared, parts: Arc::new(parts) }
    }

    fn fatal<E: std::error::Error + 'static>(&self, what: &str, error: &E) {
        (self.parts.on_fatal)(&format!("{what}: {}", crate::chain(error)));
    }

    /// A panic in `apply` is a bug that the next entry must not be built upon.
    fn apply_or_stop(&self, entry: &Entry) -> Result<Answer, StorageError> {
        let applied = std::panic::catch_unwind(AssertUnwindSafe(|| self.apply_entry(entry)));
        applied.unwrap_or_else(|_| {
            (self.parts.on_fatal)(&format!("applying entry {} panicked", entry.log_id));
            Err(StorageIOError::apply(entry.log_id, &Panicked).into())
        })
    }

    /// Applies one entry and answers its outcomes.
    fn apply_entry(&self, entry: &Entry) -> Result<Answer, StorageError> {
        let applied = {
            let mut applied = self.shared.lock_write();
            let step = applied.apply(entry);
            if let Ok(step) = &step {
                key_feed::feed(&*self.parts.on_keys, &applied.state, &step.touched);
                if step.admission_changed {
                    (self.parts.on_policy)(&applied.state);
                }
            }
            step
        };
        let Step { answer, write, changes, .. } = applied.map_err(|unfit| {
            self.fatal(&format!("entry {} is not applied", entry.log_id), &unfit);
            StorageIOError::apply(entry.log_id, &unfit)
        })?;
        // Without the lock: readers must not wait for the disk. The index is published only after this.
        self.parts.store.commit(write).map_err(|error| {
            self.fatal("the state store failed", &error);
            StorageIOError::apply(entry.log_id, &error)
        })?;
        crate::observe::changes(&changes);
        self.shared.index.send_replace(Some(typ::position(&entry.log_id)));
        Ok(answer)
    }

    /// Replaces everything by a snapshot's content: durable first, then visible, keys first, index last.
    fn install(&self, meta: &SnapshotMeta, body: &[u8]) -> Result<(), InstallError> {
        let records = snapshot_body::decode(body)?;
        let state = State::from_records(records.iter().map(|(key, value)| (key, value)))?;
        let standing = Standing { applied: meta.last_log_id, membership: meta.last_membership.clone() };
        let position = meta.last_log_id.as_ref().map(typ::position);
        // The entries that the snapshot stands for leave no rows here.
        let applied = self.shared.read_standing(|_, standing| standing.applied.map_or(0, |applied| applied.index));
        self.parts.store.outbox_misses(applied, position.map_or(0, |position| position.index))?;
        let writing = self.parts.lock_writing();
        self.parts.snapshots.write(position, &codec::encode(meta), body)?;
        drop(writing);
        self.parts.store.replace_all(records, codec::encode(&standing), state.digest().0, [])?;
        (self.parts.on_keys)(KeyFeed::Replaced(&state));
        (self.parts.on_policy)(&state);
        {
            let mut applied = self.shared.lock_write();
            *applied = AppliedState { state, standing, digests: VecDeque::new(), left: clock::Instant::now() };
        }
        // Outbox rows of entries that the log may now purge live in the store alone.
        self.parts.store.flush_durable()?;
        self.parts.covered(position);
        self.shared.index.send_replace(position);
        Ok(())
    }
}

/// Why a snapshot could not be installed.
#[derive(Debug, thiserror::Error)]
enum InstallError {
    #[error("the snapshot cannot be decoded")]
    Body(#[from] snapshot_body::Truncated),
    #[error("the snapshot's description cannot be decoded")]
    Meta(#[from] codec::DecodeError),
    #[error("the snapshot holds a record that cannot be read")]
    Record(#[from] consigner_rules::state::CorruptRecord),
    #[error("the snapshot cannot be written")]
    Write(#[from] consigner_storage::SnapshotError),
    #[error("the state store cannot take the snapshot")]
    Store(#[from] consigner_storage::state::StateError),
}

/// `apply` panicked.
#[derive(Debug, thiserror::Error)]
#[error("apply panicked")]
struct Panicked;

/// Why this node must stop before it applies an entry. Nothing of the entry was applied.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// A node whose state differs from the proposer's at the same index (invariant S8) must stop.
    #[error("state differs from the proposer's: after index {index} the digest here is {here}, there {there}")]
    Divergence {
        /// The index.
        index: u64,
        /// The digest here.
        here: Root,
        /// The proposer's.
        there: Root,
    },
    /// Applying it by older rules would part this node from the others, unseen until the next checkpoint.
    #[error(transparent)]
    TooNew(#[from] TooNew),
}

/// What applying one entry brought.
#[derive(Default)]
struct Step {
    answer: Answer,
    write: StateWrite,
    changes: Vec<Change>,
    touched: TouchedKeys,
    admission_changed: bool,
}

impl AppliedState {
    fn apply(&mut self, entry: &Entry) -> Result<Step, Unfit> {
        let mut step = Step::default();
        match &entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => {
                let stays = |node: &u64| membership.get_node(node).is_some();
                if !self.standing.membership.nodes().all(|(node, _)| stays(node)) {
                    self.left = clock::Instant::now();
                }
                self.standing.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
            }
            EntryPayload::Normal(proposal) => {
                self.compare(&proposal.0)?;
                State::knows(&proposal.0)?;
                let applied = self.state.apply(&proposal.0);
                step.write.puts = applied.records.into_iter().map(|record| (record.key, record.value)).collect();
                if !applied.changes.is_empty() {
                    let row = codec::encode(&(proposal.0.proposed_at_ms, &applied.changes));
                    step.write.outbox = Some((entry.log_id.index, row));
                }
                step.changes = applied.changes;
                step.touched = applied.touched;
                step.admission_changed = applied.admission_changed;
                step.answer = Answer(applied.outcomes);
            }
        }
        self.standing.applied = Some(entry.log_id);
        step.write.meta = codec::encode(&self.standing);
        step.write.digest = self.state.digest().0;
        if self.digests.len() == DIGESTS_KEPT {
            self.digests.pop_front();
        }
        self.digests.push_back((entry.log_id.index, self.state.digest()));
        Ok(step)
    }

    fn compare(&self, batch: &CommandBatch) -> Result<(), Unfit> {
        let Some(Checkpoint { index, digest: there }) = batch.checkpoint else { return Ok(()) };
        // Indexes are consecutive from the first applied after the start or the last snapshot.
        let known = self.digests.binary_search_by_key(&index, |(known, _)| *known);
        let here = known.ok().and_then(|at| self.digests.get(at)).map(|(_, digest)| *digest);
        match here {
            Some(here) if here != there => Err(Unfit::Divergence { index, here, there }),
            Some(_) | None => Ok(()),
        }
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        Ok(self.shared.read_standing(|_, standing| (standing.applied, standing.membership.clone())))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Answer>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        entries.into_iter().map(|entry| self.apply_or_stop(&entry)).collect()
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let (state, standing) = self.shared.read_standing(|state, standing| (state.clone(), standing.clone()));
        Builder { state, standing, machine: self.clone() }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let (machine, owned) = (self.clone(), meta.clone());
        let installed = tokio::task::spawn_blocking(move || machine.install(&owned, snapshot.get_ref())).await;
        match installed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                // openraft's core may be waiting in `purge` for this very snapshot: only stopping ends that wait.
                self.fatal("installing a snapshot failed", &error);
                Err(StorageIOError::write_snapshot(Some(meta.signature()), &error).into())
            }
            Err(error) => {
                self.fatal("installing a snapshot failed", &error);
                Err(StorageIOError::write_snapshot(Some(meta.signature()), &error).into())
            }
        }
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        let latest = self.parts.snapshots.latest().map_err(|error| StorageIOError::read_snapshot(None, &error))?;
        let Some(found) = latest else { return Ok(None) };
        let meta = codec::decode(&found.meta).map_err(|error| StorageIOError::read_snapshot(None, &error))?;
        Ok(Some(Snapshot { meta, snapshot: Box::new(Cursor::new(found.body)) }))
    }
}

/// Builds a snapshot from a copy of the state.
pub struct Builder {
    state: State,
    standing: Standing,
    machine: Machine,
}

impl Builder {
    fn build(&self) -> Result<Snapshot, InstallError> {
        let Standing { applied, membership } = &self.standing;
        let position = applied.as_ref().map(typ::position);
        let snapshot_id = position.map_or_else(
            || "empty".to_owned(),
            |position| format!("{}-{}-{}", position.term, position.node, position.index),
        );
        let meta = SnapshotMeta { last_log_id: *applied, last_membership: membership.clone(), snapshot_id };
        let body = snapshot_body::encode(self.state.records());
        // The outbox rows of entries that may be purged after this live in the store alone: make it durable first.
        let parts = &self.machine.parts;
        parts.store.flush_durable()?;
        let _writing = parts.lock_writing();
        let newest = parts.snapshots.latest_info().and_then(|info| info.position);
        if newest > position
            && let Some(snapshot) = parts.snapshots.latest()?
        {
            // One was installed while this one was built.
            let meta = codec::decode(&snapshot.meta)?;
            return Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(snapshot.body)) });
        }
        parts.snapshots.write(position, &codec::encode(&meta), &body)?;
        parts.covered(position);
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(body)) })
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let machine = self.machine.clone();
        let builder = Self {
            state: std::mem::take(&mut self.state),
            standing: self.standing.clone(),
            machine: self.machine.clone(),
        };
        match tokio::task::spawn_blocking(move || builder.build()).await {
            Ok(Ok(snapshot)) => Ok(snapshot),
            Ok(Err(error)) => {
                machine.fatal("building a snapshot failed", &error);
                Err(StorageIOError::write_snapshot(None, &error).into())
            }
            Err(error) => {
                machine.fatal("building a snapshot failed", &error);
                Err(StorageIOError::write_snapshot(None, &error).into())
            }
        }
    }
}
