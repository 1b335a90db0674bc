#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;
use crate::primitives::Root;

const MINIMAL: &str = "PRESET_BASE: 'minimal'\nGENESIS_FORK_VERSION: 0x00000001\nSECONDS_PER_SLOT: 6\n";

#[test]
fn every_known_network_is_whole() {
    for name in Network::NAMES {
        let network = Network::by_name(&name.to_uppercase()).unwrap();
        assert_eq!(network.name(), *name);
        assert!(network.fork_version(Fork::Phase0).is_some());
        assert_eq!(network.fork_epoch(Fork::Phase0), 0);
        assert!(Fork::ALL.windows(2).all(|pair| network.fork_epoch(pair[0]) <= network.fork_epoch(pair[1])));
        assert!(Fork::ALL.iter().all(|fork| !network.is_scheduled(*fork) || network.fork_version(*fork).is_some()));
        assert_eq!(network.genesis_validators_root().is_some(), *name != "minimal", "{name}");
    }
    assert_eq!(Network::by_name("goerli"), None);
}

#[test]
fn mainnet_by_its_well_known_numbers() {
    let mainnet = Network::by_name("mainnet").unwrap();
    assert_eq!(mainnet.fork_version(Fork::Fulu), Some(Version([6, 0, 0, 0])));
    assert_eq!(mainnet.fork_epoch(Fork::Fulu), 411_392);
    assert!(!mainnet.is_scheduled(Fork::Gloas));
    assert_eq!(mainnet.fork_at_epoch(411_391), Fork::Electra);
    assert_eq!(mainnet.fork_at_slot(411_392 * 32), Fork::Fulu);
    assert_eq!(mainnet.fork_at_epoch(u64::MAX), Fork::Fulu);
    assert_eq!(mainnet.seconds_per_slot(), 12);
    assert_eq!(mainnet.slots_per_epoch(), 32);
    assert_eq!(mainnet.genesis_time(), Some(1_606_824_023));
    assert_eq!(mainnet.unscheduled_fork(Version([7, 0, 0, 0])), Some(Fork::Gloas));
    assert_eq!(mainnet.unscheduled_fork(Version([6, 0, 0, 0])), None);
    assert_eq!(Network::by_name("gnosis").unwrap().slots_per_epoch(), 16);
}

#[test]
fn a_configuration_needs_little_and_ignores_what_it_does_not_know() {
    let text = format!(
        "{MINIMAL}ALTAIR_FORK_VERSION: 0x01000001\nALTAIR_FORK_EPOCH: 3\nBLOB_SCHEDULE:\n  - EPOCH: 1\n    X: [1, 2]\n"
    );
    let network = Network::from_yaml(&text, "devnet").unwrap();
    assert_eq!(network.name(), "devnet");
    assert_eq!(*network.preset(), Preset::MINIMAL);
    assert_eq!(network.slot_duration_ms(), 6000);
    assert_eq!(network.genesis_fork_version(), Version([0, 0, 0, 1]));
    assert_eq!(network.fork_at_epoch(3), Fork::Altair);
    assert_eq!(network.fork_at_epoch(u64::MAX), Fork::Altair);
    assert_eq!(network.fork_version(Fork::Capella), None);
    assert_eq!(network.genesis_validators_root(), None);
    let network = network.with_genesis_validators_root(Root([1; 32])).with_genesis_time(5);
    assert_eq!((network.genesis_validators_root(), network.genesis_time()), (Some(Root([1; 32])), Some(5)));
    let named = Network::from_yaml(&format!("{MINIMAL}CONFIG_NAME: hive\nSYNC_COMMITTEE_SIZE: 64\n"), "x").unwrap();
    assert_eq!((named.name(), named.preset().sync_committee_size), ("hive", 64));
    let gnosis = MINIMAL.replace("'minimal'", "gnosis");
    assert_eq!(*Network::from_yaml(&gnosis, "x").unwrap().preset(), Preset::GNOSIS);
}

#[test]
fn what_is_wrong_in_a_configuration_is_named() {
    let cases = [
        ("SECONDS_PER_SLOT: 6\n", "GENESIS_FORK_VERSION: missing"),
        ("GENESIS_FORK_VERSION: 0x00000001\n", "SLOT_DURATION_MS: missing"),
        (&format!("{MINIMAL}ALTAIR_FORK_EPOCH: 3\n"), "ALTAIR_FORK_EPOCH is 3, but ALTAIR_FORK_VERSION is missing"),
        (
            &format!("{MINIMAL}ALTAIR_FORK_VERSION: 0x01\n"),
            "ALTAIR_FORK_VERSION: expected 4 bytes such as 0x01000000, found \"0x01\"",
        ),
        (
            &format!("{MINIMAL}DENEB_FORK_EPOCH: soon\n"),
            "DENEB_FORK_EPOCH: expected a decimal number below 2^64, found \"soon\"",
        ),
        (
            &format!(
                "{MINIMAL}ALTAIR_FORK_VERSION: 0x01000001\nALTAIR_FORK_EPOCH: 3\n\
                 BELLATRIX_FORK_VERSION: 0x02000001\nBELLATRIX_FORK_EPOCH: 2\n"
            ),
            "BELLATRIX_FORK_EPOCH is 2, before ALTAIR_FORK_EPOCH",
        ),
        (
            &MINIMAL.replace("minimal", "mini"),
            "PRESET_BASE: expected one of [\"mainnet\", \"minimal\", \"gnosis\"], found \"mini\"",
        ),
        (
            &format!("{MINIMAL}SLOTS_PER_EPOCH: 0\n"),
            "SLOTS_PER_EPOCH: expected a number from 1 to 16777216, found \"0\"",
        ),
        (&MINIMAL.replace("SLOT: 6", "SLOT: 0"), "SECONDS_PER_SLOT: expected more than zero, found \"0\""),
    ];
    for (text, expected) in cases {
        assert_eq!(Network::from_yaml(text, "x").unwrap_err().to_string(), expected);
    }
    for text in ["- 1", "a: [", &format!("{MINIMAL}{MINIMAL}"), &format!("{MINIMAL}CONFIG_NAME: [1]\n")] {
        assert!(matches!(Network::from_yaml(text, "x"), Err(NetworkError::Yaml(_))), "{text:?}");
    }
}
