//! The official interchange tests of EIP-3076 as what happens to one cluster: histories that come, messages to sign.
//!
//! All files speak of the same three validators. Each file gets validators of its own, so that one cluster plays them
//! all and none sees what another left.

use crate::support::GENESIS;
use consigner_rules::command::HistoryImport;
use consigner_rules::interchange::Interchange;
use consigner_rules::{AgreedDuty, PublicKey, Root};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Number of files in release 5.3.0 of the official set.
pub const FILES: usize = 38;

/// One file.
pub struct Vector {
    pub name: String,
    pub keys: BTreeSet<PublicKey>,
    pub steps: Vec<Step>,
}

/// Histories that are imported, then messages.
pub struct Step {
    pub histories: Vec<HistoryImport>,
    pub messages: Vec<Message>,
}

/// What a validator is to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message {
    pub public_key: PublicKey,
    pub duty: AgreedDuty,
    pub root: Root,
    /// What the file expects of a signer with a minimal store.
    pub allowed: bool,
}

/// Every file, or `None` after saying plainly that the test is skipped.
pub fn load() -> Option<Vec<Vector>> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let folder = std::env::var_os("CONSIGNER_VECTORS").map_or_else(beside, PathBuf::from).join("eip3076");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("SKIPPED: no vectors at {} (set CONSIGNER_VECTORS)", folder.display());
        return None;
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let vectors = paths.iter().zip(1..).map(|(path, number)| vector(path, number)).collect();
    Some(vectors)
}

fn vector(path: &std::path::Path, number: u64) -> Vector {
    let file: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let genesis: Root = text(&file, "genesis_validators_root").parse().unwrap();
    let steps: Vec<Step> = list(&file, "steps").iter().map_while(|value| step(value, &genesis, number)).collect();
    let of_histories = steps.iter().flat_map(|step| step.histories.iter().map(|history| history.public_key));
    let of_messages = steps.iter().flat_map(|step| step.messages.iter().map(|message| message.public_key));
    let keys = of_histories.chain(of_messages).collect();
    Vector { name: text(&file, "name").to_owned(), keys, steps }
}

/// `None` for another chain's history: it is refused, and nothing comes after it.
fn step(value: &Value, genesis: &Root, number: u64) -> Option<Step> {
    let file = Interchange::parse(value["interchange"].to_string()).unwrap();
    let is_ours = file.check_genesis(genesis).is_ok();
    assert_eq!(value["should_succeed"], is_ours, "only another chain's history is refused");
    if !is_ours {
        return None;
    }
    let mut own = Interchange::new(GENESIS);
    for (public_key, records) in file.validators() {
        own.records_mut(of_file(*public_key, number)).clone_from(records);
    }
    let message = |value: &Value, duty| Message {
        public_key: of_file(text(value, "pubkey").parse().unwrap(), number),
        duty,
        root: text(value, "signing_root").parse().unwrap(),
        allowed: value["should_succeed"].as_bool().unwrap(),
    };
    let blocks = list(value, "blocks").iter();
    let blocks = blocks.map(|block| message(block, AgreedDuty::Block { slot: decimal(block, "slot") }));
    let votes = list(value, "attestations").iter().map(|vote| {
        let (source_epoch, target_epoch) = (decimal(vote, "source_epoch"), decimal(vote, "target_epoch"));
        message(vote, AgreedDuty::Attestation { source_epoch, target_epoch })
    });
    Some(Step { histories: own.reduce(), messages: blocks.chain(votes).collect() })
}

/// The file's own validator in the place of the one that all files name.
fn of_file(mut public_key: PublicKey, number: u64) -> PublicKey {
    public_key.0[40..].copy_from_slice(&number.to_be_bytes());
    public_key
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("{name} in {value}"))
}

fn decimal(value: &Value, name: &str) -> u64 {
    text(value, name).parse().unwrap()
}
