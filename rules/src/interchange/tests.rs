//! Reading, reducing, reporting and writing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::command::{ImportedAttestation, ImportedBlock};

const GENESIS: Root = Root([0x99; 32]);
const A: Root = Root([0xaa; 32]);
const B: Root = Root([0xbb; 32]);
const KEY: PublicKey = PublicKey([1; 48]);
const OTHER: PublicKey = PublicKey([2; 48]);

/// A file with this text as its `data`.
fn file(data: &str) -> String {
    let metadata = format!(r#"{{"interchange_format_version":"5","genesis_validators_root":"{GENESIS}"}}"#);
    format!(r#"{{"metadata":{metadata},"data":{data}}}"#)
}

/// A file with one validator of these lists.
fn one(blocks: &str, attestations: &str) -> String {
    file(&format!(r#"[{{"pubkey":"{KEY}","signed_blocks":{blocks},"signed_attestations":{attestations}}}]"#))
}

fn reduced(text: &str) -> Vec<HistoryImport> {
    Interchange::parse(text).unwrap().reduce()
}

fn warnings(text: &str) -> Vec<Warning> {
    Interchange::parse(text).unwrap().report().remove(0).warnings
}

fn vote(source_epoch: Epoch, target_epoch: Epoch, signing_root: Option<Root>) -> SignedAttestation {
    SignedAttestation { source_epoch, target_epoch, signing_root }
}

#[test]
fn every_error_names_its_path() {
    let cases = [
        ("[]".to_owned(), "file: expected an object, got an array"),
        ("null".to_owned(), "file: expected an object, got null"),
        ("{}".to_owned(), "metadata: missing"),
        (r#"{"metadata":5,"data":[]}"#.to_owned(), "metadata: expected an object, got a number"),
        (r#"{"metadata":{},"data":[]}"#.to_owned(), "metadata.interchange_format_version: missing"),
        (
            r#"{"metadata":{"interchange_format_version":"5"},"data":[]}"#.to_owned(),
            "metadata.genesis_validators_root: missing",
        ),
        (
            r#"{"metadata":{"interchange_format_version":"5","genesis_validators_root":"0x12"},"data":[]}"#.to_owned(),
            "metadata.genesis_validators_root: expected 32 bytes of hexadecimal, got 2 characters",
        ),
        (file("null"), "data: expected an array, got null"),
        (file(r#"{"pubkey":1}"#), "data: expected an array, got an object"),
        (file("[7]"), "data[0]: expected an object, got a number"),
        (
            file(r#"[{"pubkey":7}]"#),
            "data[0].pubkey: expected a public key of 48 bytes as hexadecimal text, got a number",
        ),
        (
            file(r#"[{"pubkey":"0x00","signed_blocks":[],"signed_attestations":[]}]"#),
            "data[0].pubkey: expected 48 bytes of hexadecimal, got 2 characters",
        ),
        (file(&format!(r#"[{{"pubkey":"{KEY}","signed_attestations":[]}}]"#)), "data[0].signed_blocks: missing"),
        (
            file(&format!(r#"[{{"pubkey":"{KEY}","signed_blocks":[],"signed_attestation":[]}}]"#)),
            "data[0].signed_attestations: missing",
        ),
        (one("{}", "[]"), "data[0].signed_blocks: expected an array, got an object"),
        (one("[[]]", "[]"), "data[0].signed_blocks[0]: expected an object, got an array"),
        (one(r#"[{"slot":"1"},{}]"#, "[]"), "data[0].signed_blocks[1].slot: missing"),
        (one("[]", "[{}]"), "data[0].signed_attestations[0].source_epoch: missing"),
        (
            one("[]", r#"[{"source_epoch":"1","target_epoch":null}]"#),
            "data[0].signed_attestations[0].target_epoch: expected a decimal number as text, got null",
        ),
        (
            one("[]", r#"[{"source_epoch":true,"target_epoch":"1"}]"#),
            "data[0].signed_attestations[0].source_epoch: expected a decimal number as text, got a boolean",
        ),
        (
            one(&format!(r#"[{{"slot":"1","signing_root":"{}"}}]"#, "zz".repeat(32)), "[]"),
            "data[0].signed_blocks[0].signing_root: not hexadecimal",
        ),
        (one(r#"[{"slot":"1","signing_root":"0xé"}]"#, "[]"), "data[0].signed_blocks[0].signing_root: not hexadecimal"),
        (
            one(r#"[{"slot":"1","signing_root":5}]"#, "[]"),
            "data[0].signed_blocks[0].signing_root: expected hexadecimal text or null, got a number",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(Interchange::parse(&text).unwrap_err().to_string(), expected, "{text}");
    }
}

#[test]
fn one_bad_validator_refuses_the_whole_file() {
    let good = format!(r#"{{"pubkey":"{KEY}","signed_blocks":[{{"slot":"1"}}],"signed_attestations":[]}}"#);
    let bad = format!(r#"{{"pubkey":"{OTHER}","signed_blocks":[{{"slot":"x"}}],"signed_attestations":[]}}"#);
    let error = Interchange::parse(file(&format!("[{good},{bad},{good}]"))).unwrap_err();
    let expected =
        format!("data[1].signed_blocks[0].slot: expected a decimal number from 0 to {}, got \"x\"", u64::MAX);
    assert_eq!(error.to_string(), expected);
}

#[test]
fn numbers_are_unsigned_decimals_of_64_bits() {
    for (text, expected) in [
        (r#""0""#, Some(0)),
        ("7", Some(7)),
        (r#""007""#, Some(7)),
        (r#""18446744073709551615""#, Some(u64::MAX)),
        ("18446744073709551615", Some(u64::MAX)),
        (r#""18446744073709551616""#, None),
        ("18446744073709551616", None),
        (r#""+5""#, None),
        (r#""-5""#, None),
        ("-5", None),
        ("5.0", None),
        ("5e3", None),
        (r#""0x5""#, None),
        (r#"" 5""#, None),
        (r#""""#, None),
        (r#""٥""#, None),
    ] {
        let parsed = Interchange::parse(one(&format!(r#"[{{"slot":{text}}}]"#), "[]"));
        let slot = parsed.ok().map(|file| file.validators()[&KEY].blocks[0].slot);
        assert_eq!(slot, expected, "{text}");
    }
}

#[test]
fn only_version_5_is_read() {
    for (version, found) in [(r#""4""#, "\"4\""), (r#""6""#, "\"6\""), ("4", "\"4\""), (r#""5.0""#, "\"5.0\"")] {
        let text = format!(r#"{{"metadata":{{"interchange_format_version":{version}}},"data":[]}}"#);
        let error = Interchange::parse(text).unwrap_err();
        assert!(matches!(&error, InterchangeError::Version { found: named } if named == found), "{error}");
        assert!(error.to_string().contains("only \"5\""), "{error}");
    }
    let number = file("[]").replace(r#":"5""#, ":5");
    assert!(Interchange::parse(number).is_ok(), "the version as a number is the same version");
}

#[test]
fn what_is_not_json_or_ambiguous_is_refused() {
    let twice = one(r#"[{"slot":"9","slot":"1"}]"#, "[]");
    let lists_twice = file(&format!(
        r#"[{{"pubkey":"{KEY}","signed_blocks":[{{"slot":"9"}}],"signed_blocks":[],"signed_attestations":[]}}]"#
    ));
    let cut = &file("[]")[..40];
    let trailing = format!("{}x", file("[]"));
    for text in [twice.as_str(), lists_twice.as_str(), cut, trailing.as_str(), "", "\u{feff}{}"] {
        let error = Interchange::parse(text).unwrap_err();
        assert!(matches!(error, InterchangeError::Json(_)), "{text}: {error}");
        assert!(std::error::Error::source(&error).is_some(), "the place stands in the source");
    }
    assert!(matches!(Interchange::parse([0xff, 0xfe]), Err(InterchangeError::Json(_))));
    let deep = "[".repeat(100_000);
    assert!(matches!(Interchange::parse(deep), Err(InterchangeError::Json(_))));
}

#[test]
fn what_is_tolerated() {
    let text = one(
        r#"[{"slot":"1","signing_root":null,"note":{"x":[1,{}]}},{"slot":"2","signing_root":""},{"slot":3}]"#,
        "null",
    );
    let records = Interchange::parse(&text).unwrap().validators()[&KEY].clone();
    assert!(records.blocks.iter().all(|block| block.signing_root.is_none()));
    assert_eq!((records.blocks.len(), records.attestations.len(), records.unusable_roots), (3, 0, 1));
    // Without prefix, in capitals.
    let bare = text.replace(&KEY.to_string(), &KEY.to_string()[2..].to_uppercase());
    assert_eq!(Interchange::parse(bare).unwrap(), Interchange::parse(text).unwrap());
}

#[test]
fn another_chain_is_refused_with_both_roots() {
    let interchange = Interchange::parse(file("[]")).unwrap();
    assert!(interchange.check_genesis(&GENESIS).is_ok());
    let error = interchange.check_genesis(&A).unwrap_err().to_string();
    assert!(error.contains(&GENESIS.to_string()) && error.contains(&A.to_string()), "{error}");
}

#[test]
fn entries_of_one_public_key_are_merged() {
    let entry = |slot: u64, source: u64, target: u64| {
        format!(
            r#"{{"pubkey":"{KEY}","signed_blocks":[{{"slot":"{slot}"}}],
                "signed_attestations":[{{"source_epoch":"{source}","target_epoch":"{target}"}}]}}"#
        )
    };
    let text = file(&format!("[{},{}]", entry(9, 1, 8), entry(2, 3, 4)));
    let attestation = ImportedAttestation { max_source_epoch: 3, max_target_epoch: 8, at_max_target: None };
    let block = ImportedBlock { slot: 9, signing_root: None };
    let expected = HistoryImport { public_key: KEY, block: Some(block), attestation: Some(attestation) };
    assert_eq!(reduced(&text), [expected]);
    assert_eq!(Interchange::parse(&text).unwrap().report()[0].attestations, 2);
}

#[test]
fn a_block_root_is_kept_only_if_nothing_else_stands_at_its_slot() {
    let with = |root: Root| format!(r#"{{"slot":"7","signing_root":"{root}"}}"#);
    let without = r#"{"slot":"7"}"#.to_owned();
    let older = r#"{"slot":"6"}"#.to_owned();
    for (blocks, expected) in [
        (vec![with(A)], Some(A)),
        (vec![with(A), with(A)], Some(A)),
        (vec![older, with(A)], Some(A)),
        (vec![with(A), with(B)], None),
        (vec![with(A), without.clone()], None),
        (vec![without.clone(), with(A)], None),
        (vec![without], None),
    ] {
        let import = reduced(&one(&format!("[{}]", blocks.join(",")), "[]"));
        assert_eq!(import[0].block, Some(ImportedBlock { slot: 7, signing_root: expected }), "{blocks:?}");
    }
}

#[test]
fn the_newest_attestation_is_kept_only_if_nothing_else_stands_at_its_target() {
    let a = Some(A);
    for (votes, max_source_epoch, at_max_target) in [
        (vec![vote(3, 5, a)], 3, Some((3, A))),
        (vec![vote(3, 5, a), vote(3, 5, a), vote(4, 4, None)], 4, Some((3, A))),
        (vec![vote(3, 5, a), vote(3, 5, Some(B))], 3, None),
        (vec![vote(3, 5, a), vote(2, 5, a)], 3, None),
        (vec![vote(3, 5, a), vote(3, 5, None)], 3, None),
        (vec![vote(3, 5, None)], 3, None),
        (vec![vote(9, 2, a), vote(0, 5, a)], 9, Some((0, A))),
    ] {
        let mut interchange = Interchange::new(GENESIS);
        interchange.records_mut(KEY).attestations.clone_from(&votes);
        let expected = ImportedAttestation { max_source_epoch, max_target_epoch: 5, at_max_target };
        assert_eq!(interchange.reduce()[0].attestation, Some(expected), "{votes:?}");
    }
}

#[test]
fn a_validator_without_records_is_no_import() {
    assert!(reduced(&one("[]", "[]")).is_empty());
    assert_eq!(Interchange::parse(one("[]", "[]")).unwrap().report().len(), 1);
}

#[test]
fn doubts_are_reported() {
    let mut interchange = Interchange::new(GENESIS);
    let records = interchange.records_mut(KEY);
    let block = |slot, signing_root| SignedBlock { slot, signing_root };
    records.blocks = vec![block(1, Some(A)), block(1, Some(A)), block(2, Some(A)), block(2, Some(B)), block(3, None)];
    records.attestations =
        vec![vote(1, 9, Some(A)), vote(2, 3, Some(A)), vote(2, 3, Some(A)), vote(3, 9, Some(A)), vote(8, 7, Some(A))];
    let report = interchange.report().remove(0);
    assert_eq!((report.blocks, report.attestations), (5, 5));
    let surround = |inner| Warning::Surround { outer: vote(1, 9, Some(A)), inner };
    let expected = [
        Warning::DoubleBlock { slot: 2 },
        Warning::DoubleVote { target_epoch: 9 },
        surround(vote(2, 3, Some(A))),
        surround(vote(2, 3, Some(A))),
        Warning::Surround { outer: vote(3, 9, Some(A)), inner: vote(8, 7, Some(A)) },
        Warning::SourceAfterTarget(vote(8, 7, Some(A))),
    ];
    let kinds = |warnings: &[Warning]| warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
    // Either vote for target 9 is a witness for the last surround.
    assert_eq!(report.warnings[..4], expected[..4]);
    assert!(matches!(report.warnings[4], Warning::Surround { inner, .. } if inner == vote(8, 7, Some(A))));
    assert_eq!(kinds(&report.warnings[5..]), ["attestation 8->7: source after target"]);
}

#[test]
fn surrounds_are_found_wherever_a_slow_search_finds_them() {
    let pairs: Vec<_> = (0..4).flat_map(|source| (0..4).map(move |target| vote(source, target, Some(A)))).collect();
    for one in &pairs {
        for two in &pairs {
            for three in &pairs {
                let votes = [*one, *two, *three];
                let slow = votes.iter().any(|outer| {
                    let inside = |inner: &SignedAttestation| {
                        outer.source_epoch < inner.source_epoch && inner.target_epoch < outer.target_epoch
                    };
                    votes.iter().any(inside)
                });
                let mut interchange = Interchange::new(GENESIS);
                interchange.records_mut(KEY).attestations = votes.to_vec();
                let found = interchange.report().remove(0).warnings;
                let fast = found.iter().any(|warning| matches!(warning, Warning::Surround { .. }));
                assert_eq!(fast, slow, "{votes:?}");
            }
        }
    }
}

#[test]
fn a_long_list_of_doubts_is_cut() {
    let blocks: Vec<_> = (0..100).map(|slot| format!(r#"{{"slot":"{slot}"}},{{"slot":"{slot}"}}"#)).collect();
    assert_eq!(warnings(&one(&format!("[{}]", blocks.join(",")), "[]")).len(), 8);
}

#[test]
fn the_minimal_file_is_pinned() {
    let attestation = ImportedAttestation { max_source_epoch: 3, max_target_epoch: 5, at_max_target: Some((3, A)) };
    let block = ImportedBlock { slot: 7, signing_root: None };
    let histories = [
        HistoryImport { public_key: OTHER, block: None, attestation: Some(attestation) },
        HistoryImport { public_key: PublicKey([9; 48]), block: None, attestation: None },
        HistoryImport { public_key: KEY, block: Some(block), attestation: None },
    ];
    let text = Interchange::minimal(GENESIS, histories).to_json();
    let expected = format!(
        r#"{{
  "metadata": {{
    "interchange_format_version": "5",
    "genesis_validators_root": "{GENESIS}"
  }},
  "data": [
    {{
      "pubkey": "{KEY}",
      "signed_blocks": [
        {{
          "slot": "7"
        }}
      ],
      "signed_attestations": []
    }},
    {{
      "pubkey": "{OTHER}",
      "signed_blocks": [],
      "signed_attestations": [
        {{
          "source_epoch": "3",
          "target_epoch": "5",
          "signing_root": "{A}"
        }}
      ]
    }}
  ]
}}
"#
    );
    assert_eq!(text, expected);
}

#[test]
fn one_attestation_covers_maxima_of_two() {
    for (maxima, expected) in [
        ((3, 5, Some((3, A))), vote(3, 5, Some(A))),
        // The newest had another source: no root, since no attestation 4->5 was signed.
        ((4, 5, Some((3, A))), vote(4, 5, None)),
        ((3, 5, None), vote(3, 5, None)),
        // An import left the source above the target.
        ((9, 5, Some((9, A))), vote(9, 9, None)),
        ((0, 0, Some((0, A))), vote(0, 0, Some(A))),
    ] {
        let (max_source_epoch, max_target_epoch, at_max_target) = maxima;
        let attestation = Some(ImportedAttestation { max_source_epoch, max_target_epoch, at_max_target });
        let file = Interchange::minimal(GENESIS, [HistoryImport { public_key: KEY, block: None, attestation }]);
        assert_eq!(file.validators()[&KEY].attestations, [expected], "{maxima:?}");
    }
}
