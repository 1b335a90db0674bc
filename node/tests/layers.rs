//! The layers of DESIGN 2, read from `cargo metadata`: imports point down, and a heavy dependency has one owner.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Crate, level, and what it may import. Build and test dependencies may break no layer either.
const LAYERS: &[(&str, u8, &[&str])] = &[
    ("rules", 0, &[]),
    ("gate", 0, &[]),
    ("keys", 1, &["rules"]),
    ("storage", 1, &["rules"]),
    ("raft", 2, &["rules", "gate", "storage"]),
    ("api", 3, &["rules", "gate", "keys", "raft"]),
    ("node", 4, &["rules", "gate", "keys", "storage", "raft", "api"]),
    ("chaos-tests", 5, &["rules", "gate", "keys", "storage", "raft", "api", "node"]),
];

/// Heavy dependency and the crates that may name it, in tests too.
const OWNERS: &[(&str, &[&str])] = &[
    ("ethereum_hashing", &["rules"]),
    ("tokio-rustls", &["gate"]),
    // keys: the clients of key services have a TLS stack of their own. storage: Postgres.
    ("rustls", &["gate", "keys", "storage"]),
    ("tokio-postgres", &["storage"]),
    ("tokio-postgres-rustls", &["storage"]),
    ("x509-parser", &["gate"]),
    // The oracle verifies signatures by other means than the code that it judges.
    ("blst", &["keys", "chaos-tests"]),
    ("aes-gcm", &["keys"]),
    ("aes", &["keys"]),
    ("scrypt", &["keys"]),
    ("pbkdf2", &["keys"]),
    ("bip39", &["keys"]),
    ("aws-config", &["keys"]),
    ("aws-sdk-kms", &["keys"]),
    ("aws-sdk-secretsmanager", &["keys"]),
    ("vaultrs", &["keys"]),
    ("reqwest", &["keys"]),
    ("aws-config", &["keys"]),
    ("aws-sdk-kms", &["keys"]),
    ("aws-sdk-secretsmanager", &["keys"]),
    ("vaultrs", &["keys"]),
    ("reqwest", &["keys"]),
    ("rustify", &["keys"]),
    ("sled", &["storage"]),
    ("openraft", &["raft"]),
    ("axum", &["api"]),
    ("clap", &["node", "chaos-tests"]),
    ("hdrhistogram", &["node"]),
];

/// What belongs to the assembly of the program; tests of other crates may look at their logs and metrics with it.
const ASSEMBLY: &[&str] = &["tracing-subscriber", "metrics-exporter-prometheus"];

/// What `rules` may name besides data types: no I/O, clock, randomness, logging, async.
const PURE: &[&str] = &[
    "ethereum_hashing",
    "hex",
    "rmp-serde",
    "serde",
    // Network files of the consensus specification are YAML texts; who reads the file is somebody else.
    "serde-saphyr",
    "serde_bytes",
    "serde_json",
    "sha2",
    "thiserror",
];

fn metadata() -> Metadata {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    // Without the other packages: nothing is resolved, so nothing is downloaded.
    MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata")
}

fn crates(metadata: &Metadata) -> BTreeMap<String, &Package> {
    metadata.packages.iter().map(|package| (folder(&package.name).to_owned(), package)).collect()
}

fn folder(package: &str) -> &str {
    package.strip_prefix("consigner-").unwrap_or(package)
}

fn layer(name: &str) -> &'static (&'static str, u8, &'static [&'static str]) {
    LAYERS.iter().find(|(known, ..)| *known == name).unwrap_or_else(|| panic!("{name} has no layer: add it to DESIGN"))
}

#[test]
fn the_table_lists_every_crate_in_its_folder() {
    let metadata = metadata();
    let crates = crates(&metadata);
    let known: BTreeSet<&str> = LAYERS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(crates.keys().map(String::as_str).collect::<BTreeSet<_>>(), known);
    for (name, package) in crates {
        assert!(package.name.starts_with("consigner-"), "{name}");
        assert_eq!(package.manifest_path.parent().unwrap().file_name(), Some(name.as_str()), "folder = package");
    }
}

#[test]
fn no_edge_points_up_or_sideways() {
    let metadata = metadata();
    for (name, package) in crates(&metadata) {
        let (_, level, may) = layer(&name);
        for dependency in package.dependencies.iter().filter(|dependency| dependency.path.is_some()) {
            let other = folder(&dependency.name);
            assert!(may.contains(&other), "{name} must not import {other}");
            assert!(layer(other).1 < *level, "{name} (level {level}) imports {other} of level {}", layer(other).1);
        }
    }
}

#[test]
fn the_table_itself_points_down() {
    for (name, level, may) in LAYERS {
        for other in *may {
            assert!(layer(other).1 < *level, "{name} -> {other}");
        }
    }
}

#[test]
fn a_heavy_dependency_has_one_owner() {
    let metadata = metadata();
    for (name, package) in crates(&metadata) {
        for dependency in &package.dependencies {
            if let Some((_, owners)) = OWNERS.iter().find(|(heavy, _)| *heavy == dependency.name) {
                assert!(
                    owners.contains(&name.as_str()),
                    "{name} names {}, which belongs to {owners:?}",
                    dependency.name
                );
            }
        }
    }
    for (heavy, owners) in OWNERS {
        let named = crates(&metadata).into_iter().any(|(name, package)| {
            owners.contains(&name.as_str()) && package.dependencies.iter().any(|dependency| dependency.name == *heavy)
        });
        assert!(named, "{heavy} has no owner any more: remove it from the table");
    }
}

#[test]
fn logging_and_the_exporter_belong_to_the_assembly() {
    let metadata = metadata();
    for (name, package) in crates(&metadata) {
        let normal = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
        for dependency in normal.filter(|dependency| ASSEMBLY.contains(&dependency.name.as_str())) {
            assert!(matches!(name.as_str(), "node" | "chaos-tests"), "{name} names {}", dependency.name);
        }
    }
}

#[test]
fn rules_depend_on_nothing_that_acts() {
    let metadata = metadata();
    let crates = crates(&metadata);
    let normal = crates["rules"].dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
    for dependency in normal {
        assert!(PURE.contains(&dependency.name.as_str()), "rules names {}: is it pure?", dependency.name);
    }
}

#[test]
fn unsafe_code_is_forbidden_but_in_keys() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let workspace = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(workspace.contains("unsafe_code = \"forbid\""));
    for (name, ..) in LAYERS {
        let manifest = std::fs::read_to_string(root.join(name).join("Cargo.toml")).unwrap();
        let lints = manifest.split("[lints").nth(1).unwrap_or_else(|| panic!("{name} has no [lints]"));
        if *name == "keys" {
            assert!(lints.contains("unsafe_code = \"deny\""), "keys denies unsafe code and excepts one file");
        } else {
            assert!(lints.starts_with("]\nworkspace = true"), "{name} must take the lints of the workspace");
        }
    }
}
