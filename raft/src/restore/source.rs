//! One source of a restore: a backup, or the disk of a node that is left.
//!
//! In: the content of a backup; a data directory. Out: the state that it leads to. Of a survivor that is its newest
//! snapshot and **every** entry of its log behind it, agreed or not: the others may have known that the last ones were
//! agreed, and signed. Deliberately absent: the state store, which is a copy of this, and any write to the source.

use crate::backup::{BackupSummary, Maxima, ReadBackupError, read_backup};
use crate::snapshot_body::{self, Truncated};
use crate::typ;
use consigner_rules::codec::DecodeError;
use consigner_rules::command::{Checkpoint, ClusterIdentity};
use consigner_rules::primitives::ClusterId;
use consigner_rules::state::CorruptRecord;
use consigner_rules::{CommandBatch, Root, State};
use consigner_storage::backup::{Survivor, SurvivorError};
use consigner_storage::log::WalError;
use consigner_storage::{LogPosition, SnapshotError};
use openraft::EntryPayload;
use std::collections::BTreeMap;
use std::path::Path;

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// A file of `cluster backup`.
    Backup,
    /// The data directory of a node.
    Survivor,
}

/// One source, read and checked by itself.
#[derive(Debug, Clone)]
pub struct Source {
    /// For people: the file or directory.
    pub name: String,
    /// What it is.
    pub kind: SourceKind,
    /// Whose.
    pub identity: ClusterIdentity,
    /// How far it leads.
    pub position: Option<LogPosition>,
    /// Entries at its end of which it does not know that they were agreed.
    pub uncommitted: u64,
    /// What it knows.
    pub state: State,
}

/// Why a source is not used. None of them is, then: nothing is restored from what is left over.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The backup.
    #[error(transparent)]
    Backup(#[from] ReadBackupError),
    /// The directory.
    #[error(transparent)]
    Survivor(#[from] SurvivorError),
    /// The log cannot be read back.
    #[error("the log cannot be read")]
    Log(#[from] WalError),
    /// The snapshot cannot be read back.
    #[error("the snapshot cannot be read")]
    Snapshot(#[from] SnapshotError),
    /// The snapshot's body is damaged inside a valid checksum.
    #[error("the snapshot cannot be decoded")]
    Body(#[from] Truncated),
    /// A record of the snapshot.
    #[error("the snapshot holds a record that this version cannot read")]
    Record(#[from] CorruptRecord),
    /// An entry of the log.
    #[error("the log holds an entry that this version cannot read")]
    Entry(#[from] DecodeError),
    /// An entry that a newer binary wrote.
    #[error("the log asks for a newer version")]
    TooNew(#[from] consigner_rules::state::TooNew),
    /// Damaged snapshots, or a lost front of the log.
    #[error("the log begins at index {first}, and no sound snapshot leads there (the newest ends at {snapshot:?})")]
    Gap {
        /// Index of the first entry.
        first: u64,
        /// Where the newest sound snapshot ends.
        snapshot: Option<u64>,
    },
    /// The log and the state that it makes do not fit (invariant S8).
    #[error("after index {index} the state has digest {here}, the leader wrote {there}: snapshot or log was altered")]
    Diverged {
        /// Log index.
        index: u64,
        /// What the entries make.
        here: Root,
        /// What an entry says.
        there: Root,
    },
    /// It never was part of a cluster.
    #[error("it holds no cluster: its node was never initialised, or its log is empty")]
    Empty,
    /// Its marker names one cluster and its state another.
    #[error("its marker names cluster {marker}, its state cluster {state}")]
    TwoClusters {
        /// By the marker.
        marker: ClusterId,
        /// By the state.
        state: ClusterId,
    },
}

impl Source {
    /// The content of a backup, decrypted.
    ///
    /// # Errors
    /// [`SourceError::Backup`].
    pub fn from_backup(name: &str, content: &[u8]) -> Result<(Self, BackupSummary), SourceError> {
        let (summary, state) = read_backup(content)?;
        let identity = summary.identity.clone();
        let (name, position) = (name.to_owned(), summary.position);
        Ok((Self { name, kind: SourceKind::Backup, identity, position, uncommitted: 0, state }, summary))
    }

    /// The data directory of a node that is stopped. Reads only.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn from_survivor(dir: &Path) -> Result<Self, SourceError> {
        let survivor = Survivor::open(dir)?;
        let (state, position) = replay(&survivor)?;
        let identity = state.identity().cloned().ok_or(SourceError::Empty)?;
        let marker = ClusterId(survivor.identity.cluster_id);
        if identity.cluster_id != marker {
            return Err(SourceError::TwoClusters { marker, state: identity.cluster_id });
        }
        let committed = survivor.wal.committed().map_or(0, |committed| committed.index);
        let uncommitted = position.map_or(0, |last| last.index.saturating_sub(committed));
        let name = dir.display().to_string();
        Ok(Self { name, kind: SourceKind::Survivor, identity, position, uncommitted, state })
    }

    /// The greatest marks that it knows.
    #[must_use]
    pub fn maxima(&self) -> Maxima {
        Maxima::of(&self.state)
    }
}

/// Digests of past indexes, to compare with those that proposers wrote: far more than entries are in flight.
const DIGESTS_KEPT: usize = 4_096;

/// Payload bytes read from the log at one time.
const READ_BYTES: usize = 8 << 20;

/// Snapshot, then the whole log.
fn replay(survivor: &Survivor) -> Result<(State, Option<LogPosition>), SourceError> {
    let (mut state, mut position) = match survivor.snapshots.latest()? {
        None => (State::default(), None),
        Some(snapshot) => {
            let records = snapshot_body::decode(&snapshot.body)?;
            (State::from_records(records)?, snapshot.info.position)
        }
    };
    let (covered, snapshot) = (position, position.map(|position| position.index));
    if let Some(first) = survivor.wal.first().map(|first| first.index)
        && first > snapshot.map_or(0, |snapshot| snapshot.saturating_add(1))
    {
        return Err(SourceError::Gap { first, snapshot });
    }
    if survivor.wal.first().is_none()
        && let Some(purged) = survivor.wal.purged().filter(|purged| Some(purged.index) > snapshot)
    {
        return Err(SourceError::Gap { first: purged.index.saturating_add(1), snapshot });
    }
    let mut digests = BTreeMap::new();
    let mut next = snapshot.map_or(0, |snapshot| snapshot.saturating_add(1));
    loop {
        let entries = survivor.wal.read(next.., READ_BYTES)?;
        let Some((last, _)) = entries.last() else { return Ok((state, position)) };
        next = last.index.saturating_add(1);
        // Behind an installed snapshot, entries may be left that lost an election: of an older term than what is known
        // to be agreed, they never were and never will be.
        let lost = |at: &LogPosition| covered.is_some_and(|covered| at.term < covered.term);
        for (at, bytes) in entries.iter().filter(|(at, _)| !lost(at)) {
            if let EntryPayload::Normal(proposal) = typ::decode_entry(at, bytes)?.payload {
                State::knows(&proposal.0)?;
                compare(&digests, &proposal.0)?;
                state.apply(&proposal.0);
            }
            digests.insert(at.index, state.digest());
            if digests.len() > DIGESTS_KEPT {
                digests.pop_first();
            }
            position = Some(*at);
        }
    }
}

fn compare(digests: &BTreeMap<u64, Root>, batch: &CommandBatch) -> Result<(), SourceError> {
    let Some(Checkpoint { index, digest: there }) = batch.checkpoint else { return Ok(()) };
    match digests.get(&index) {
        Some(here) if *here != there => Err(SourceError::Diverged { index, here: *here, there }),
        Some(_) | None => Ok(()),
    }
}
