//! The configuration format of the consensus specification: one flat YAML mapping.
//!
//! In: text. Out: a [`Network`], or the key at fault. Deliberately absent: keys that no signing root depends on.

use super::fork::{Fork, ForkEntry, Version};
use super::preset::Preset;
use super::{FAR_FUTURE_EPOCH, Network};
use crate::primitives::decode_fixed;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;

/// Why a text is not a network configuration.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// Not YAML, or not a flat mapping of keys to values.
    #[error("the network configuration is not readable as YAML")]
    Yaml(#[source] Box<serde_saphyr::Error>),
    /// A key that must be there is not.
    #[error("{key}: missing")]
    Missing {
        /// The key.
        key: String,
    },
    /// A value is not what its key takes.
    #[error("{key}: expected {expected}, found \"{found}\"")]
    Value {
        /// The key.
        key: String,
        /// What it takes.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A fork has a date but no version.
    #[error("{fork}_FORK_EPOCH is {epoch}, but {fork}_FORK_VERSION is missing")]
    ScheduledWithoutVersion {
        /// The fork.
        fork: Fork,
        /// Its date.
        epoch: u64,
    },
    /// A fork would start before the one before it.
    #[error("{fork}_FORK_EPOCH is {epoch}, before {before}_FORK_EPOCH")]
    Order {
        /// The fork.
        fork: Fork,
        /// Its date.
        epoch: u64,
        /// The fork that must not come later.
        before: Fork,
    },
}

pub(super) fn read(text: &str, name: &str) -> Result<Network, NetworkError> {
    let keys: Keys = serde_saphyr::from_str(text).map_err(|error| NetworkError::Yaml(Box::new(error)))?;
    let slot_duration_ms = match (keys.uint64("SLOT_DURATION_MS")?, keys.uint64("SECONDS_PER_SLOT")?) {
        (Some(0), _) => return Err(keys.invalid("SLOT_DURATION_MS", "more than zero")),
        (None, Some(0)) => return Err(keys.invalid("SECONDS_PER_SLOT", "more than zero")),
        (Some(milliseconds), _) => milliseconds,
        (None, Some(seconds)) => seconds.saturating_mul(1000),
        (None, None) => return Err(NetworkError::Missing { key: "SLOT_DURATION_MS".to_owned() }),
    };
    Ok(Network {
        name: keys.text("CONFIG_NAME").unwrap_or(name).to_owned(),
        preset: preset(&keys)?,
        forks: schedule(&keys)?,
        slot_duration_ms,
        genesis_validators_root: None,
        genesis_time: None,
    })
}

fn preset(keys: &Keys) -> Result<Preset, NetworkError> {
    /// A limit that multiplies another must not overflow; no network comes near.
    const LIMIT_MAX: u64 = 1 << 24;
    let base = keys.text("PRESET_BASE").unwrap_or("mainnet");
    let mut preset =
        Preset::by_name(base).ok_or_else(|| keys.invalid("PRESET_BASE", &format!("one of {:?}", Preset::NAMES)))?;
    for (key, value) in [
        ("SLOTS_PER_EPOCH", &mut preset.slots_per_epoch),
        ("MAX_COMMITTEES_PER_SLOT", &mut preset.max_committees_per_slot),
        ("MAX_VALIDATORS_PER_COMMITTEE", &mut preset.max_validators_per_committee),
        ("SYNC_COMMITTEE_SIZE", &mut preset.sync_committee_size),
    ] {
        match keys.uint64(key)? {
            Some(given) if (1..=LIMIT_MAX).contains(&given) => *value = given,
            Some(_) => return Err(keys.invalid(key, &format!("a number from 1 to {LIMIT_MAX}"))),
            None => {}
        }
    }
    Ok(preset)
}

fn schedule(keys: &Keys) -> Result<[ForkEntry; Fork::COUNT], NetworkError> {
    let genesis = keys.version("GENESIS_FORK_VERSION")?;
    if genesis.is_none() {
        return Err(NetworkError::Missing { key: "GENESIS_FORK_VERSION".to_owned() });
    }
    let mut forks = [ForkEntry::UNKNOWN; Fork::COUNT];
    forks[Fork::Phase0 as usize] = ForkEntry { version: genesis, epoch: 0 };
    let mut before = Fork::Phase0;
    for fork in Fork::ALL.iter().copied().skip(1) {
        let version = keys.version(&format!("{fork}_FORK_VERSION"))?;
        let epoch = keys.uint64(&format!("{fork}_FORK_EPOCH"))?.unwrap_or(FAR_FUTURE_EPOCH);
        if epoch != FAR_FUTURE_EPOCH && version.is_none() {
            return Err(NetworkError::ScheduledWithoutVersion { fork, epoch });
        }
        if epoch < forks[before as usize].epoch {
            return Err(NetworkError::Order { fork, epoch, before });
        }
        forks[fork as usize] = ForkEntry { version, epoch };
        before = fork;
    }
    Ok(forks)
}

/// The values of the keys that matter, as text: a YAML number would lose the form of `0x00000001`.
struct Keys(BTreeMap<String, String>);

impl Keys {
    fn is_known(key: &str) -> bool {
        const SINGLE: &[&str] = &[
            "PRESET_BASE",
            "CONFIG_NAME",
            "SLOT_DURATION_MS",
            "SECONDS_PER_SLOT",
            "SLOTS_PER_EPOCH",
            "MAX_COMMITTEES_PER_SLOT",
            "MAX_VALIDATORS_PER_COMMITTEE",
            "SYNC_COMMITTEE_SIZE",
        ];
        SINGLE.contains(&key) || key.ends_with("_FORK_VERSION") || key.ends_with("_FORK_EPOCH")
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn uint64(&self, key: &str) -> Result<Option<u64>, NetworkError> {
        let parse = |text: &str| text.parse().map_err(|_| self.invalid(key, "a decimal number below 2^64"));
        self.text(key).map(parse).transpose()
    }

    fn version(&self, key: &str) -> Result<Option<Version>, NetworkError> {
        let parse = |text: &str| decode_fixed(text).map_err(|_| self.invalid(key, "4 bytes such as 0x01000000"));
        Ok(self.text(key).map(parse).transpose()?.map(Version))
    }

    fn invalid(&self, key: &str, expected: &str) -> NetworkError {
        let found = self.text(key).unwrap_or_default().to_owned();
        NetworkError::Value { key: key.to_owned(), expected: expected.to_owned(), found }
    }
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeysVisitor;
        impl<'de> Visitor<'de> for KeysVisitor {
            type Value = Keys;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a mapping of configuration keys to values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Keys, A::Error> {
                let mut keys = BTreeMap::new();
                while let Some(key) = access.next_key::<String>()? {
                    if Keys::is_known(&key) {
                        keys.insert(key, access.next_value::<String>()?);
                    } else {
                        access.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(KeysVisitor)
    }
}
