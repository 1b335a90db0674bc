//! What applying commands answers: outcomes for who asked, changes for the archive and the metrics.

use super::{AuditAnchor, ClusterIdentity, Floor, HighWatermark, HistoryImport, Verdict};
use crate::policy::BadToken;
use crate::primitives::{ClusterId, PublicKey, Root};
use crate::slashing::AgreedDuty;
use serde::{Deserialize, Serialize};

/// The answer to one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The cluster has its identity now.
    Initialised,
    /// The judgement on an intent.
    Judged(Verdict),
    /// The data key is held (again, if it already was).
    DataKeyHeld,
    /// The key is held and enabled.
    KeyImported {
        /// The validator.
        public_key: PublicKey,
        /// Whether it was held before; its history was merged either way.
        duplicate: bool,
    },
    /// History was merged.
    HistoryMerged {
        /// The validator.
        public_key: PublicKey,
        /// Whether any watermark rose (or a newest root became unrepeatable).
        raised: bool,
    },
    /// The global high watermark stands as asked.
    HighWatermarkSet,
    /// The policy version from here on.
    PolicyRenewed(u64),
    /// The key is not held (any more); its history is kept.
    KeyDeleted {
        /// The validator.
        public_key: PublicKey,
        /// What was there to delete.
        status: KeyDeletion,
    },
    /// Keys were sealed anew.
    Resealed {
        /// Keys that lie under their new sealing now.
        replaced: u64,
        /// Keys left as they were: not held, or not under the data key that the command expected.
        skipped: u64,
    },
    /// The data key is not held (any more).
    DataKeyRemoved {
        /// Whether it was held before.
        was_held: bool,
    },
    /// The token is held (again, if it already was).
    TokenHeld,
    /// The token is not held (any more).
    TokenRevoked {
        /// Whether it was held before.
        was_held: bool,
        /// The policy version from here on.
        version: u64,
    },
    /// The anchor is held.
    AuditAnchored,
    /// The command changed nothing.
    Rejected(Rejection),
    /// The rules by which is judged from here on.
    RulesRaised(u32),
    /// The join token is held (again, if it already was).
    JoinTokenHeld,
    /// The join token is not held (any more).
    JoinTokenRevoked {
        /// Whether it was held before.
        was_held: bool,
    },
    /// The node may become a member (still, if it was admitted already).
    NodeAdmitted,
    /// The node's id is used up.
    NodeRetired,
    /// No position is held that lies below the ones asked for.
    PositionsNoted,
    /// The keys may sign.
    Resumed {
        /// Validators whose history rose to the floor.
        raised: u64,
    },
    /// The archive's mark stands where it was asked to (still, if it already did).
    ArchiveAdvanced,
}

/// What a deletion found; the statuses of the key manager API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyDeletion {
    /// The key was held and is not any more.
    Deleted,
    /// The key was not held, but there is history of it.
    NotActive,
    /// Neither key nor history.
    NotFound,
}

/// Why a command changed nothing. A verdict of the state machine, equal on all nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Rejection {
    /// The cluster has an identity already.
    #[error("the cluster is initialised already, as {0}")]
    AlreadyInitialised(ClusterId),
    /// Nothing can happen before `Initialise`.
    #[error("the cluster is not initialised yet")]
    NotInitialised,
    /// A sealed key names a data key that the cluster does not hold.
    #[error("the sealed key names a data key that the cluster does not hold")]
    UnknownDataKey,
    /// A data key of that id but other content exists.
    #[error("another data key of the same id is held already")]
    DataKeyConflict,
    /// The history belongs to another validator than the key.
    #[error("key {key} and history {history} belong to different validators")]
    ForeignHistory {
        /// Public key of the sealed key.
        key: PublicKey,
        /// Public key of the history.
        history: PublicKey,
    },
    /// The high watermark would lie at or below something that was signed.
    #[error("the high watermark would not lie above the slots and epochs signed by {0}")]
    HighWatermarkBelowHistory(PublicKey),
    /// The key was deleted after the command was decided on.
    #[error(
        "the key was deleted meanwhile ({deletions} times in all); import or delete it again if that is still wanted"
    )]
    DeletedMeanwhile {
        /// How often the key has been deleted.
        deletions: u64,
    },
    /// Keys are still sealed under the data key that was to be removed.
    #[error("{keys} validator keys are still sealed under the data key")]
    DataKeyInUse {
        /// How many.
        keys: u64,
    },
    /// The policy is not any more the one that the command was decided on.
    #[error("the policy changed meanwhile, to version {version}; look at it and decide anew")]
    PolicyChangedMeanwhile {
        /// The version that holds.
        version: u64,
    },
    /// The policy would not fit into a record.
    #[error("the policy takes {bytes} bytes, more than the {} that are kept", crate::policy::POLICY_BYTES_MAX)]
    PolicyTooLarge {
        /// Encoded size.
        bytes: u64,
    },
    /// A token names a role that the policy does not have.
    #[error("the policy has no role \"{0}\"")]
    UnknownRole(String),
    /// A token of that id but other content exists.
    #[error("another token of the same id is held already")]
    TokenConflict,
    /// There are as many tokens as a cluster holds.
    #[error("the cluster holds {} tokens already; revoke some", crate::policy::TOKENS_MAX)]
    TooManyTokens,
    /// The token is not one that a cluster keeps.
    #[error("{0}")]
    BadToken(BadToken),
    /// The audit log was anchored further on, or at the same line with another hash.
    #[error("this audit log is anchored at line {sequence} already, which the new anchor does not continue")]
    AuditWentBack {
        /// Where it is anchored.
        sequence: u64,
    },
    /// The key that signs the audit log belongs to another node's log.
    #[error("the audit key belongs to the log of node {node}")]
    AuditKeyOfAnother {
        /// The node.
        node: u64,
    },
    /// There are as many anchors as a cluster holds.
    #[error("the cluster holds {} audit anchors already", crate::state::AUDIT_ANCHORS_MAX)]
    TooManyAudits,
    /// The cluster judges by rules that do not know the command yet.
    #[error("the command needs rules version {needed}; the cluster raises its rules once every member knows them")]
    NeedsRules {
        /// The version that it needs.
        needed: u32,
    },
    /// Rules are never lowered.
    #[error("the cluster judges by rules version {current} already")]
    RulesWentBack {
        /// The version that holds.
        current: u32,
    },
    /// No such join token, or it was used.
    #[error("the join token is not known: it was used, revoked, or never made here")]
    JoinTokenUnknown,
    /// The join token is for another node.
    #[error("the join token was made for node {node}")]
    JoinTokenOfOtherNode {
        /// The node that it was made for.
        node: u64,
    },
    /// There are as many join tokens as a cluster holds.
    #[error("the cluster holds {} join tokens already; revoke some", crate::state::JOIN_TOKENS_MAX)]
    TooManyJoinTokens,
    /// Node ids are used once.
    #[error("the id {node} was used by a node before; choose one that never was")]
    NodeIdUsed {
        /// The id.
        node: u64,
    },
    /// There are as many nodes, present and past, as a cluster remembers.
    #[error("the cluster remembers {} nodes already", crate::state::NODES_MAX)]
    TooManyNodes,
    /// The cluster was not restored, or was resumed already.
    #[error("the cluster does not wait for a floor: its keys sign")]
    NotAwaitingFloor,
    /// The floor lies below something that was signed.
    #[error("the floor lies below what is known to be signed by {0}")]
    FloorBelowHistory(PublicKey),
    /// The archive's mark is not where the proposer knew it, or would not move on.
    #[error("the archive stands at log index {index}, which the new mark does not continue")]
    ArchiveMoved {
        /// Where it is, 0 before anything was archived.
        index: u64,
    },
}

/// Something that happened, for the archive, the audit, the keyrings and the metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// The cluster got its identity.
    ClusterInitialised(ClusterIdentity),
    /// A message was recorded and its signature may leave.
    Signed {
        /// The validator.
        public_key: PublicKey,
        /// What was recorded.
        duty: AgreedDuty,
        /// What the signature covers.
        signing_root: Root,
        /// The client that asked.
        peer: String,
    },
    /// A message was refused for ever.
    Refused {
        /// The validator.
        public_key: PublicKey,
        /// What was asked.
        duty: AgreedDuty,
        /// What the signature would have covered.
        signing_root: Root,
        /// The client that asked.
        peer: String,
        /// Why.
        violation: crate::slashing::Violation,
    },
    /// A data key was added.
    DataKeyAdded([u8; 16]),
    /// A key was added and enabled.
    KeyAdded(PublicKey),
    /// Imported history was merged.
    HistoryMerged(HistoryImport),
    /// The global high watermark changed.
    HighWatermarkSet(Option<HighWatermark>),
    /// The policy version rose to this.
    PolicyRenewed(u64),
    /// A key was removed.
    KeyRemoved(PublicKey),
    /// Keys were sealed anew under this data key.
    KeysResealed {
        /// The data key.
        #[serde(with = "serde_bytes")]
        data_key: [u8; 16],
        /// How many keys.
        keys: u64,
    },
    /// A data key was removed.
    DataKeyRemoved(#[serde(with = "serde_bytes")] [u8; 16]),
    /// A token was added.
    TokenAdded {
        /// Its public part.
        #[serde(with = "serde_bytes")]
        id: [u8; 8],
        /// What people call it.
        name: String,
    },
    /// A token was removed.
    TokenRevoked {
        /// Its public part.
        #[serde(with = "serde_bytes")]
        id: [u8; 8],
        /// What people called it.
        name: String,
    },
    /// A node's audit log has come this far.
    AuditAnchored(AuditAnchor),
    /// The cluster judges by these rules from here on.
    RulesRaised(u32),
    /// A node may join.
    JoinTokenAdded {
        /// The token's public part.
        #[serde(with = "serde_bytes")]
        id: [u8; 8],
        /// The node.
        node: u64,
    },
    /// A node may not join with this token any more.
    JoinTokenRevoked {
        /// The token's public part.
        #[serde(with = "serde_bytes")]
        id: [u8; 8],
        /// The node.
        node: u64,
    },
    /// A node was admitted and its join token used up.
    NodeAdmitted {
        /// The node.
        node: u64,
        /// Name in its certificate.
        name: String,
        /// What tells its disk from others.
        #[serde(with = "serde_bytes")]
        incarnation: [u8; 16],
    },
    /// A node left for good.
    NodeRetired {
        /// The node.
        node: u64,
    },
    /// After a restore: all histories were raised to this floor, and the keys sign.
    Resumed(Floor),
    /// [`Change::Signed`] since rules version 3.
    SignedVia {
        /// The validator.
        public_key: PublicKey,
        /// What was recorded.
        duty: AgreedDuty,
        /// What the signature covers.
        signing_root: Root,
        /// The client that asked.
        peer: String,
        /// The node that it asked ([`crate::primitives::RequestId::node`]).
        node: u64,
    },
    /// [`Change::Refused`] since rules version 3.
    RefusedVia {
        /// The validator.
        public_key: PublicKey,
        /// What was asked.
        duty: AgreedDuty,
        /// What the signature would have covered.
        signing_root: Root,
        /// The client that asked.
        peer: String,
        /// Why.
        violation: crate::slashing::Violation,
        /// The node that it asked ([`crate::primitives::RequestId::node`]).
        node: u64,
    },
}
