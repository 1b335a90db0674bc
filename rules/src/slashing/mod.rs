//! The slashing rule: may this message be signed, given what this validator signed before?
//!
//! In: a validator's [`History`] and a duty with its signing root. Out: a [`Ruling`], and the history after it.
//! Minimal EIP-3076 (maximum watermarks) plus the root of the newest block and of the newest attestation, so that a
//! repeat of the newest message succeeds. Deliberately absent: time, other validators, who asks.

mod attestation;
mod block;
#[cfg(test)]
mod tests;

use crate::command::{HighWatermark, HistoryImport};
use crate::primitives::{Epoch, Root, Slot};
pub use attestation::{AttestationMark, NewestAttestation};
pub use block::BlockMark;
use serde::{Deserialize, Serialize};

/// A message that must be agreed before it is signed, as far as the rule needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgreedDuty {
    /// A beacon block.
    Block {
        /// The block's slot.
        slot: Slot,
    },
    /// An attestation.
    Attestation {
        /// The vote's source epoch.
        source_epoch: Epoch,
        /// The vote's target epoch.
        target_epoch: Epoch,
    },
    /// A voluntary exit: never slashable, but irrevocable, so it is agreed and recorded. Never refused for an earlier
    /// one: order and epoch do not matter.
    VoluntaryExit {
        /// The exit's epoch.
        epoch: Epoch,
        /// The exiting validator's index.
        validator_index: u64,
    },
}

/// The judgement on one intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ruling {
    /// Recorded now; may be signed.
    Safe,
    /// Equal to the newest recorded message; may be signed again.
    Repeat,
    /// Slashable; nothing was recorded.
    Refused(Violation),
    /// Admitted under another policy than the current one; nothing was recorded, the node admits anew.
    Stale {
        /// The current policy version.
        policy_version: u64,
    },
    /// The cluster holds no such key; nothing was recorded.
    UnknownKey,
    /// The cluster was restored and waits for a floor above whatever it may have missed; nothing was recorded.
    AwaitingFloor,
}

/// Why a message would be slashable, or cannot be known not to be. Says what is stored and what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Violation {
    /// EIP-3076 condition 2.
    #[error("slashing protection: block slot {asked} is below the newest signed slot {stored}")]
    BlockBelow {
        /// Slot of the request.
        asked: Slot,
        /// Greatest slot signed.
        stored: Slot,
    },
    /// EIP-3076 condition 1.
    #[error(
        "slashing protection: another block was already signed at slot {slot} (asked slot {slot}, stored slot {slot})"
    )]
    DoubleBlock {
        /// The slot of both blocks.
        slot: Slot,
    },
    /// A vote that no honest validator makes; refused whatever is stored.
    #[error("slashing protection: source epoch {source_epoch} is after target epoch {target_epoch}")]
    SourceAfterTarget {
        /// Source epoch of the request.
        source_epoch: Epoch,
        /// Target epoch of the request.
        target_epoch: Epoch,
    },
    /// EIP-3076 condition 4: the vote could surround, or be older than, a signed one.
    #[error(
        "slashing protection: source epoch {asked} (target {target_epoch}) is below the greatest signed source epoch \
         {stored}: the vote could surround a signed one"
    )]
    SourceBelow {
        /// Source epoch of the request.
        asked: Epoch,
        /// Target epoch of the request.
        target_epoch: Epoch,
        /// Greatest source epoch signed.
        stored: Epoch,
    },
    /// EIP-3076 condition 3, double vote.
    #[error(
        "slashing protection: another attestation was already signed for target epoch {target_epoch} (asked \
         {source_epoch}->{target_epoch}, stored {stored_source}->{target_epoch})"
    )]
    DoubleVote {
        /// Source epoch of the request.
        source_epoch: Epoch,
        /// Target epoch of both.
        target_epoch: Epoch,
        /// Greatest source epoch signed.
        stored_source: Epoch,
    },
    /// EIP-3076 condition 5: the vote could be surrounded by, or double, a signed one.
    #[error(
        "slashing protection: target epoch {asked} (source {source_epoch}) is below the greatest signed target epoch \
         {stored}: the vote could be surrounded by a signed one"
    )]
    TargetBelow {
        /// Target epoch of the request.
        asked: Epoch,
        /// Source epoch of the request.
        source_epoch: Epoch,
        /// Greatest target epoch signed.
        stored: Epoch,
    },
    /// At or above the operator's global slot limit.
    #[error("slashing protection: block slot {asked} is not below the high watermark slot {limit}")]
    HighWatermarkSlot {
        /// Slot of the request.
        asked: Slot,
        /// The limit.
        limit: Slot,
    },
    /// At or above the operator's global epoch limit.
    #[error(
        "slashing protection: attestation {source_epoch}->{target_epoch} is not below the high watermark epoch {limit}"
    )]
    HighWatermarkEpoch {
        /// Source epoch of the request.
        source_epoch: Epoch,
        /// Target epoch of the request.
        target_epoch: Epoch,
        /// The limit.
        limit: Epoch,
    },
}

/// What one validator has signed, reduced to what the rule needs. O(1) per validator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Blocks, if any.
    pub block: Option<BlockMark>,
    /// Attestations, if any.
    pub attestation: Option<AttestationMark>,
}

impl History {
    /// Judges a message and, if it is safe, records it: one step, so that nothing can stand between.
    pub fn judge(&mut self, duty: &AgreedDuty, signing_root: &Root, limit: Option<&HighWatermark>) -> Ruling {
        match *duty {
            AgreedDuty::Block { slot } => block::judge(&mut self.block, slot, signing_root, limit),
            AgreedDuty::Attestation { source_epoch, target_epoch } => {
                attestation::judge(&mut self.attestation, source_epoch, target_epoch, signing_root, limit)
            }
            AgreedDuty::VoluntaryExit { .. } => Ruling::Safe,
        }
    }

    /// Merges imported history by maxima. Answers whether anything changed.
    ///
    /// Never lowers a watermark, and never makes an imported root repeatable: a forged or faulty import must not
    /// become permission to sign.
    pub fn merge(&mut self, import: &HistoryImport) -> bool {
        let before = *self;
        if let Some(imported) = &import.block {
            block::merge(&mut self.block, imported);
        }
        if let Some(imported) = &import.attestation {
            attestation::merge(&mut self.attestation, imported);
        }
        *self != before
    }
}
