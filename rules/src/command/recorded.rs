//! What was judged, as the archive and the metrics read it, whichever rules wrote it down.
//!
//! In: a [`Change`]. Out: [`SignedRecord`], [`RefusedRecord`]. Rows that were written before rules version 3 do not say
//! through which node a request came; they are as good as the others, so consumers ask here and not the variants.

use super::Change;
use crate::primitives::{PublicKey, Root};
use crate::slashing::{AgreedDuty, Violation};

/// A message that was recorded, and whose signature may have left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedRecord<'a> {
    /// The validator.
    pub public_key: PublicKey,
    /// What was recorded.
    pub duty: AgreedDuty,
    /// What the signature covers.
    pub signing_root: Root,
    /// The client that asked.
    pub peer: &'a str,
    /// The node that it asked; `None` in rows from before rules version 3.
    pub node: Option<u64>,
}

/// A message that was refused for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusedRecord<'a> {
    /// The validator.
    pub public_key: PublicKey,
    /// What was asked.
    pub duty: AgreedDuty,
    /// What the signature would have covered.
    pub signing_root: Root,
    /// The client that asked.
    pub peer: &'a str,
    /// Why.
    pub violation: Violation,
    /// The node that it asked; `None` in rows from before rules version 3.
    pub node: Option<u64>,
}

impl Change {
    /// The message, if this says that one was recorded.
    #[must_use]
    pub fn signed(&self) -> Option<SignedRecord<'_>> {
        let (public_key, duty, signing_root, peer, node) = match self {
            Self::Signed { public_key, duty, signing_root, peer } => (public_key, duty, signing_root, peer, None),
            Self::SignedVia { public_key, duty, signing_root, peer, node } => {
                (public_key, duty, signing_root, peer, Some(*node))
            }
            Self::Refused { .. }
            | Self::RefusedVia { .. }
            | Self::ClusterInitialised(_)
            | Self::DataKeyAdded(_)
            | Self::KeyAdded(_)
            | Self::HistoryMerged(_)
            | Self::HighWatermarkSet(_)
            | Self::PolicyRenewed(_)
            | Self::KeyRemoved(_)
            | Self::KeysResealed { .. }
            | Self::DataKeyRemoved(_)
            | Self::TokenAdded { .. }
            | Self::TokenRevoked { .. }
            | Self::AuditAnchored(_)
            | Self::RulesRaised(_)
            | Self::JoinTokenAdded { .. }
            | Self::JoinTokenRevoked { .. }
            | Self::NodeAdmitted { .. }
            | Self::NodeRetired { .. }
            | Self::Resumed(_) => return None,
        };
        Some(SignedRecord { public_key: *public_key, duty: *duty, signing_root: *signing_root, peer, node })
    }

    /// The message, if this says that one was refused.
    #[must_use]
    pub fn refused(&self) -> Option<RefusedRecord<'_>> {
        let (public_key, duty, signing_root, peer, violation, node) = match self {
            Self::Refused { public_key, duty, signing_root, peer, violation } => {
                (public_key, duty, signing_root, peer, violation, None)
            }
            Self::RefusedVia { public_key, duty, signing_root, peer, violation, node } => {
                (public_key, duty, signing_root, peer, violation, Some(*node))
            }
            Self::Signed { .. }
            | Self::SignedVia { .. }
            | Self::ClusterInitialised(_)
            | Self::DataKeyAdded(_)
            | Self::KeyAdded(_)
            | Self::HistoryMerged(_)
            | Self::HighWatermarkSet(_)
            | Self::PolicyRenewed(_)
            | Self::KeyRemoved(_)
            | Self::KeysResealed { .. }
            | Self::DataKeyRemoved(_)
            | Self::TokenAdded { .. }
            | Self::TokenRevoked { .. }
            | Self::AuditAnchored(_)
            | Self::RulesRaised(_)
            | Self::JoinTokenAdded { .. }
            | Self::JoinTokenRevoked { .. }
            | Self::NodeAdmitted { .. }
            | Self::NodeRetired { .. }
            | Self::Resumed(_) => return None,
        };
        let (public_key, duty, signing_root, violation) = (*public_key, *duty, *signing_root, *violation);
        Some(RefusedRecord { public_key, duty, signing_root, peer, violation, node })
    }
}
