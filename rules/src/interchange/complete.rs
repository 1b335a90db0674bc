//! From recorded changes to the complete interchange: every record, and not only the newest.
//!
//! In: changes in log order, of one lineage or of several one after the other; histories that stand for what nobody has
//! in detail. Out: an [`Interchange`]. What was imported is listed as the cluster keeps it: by its maxima. Exits are not
//! slashable, and the interchange has no place for them.

use super::{Interchange, SignedAttestation, SignedBlock};
use crate::command::{Change, Floor, HistoryImport, ImportedAttestation, ImportedBlock, SignedRecord};
use crate::primitives::{PublicKey, Root};
use crate::slashing::AgreedDuty;
use std::collections::BTreeSet;

/// Adds what one change says about the signatures of one validator; answers how many records that are.
///
/// A floor after a restore ([`Change::Resumed`]) speaks of all validators at once and is not added here: whoever has
/// every change of a cluster builds a [`Complete`]; whoever has a part of them adds the minimal export of the live
/// state, whose histories lie at the floor.
pub fn add_change(file: &mut Interchange, change: &Change) -> usize {
    if let Some(record) = change.signed() {
        return add_signed(file, &record);
    }
    match change {
        Change::HistoryMerged(import) => add_history(file, import),
        Change::ClusterInitialised(_)
        | Change::Signed { .. }
        | Change::SignedVia { .. }
        | Change::Refused { .. }
        | Change::RefusedVia { .. }
        | Change::DataKeyAdded(_)
        | Change::KeyAdded(_)
        | Change::HighWatermarkSet(_)
        | Change::PolicyRenewed(_)
        | Change::KeyRemoved(_)
        | Change::KeysResealed { .. }
        | Change::DataKeyRemoved(_)
        | Change::TokenAdded { .. }
        | Change::TokenRevoked { .. }
        | Change::AuditAnchored(_)
        | Change::RulesRaised(_)
        | Change::JoinTokenAdded { .. }
        | Change::JoinTokenRevoked { .. }
        | Change::NodeAdmitted { .. }
        | Change::NodeRetired { .. }
        | Change::Resumed(_) => 0,
    }
}

fn add_signed(file: &mut Interchange, record: &SignedRecord<'_>) -> usize {
    let (public_key, signing_root) = (record.public_key, Some(record.signing_root));
    match record.duty {
        AgreedDuty::Block { slot } => file.records_mut(public_key).blocks.push(SignedBlock { slot, signing_root }),
        AgreedDuty::Attestation { source_epoch, target_epoch } => {
            let vote = SignedAttestation { source_epoch, target_epoch, signing_root };
            file.records_mut(public_key).attestations.push(vote);
        }
        AgreedDuty::VoluntaryExit { .. } => return 0,
    }
    1
}

/// Adds a history that is known by its maxima only; answers how many records that are.
pub fn add_history(file: &mut Interchange, history: &HistoryImport) -> usize {
    let minimal = Interchange::minimal(*file.genesis_validators_root(), [history.clone()]);
    let mut added = 0;
    for (public_key, records) in minimal.validators() {
        let known = file.records_mut(*public_key);
        known.blocks.extend(&records.blocks);
        known.attestations.extend(&records.attestations);
        added += records.blocks.len() + records.attestations.len();
    }
    added
}

/// A complete interchange in the making, from every change since the beginning; no live state is asked.
///
/// The changes of a restored cluster do not begin with its histories, which came with the backup: whoever has not the
/// changes of the old cluster too adds the baseline that stands for them ([`Complete::add_history`]), or they are missing.
#[derive(Debug, Clone)]
pub struct Complete {
    file: Interchange,
    /// Validators that may have no record of their own, and to which a floor speaks all the same.
    keys: BTreeSet<PublicKey>,
    /// The maxima of all floors.
    floor: Option<Floor>,
}

impl Complete {
    /// Nothing is known yet.
    #[must_use]
    pub const fn new(genesis_validators_root: Root) -> Self {
        Self { file: Interchange::new(genesis_validators_root), keys: BTreeSet::new(), floor: None }
    }

    /// Adds a change; answers how many records of one validator that are.
    pub fn add(&mut self, change: &Change) -> usize {
        if let Change::KeyAdded(public_key) = change {
            self.keys.insert(*public_key);
        }
        if let Change::Resumed(floor) = change {
            let held = self.floor.unwrap_or(*floor);
            self.floor = Some(Floor {
                slot: floor.slot.max(held.slot),
                source: floor.source.max(held.source),
                target: floor.target.max(held.target),
            });
        }
        add_change(&mut self.file, change)
    }

    /// Adds what stands for changes that nobody has: the baseline of a gap.
    pub fn add_history(&mut self, history: &HistoryImport) -> usize {
        add_history(&mut self.file, history)
    }

    /// The file, of these validators or of all. A floor speaks for every validator that was ever named, before it or
    /// after it, as it does in the cluster.
    #[must_use]
    pub fn finish(mut self, only: Option<&BTreeSet<PublicKey>>) -> Interchange {
        if let Some(floor) = self.floor {
            let named: BTreeSet<PublicKey> = self.file.validators.keys().copied().chain(self.keys).collect();
            for public_key in named {
                add_history(&mut self.file, &floor.as_import(public_key));
            }
        }
        if let Some(only) = only {
            self.file.validators.retain(|public_key, _| only.contains(public_key));
        }
        self.file
    }
}

impl Floor {
    /// What a floor says of one validator. Without roots: nothing at the floor can be repeated.
    #[must_use]
    pub const fn as_import(&self, public_key: PublicKey) -> HistoryImport {
        HistoryImport {
            public_key,
            block: Some(ImportedBlock { slot: self.slot, signing_root: None }),
            attestation: Some(ImportedAttestation {
                max_source_epoch: self.source,
                max_target_epoch: self.target,
                at_max_target: None,
            }),
        }
    }
}

#[cfg(test)]
#[path = "complete_tests.rs"]
mod tests;
