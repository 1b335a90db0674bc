//! The official interchange tests of EIP-3076 (38 files), strict, through the commands that a cluster would agree on.
//!
//! The column for minimal stores (`should_succeed`) is met in both directions: every expected success and every expected
//! refusal. A file that proves a slashing is imported all the same, by its maxima; only another chain's is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "vectors lie in files; only the rules themselves touch none")]

mod slashing_common;

use consigner_rules::interchange::{Interchange, InterchangeError};
use consigner_rules::{AgreedDuty, Command, Outcome, PublicKey, Root, Ruling};
use serde_json::Value;
use slashing_common::{Checked, intent, vectors};
use std::collections::BTreeSet;

/// Number of files in release 5.3.0 of the official set.
const FILES: usize = 38;

#[test]
fn official_set() {
    let Some(folder) = vectors("eip3076") else { return };
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let mut checks = 0;
    for path in &paths {
        let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        checks += play(&file);
    }
    println!("EIP-3076: {} files, {checks} signings judged as expected", paths.len());
    assert_eq!(paths.len(), FILES);
    assert!(checks > 100, "{checks}");
}

/// Plays one file from an empty cluster; answers the number of signings compared.
fn play(file: &Value) -> usize {
    let name = text(file, "name");
    let genesis: Root = text(file, "genesis_validators_root").parse().unwrap();
    let mut cluster = Checked::initialised(genesis);
    for public_key in all_keys(file) {
        cluster.import_key(public_key);
    }
    let mut checks = 0;
    let mut signed = Vec::new();
    for (index, step) in list(file, "steps").iter().enumerate() {
        let interchange = Interchange::parse(step["interchange"].to_string()).unwrap();
        if !import(&mut cluster, &interchange, &genesis, step["should_succeed"].as_bool().unwrap(), name) {
            break;
        }
        if index == 0 {
            // The flag of later steps also speaks of what earlier steps brought.
            let doubtful = interchange.report().iter().any(|report| !report.warnings.is_empty());
            assert_eq!(
                doubtful,
                step["contains_slashable_data"].as_bool().unwrap(),
                "{name}: {:?}",
                interchange.report()
            );
        }
        for (duty, attempt) in attempts(step) {
            let public_key: PublicKey = text(attempt, "pubkey").parse().unwrap();
            let root: Root = text(attempt, "signing_root").parse().unwrap();
            let allowed = sign(&mut cluster, public_key, duty, root);
            assert_eq!(allowed, attempt["should_succeed"].as_bool().unwrap(), "{name}, step {index}: {attempt}");
            signed.extend(allowed.then_some((public_key, duty, root)));
            checks += 1;
        }
    }
    assert_export_covers(&cluster, &genesis, &signed);
    checks
}

fn import(cluster: &mut Checked, interchange: &Interchange, genesis: &Root, expected: bool, name: &str) -> bool {
    match interchange.check_genesis(genesis) {
        Ok(()) => assert!(expected, "{name}: another chain's history was taken"),
        Err(error) => {
            assert!(!expected, "{name}: {error}");
            assert!(matches!(error, InterchangeError::OtherChain { .. }), "{name}: {error}");
            return false;
        }
    }
    for history in interchange.reduce() {
        let public_key = history.public_key;
        let outcome = cluster.one(Command::ImportHistory(history));
        assert!(matches!(outcome, Outcome::HistoryMerged { public_key: merged, .. } if merged == public_key));
    }
    true
}

fn sign(cluster: &mut Checked, public_key: PublicKey, duty: AgreedDuty, root: Root) -> bool {
    let Outcome::Judged(verdict) = cluster.one(Command::Sign(intent(public_key, duty, root))) else {
        panic!("a sign intent is judged")
    };
    match verdict.ruling {
        Ruling::Safe | Ruling::Repeat => true,
        Ruling::Refused(_) => false,
        other @ (Ruling::Stale { .. } | Ruling::UnknownKey | Ruling::AwaitingFloor) => panic!("{other:?}"),
    }
}

/// S2: a cluster that imports the export refuses everything that was signed, repeats included.
fn assert_export_covers(cluster: &Checked, genesis: &Root, signed: &[(PublicKey, AgreedDuty, Root)]) {
    let exported = Interchange::minimal(*genesis, cluster.state.histories()).to_json();
    let mut other = Checked::initialised(*genesis);
    let interchange = Interchange::parse(&exported).unwrap();
    for history in interchange.reduce() {
        other.one(Command::ImportHistory(history));
    }
    for public_key in signed.iter().map(|(public_key, ..)| *public_key).collect::<BTreeSet<_>>() {
        other.import_key(public_key);
    }
    for (public_key, duty, root) in signed {
        assert!(!sign(&mut other, *public_key, *duty, *root), "{duty:?} is not covered by {exported}");
    }
}

fn attempts(step: &Value) -> impl Iterator<Item = (AgreedDuty, &Value)> {
    let blocks = list(step, "blocks").iter().map(|block| (AgreedDuty::Block { slot: number(block, "slot") }, block));
    let votes = list(step, "attestations").iter().map(|vote| {
        let (source_epoch, target_epoch) = (number(vote, "source_epoch"), number(vote, "target_epoch"));
        (AgreedDuty::Attestation { source_epoch, target_epoch }, vote)
    });
    blocks.chain(votes)
}

fn all_keys(file: &Value) -> BTreeSet<PublicKey> {
    let steps = list(file, "steps").iter();
    let entries = steps.flat_map(|step| {
        list(&step["interchange"], "data").iter().chain(list(step, "blocks")).chain(list(step, "attestations"))
    });
    entries.map(|entry| text(entry, "pubkey").parse().unwrap()).collect()
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn number(value: &Value, name: &str) -> u64 {
    text(value, name).parse().unwrap()
}
