//! A consistent copy of everything that the cluster has agreed on, from any node, while it signs.
//!
//! In: the applied state, after a barrier, so that what was acknowledged before the backup was asked for is in it. Out:
//! the content of a backup (form: [`consigner_storage::backup`]), and back with every check that it allows. Deliberately
//! absent: encryption and files, which are the operator's side of the call.

use crate::cluster::{Cluster, Unavailable};
use crate::typ;
use consigner_rules::codec::{self, DecodeError};
use consigner_rules::command::ClusterIdentity;
use consigner_rules::state::CorruptRecord;
use consigner_rules::{Epoch, Root, Slot, State};
use consigner_storage::LogPosition;
use consigner_storage::backup::{self, ContentError};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a backup says about itself; written into it, and compared with it when it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSummary {
    /// The cluster.
    pub identity: ClusterIdentity,
    /// Last applied entry; everything before it is in the backup.
    pub position: Option<LogPosition>,
    /// [`State::digest`] over the records.
    pub digest: Root,
    /// The rules by which the cluster judged.
    pub rules_version: u32,
    /// The members at that entry.
    pub members: BTreeMap<u64, BackupMember>,
    /// The node that made it.
    pub node: u64,
    /// When, milliseconds since the Unix epoch by that node's clock: information, never part of a decision.
    pub taken_at_ms: u64,
    /// Version of the binary.
    pub version: String,
    /// How many records.
    pub records: u64,
    /// Validators with a key.
    pub keys: u64,
    /// The greatest marks of all validators.
    pub maxima: Maxima,
}

/// A member as it advertised itself; of its own, so that what a member is may grow without changing old backups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupMember {
    /// Name in its certificate.
    pub name: String,
    /// `host:port` between the nodes.
    pub peer_addr: String,
    /// `https://host:port`, or empty.
    pub api_url: String,
    /// Whether it voted.
    pub voter: bool,
}

/// The greatest slot and epochs that any validator has signed or imported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maxima {
    /// Validators with a history.
    pub validators: u64,
    /// Greatest block slot.
    pub slot: Option<Slot>,
    /// Greatest source epoch.
    pub source: Option<Epoch>,
    /// Greatest target epoch.
    pub target: Option<Epoch>,
}

impl Maxima {
    /// Of all validators of a state.
    #[must_use]
    pub fn of(state: &State) -> Self {
        state.histories().fold(Self::default(), |maxima, history| {
            let signed = history.block.is_some() || history.attestation.is_some();
            Self {
                validators: maxima.validators + u64::from(signed),
                slot: maxima.slot.max(history.block.map(|block| block.slot)),
                source: maxima.source.max(history.attestation.map(|vote| vote.max_source_epoch)),
                target: maxima.target.max(history.attestation.map(|vote| vote.max_target_epoch)),
            }
        })
    }
}

/// Why a node makes no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Nothing to back up.
    #[error("the cluster is not initialised yet")]
    NotInitialised,
    /// No leader confirmed that this node has everything.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A bug.
    #[error("making the backup panicked")]
    Panicked,
}

/// Why the content of a backup is not used.
#[derive(Debug, thiserror::Error)]
pub enum ReadBackupError {
    /// Damaged, or another form.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The description cannot be decoded.
    #[error("the description in the backup cannot be read by this version")]
    Summary(#[from] DecodeError),
    /// A record cannot be decoded, or asks for a newer binary.
    #[error("a record in the backup cannot be read by this version")]
    Record(#[from] CorruptRecord),
    /// The parts do not belong together.
    #[error("the backup does not hold what it says about itself: {0}")]
    Mismatch(String),
}

impl Cluster {
    /// The content of a backup that covers everything acknowledged before the call. `now_ms` is written into it.
    ///
    /// # Errors
    /// [`BackupError`].
    pub async fn backup(&self, now_ms: u64, deadline: Duration) -> Result<(BackupSummary, Vec<u8>), BackupError> {
        self.barrier(deadline).await?;
        let (state, standing) = self.inner.shared.read_standing(|state, standing| (state.clone(), standing.clone()));
        let identity = state.identity().cloned().ok_or(BackupError::NotInitialised)?;
        let membership = standing.membership.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let members = membership.nodes().map(|(id, member)| {
            let member = BackupMember {
                name: member.name.clone(),
                peer_addr: member.peer_addr.clone(),
                api_url: member.api_url.clone(),
                voter: voters.contains(id),
            };
            (*id, member)
        });
        let mut summary = BackupSummary {
            identity,
            position: standing.applied.as_ref().map(typ::position),
            digest: state.digest(),
            rules_version: state.rules_version(),
            members: members.collect(),
            node: self.node_id(),
            taken_at_ms: now_ms,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            records: 0,
            keys: state.keys().count() as u64,
            maxima: Maxima::default(),
        };
        let encoded = tokio::task::spawn_blocking(move || {
            summary.records = state.records().count() as u64;
            summary.maxima = Maxima::of(&state);
            let records = state.records().map(|record| (record.key, record.value));
            let content = backup::encode(&codec::encode(&summary), records);
            (summary, content)
        });
        encoded.await.map_err(|_| BackupError::Panicked)
    }
}

/// Reads the content of a backup and compares it with what it says about itself.
///
/// # Errors
/// [`ReadBackupError`]; nothing of a refused backup is used.
pub fn read_backup(content: &[u8]) -> Result<(BackupSummary, State), ReadBackupError> {
    let content = backup::decode(content)?;
    let summary: BackupSummary = codec::decode(&content.meta)?;
    let mismatch = |what: String| Err(ReadBackupError::Mismatch(what));
    if content.records.len() as u64 != summary.records {
        return mismatch(format!("{} records instead of {}", content.records.len(), summary.records));
    }
    let state = State::from_records(content.records)?;
    if state.digest() != summary.digest {
        return mismatch(format!("its records have digest {}, not {}", state.digest(), summary.digest));
    }
    if state.identity() != Some(&summary.identity) {
        return mismatch("its records belong to another cluster".to_owned());
    }
    if Maxima::of(&state) != summary.maxima {
        return mismatch("its greatest slots and epochs are others".to_owned());
    }
    Ok((summary, state))
}
