//! Networks: fork schedule, preset, genesis.
//!
//! In: a name, or the text of a configuration file in the format of the consensus specification. Out: a [`Network`].
//! Deliberately absent: reading files, clocks, and guesses: a genesis validators root or genesis time that is not known
//! is `None`.

mod builtin;
mod config;
mod fork;
mod preset;
#[cfg(test)]
mod tests;

use crate::primitives::{Epoch, Root, Slot};
pub use config::NetworkError;
pub use fork::{Fork, ForkEntry, Version};
pub use preset::Preset;

/// The epoch that never comes (consensus specification: `FAR_FUTURE_EPOCH`); a fork there is known, not scheduled.
pub const FAR_FUTURE_EPOCH: Epoch = u64::MAX;

/// A network: what a message needs besides its own content to become a signing root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    name: String,
    preset: Preset,
    /// Indexed by [`Fork`]; phase 0 always has a version and epoch 0.
    forks: [ForkEntry; Fork::COUNT],
    slot_duration_ms: u64,
    genesis_validators_root: Option<Root>,
    genesis_time: Option<u64>,
}

impl Network {
    /// The networks that [`Self::by_name`] knows.
    pub const NAMES: &'static [&'static str] = builtin::NAMES;

    /// A network that this binary knows, by its name in any case.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        builtin::by_name(name)
    }

    /// Reads a configuration file in the format of the consensus specification (`configs/mainnet.yaml`). Unknown keys
    /// are ignored, forks that are not named are not scheduled, `PRESET_BASE` chooses the preset (mainnet, minimal,
    /// gnosis), and preset values that stand in the file override it. The name is `CONFIG_NAME`, else `name`.
    ///
    /// The genesis validators root is not part of the format: see [`Self::with_genesis_validators_root`].
    ///
    /// # Errors
    /// [`NetworkError`] naming the key.
    pub fn from_yaml(text: &str, name: &str) -> Result<Self, NetworkError> {
        config::read(text, name)
    }

    /// The same network on the chain with this genesis validators root.
    #[must_use]
    pub fn with_genesis_validators_root(mut self, root: Root) -> Self {
        self.genesis_validators_root = Some(root);
        self
    }

    /// The same network with this genesis time, in seconds since the Unix epoch.
    #[must_use]
    pub const fn with_genesis_time(mut self, seconds: u64) -> Self {
        self.genesis_time = Some(seconds);
        self
    }

    /// The name, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Limits of SSZ types.
    #[must_use]
    pub const fn preset(&self) -> &Preset {
        &self.preset
    }

    /// The chain's genesis validators root, if known.
    #[must_use]
    pub const fn genesis_validators_root(&self) -> Option<Root> {
        self.genesis_validators_root
    }

    /// Genesis in seconds since the Unix epoch, if known.
    #[must_use]
    pub const fn genesis_time(&self) -> Option<u64> {
        self.genesis_time
    }

    /// Length of a slot in milliseconds.
    #[must_use]
    pub const fn slot_duration_ms(&self) -> u64 {
        self.slot_duration_ms
    }

    /// Length of a slot in whole seconds.
    #[must_use]
    pub const fn seconds_per_slot(&self) -> u64 {
        self.slot_duration_ms / 1000
    }

    /// Slots of an epoch.
    #[must_use]
    pub const fn slots_per_epoch(&self) -> u64 {
        self.preset.slots_per_epoch
    }

    /// Consensus specification `compute_epoch_at_slot`.
    #[must_use]
    pub const fn epoch_at_slot(&self, slot: Slot) -> Epoch {
        slot / self.preset.slots_per_epoch
    }

    /// The fork version of genesis.
    #[must_use]
    pub fn genesis_fork_version(&self) -> Version {
        self.forks[Fork::Phase0 as usize].version.unwrap_or_default()
    }

    /// The fork's version, if this network has one.
    #[must_use]
    pub const fn fork_version(&self, fork: Fork) -> Option<Version> {
        self.forks[fork as usize].version
    }

    /// The fork's first epoch; [`FAR_FUTURE_EPOCH`] if it is not scheduled.
    #[must_use]
    pub const fn fork_epoch(&self, fork: Fork) -> Epoch {
        self.forks[fork as usize].epoch
    }

    /// Whether the fork has a date.
    #[must_use]
    pub const fn is_scheduled(&self, fork: Fork) -> bool {
        self.fork_epoch(fork) != FAR_FUTURE_EPOCH
    }

    /// The fork that is active at an epoch.
    #[must_use]
    pub fn fork_at_epoch(&self, epoch: Epoch) -> Fork {
        let active = |fork: &&Fork| self.is_scheduled(**fork) && self.fork_epoch(**fork) <= epoch;
        Fork::ALL.iter().rev().find(active).copied().unwrap_or(Fork::Phase0)
    }

    /// The fork that is active at a slot.
    #[must_use]
    pub fn fork_at_slot(&self, slot: Slot) -> Fork {
        self.fork_at_epoch(self.epoch_at_slot(slot))
    }

    /// The fork of a version. Where forks share a version (a network file may), the first.
    #[must_use]
    pub fn fork_of_version(&self, version: Version) -> Option<Fork> {
        Fork::ALL.iter().copied().find(|fork| self.fork_version(*fork) == Some(version))
    }

    /// The fork of a version, if it is known but has no date.
    #[must_use]
    pub fn unscheduled_fork(&self, version: Version) -> Option<Fork> {
        self.fork_of_version(version).filter(|fork| !self.is_scheduled(*fork))
    }
}
