//! What travels through the log, and what applying it answers: plain values, no behaviour.
//!
//! In: nothing. Out: types. A [`CommandBatch`] is the payload of one Raft entry; [`Outcome`]s answer its commands in
//! order; [`Change`]s tell the archive and the metrics what happened.

mod answer;
mod lifecycle;
mod recorded;
#[cfg(test)]
mod tests;

use crate::archive::ArchiveMark;
use crate::policy::{Policy, TokenRecord};
use crate::primitives::{ClusterId, Epoch, PublicKey, RequestId, Root, Slot};
use crate::slashing::{AgreedDuty, Ruling};
pub use answer::{Change, KeyDeletion, Outcome, Rejection};
pub use lifecycle::{Floor, JoinToken, NodePosition};
pub use recorded::{RefusedRecord, SignedRecord};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Upper bound of one encoded command and of one encoded batch, in bytes.
///
/// openraft 0.9 gives an append one heartbeat interval to cross and resends for ever, so an entry must cross quickly
/// on any link that deserves a cluster.
pub const COMMAND_BYTES_MAX: usize = 256 * 1024;

/// The payload of one Raft entry: commands that arrived together, judged in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandBatch {
    /// Milliseconds since the Unix epoch at the proposer; information for the archive, never part of a decision.
    pub proposed_at_ms: u64,
    /// The proposer's state digest at an index that it had applied; a node that disagrees must stop (invariant S8).
    pub checkpoint: Option<Checkpoint>,
    /// The commands, in the order in which they are judged.
    pub commands: Vec<Command>,
}

/// A state digest at a log index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Log index after whose application the digest holds.
    pub index: u64,
    /// [`crate::State::digest`] at that index.
    pub digest: Root,
}

/// One change that a node proposes to the replicated state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Gives the cluster its identity; the first command of every cluster, refused ever after.
    Initialise(ClusterIdentity),
    /// Asks whether a slashable message (or an exit) may be signed, and records it if so.
    Sign(SignIntent),
    /// Adds a wrapped data key under which sealed keys may lie.
    AddDataKey(DataKey),
    /// Adds one validator key together with its history, history first.
    ImportKey {
        /// The sealed key.
        sealed: SealedKey,
        /// What the key signed elsewhere, if known.
        history: Option<HistoryImport>,
        /// How often the key had been deleted when the import was decided on ([`crate::State::deletions`]). One that
        /// was deleted since is not brought back: not by a proposal that was sent twice or arrived late, and not by a
        /// source that does not know of the deletion (it says 0).
        deletions_seen: u64,
    },
    /// Merges history of one validator; never lowers a watermark.
    ImportHistory(HistoryImport),
    /// Sets or clears the global high watermark, at or above which nothing is signed.
    SetHighWatermark(Option<HighWatermark>),
    /// Makes every admission under an older policy stale.
    RenewPolicy,
    /// Removes one validator's sealed key. Its history stays for ever.
    DeleteKey {
        /// The validator.
        public_key: PublicKey,
        /// As in [`Command::ImportKey`]: a key that was deleted since and is held again is not deleted a second time.
        deletions_seen: u64,
    },
    /// Replaces sealed keys by the same keys sealed anew, e.g. under another data key.
    Reseal(Vec<ResealedKey>),
    /// Removes a data key under which no key is sealed any more.
    RemoveDataKey(#[serde(with = "serde_bytes")] [u8; 16]),
    /// Replaces the access policy and makes every admission under the older one stale.
    SetPolicy {
        /// What holds from here on.
        policy: Box<Policy>,
        /// The policy version that it was decided on; of two changes at a time the later one is rejected.
        replaces: u64,
    },
    /// Adds a bearer token.
    AddToken {
        /// The token.
        token: TokenRecord,
        /// The policy version under which it was made. A token that was revoked since is not brought back by a proposal
        /// that was sent twice or arrived late: every revocation raises the version.
        policy_version: u64,
    },
    /// Removes a bearer token and makes every admission before it stale.
    RevokeToken {
        /// The token.
        #[serde(with = "serde_bytes")]
        id: [u8; 8],
    },
    /// Notes how far a node's audit log has come, so that a shortened or rewritten one is found.
    AnchorAudit(AuditAnchor),
    /// Judges by these rules from here on; proposed once every member can.
    RaiseRules {
        /// The version.
        version: u32,
    },
    /// Lets one node join, once.
    AddJoinToken(JoinToken),
    /// Takes that leave back.
    RevokeJoinToken {
        /// The token.
        #[serde(with = "serde_bytes")]
        id: [u8; 8],
    },
    /// Admits a node that showed a join token. The token is used up, and so is the node's id, for ever.
    AdmitNode {
        /// The node.
        node: u64,
        /// Name in its certificate.
        name: String,
        /// What tells this disk from any other that had, or will have, its id.
        #[serde(with = "serde_bytes")]
        incarnation: [u8; 16],
        /// The token that it showed.
        #[serde(with = "serde_bytes")]
        token: [u8; 8],
    },
    /// Notes that a node left: its id is used up, and how far it had come does not matter any more.
    RetireNode {
        /// The node.
        node: u64,
    },
    /// Notes how far nodes have come, so that one which comes back with less is found. Positions only rise.
    NotePositions(BTreeMap<u64, NodePosition>),
    /// Ends the wait after a restore: raises all histories to a floor and lets the keys sign.
    Resume(Floor),
    /// Notes that everything up to a mark lies in the archive, so that all nodes may purge it from their outboxes.
    AdvanceArchive {
        /// The log index of the mark that the proposer knew, 0 without one.
        after: u64,
        /// The mark from here on.
        mark: ArchiveMark,
    },
}

/// How far an audit log has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditAnchor {
    /// The node that writes the log.
    pub node: u64,
    /// The Ed25519 key that signs the log's checkpoints.
    #[serde(with = "serde_bytes")]
    pub public_key: [u8; 32],
    /// Number of the last line that is covered.
    pub sequence: u64,
    /// The chain's hash after that line.
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
}

/// What a cluster is, fixed at its initialisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterIdentity {
    /// Random identity of the cluster.
    pub cluster_id: ClusterId,
    /// Name of the network, for people.
    pub network: String,
    /// The chain's genesis validators root; requests and imports for another chain are refused.
    pub genesis_validators_root: Root,
}

/// A request to sign something that must be agreed first, as it travels through the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIntent {
    /// Names this request, so that an answer can be matched to the question.
    pub request_id: RequestId,
    /// The validator.
    pub public_key: PublicKey,
    /// What is to be signed, as far as the slashing rule needs to know.
    pub duty: AgreedDuty,
    /// What the BLS signature will cover.
    pub signing_root: Root,
    /// The authenticated client that asked.
    pub peer: String,
    /// The policy version under which the client was admitted.
    pub policy_version: u64,
}

/// The judgement on one [`SignIntent`], echoing the committed record. Permits are minted from this and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The request that is answered.
    pub request_id: RequestId,
    /// The validator of the committed record.
    pub public_key: PublicKey,
    /// The duty of the committed record.
    pub duty: AgreedDuty,
    /// The signing root of the committed record.
    pub signing_root: Root,
    /// The judgement.
    pub ruling: Ruling,
}

/// A data key of the key store, wrapped by a sealer (local key file, KMS, Vault). The plain data key never rests.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataKey {
    /// Random name of the data key.
    #[serde(with = "serde_bytes")]
    pub id: [u8; 16],
    /// The sealer that wrapped it, e.g. `local`.
    pub sealer: String,
    /// The wrapped bytes, meaningful to the sealer only.
    #[serde(with = "serde_bytes")]
    pub wrapped: Vec<u8>,
}

/// A validator's secret key, encrypted under a data key (AES-256-GCM).
///
/// Associated data: format version, cluster id, public key, data-key id.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedKey {
    /// Layout of associated data and ciphertext; 1 in this version.
    pub format: u8,
    /// The validator.
    pub public_key: PublicKey,
    /// The data key that encrypts it.
    #[serde(with = "serde_bytes")]
    pub data_key: [u8; 16],
    /// AES-GCM nonce, random for every sealing.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 12],
    /// Encrypted secret and authentication tag.
    #[serde(with = "serde_bytes")]
    pub ciphertext: Vec<u8>,
}

/// A key sealed anew. It replaces the one that is held only if that one still lies under `from`, so that a key that was
/// deleted, imported again or moved meanwhile is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResealedKey {
    /// The data key under which the key lay when it was sealed anew.
    #[serde(with = "serde_bytes")]
    pub from: [u8; 16],
    /// What replaces it.
    pub sealed: SealedKey,
}

/// History of one validator reduced to what the minimal rule keeps (EIP-3076, "minimal" strategy).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryImport {
    /// The validator.
    pub public_key: PublicKey,
    /// The newest block that was signed elsewhere.
    pub block: Option<ImportedBlock>,
    /// The attestation maxima of elsewhere.
    pub attestation: Option<ImportedAttestation>,
}

/// The newest imported block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedBlock {
    /// Greatest slot in the import.
    pub slot: Slot,
    /// The one signing root that the import names at that slot; `None` when it names none or several.
    pub signing_root: Option<Root>,
}

/// Maxima over all imported attestations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedAttestation {
    /// Greatest source epoch in the import.
    pub max_source_epoch: Epoch,
    /// Greatest target epoch in the import.
    pub max_target_epoch: Epoch,
    /// Source and root of the one attestation at the greatest target; `None` when there is no root or several.
    pub at_max_target: Option<(Epoch, Root)>,
}

/// A global limit as Web3Signer has it: nothing at or above it is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HighWatermark {
    /// Source and target epochs must stay below.
    pub epoch: Epoch,
    /// Block slots must stay below.
    pub slot: Slot,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DataKey({}, {})", hex::encode(self.id), self.sealer)
    }
}

impl fmt::Debug for SealedKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SealedKey({})", self.public_key)
    }
}
