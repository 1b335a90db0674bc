//! From which epoch on a restored cluster may sign.
//!
//! In: what the operator asks for, the network, the time, the greatest marks that are known. Out: the floor, or why not.
//! Deliberately absent: reading the clock.

use crate::backup::Maxima;
use consigner_rules::command::Floor;
use consigner_rules::{Epoch, Network};

/// Epochs between the one that the clock shows and the first one that is signed for: the old cluster may have signed
/// for the current epoch, and for the next one where a validator client runs ahead; clocks may differ.
pub const RESUME_MARGIN: u64 = 2;

/// Farthest ahead of what is needed, a day of mainnet: floors are never lowered, and a slip of a digit would silence the
/// keys for years.
pub const RESUME_AHEAD_MAX: u64 = 225;

/// When to sign again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumeAt {
    /// As soon as the margin allows.
    Now,
    /// From this epoch on.
    Epoch(Epoch),
}

impl std::str::FromStr for ResumeAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "now" => Ok(Self::Now),
            number => number.parse().map(Self::Epoch).map_err(|_| "expected an epoch, or `now`".to_owned()),
        }
    }
}

/// Why there is no floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FloorError {
    /// The clock says nothing without it.
    #[error("the genesis time of the network is not known; set genesis-time in the configuration")]
    NoGenesisTime,
    /// Something may have been signed for it already.
    #[error(
        "epoch {asked} is too early: by the clock it is epoch {current}, and {RESUME_MARGIN} epochs more are needed; \
         the earliest is {least}"
    )]
    TooEarly {
        /// What was asked for.
        asked: Epoch,
        /// By the clock.
        current: Epoch,
        /// The earliest that is allowed.
        least: Epoch,
    },
    /// Something was signed for it already.
    #[error("epoch {asked} is too early: a source knows of signatures for epoch {known}; the earliest is {least}")]
    BelowSource {
        /// What was asked for.
        asked: Epoch,
        /// The greatest epoch of a block, source or target in any source.
        known: Epoch,
        /// The earliest that is allowed.
        least: Epoch,
    },
    /// Probably a slip.
    #[error(
        "epoch {asked} is more than {RESUME_AHEAD_MAX} epochs after the earliest possible one, {least}; a floor is never \
         lowered again"
    )]
    TooLate {
        /// What was asked for.
        asked: Epoch,
        /// The earliest that is allowed.
        least: Epoch,
    },
}

/// The epoch at a time, milliseconds since the Unix epoch; 0 before genesis.
#[must_use]
pub fn current_epoch(network: &Network, now_ms: u64) -> Option<Epoch> {
    let genesis_ms = network.genesis_time()?.saturating_mul(1000);
    let slot = now_ms.saturating_sub(genesis_ms).checked_div(network.slot_duration_ms())?;
    Some(network.epoch_at_slot(slot))
}

/// The floor under which nothing is signed before the first slot of an epoch.
#[must_use]
pub const fn floor_before(network: &Network, epoch: Epoch) -> Floor {
    let last = epoch.saturating_sub(1);
    Floor { slot: epoch.saturating_mul(network.slots_per_epoch()).saturating_sub(1), source: last, target: last }
}

/// The epoch from which on keys may sign, and the floor below it.
///
/// # Errors
/// [`FloorError`]: below the current epoch and a margin, at or below what any source knows, or absurdly far ahead.
pub fn resume_floor(
    network: &Network,
    at: ResumeAt,
    now_ms: u64,
    known: &Maxima,
) -> Result<(Epoch, Floor), FloorError> {
    let current = current_epoch(network, now_ms).ok_or(FloorError::NoGenesisTime)?;
    let by_clock = current.saturating_add(RESUME_MARGIN);
    let asked = match at {
        ResumeAt::Now => by_clock,
        ResumeAt::Epoch(epoch) => epoch,
    };
    let known = known.target.max(known.source).max(known.slot.map(|slot| network.epoch_at_slot(slot)));
    let least = known.map_or(by_clock, |known| by_clock.max(known.saturating_add(1)));
    if asked < by_clock {
        return Err(FloorError::TooEarly { asked, current, least });
    }
    if let Some(known) = known.filter(|known| asked <= *known) {
        return Err(FloorError::BelowSource { asked, known, least });
    }
    if asked - least > RESUME_AHEAD_MAX {
        return Err(FloorError::TooLate { asked, least });
    }
    Ok((asked, floor_before(network, asked)))
}
