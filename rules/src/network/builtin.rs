//! The networks that the binary knows.
//!
//! Source: the networks' own configuration files as Teku ships them (2026-11). Genesis validators roots and genesis times
//! are not in those files: they are known facts, each found alike in several independent public sources; where one was
//! not found it is `None`. Deliberately absent: genesis of `minimal`, which every test network makes anew.

use super::fork::{Fork, ForkEntry, Version};
use super::preset::Preset;
use super::{FAR_FUTURE_EPOCH, Network};
use crate::primitives::{Root, decode_fixed};

/// A row of the table.
struct Builtin {
    name: &'static str,
    preset: Preset,
    /// Version and epoch from phase 0 on; what is missing at the end is not known to the network.
    forks: &'static [(u32, u64)],
    slot_duration_ms: u64,
    genesis_validators_root: Option<&'static str>,
    genesis_time: Option<u64>,
}

/// The names, for error messages.
pub(super) const NAMES: &[&str] = &["mainnet", "hoodi", "sepolia", "holesky", "gnosis", "chiado", "lukso", "minimal"];

pub(super) fn by_name(name: &str) -> Option<Network> {
    let builtin = BUILTIN.iter().find(|known| known.name.eq_ignore_ascii_case(name))?;
    let mut forks = [ForkEntry::UNKNOWN; Fork::COUNT];
    for (entry, (version, epoch)) in forks.iter_mut().zip(builtin.forks) {
        *entry = ForkEntry { version: Some(Version(version.to_be_bytes())), epoch: *epoch };
    }
    Some(Network {
        name: builtin.name.to_owned(),
        preset: builtin.preset,
        forks,
        slot_duration_ms: builtin.slot_duration_ms,
        // A test decodes every row.
        genesis_validators_root: builtin.genesis_validators_root.and_then(|text| decode_fixed(text).ok()).map(Root),
        genesis_time: builtin.genesis_time,
    })
}

/// Not scheduled.
const NEVER: u64 = FAR_FUTURE_EPOCH;

static BUILTIN: &[Builtin] = &[
    Builtin {
        name: "mainnet",
        preset: Preset::MAINNET,
        forks: &[
            (0x0000_0000, 0),
            (0x0100_0000, 74_240),
            (0x0200_0000, 144_896),
            (0x0300_0000, 194_048),
            (0x0400_0000, 269_568),
            (0x0500_0000, 364_032),
            (0x0600_0000, 411_392),
            (0x0700_0000, NEVER),
            (0x0800_0000, NEVER),
        ],
        slot_duration_ms: 12_000,
        genesis_validators_root: Some("4b363db94e286120d76eb905340fdd4e54bfe9f06bf33ff6cf5ad27f511bfe95"),
        genesis_time: Some(1_606_824_023),
    },
    Builtin {
        name: "hoodi",
        preset: Preset::MAINNET,
        forks: &[
            (0x1000_0910, 0),
            (0x2000_0910, 0),
            (0x3000_0910, 0),
            (0x4000_0910, 0),
            (0x5000_0910, 0),
            (0x6000_0910, 2_048),
            (0x7000_0910, 50_688),
        ],
        slot_duration_ms: 12_000,
        genesis_validators_root: Some("212f13fc4df078b6cb7db228f1c8307566dcecf900867401a92023d7ba99cb5f"),
        genesis_time: Some(1_742_213_400),
    },
    Builtin {
        name: "sepolia",
        preset: Preset::MAINNET,
        forks: &[
            (0x9000_0069, 0),
            (0x9000_0070, 50),
            (0x9000_0071, 100),
            (0x9000_0072, 56_832),
            (0x9000_0073, 132_608),
            (0x9000_0074, 222_464),
            (0x9000_0075, 272_640),
        ],
        slot_duration_ms: 12_000,
        genesis_validators_root: Some("d8ea171f3c94aea21ebc42a1ed61052acf3f9209c00e4efbaaddac09ed9b8078"),
        genesis_time: Some(1_655_733_600),
    },
    Builtin {
        name: "holesky",
        preset: Preset::MAINNET,
        forks: &[
            (0x0101_7000, 0),
            (0x0201_7000, 0),
            (0x0301_7000, 0),
            (0x0401_7000, 256),
            (0x0501_7000, 29_696),
            (0x0601_7000, 115_968),
            (0x0701_7000, 165_120),
        ],
        slot_duration_ms: 12_000,
        genesis_validators_root: Some("9143aa7c615a7f7115e2b6aac319c03529df8242ae705fba9df39b79c59fa8b1"),
        genesis_time: Some(1_695_902_400),
    },
    Builtin {
        name: "gnosis",
        preset: Preset::GNOSIS,
        forks: &[
            (0x0000_0064, 0),
            (0x0100_0064, 512),
            (0x0200_0064, 385_536),
            (0x0300_0064, 648_704),
            (0x0400_0064, 889_856),
            (0x0500_0064, 1_337_856),
            (0x0600_0064, 1_714_688),
            (0x0700_0064, NEVER),
        ],
        slot_duration_ms: 5_000,
        genesis_validators_root: Some("f5dcb5564e829aab27264b9becd5dfaa017085611224cb3036f573368dbb9d47"),
        genesis_time: Some(1_638_993_340),
    },
    Builtin {
        name: "chiado",
        preset: Preset::GNOSIS,
        forks: &[
            (0x0000_006f, 0),
            (0x0100_006f, 90),
            (0x0200_006f, 180),
            (0x0300_006f, 244_224),
            (0x0400_006f, 516_608),
            (0x0500_006f, 948_224),
            (0x0600_006f, 1_353_216),
            (0x0700_006f, NEVER),
        ],
        slot_duration_ms: 5_000,
        genesis_validators_root: Some("9d642dac73058fbf39c0ae41ab1e34e4d889043cb199851ded7095bc99eb4c1e"),
        genesis_time: Some(1_665_396_300),
    },
    Builtin {
        name: "lukso",
        preset: Preset::MAINNET,
        forks: &[
            (0x4200_0001, 0),
            (0x4200_0002, 0),
            (0x4200_0003, 0),
            (0x4200_0004, 8_100),
            (0x4200_0005, 123_075),
            (0x4200_0006, 190_800),
        ],
        slot_duration_ms: 12_000,
        genesis_validators_root: Some("a27edd68cde5c396f499157945d062a010308ce5ed5719a6b1e12ad2a51b97e6"),
        genesis_time: None,
    },
    Builtin {
        name: "minimal",
        preset: Preset::MINIMAL,
        forks: &[
            (0x0000_0001, 0),
            (0x0100_0001, NEVER),
            (0x0200_0001, NEVER),
            (0x0300_0001, NEVER),
            (0x0400_0001, NEVER),
            (0x0500_0001, NEVER),
            (0x0600_0001, NEVER),
            (0x0700_0001, NEVER),
            (0x0800_0001, NEVER),
        ],
        slot_duration_ms: 6_000,
        genesis_validators_root: None,
        genesis_time: None,
    },
];
