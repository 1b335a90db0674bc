//! Blocks: at most one root per slot, and never below the newest slot.

use super::{Ruling, Violation};
use crate::command::{HighWatermark, ImportedBlock};
use crate::primitives::{Root, Slot};
use serde::{Deserialize, Serialize};

/// The newest block of a validator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockMark {
    /// Greatest slot ever signed or imported.
    pub max_slot: Slot,
    /// The root at that slot, only if this cluster judged it safe itself; what is `None` cannot be repeated.
    pub signed_root: Option<Root>,
}

/// Judges a block and records it if it is safe.
pub(super) fn judge(mark: &mut Option<BlockMark>, slot: Slot, root: &Root, limit: Option<&HighWatermark>) -> Ruling {
    if let Some(limit) = limit.filter(|limit| slot >= limit.slot) {
        return Ruling::Refused(Violation::HighWatermarkSlot { asked: slot, limit: limit.slot });
    }
    if let Some(stored) = mark {
        //= EIP-3076 condition 2
        // "Refuse to sign any block with slot <= min(b.slot for b in data.signed_blocks ...)"; the minimal strategy
        // keeps only the maximum.
        if slot < stored.max_slot {
            return Ruling::Refused(Violation::BlockBelow { asked: slot, stored: stored.max_slot });
        }
        //= EIP-3076 condition 1
        // "Refuse to sign any block that is slashable with respect to the blocks contained in the interchange";
        // the same root again is the same message.
        if slot == stored.max_slot {
            return if stored.signed_root == Some(*root) {
                Ruling::Repeat
            } else {
                Ruling::Refused(Violation::DoubleBlock { slot })
            };
        }
    }
    *mark = Some(BlockMark { max_slot: slot, signed_root: Some(*root) });
    Ruling::Safe
}

/// Takes the maximum. An imported block at or above the newest slot makes it unrepeatable, unless it names the very
/// root that was recorded here.
pub(super) fn merge(mark: &mut Option<BlockMark>, imported: &ImportedBlock) {
    match mark {
        Some(stored) if imported.slot < stored.max_slot => {}
        Some(stored) if imported.slot == stored.max_slot => {
            if stored.signed_root != imported.signing_root {
                stored.signed_root = None;
            }
        }
        Some(_) | None => *mark = Some(BlockMark { max_slot: imported.slot, signed_root: None }),
    }
}
