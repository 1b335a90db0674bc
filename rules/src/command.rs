//! What travels through the log, and what applying it answers: plain values, no behaviour.
//!
//! In: nothing. Out: types. A [`CommandBatch`] is the payload of one Raft entry; [`Outcome`]s answer its commands in
//! order; [`Change`]s tell the archive, the keyrings and the metrics what happened.

use crate::primitives::{ClusterId, Epoch, PublicKey, RequestId, Root, Slot};
use crate::slashing::{AgreedDuty, Ruling};
use serde::{Deserialize, Serialize};
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
    },
    /// Merges history of one validator; never lowers a watermark.
    ImportHistory(HistoryImport),
    /// Sets or clears the global high watermark, at or above which nothing is signed.
    SetHighWatermark(Option<HighWatermark>),
    /// Makes every admission under an older policy stale.
    RenewPolicy,
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
    /// The command changed nothing.
    Rejected(Rejection),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec;

    #[test]
    fn debug_shows_no_key_material() {
        let data_key = DataKey { id: [0x11; 16], sealer: "local".to_owned(), wrapped: vec![0xee; 40] };
        assert_eq!(format!("{data_key:?}"), format!("DataKey({}, local)", "11".repeat(16)));
        let sealed = SealedKey {
            format: 1,
            public_key: PublicKey([0x22; 48]),
            data_key: [0x11; 16],
            nonce: [0xdd; 12],
            ciphertext: vec![0xee; 48],
        };
        let command = Command::ImportKey { sealed, history: None };
        let text = format!("{command:?}");
        assert!(text.contains(&format!("SealedKey({})", PublicKey([0x22; 48]))), "{text}");
        assert!(!text.contains("238") && !text.contains("221") && !text.contains("eeee"), "{text}");
    }

    #[test]
    fn a_thousand_intents_fit_into_one_entry() {
        let intent = SignIntent {
            request_id: RequestId([0xff; 16]),
            public_key: PublicKey([0xff; 48]),
            duty: AgreedDuty::Attestation { source_epoch: u64::MAX - 1, target_epoch: u64::MAX },
            signing_root: Root([0xff; 32]),
            peer: "validator-client-01.example".to_owned(),
            policy_version: u64::MAX,
        };
        let commands = vec![Command::Sign(intent); 1_000];
        let batch = CommandBatch { proposed_at_ms: u64::MAX, checkpoint: None, commands };
        assert!(codec::encode(&batch).len() <= COMMAND_BYTES_MAX, "{}", codec::encode(&batch).len());
    }
}
