#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::client::records::{Attestation, Block};
use consigner_rules::interchange::Interchange;
use serde_json::{Value, json};

fn metadata() -> Value {
    json!({"interchange_format_version": "5", "genesis_validators_root": format!("0x{}", "11".repeat(32))})
}

fn key(number: u8) -> String {
    format!("0x{}", hex::encode([number; 48]))
}

fn validator(number: u8, slots: &[u64], votes: &[(u64, u64)]) -> Validator {
    let root = Some(format!("0x{}", "22".repeat(32)));
    let block = |slot: &u64| Block { slot: slot.to_string(), signing_root: root.clone() };
    let vote = |(source, target): &(u64, u64)| Attestation {
        source_epoch: source.to_string(),
        target_epoch: target.to_string(),
        signing_root: None,
    };
    Validator {
        pubkey: key(number),
        signed_blocks: slots.iter().map(block).collect(),
        signed_attestations: votes.iter().map(vote).collect(),
    }
}

fn file(data: Vec<Validator>) -> File {
    File { metadata: metadata(), data }
}

fn written(gathered: &mut Gathered, pages: Vec<File>, minimal: File, limit: usize) -> Interchange {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("history.json");
    let mut sink = Sink::new(Some(&path), &metadata()).unwrap();
    for page in pages {
        gathered.take(page).unwrap();
        gathered.write(&mut sink, limit).unwrap();
    }
    gathered.cover(minimal).unwrap();
    gathered.write(&mut sink, 0).unwrap();
    sink.finish().unwrap();
    Interchange::parse(std::fs::read(&path).unwrap()).unwrap()
}

#[test]
fn pages_are_joined_and_what_they_lack_is_covered() {
    for limit in [0, 2, 1000] {
        let pages = vec![
            file(vec![validator(1, &[5, 6], &[(1, 2)]), validator(2, &[7], &[])]),
            file(vec![validator(1, &[8], &[(2, 3)])]),
        ];
        // The first is covered; of the second an attestation is missing, the third is in a gap altogether.
        let minimal =
            file(vec![validator(1, &[8], &[(2, 3)]), validator(2, &[7], &[(4, 5)]), validator(3, &[9], &[(1, 9)])]);
        let mut gathered = Gathered::default();
        let whole = written(&mut gathered, pages, minimal.clone(), limit);
        let of = |number: u8| &whole.validators()[&key(number).parse().unwrap()];
        assert_eq!((of(1).blocks.len(), of(1).attestations.len()), (3, 2), "limit {limit}");
        assert_eq!((of(2).blocks.len(), of(2).attestations.len()), (1, 1));
        assert_eq!((of(3).blocks.len(), of(3).attestations.len()), (1, 1));
        let least = Interchange::parse(serde_json::to_vec(&minimal).unwrap()).unwrap();
        let marks = |file: &Interchange| -> Vec<_> {
            let maxima = |history: consigner_rules::HistoryImport| {
                let votes = history.attestation.map(|votes| (votes.max_source_epoch, votes.max_target_epoch));
                (history.public_key, history.block.map(|block| block.slot), votes)
            };
            file.reduce().into_iter().map(maxima).collect()
        };
        assert_eq!(marks(&whole), marks(&least));
        assert_eq!((gathered.maxima.len(), gathered.written), (3, 9));
    }
}

#[test]
fn a_gap_is_told_and_a_full_log_is_not() {
    let exported =
        |from: Option<&str>| Exported { complete_from: from.map(str::to_owned), node: 2, ..Exported::default() };
    assert_eq!(exported(Some("1")).gap(), None);
    assert_eq!(exported(None).gap(), None);
    let gap = exported(Some("4711")).gap().unwrap();
    assert!(gap.contains("node 2") && gap.contains("4711"), "{gap}");
}
