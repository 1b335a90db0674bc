//! What an operator should know about a file before trusting it: counts, and what in it is slashable.
//!
//! Deliberately absent: refusal. A file that proves a double vote is still history that must be merged.

use super::{Records, SignedAttestation, SignedBlock};
use crate::primitives::{Epoch, PublicKey, Slot};
use std::fmt;

/// Warnings listed per validator and kind; a file full of them needs a person, not a longer list.
const WARNINGS_PER_KIND_MAX: usize = 8;

/// What a file says about one validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorReport {
    /// The validator.
    pub public_key: PublicKey,
    /// Block records, duplicates included.
    pub blocks: usize,
    /// Attestation records, duplicates included.
    pub attestations: usize,
    /// What is doubtful, at most a few of each kind; empty for an honest and complete file.
    pub warnings: Vec<Warning>,
}

/// Something doubtful within one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Warning {
    /// Two blocks of one slot that differ, or of which one has no root, so that they may differ.
    DoubleBlock {
        /// Their slot.
        slot: Slot,
    },
    /// Two attestations of one target that differ, or of which one has no root, so that they may differ.
    DoubleVote {
        /// Their target epoch.
        target_epoch: Epoch,
    },
    /// One attestation surrounds another.
    Surround {
        /// The surrounding one.
        outer: SignedAttestation,
        /// The surrounded one.
        inner: SignedAttestation,
    },
    /// An attestation whose source lies after its target.
    SourceAfterTarget(SignedAttestation),
    /// Signing roots that are not 32 bytes long and count as unknown.
    UnusableRoots {
        /// How many.
        count: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DoubleBlock { slot } => {
                write!(formatter, "slot {slot}: two different blocks, or blocks without signing root")
            }
            Self::DoubleVote { target_epoch } => {
                let doubt = "two different attestations, or attestations without signing root";
                write!(formatter, "target epoch {target_epoch}: {doubt}")
            }
            Self::Surround { outer, inner } => write!(formatter, "attestation {outer} surrounds {inner}"),
            Self::SourceAfterTarget(vote) => write!(formatter, "attestation {vote}: source after target"),
            Self::UnusableRoots { count } => {
                write!(formatter, "{count} signing roots are not 32 bytes long and count as unknown")
            }
        }
    }
}

pub(super) fn report(public_key: PublicKey, records: &Records) -> ValidatorReport {
    let mut warnings = double_blocks(&records.blocks);
    warnings.extend(double_votes(&records.attestations));
    warnings.extend(surrounds(&records.attestations));
    let reversed = records.attestations.iter().filter(|vote| vote.source_epoch > vote.target_epoch);
    warnings.extend(reversed.take(WARNINGS_PER_KIND_MAX).map(|vote| Warning::SourceAfterTarget(*vote)));
    if records.unusable_roots > 0 {
        warnings.push(Warning::UnusableRoots { count: records.unusable_roots });
    }
    let (blocks, attestations) = (records.blocks.len(), records.attestations.len());
    ValidatorReport { public_key, blocks, attestations, warnings }
}

fn double_blocks(blocks: &[SignedBlock]) -> Vec<Warning> {
    let mut sorted = blocks.to_vec();
    sorted.sort_unstable();
    let doubles = sorted
        .chunk_by(|one, other| one.slot == other.slot)
        .filter(|group| may_differ(group, |block| block.signing_root.is_some()));
    doubles
        .filter_map(|group| group.first())
        .map(|block| Warning::DoubleBlock { slot: block.slot })
        .take(WARNINGS_PER_KIND_MAX)
        .collect()
}

fn double_votes(attestations: &[SignedAttestation]) -> Vec<Warning> {
    let mut sorted = attestations.to_vec();
    sorted.sort_unstable_by_key(|vote| vote.target_epoch);
    let doubles = sorted
        .chunk_by(|one, other| one.target_epoch == other.target_epoch)
        .filter(|group| may_differ(group, |vote| vote.signing_root.is_some()));
    doubles
        .filter_map(|group| group.first())
        .map(|vote| Warning::DoubleVote { target_epoch: vote.target_epoch })
        .take(WARNINGS_PER_KIND_MAX)
        .collect()
}

//= EIP-3076 conditions 1 and 3
// Two messages for one slot or target of which either lacks its root count as slashable.
fn may_differ<T: PartialEq>(group: &[T], has_root: impl Fn(&T) -> bool) -> bool {
    let Some((first, rest)) = group.split_first() else { return false };
    !rest.is_empty() && (!has_root(first) || rest.iter().any(|other| other != first))
}

/// Finds votes that an older source surrounds: `outer.source < inner.source` and `inner.target < outer.target`.
///
/// In the order of sources, a vote is surrounded if and only if one of a smaller source has a greater target; the one
/// with the greatest target of all smaller sources is kept as witness. O(n log n), since files are long.
fn surrounds(attestations: &[SignedAttestation]) -> Vec<Warning> {
    let mut sorted = attestations.to_vec();
    sorted.sort_unstable_by_key(|vote| vote.source_epoch);
    let mut found = Vec::new();
    let mut widest: Option<SignedAttestation> = None;
    for group in sorted.chunk_by(|one, other| one.source_epoch == other.source_epoch) {
        if let Some(outer) = widest {
            let inner = group.iter().filter(|inner| inner.target_epoch < outer.target_epoch);
            found.extend(inner.map(|inner| Warning::Surround { outer, inner: *inner }));
        }
        if found.len() >= WARNINGS_PER_KIND_MAX {
            break;
        }
        widest = group.iter().copied().chain(widest).max_by_key(|vote| vote.target_epoch);
    }
    found.truncate(WARNINGS_PER_KIND_MAX);
    found
}
