//! What the commands about the cluster's own life carry: join tokens, positions, the floor after a restore.
//!
//! In: nothing. Out: types, and which rules a command needs. Deliberately absent: the text of a join token (its hash is
//! all that the cluster keeps) and the membership, which travels in entries of its own.

use super::Command;
use crate::primitives::{Epoch, Slot};
use serde::{Deserialize, Serialize};

/// Leave for one node, yet unknown, to join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinToken {
    /// Its public part.
    #[serde(with = "serde_bytes")]
    pub id: [u8; 8],
    /// The id under which the node will join, and no other.
    pub node: u64,
    /// SHA-256 of the whole token text.
    #[serde(with = "serde_bytes")]
    pub hash: [u8; 32],
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it ends, in milliseconds since the Unix epoch. Whoever admits a node looks at it; applying does not.
    pub expires_ms: u64,
}

/// How far a node's disk is known to have come, in the log. Only committed positions: others may lawfully vanish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodePosition {
    /// Term of the entry.
    pub term: u64,
    /// The leader that proposed it.
    pub leader: u64,
    /// Its index.
    pub index: u64,
}

/// What every validator is taken to have signed, after a restore that cannot know what it missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// Nothing at or below this slot is signed.
    pub slot: Slot,
    /// Nothing with a source below this epoch is signed.
    pub source: Epoch,
    /// Nothing with a target at or below this epoch is signed.
    pub target: Epoch,
}

impl Command {
    /// The rules under which this command means anything; under older ones applying rejects it, on every node alike.
    #[must_use]
    pub const fn rules_needed(&self) -> u32 {
        match self {
            Self::Initialise(_)
            | Self::Sign(_)
            | Self::AddDataKey(_)
            | Self::ImportKey { .. }
            | Self::ImportHistory(_)
            | Self::SetHighWatermark(_)
            | Self::RenewPolicy
            | Self::DeleteKey { .. }
            | Self::Reseal(_)
            | Self::RemoveDataKey(_)
            | Self::SetPolicy { .. }
            | Self::AddToken { .. }
            | Self::RevokeToken { .. }
            | Self::AnchorAudit(_)
            | Self::RaiseRules { .. } => 1,
            Self::AddJoinToken(_)
            | Self::RevokeJoinToken { .. }
            | Self::AdmitNode { .. }
            | Self::RetireNode { .. }
            | Self::NotePositions(_)
            | Self::Resume(_) => 2,
            Self::AdvanceArchive { .. } => 3,
        }
    }
}
