//! From all records of a validator to what the minimal rule keeps.

use super::{Records, SignedAttestation, SignedBlock};
use crate::command::{HistoryImport, ImportedAttestation, ImportedBlock};
use crate::primitives::{PublicKey, Root};

/// Maxima of one validator; `None` when it has no records.
pub(super) fn reduce(public_key: PublicKey, records: &Records) -> Option<HistoryImport> {
    let block = newest_block(&records.blocks);
    let attestation = attestation_maxima(&records.attestations);
    (block.is_some() || attestation.is_some()).then_some(HistoryImport { public_key, block, attestation })
}

fn newest_block(blocks: &[SignedBlock]) -> Option<ImportedBlock> {
    let slot = blocks.iter().map(|block| block.slot).max()?;
    let at_newest = blocks.iter().filter(|block| block.slot == slot).map(|block| block.signing_root);
    Some(ImportedBlock { slot, signing_root: the_one(at_newest).flatten() })
}

//= EIP-3076, minimal strategy
// The maximum of all sources and the maximum of all targets, which may belong to different attestations.
fn attestation_maxima(attestations: &[SignedAttestation]) -> Option<ImportedAttestation> {
    let max_source_epoch = attestations.iter().map(|vote| vote.source_epoch).max()?;
    let max_target_epoch = attestations.iter().map(|vote| vote.target_epoch).max()?;
    let at_newest = attestations
        .iter()
        .filter(|vote| vote.target_epoch == max_target_epoch)
        .map(|vote| vote.signing_root.map(|root: Root| (vote.source_epoch, root)));
    Some(ImportedAttestation { max_source_epoch, max_target_epoch, at_max_target: the_one(at_newest).flatten() })
}

/// The value that all items have; `None` when there is no item or two differ.
fn the_one<T: PartialEq>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.all(|item| item == first).then_some(first)
}
