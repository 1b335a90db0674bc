//! Signing roots of real and specified requests: the known-answer tests of the executable specification, requests that
//! Lodestar sent, the examples of Web3Signer's OpenAPI file, and Teku's bodies.
//!
//! Signatures are checked where keys live; here the root is the answer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "tests read vectors and print what they measured"
)]

mod message_support;

use consigner_rules::message::SignPath;
use consigner_rules::{AgreedDuty, Network, ParseError, SignRequest, SigningType};
use message_support::{field, files, kats, network_file, parse, vectors};
use serde_json::{Value, json};

#[test]
fn every_known_answer_is_met() {
    let Some(kats) = kats() else { return };
    assert_eq!(kats.len(), 118);
    let network = Network::by_name("mainnet").unwrap();
    for kat in &kats {
        let request = parse(&kat.request, &network).unwrap_or_else(|error| panic!("{}: {error}", kat.name));
        assert_eq!(request.signing_root.to_string(), kat.signing_root, "{}", kat.name);
        assert_eq!(request.signing_type.name(), field(&kat.request, "type"), "{}", kat.name);
        assert_eq!(request.path, expected_path(&kat.request, request.signing_type), "{}", kat.name);
        let claimed = kat.request.pointer("/fork_info/genesis_validators_root").and_then(Value::as_str);
        assert_eq!(request.genesis_validators_root.map(|root| root.to_string()).as_deref(), claimed, "{}", kat.name);
    }
}

#[test]
fn every_known_answer_is_met_without_the_clients_root() {
    let Some(kats) = kats() else { return };
    let network = Network::by_name("mainnet").unwrap();
    for mut kat in kats {
        kat.request.as_object_mut().unwrap().remove("signingRoot");
        assert_eq!(parse(&kat.request, &network).unwrap().signing_root.to_string(), kat.signing_root, "{}", kat.name);
    }
}

#[test]
fn another_root_than_the_payloads_is_refused_with_both() {
    let Some(kats) = kats() else { return };
    let network = Network::by_name("mainnet").unwrap();
    for mut kat in kats {
        let flipped = message_support::flip_last_digit(&kat.signing_root);
        for name in ["signingRoot", "signing_root"] {
            let body = kat.request.as_object_mut().unwrap();
            body.remove("signingRoot");
            body.insert(name.to_owned(), json!(flipped));
            let error = parse(&kat.request, &network).unwrap_err();
            assert!(matches!(error, ParseError::SigningRootMismatch { .. }), "{}: {error}", kat.name);
            let text = error.to_string();
            assert!(text.contains(&flipped) && text.contains(&kat.signing_root), "{}: {text}", kat.name);
        }
    }
}

#[test]
fn requests_that_lodestar_sent_have_its_roots() {
    let Some(vectors) = vectors() else { return };
    let minimal = std::fs::read_to_string(vectors.join("networks/minimal.yaml")).unwrap();
    let mut seen = 0;
    for (file, epochs) in [
        ("lodestar-1.5.1-phase0-altair-bellatrix.samples.jsonl", [1, 2, u64::MAX]),
        ("lodestar-1.5.1-capella-builder.samples.jsonl", [0, 0, 0]),
    ] {
        let mut text = minimal.clone();
        for (fork, epoch) in ["ALTAIR", "BELLATRIX", "CAPELLA"].into_iter().zip(epochs) {
            text = text.replace(&format!("{fork}_FORK_EPOCH: {}", u64::MAX), &format!("{fork}_FORK_EPOCH: {epoch}"));
        }
        let network = Network::from_yaml(&text, "lodestar").unwrap();
        for line in std::fs::read_to_string(vectors.join("clients/lodestar").join(file)).unwrap().lines() {
            let sample: Value = serde_json::from_str(line).unwrap();
            let body = &sample["body"];
            if body.is_null() {
                // GET /api/v1/eth2/publicKeys
                continue;
            }
            let request = parse(body, &network).unwrap_or_else(|error| panic!("{}: {error}", sample["kind"]));
            assert_eq!(request.signing_root.to_string(), field(body, "signingRoot"));
            let mut rootless = body.clone();
            rootless.as_object_mut().unwrap().remove("signingRoot");
            assert_eq!(parse(&rootless, &network).unwrap(), request);
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} samples");
}

/// COMPATIBILITY: the examples of Web3Signer's interface description that are internally consistent.
#[test]
fn openapi_examples_have_their_roots() {
    let Some(vectors) = vectors() else { return };
    let path = vectors.join("openapi/web3signer/signing/paths/sign.yaml");
    let description: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let examples = &description["post"]["requestBody"]["content"]["application/json"]["examples"];
    let network = network_file("minimal").expect("vectors are there");
    let mut equal = 0;
    let mut different = Vec::new();
    for (name, example) in examples.as_object().unwrap() {
        let mut body = example["value"].clone();
        // The file writes these two in camel case in two examples; no client does.
        if let Some(fork) = body.pointer_mut("/fork_info/fork").and_then(Value::as_object_mut) {
            for (wrong, right) in [("previousVersion", "previous_version"), ("currentVersion", "current_version")] {
                if let Some(version) = fork.remove(wrong) {
                    fork.insert(right.to_owned(), version);
                }
            }
        }
        match parse(&body, &network) {
            Ok(request) => {
                assert_eq!(request.signing_root.to_string(), field(&body, "signingRoot"), "{name}");
                equal += 1;
            }
            Err(error) => different.push((name.as_str(), error.to_string())),
        }
    }
    assert_eq!(equal, 22);
    // Two examples fit no preset, and one is in camel case throughout.
    let committee_bits = "aggregate_and_proof.data.aggregate.committee_bits: expected 1 bytes, found 8";
    let known = [
        ("AGGREGATE_AND_PROOF_V2 (ELECTRA)", committee_bits.to_owned()),
        ("AGGREGATE_AND_PROOF_V2 (FULU)", committee_bits.to_owned()),
        ("BLOCK (DEPRECATED)", "block.proposer_index: missing".to_owned()),
    ];
    different.sort();
    assert_eq!(different, known);
}

/// Teku's bodies carry mock roots, so only their shape is tested: they fail at the root and nowhere else.
#[test]
fn bodies_of_teku_have_a_known_shape() {
    let Some(files) = files("clients/teku") else { return };
    let network = network_file("minimal").expect("vectors are there");
    for (name, body) in files {
        let expected_missing = match name.as_str() {
            // Teku's mocks of these two were stored without their payload.
            "altairSyncCommitteeContributionAndProofExternalSignerMessage" => Some("contribution_and_proof: missing"),
            "altairSyncCommitteeSelectionProofExternalSignerMessage" => Some("sync_aggregator_selection_data: missing"),
            _ => None,
        };
        match (parse(&body, &network), expected_missing) {
            (Err(error), Some(missing)) => assert_eq!(error.to_string(), missing, "{name}"),
            (Err(ParseError::SigningRootMismatch { .. }) | Ok(_), None) => {}
            (result, _) => panic!("{name}: {result:?}"),
        }
    }
}

/// Parsing and hashing an attestation is on the path of every duty; this prints what it costs and bounds it loosely
/// (a debug build on a busy machine).
#[test]
fn an_attestation_is_understood_quickly() {
    let Some(kats) = kats() else { return };
    let network = Network::by_name("mainnet").unwrap();
    let kat = kats.iter().find(|kat| kat.name == "fulu_attestation").unwrap();
    let body = serde_json::to_vec(&kat.request).unwrap();
    let key = message_support::PUBLIC_KEY;
    let rounds = 2000;
    let start = std::time::Instant::now();
    for _ in 0..rounds {
        SignRequest::parse(key, std::hint::black_box(&body), &network).unwrap();
    }
    let each = start.elapsed() / rounds;
    eprintln!("one attestation: {each:?}");
    assert!(each < std::time::Duration::from_millis(2), "{each:?}");
}

fn expected_path(body: &Value, signing_type: SigningType) -> SignPath {
    let number = |pointer: &str| body.pointer(pointer).unwrap().as_str().unwrap().parse().unwrap();
    let block = |name: &str| {
        ["block", "block_header"]
            .iter()
            .find_map(|kind| body.pointer(&format!("{name}/{kind}/slot")))
            .or_else(|| body.pointer("/block/slot"))
            .unwrap()
            .as_str()
            .unwrap()
            .parse()
            .unwrap()
    };
    match signing_type {
        SigningType::Block | SigningType::BlockV2 => {
            SignPath::Agreed(AgreedDuty::Block { slot: block("/beacon_block") })
        }
        SigningType::Attestation => SignPath::Agreed(AgreedDuty::Attestation {
            source_epoch: number("/attestation/source/epoch"),
            target_epoch: number("/attestation/target/epoch"),
        }),
        SigningType::VoluntaryExit => SignPath::Agreed(AgreedDuty::VoluntaryExit {
            epoch: number("/voluntary_exit/epoch"),
            validator_index: number("/voluntary_exit/validator_index"),
        }),
        _ => SignPath::Local(message_support::unslashable_kind(signing_type)),
    }
}
