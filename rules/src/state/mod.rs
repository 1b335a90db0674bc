//! The replicated state and how a committed batch changes it.
//!
//! In: a log index and a [`CommandBatch`]. Out: [`Applied`]: outcomes in command order, changes, and the records to
//! persist. The verdict on a slashable message is reached here and nowhere else, on every node alike.
//! Deliberately absent: I/O, clocks, randomness, logging; a clone of the state plus the same batch is the same answer.

mod access;
#[cfg(test)]
mod access_tests;
mod apply;
mod archive;
#[cfg(test)]
mod archive_tests;
mod digest;
mod floor;
#[cfg(test)]
mod floor_tests;
#[cfg(test)]
mod key_tests;
mod keys;
#[cfg(test)]
mod node_tests;
mod nodes;
mod records;
mod rules;
#[cfg(test)]
mod rules_tests;
#[cfg(test)]
mod tests;

use crate::archive::ArchiveMark;
use crate::command::{
    AuditAnchor, Change, ClusterIdentity, DataKey, HighWatermark, HistoryImport, ImportedAttestation, ImportedBlock,
    JoinToken, NodePosition, Outcome, SealedKey,
};
use crate::policy::TokenRecord;
use crate::primitives::{PublicKey, Root};
use crate::slashing::History;
pub use access::AUDIT_ANCHORS_MAX;
use access::HeldPolicy;
use digest::Digest;
use floor::HeldFloor;
pub use floor::Rebirth;
pub use keys::TouchedKeys;
pub use nodes::{JOIN_TOKENS_MAX, NODES_MAX, NodeRecord};
pub use records::{CorruptRecord, Record, RecordWrite};
use rules::RULES_VERSION_AT_BIRTH;
pub use rules::{RULES_VERSION, TooNew};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Everything that the cluster agrees on.
#[derive(Debug, Clone, Default)]
pub struct State {
    cluster: Cluster,
    data_keys: BTreeMap<[u8; 16], DataKey>,
    validators: BTreeMap<PublicKey, Validator>,
    policy: Option<HeldPolicy>,
    tokens: BTreeMap<[u8; 8], Arc<TokenRecord>>,
    audit_anchors: BTreeMap<[u8; 32], AuditAnchor>,
    join_tokens: BTreeMap<[u8; 8], JoinToken>,
    nodes: BTreeMap<u64, NodeRecord>,
    positions: BTreeMap<u64, NodePosition>,
    floor: Option<HeldFloor>,
    archive_mark: Option<ArchiveMark>,
    digest: Digest,
}

/// The part of the state that is not about one validator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Identity, once initialised.
    pub identity: Option<ClusterIdentity>,
    /// The rules by which `apply` judges; raised only by a command.
    pub rules_version: u32,
    /// Version of the access policy; admissions under another one are stale.
    pub policy_version: u64,
    /// The operator's global limit, if set.
    pub high_watermark: Option<HighWatermark>,
}

impl Default for Cluster {
    fn default() -> Self {
        Self { identity: None, rules_version: RULES_VERSION_AT_BIRTH, policy_version: 1, high_watermark: None }
    }
}

/// One validator: its key, if held, and what it signed. History outlives the key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validator {
    /// The sealed key, shared with snapshots and keyrings.
    pub key: Option<Arc<SealedKey>>,
    /// What it signed, here or elsewhere.
    pub history: History,
    /// How often its key was deleted.
    pub deletions: u64,
}

/// What applying one batch brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// One per command, in order.
    pub outcomes: Vec<Outcome>,
    /// What happened, in order; empty when nothing was recorded.
    pub changes: Vec<Change>,
    /// The keys that came, moved or went: the keyrings follow them.
    pub touched: TouchedKeys,
    /// Whether the policy, its version or the tokens changed: whoever admits callers follows them.
    pub admission_changed: bool,
    /// The records to persist or to remove, each once, with its content after the batch.
    pub records: Vec<RecordWrite>,
}

impl State {
    /// The part of the state that is not about one validator.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The cluster's identity, once initialised.
    #[must_use]
    pub const fn identity(&self) -> Option<&ClusterIdentity> {
        self.cluster.identity.as_ref()
    }

    /// One validator, whether or not its key is held.
    #[must_use]
    pub fn validator(&self, public_key: &PublicKey) -> Option<&Validator> {
        self.validators.get(public_key)
    }

    /// Whether the cluster holds this validator's key.
    #[must_use]
    pub fn holds(&self, public_key: &PublicKey) -> bool {
        self.validators.get(public_key).is_some_and(|known| known.key.is_some())
    }

    /// How often a key was deleted: what an import or a deletion must have seen to take effect.
    #[must_use]
    pub fn deletions(&self, public_key: &PublicKey) -> u64 {
        self.validators.get(public_key).map_or(0, |known| known.deletions)
    }

    /// All validators with a history or a key, or that had a key, by public key.
    pub fn validators(&self) -> impl ExactSizeIterator<Item = (&PublicKey, &Validator)> {
        self.validators.iter()
    }

    /// The keys that may sign, by public key.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<SealedKey>> {
        self.validators.values().filter_map(|validator| validator.key.as_ref())
    }

    /// A data key by its id.
    #[must_use]
    pub fn data_key(&self, id: &[u8; 16]) -> Option<&DataKey> {
        self.data_keys.get(id)
    }

    /// All data keys, by id.
    pub fn data_keys(&self) -> impl Iterator<Item = &DataKey> {
        self.data_keys.values()
    }

    /// A digest of all records, equal on all nodes at equal applied index (invariant S8).
    ///
    /// Kept incrementally; [`State::recomputed_digest`] computes it afresh.
    #[must_use]
    pub fn digest(&self) -> Root {
        self.digest.value()
    }

    /// The digest computed over all records again, to check what was loaded or kept.
    #[must_use]
    pub fn recomputed_digest(&self) -> Root {
        let mut digest = Digest::default();
        for record in self.records() {
            digest.add(&record);
        }
        digest.value()
    }

    /// History of every validator as an import of maxima, for the minimal interchange.
    pub fn histories(&self) -> impl Iterator<Item = HistoryImport> {
        self.validators.iter().map(|(public_key, validator)| export(public_key, &validator.history))
    }

    /// As [`State::histories`], of the chosen validators only, whether or not their keys are (still) held.
    pub fn histories_of(&self, chosen: &BTreeSet<PublicKey>) -> impl Iterator<Item = HistoryImport> {
        chosen.iter().filter_map(|public_key| {
            self.validators.get(public_key).map(|validator| export(public_key, &validator.history))
        })
    }
}

fn export(public_key: &PublicKey, history: &History) -> HistoryImport {
    HistoryImport {
        public_key: *public_key,
        block: history.block.map(|mark| ImportedBlock { slot: mark.max_slot, signing_root: mark.signed_root }),
        attestation: history.attestation.map(|mark| ImportedAttestation {
            max_source_epoch: mark.max_source,
            max_target_epoch: mark.max_target,
            at_max_target: mark.newest.map(|newest| (newest.source, newest.root)),
        }),
    }
}
