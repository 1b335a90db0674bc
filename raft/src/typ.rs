//! openraft's types for this cluster, named once. They do not leave the crate.

use crate::types::Member;
use bytes::Bytes;
use consigner_rules::codec::{self, DecodeError};
use consigner_rules::{CommandBatch, Outcome};
use consigner_storage::LogPosition;
use openraft::{CommittedLeaderId, EntryPayload};
use serde::{Deserialize, Serialize};
use std::io::Cursor;
use std::sync::Arc;

/// The payload of an entry; shared, because openraft clones entries on their way to the log, the peers and `apply`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal(pub Arc<CommandBatch>);

/// What applying an entry answers: one outcome per command, none for blank and membership entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer(pub Vec<Outcome>);

openraft::declare_raft_types!(
    /// The types of this cluster.
    pub TypeConfig:
        D = Proposal,
        R = Answer,
        NodeId = u64,
        Node = Member,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = Cursor<Vec<u8>>,
        AsyncRuntime = openraft::TokioRuntime,
);

pub type Entry = openraft::Entry<TypeConfig>;
pub type LogId = openraft::LogId<u64>;
pub type Vote = openraft::Vote<u64>;
pub type Raft = openraft::Raft<TypeConfig>;
pub type Metrics = openraft::RaftMetrics<u64, Member>;
pub type StorageError = openraft::StorageError<u64>;
pub type StoredMembership = openraft::StoredMembership<u64, Member>;
pub type SnapshotMeta = openraft::SnapshotMeta<u64, Member>;
pub type Snapshot = openraft::Snapshot<TypeConfig>;
pub type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;
pub type AppendResponse = openraft::raft::AppendEntriesResponse<u64>;
pub type VoteRequest = openraft::raft::VoteRequest<u64>;
pub type VoteResponse = openraft::raft::VoteResponse<u64>;
pub type InstallRequest = openraft::raft::InstallSnapshotRequest<TypeConfig>;
pub type InstallResponse = openraft::raft::InstallSnapshotResponse<u64>;

/// The storage's form of a log id.
pub fn position(log_id: &LogId) -> LogPosition {
    LogPosition { term: log_id.leader_id.term, node: log_id.leader_id.node_id, index: log_id.index }
}

/// openraft's form of a position.
pub fn log_id(position: &LogPosition) -> LogId {
    LogId::new(CommittedLeaderId::new(position.term, position.node), position.index)
}

/// The bytes of an entry in the log. Equal entries have equal bytes on every node.
pub fn encode_entry(entry: &Entry) -> Bytes {
    codec::encode(&entry.payload).into()
}

/// Back from [`encode_entry`].
pub fn decode_entry(position: &LogPosition, bytes: &[u8]) -> Result<Entry, DecodeError> {
    let payload: EntryPayload<TypeConfig> = codec::decode(bytes)?;
    Ok(Entry { log_id: log_id(position), payload })
}
