//! What the admission of a request looks at besides its type and its key.
//!
//! Deliberately absent: anything that the slashing rule decides by.

use crate::primitives::{Address, Epoch, Slot};

/// What the admission of a request looks at besides its type and its key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Particulars {
    /// Where the fees go, for the types by which a proposer says so.
    pub fee_recipient: Option<Address>,
    /// When the message is for, for the types that say so.
    pub moment: Option<Moment>,
}

/// When a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A slot.
    Slot(Slot),
    /// An epoch; of several, the latest that the message names.
    Epoch {
        /// The epoch.
        epoch: Epoch,
        /// Its first slot.
        first_slot: Slot,
    },
}

impl Moment {
    /// The slot, or the first slot of the epoch.
    #[must_use]
    pub const fn slot(self) -> Slot {
        match self {
            Self::Slot(slot) => slot,
            Self::Epoch { first_slot, .. } => first_slot,
        }
    }
}
