//! What the tests of messages share: where the vectors are, and how to parse a JSON value.
//!
//! Vectors stand outside the project: in `$CONSIGNER_VECTORS`, else in `../shared/vectors` beside its root.
#![allow(dead_code, reason = "each test file uses its part")]

use consigner_rules::permit::UnslashableType;
use consigner_rules::{Network, ParseError, PublicKey, SignRequest, SigningType};
use serde_json::Value;
use std::path::PathBuf;

/// Any key: parsing does not look at it.
pub const PUBLIC_KEY: PublicKey = PublicKey([0xaa; 48]);

/// A known-answer test.
pub struct Kat {
    pub name: String,
    pub request: Value,
    pub signing_root: String,
}

pub fn vectors() -> Option<PathBuf> {
    let path = std::env::var_os("CONSIGNER_VECTORS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors"), PathBuf::from);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: no vectors in {} (set CONSIGNER_VECTORS)", path.display());
    None
}

/// All JSON files of a folder of the vectors, by name.
pub fn files(folder: &str) -> Option<Vec<(String, Value)>> {
    let mut paths: Vec<_> =
        std::fs::read_dir(vectors()?.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
    };
    Some(paths.into_iter().map(read).collect())
}

pub fn kats() -> Option<Vec<Kat>> {
    let kat = |(name, mut value): (String, Value)| {
        let signing_root = field(&value["expected"], "signing_root");
        Kat { name, request: value["request"].take(), signing_root }
    };
    Some(files("signing-kat")?.into_iter().map(kat).collect())
}

pub fn network_file(name: &str) -> Option<Network> {
    let text = std::fs::read_to_string(vectors()?.join("networks").join(format!("{name}.yaml"))).unwrap();
    Some(Network::from_yaml(&text, name).unwrap())
}

pub fn field(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}")).to_owned()
}

pub fn parse(body: &Value, network: &Network) -> Result<SignRequest, ParseError> {
    SignRequest::parse(PUBLIC_KEY, &serde_json::to_vec(body).unwrap(), network)
}

pub fn flip_last_digit(root: &str) -> String {
    let (head, last) = root.split_at(root.len() - 1);
    format!("{head}{}", if last == "0" { "1" } else { "0" })
}

pub fn unslashable_kind(signing_type: SigningType) -> UnslashableType {
    use UnslashableType as Kind;
    [
        Kind::AggregationSlot,
        Kind::AggregateAndProof,
        Kind::AggregateAndProofV2,
        Kind::RandaoReveal,
        Kind::Deposit,
        Kind::SyncCommitteeMessage,
        Kind::SyncCommitteeSelectionProof,
        Kind::SyncCommitteeContributionAndProof,
        Kind::ValidatorRegistration,
        Kind::ExecutionPayloadBid,
        Kind::ExecutionPayloadEnvelope,
        Kind::PayloadAttestationMessage,
        Kind::ProposerPreferences,
        Kind::BuilderRequestAuth,
        Kind::InclusionList,
    ]
    .into_iter()
    .find(|kind| SigningType::from(*kind) == signing_type)
    .expect("slashable types are not asked for")
}

/// All places below a value, as JSON pointers.
pub fn places(value: &Value) -> Vec<String> {
    fn walk(value: &Value, here: &str, found: &mut Vec<String>) {
        let inner: Vec<(String, &Value)> = match value {
            Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), value)).collect(),
            Value::Array(items) => items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
        };
        for (name, value) in inner {
            let place = format!("{here}/{name}");
            found.push(place.clone());
            walk(value, &place, found);
        }
    }
    let mut found = Vec::new();
    walk(value, "", &mut found);
    found
}
