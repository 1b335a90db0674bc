//! The networks in the binary are those of the networks' own files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests read vectors"
)]

mod message_support;

use consigner_rules::Network;
use consigner_rules::network::Fork;
use message_support::{network_file, vectors};

#[test]
fn the_table_equals_the_files() {
    if vectors().is_none() {
        return;
    }
    for name in Network::NAMES {
        let builtin = Network::by_name(name).unwrap();
        let file = network_file(name).unwrap();
        assert_eq!(file.name(), builtin.name());
        assert_eq!(file.preset(), builtin.preset());
        assert_eq!(file.slot_duration_ms(), builtin.slot_duration_ms());
        for fork in Fork::ALL {
            assert_eq!(file.fork_version(*fork), builtin.fork_version(*fork), "{name} {fork}");
            assert_eq!(file.fork_epoch(*fork), builtin.fork_epoch(*fork), "{name} {fork}");
        }
    }
}

#[test]
fn the_specifications_own_configurations_are_read() {
    let Some(vectors) = vectors() else { return };
    for name in ["mainnet", "minimal"] {
        let path = vectors.join(format!("consensus-specs/configs/{name}.yaml"));
        let network = Network::from_yaml(&std::fs::read_to_string(path).unwrap(), name).unwrap();
        let builtin = Network::by_name(name).unwrap();
        assert_eq!(network.preset(), builtin.preset());
        assert!(Fork::ALL.iter().all(|fork| network.fork_version(*fork) == builtin.fork_version(*fork)), "{name}");
    }
}

/// The preset values that the binary holds are those of the specification's presets.
#[test]
fn presets_equal_the_specifications() {
    let Some(vectors) = vectors() else { return };
    for name in ["mainnet", "minimal"] {
        let preset = *Network::by_name(name).unwrap().preset();
        let value = |file: &str, key: &str| -> u64 {
            let path = vectors.join(format!("consensus-specs/presets/{name}/{file}.yaml"));
            let text = std::fs::read_to_string(path).unwrap();
            let line = text.lines().find(|line| line.starts_with(&format!("{key}:"))).unwrap();
            line.split_once(':').unwrap().1.trim().parse().unwrap()
        };
        assert_eq!(preset.slots_per_epoch, value("phase0", "SLOTS_PER_EPOCH"));
        assert_eq!(preset.max_committees_per_slot, value("phase0", "MAX_COMMITTEES_PER_SLOT"));
        assert_eq!(preset.max_validators_per_committee, value("phase0", "MAX_VALIDATORS_PER_COMMITTEE"));
        assert_eq!(preset.sync_committee_size, value("altair", "SYNC_COMMITTEE_SIZE"));
        for (file, key, fixed) in [
            ("phase0", "MAX_PROPOSER_SLASHINGS", 16),
            ("phase0", "MAX_ATTESTER_SLASHINGS", 2),
            ("phase0", "MAX_ATTESTATIONS", 128),
            ("phase0", "MAX_DEPOSITS", 16),
            ("phase0", "MAX_VOLUNTARY_EXITS", 16),
            ("bellatrix", "MAX_EXTRA_DATA_BYTES", 32),
            ("heze", "INCLUSION_LIST_COMMITTEE_SIZE", 16),
        ] {
            assert_eq!(value(file, key), fixed, "{name} {key}");
        }
    }
}
