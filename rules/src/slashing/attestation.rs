//! Attestations: no double vote, no surround, judged by the greatest source and target epochs.

use super::{Ruling, Violation};
use crate::command::{HighWatermark, ImportedAttestation};
use crate::primitives::{Epoch, Root};
use serde::{Deserialize, Serialize};

/// The attestation watermarks of a validator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestationMark {
    /// Greatest source epoch ever signed or imported.
    pub max_source: Epoch,
    /// Greatest target epoch ever signed or imported.
    pub max_target: Epoch,
    /// The attestation at `max_target`, only if this cluster judged it safe itself; else it cannot be repeated.
    pub newest: Option<NewestAttestation>,
}

/// The newest attestation that this cluster judged safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewestAttestation {
    /// Its source epoch.
    pub source: Epoch,
    /// Its signing root; the target is the mark's `max_target`.
    pub root: Root,
}

/// Judges an attestation and records it if it is safe.
pub(super) fn judge(
    mark: &mut Option<AttestationMark>,
    source: Epoch,
    target: Epoch,
    root: &Root,
    limit: Option<&HighWatermark>,
) -> Ruling {
    match check(mark.as_ref(), source, target, root, limit) {
        Ok(Ruling::Safe) => {
            *mark = Some(AttestationMark {
                max_source: source,
                max_target: target,
                newest: Some(NewestAttestation { source, root: *root }),
            });
            Ruling::Safe
        }
        Ok(other) => other,
        Err(violation) => Ruling::Refused(violation),
    }
}

fn check(
    mark: Option<&AttestationMark>,
    source: Epoch,
    target: Epoch,
    root: &Root,
    limit: Option<&HighWatermark>,
) -> Result<Ruling, Violation> {
    if source > target {
        return Err(Violation::SourceAfterTarget { source_epoch: source, target_epoch: target });
    }
    if let Some(limit) = limit.filter(|limit| source >= limit.epoch || target >= limit.epoch) {
        return Err(Violation::HighWatermarkEpoch { source_epoch: source, target_epoch: target, limit: limit.epoch });
    }
    let Some(stored) = mark else { return Ok(Ruling::Safe) };
    //= EIP-3076 condition 4
    // "Refuse to sign any attestation with source epoch less than the minimum source epoch"; the minimal strategy
    // keeps the maximum, which also excludes surrounding a signed vote.
    if source < stored.max_source {
        return Err(Violation::SourceBelow { asked: source, target_epoch: target, stored: stored.max_source });
    }
    if target > stored.max_target {
        return Ok(Ruling::Safe);
    }
    //= EIP-3076 condition 5
    // "Refuse to sign any attestation with target epoch less than or equal to the minimum target epoch"; below the
    // maximum the vote could double a signed one or be surrounded by it.
    if target < stored.max_target {
        return Err(Violation::TargetBelow { asked: target, source_epoch: source, stored: stored.max_target });
    }
    //= EIP-3076 condition 3
    // "Refuse to sign any attestation that is slashable with respect to the attestations"; identical is not.
    if stored.newest == Some(NewestAttestation { source, root: *root }) {
        return Ok(Ruling::Repeat);
    }
    Err(Violation::DoubleVote { source_epoch: source, target_epoch: target, stored_source: stored.max_source })
}

/// Takes the maxima. An imported attestation at or above the newest target makes it unrepeatable, unless it is the
/// very one that was recorded here.
pub(super) fn merge(mark: &mut Option<AttestationMark>, imported: &ImportedAttestation) {
    let Some(stored) = mark else {
        *mark = Some(AttestationMark {
            max_source: imported.max_source_epoch,
            max_target: imported.max_target_epoch,
            newest: None,
        });
        return;
    };
    if imported.max_target_epoch >= stored.max_target {
        let same = imported.max_target_epoch == stored.max_target
            && imported.at_max_target == stored.newest.map(|newest| (newest.source, newest.root));
        if !same {
            stored.newest = None;
        }
        stored.max_target = imported.max_target_epoch;
    }
    stored.max_source = stored.max_source.max(imported.max_source_epoch);
}
