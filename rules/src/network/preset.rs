//! Presets: the limits of SSZ types that differ between kinds of networks.
//!
//! Source: `presets/{mainnet,minimal}` of the consensus specification 1.7.0b4, and the gnosis preset as Lighthouse ships
//! it. Deliberately absent: values that are equal in all presets (they stand beside the containers that use them) and
//! values that no signed message depends on.

/// Limits of SSZ types, and the length of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// `SLOTS_PER_EPOCH`
    pub slots_per_epoch: u64,
    /// `MAX_COMMITTEES_PER_SLOT`
    pub max_committees_per_slot: u64,
    /// `MAX_VALIDATORS_PER_COMMITTEE`
    pub max_validators_per_committee: u64,
    /// `SYNC_COMMITTEE_SIZE`
    pub sync_committee_size: u64,
}

impl Preset {
    /// `presets/mainnet`
    pub const MAINNET: Self = Self {
        slots_per_epoch: 32,
        max_committees_per_slot: 64,
        max_validators_per_committee: 2048,
        sync_committee_size: 512,
    };

    /// `presets/minimal`
    pub const MINIMAL: Self = Self {
        slots_per_epoch: 8,
        max_committees_per_slot: 4,
        max_validators_per_committee: 2048,
        sync_committee_size: 32,
    };

    /// The gnosis preset: like mainnet's, with half as many slots per epoch.
    pub const GNOSIS: Self = Self { slots_per_epoch: 16, ..Self::MAINNET };

    /// The presets that a `PRESET_BASE` may name.
    pub const NAMES: &'static [&'static str] = &["mainnet", "minimal", "gnosis"];

    /// A preset by its `PRESET_BASE`.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        match name {
            "mainnet" => Some(Self::MAINNET),
            "minimal" => Some(Self::MINIMAL),
            "gnosis" => Some(Self::GNOSIS),
            _ => None,
        }
    }
}
