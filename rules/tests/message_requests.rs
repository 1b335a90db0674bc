//! What is not a request, and why: the error names the field. What clients write differently, and is taken all the same.
//!
//! The bodies are the known-answer tests, so this file is skipped without vectors, except where it says its own body.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "tests read vectors"
)]

mod message_support;

use consigner_rules::message::Fault;
use consigner_rules::{Moment, Network, ParseError, SignRequest, SigningType};
use message_support::{Kat, PUBLIC_KEY, field, kats, parse, places};
use serde_json::{Value, json};

fn mainnet() -> Network {
    Network::by_name("mainnet").unwrap()
}

fn kat(name: &str) -> Option<Kat> {
    Some(kats()?.into_iter().find(|kat| kat.name == name).unwrap_or_else(|| panic!("no vector {name}")))
}

/// The path of a JSON pointer as error messages write it: `a.b[0].c`.
fn path_of(pointer: &str) -> String {
    pointer.split('/').skip(1).fold(String::new(), |path, step| match step.parse::<usize>() {
        Ok(index) => format!("{path}[{index}]"),
        Err(_) if path.is_empty() => step.to_owned(),
        Err(_) => format!("{path}.{step}"),
    })
}

/// One body of every type and shape; the rest of the known answers differ in fork only.
fn one_of_each() -> Option<Vec<Kat>> {
    let mut seen = std::collections::BTreeSet::new();
    let all = kats()?.into_iter().filter(|kat| seen.insert((field(&kat.request, "type"), places(&kat.request))));
    Some(all.collect())
}

#[test]
fn every_required_field_is_named_when_it_is_missing_or_null() {
    let Some(kats) = one_of_each() else { return };
    let network = mainnet();
    let mut removed = 0;
    for kat in &kats {
        for pointer in places(&kat.request) {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            // Without `version` the object is bare, which is another request.
            // Elements of lists may be fewer.
            let optional = name == "signingRoot" || name.parse::<usize>().is_ok();
            if optional || (name == "version" && pointer != "/beacon_block/version") {
                continue;
            }
            let mut without = kat.request.clone();
            without.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
            let error = parse(&without, &network).unwrap_err();
            let path = path_of(&pointer);
            assert_eq!(error, ParseError::Field { path, fault: Fault::Missing }, "{} without {pointer}", kat.name);
            let mut null = kat.request.clone();
            *null.pointer_mut(&pointer).unwrap() = Value::Null;
            assert_eq!(parse(&null, &network).unwrap_err(), error, "{} with null {pointer}", kat.name);
            removed += 1;
        }
    }
    assert!(removed > 500, "only {removed} fields");
}

#[test]
fn every_wrong_value_is_named_with_its_field() {
    let Some(kats) = one_of_each() else { return };
    let network = mainnet();
    let mut replaced = 0;
    for kat in &kats {
        let pointers = places(&kat.request);
        for pointer in pointers.iter().filter(|pointer| *pointer != "/type") {
            let old = kat.request.pointer(pointer).unwrap();
            let wrong = match old {
                // A byte too many, unless it is a list of bytes or bits, which takes any length: then no digits.
                Value::String(text) if is_byte_or_bit_list(pointer) => vec![json!(text.replace("0x", "0xzz"))],
                Value::String(text) if text.starts_with("0x") => {
                    vec![json!(format!("{text}00")), json!(text[..text.len() - 2]), json!(text.replace("0x", "0xzz"))]
                }
                Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                    let wide = "9".repeat(80);
                    vec![json!(wide), json!("-1"), json!("+1"), json!("0x1"), json!(""), json!(1.5), json!(-1)]
                }
                _ => vec![json!(17), json!("text")],
            };
            for wrong in wrong {
                let mut body = kat.request.clone();
                *body.pointer_mut(pointer).unwrap() = wrong.clone();
                let error = parse(&body, &network).unwrap_err();
                let ParseError::Field { path, .. } = &error else { panic!("{} {pointer} {wrong}: {error}", kat.name) };
                assert_eq!(*path, path_of(pointer), "{} with {wrong}: {error}", kat.name);
                replaced += 1;
            }
        }
    }
    assert!(replaced > 2000, "only {replaced} values");
}

/// Where a body says when its message is for; every type that has such a place.
const MOMENTS: &[(&str, &[&str])] = &[
    ("BLOCK", &["/block/slot"]),
    ("BLOCK_V2", &["/beacon_block/block_header/slot", "/beacon_block/block/slot"]),
    ("AGGREGATION_SLOT", &["/aggregation_slot/slot"]),
    (
        "AGGREGATE_AND_PROOF",
        &["/aggregate_and_proof/data/aggregate/data/slot", "/aggregate_and_proof/aggregate/data/slot"],
    ),
    (
        "AGGREGATE_AND_PROOF_V2",
        &["/aggregate_and_proof/data/aggregate/data/slot", "/aggregate_and_proof/aggregate/data/slot"],
    ),
    ("SYNC_COMMITTEE_MESSAGE", &["/sync_committee_message/slot"]),
    ("SYNC_COMMITTEE_SELECTION_PROOF", &["/sync_aggregator_selection_data/slot"]),
    ("SYNC_COMMITTEE_CONTRIBUTION_AND_PROOF", &["/contribution_and_proof/contribution/slot"]),
    ("EXECUTION_PAYLOAD_BID", &["/execution_payload_bid/data/slot", "/execution_payload_bid/slot"]),
    (
        "EXECUTION_PAYLOAD_ENVELOPE",
        &["/execution_payload_envelope/data/payload/slot_number", "/execution_payload_envelope/payload/slot_number"],
    ),
    ("PAYLOAD_ATTESTATION_MESSAGE", &["/payload_attestation_message/data/slot", "/payload_attestation_message/slot"]),
    ("PROPOSER_PREFERENCES", &["/proposer_preferences/data/proposal_slot", "/proposer_preferences/proposal_slot"]),
    ("BUILDER_REQUEST_AUTH", &["/builder_request_auth/data/slot", "/builder_request_auth/slot"]),
    ("INCLUSION_LIST", &["/inclusion_list/data/slot", "/inclusion_list/slot"]),
];

/// What the bound on future slots and the list of fee recipients look at is what the body says.
#[test]
fn the_particulars_of_a_request_are_those_of_its_body() {
    let Some(kats) = kats() else { return };
    let network = mainnet();
    let slots = network.slots_per_epoch();
    let mut seen = std::collections::BTreeSet::new();
    for kat in &kats {
        let number = |pointer: &str| {
            let value = kat.request.pointer(pointer)?;
            value.as_str().map_or_else(|| value.as_u64(), |text| text.parse().ok())
        };
        let parsed = parse(&kat.request, &network).unwrap();
        let kind = parsed.signing_type.name();
        let at_epoch = |epoch: u64| Some(Moment::Epoch { epoch, first_slot: epoch * slots });
        let expected = match kind {
            "ATTESTATION" => {
                let named = ["source", "target"].map(|end| number(&format!("/attestation/{end}/epoch")).unwrap());
                at_epoch(named[0].max(named[1]).max(number("/attestation/slot").unwrap() / slots))
            }
            "RANDAO_REVEAL" => at_epoch(number("/randao_reveal/epoch").unwrap()),
            "VOLUNTARY_EXIT" => at_epoch(number("/voluntary_exit/epoch").unwrap()),
            "DEPOSIT" | "VALIDATOR_REGISTRATION" => None,
            _ => {
                let (_, places) = MOMENTS.iter().find(|(known, _)| *known == kind).unwrap_or_else(|| panic!("{kind}"));
                Some(Moment::Slot(places.iter().find_map(|place| number(place)).unwrap_or_else(|| panic!("{kind}"))))
            }
        };
        assert_eq!(parsed.particulars.moment, expected, "{}", kat.name);
        let recipient = ["/validator_registration/fee_recipient", "/proposer_preferences/data/fee_recipient"]
            .iter()
            .chain(&["/proposer_preferences/fee_recipient"])
            .find_map(|place| kat.request.pointer(place)?.as_str()?.parse().ok());
        assert_eq!(parsed.particulars.fee_recipient, recipient, "{}", kat.name);
        assert_eq!(recipient.is_some(), ["VALIDATOR_REGISTRATION", "PROPOSER_PREFERENCES"].contains(&kind));
        seen.insert(kind);
    }
    assert_eq!(seen.len(), SigningType::ALL.len(), "{seen:?}");
}

/// An attestation cannot hide how far ahead it reaches behind another of its numbers.
#[test]
fn the_furthest_number_of_an_attestation_counts() {
    let Some(kats) = kats() else { return };
    let network = mainnet();
    let kat = kats.iter().find(|kat| field(&kat.request, "type") == "ATTESTATION").unwrap();
    for (place, value, slot) in [
        ("/attestation/target/epoch", "9000000", 9_000_000 * 32),
        ("/attestation/source/epoch", "9000000", 9_000_000 * 32),
        ("/attestation/slot", "288000031", 9_000_000 * 32),
        ("/attestation/target/epoch", "18446744073709551615", u64::MAX),
    ] {
        let mut body = kat.request.clone();
        *body.pointer_mut(place).unwrap() = json!(value);
        body.as_object_mut().unwrap().remove("signingRoot");
        let parsed = parse(&body, &network).unwrap();
        assert_eq!(parsed.particulars.moment.unwrap().slot(), slot, "{place}");
    }
}

fn is_byte_or_bit_list(pointer: &str) -> bool {
    // Aggregation bits of sync committees are a vector.
    pointer.ends_with("/aggregation_bits") && !pointer.starts_with("/contribution")
        || pointer.ends_with("/extra_data")
        || pointer.ends_with("/block_access_list")
        || pointer.contains("/transactions/")
        || pointer.starts_with("/builder_request_auth/data/data")
}

#[test]
fn types_are_known_in_any_case_and_under_their_aliases() {
    let Some(kats) = one_of_each() else { return };
    let network = mainnet();
    for mut kat in kats {
        let name = field(&kat.request, "type");
        let aliases: &[&str] = match name.as_str() {
            "PAYLOAD_ATTESTATION_MESSAGE" => &["PAYLOAD_ATTESTATION", "payload_attestation_data"],
            "BUILDER_REQUEST_AUTH" => &["REQUEST_AUTH"],
            _ => &[],
        };
        let lower = name.to_lowercase();
        for spelling in aliases.iter().copied().chain([lower.as_str()]) {
            kat.request["type"] = json!(spelling);
            let request = parse(&kat.request, &network).unwrap();
            assert_eq!(request.signing_type.name(), name);
            assert_eq!(request.signing_root.to_string(), kat.signing_root);
        }
    }
}

#[test]
fn unknown_types_and_the_withdrawal_keys_type_are_refused() {
    for name in ["ATTESTATION2", "", "BLOCK ", &"A".repeat(10_000)] {
        let text = parse(&json!({ "type": name }), &mainnet()).unwrap_err().to_string();
        assert!(text.contains("unknown signing type"), "{text}");
        assert!(SigningType::ALL.iter().all(|known| text.contains(known.name())), "{text}");
        assert!(text.len() < 1000);
    }
    let change = parse(&json!({ "type": "bls_to_execution_change" }), &mainnet()).unwrap_err();
    assert_eq!(change, ParseError::BlsToExecutionChange);
    assert_eq!(parse(&json!({}), &mainnet()).unwrap_err().to_string(), "type: missing");
    assert_eq!(parse(&json!([]), &mainnet()).unwrap_err().to_string(), "body: expected an object, found an array");
}

#[test]
fn gloas_objects_may_be_bare_and_under_lighthouses_names() {
    let network = mainnet();
    for (name, key, alias) in [
        ("gloas_payload_attestation_message", "payload_attestation_message", "payload_attestation_data"),
        ("gloas_builder_request_auth", "builder_request_auth", "request_auth"),
        ("gloas_proposer_preferences", "proposer_preferences", "proposer_preferences"),
        ("gloas_execution_payload_envelope", "execution_payload_envelope", "execution_payload_envelope"),
        ("gloas_execution_payload_bid", "execution_payload_bid", "execution_payload_bid"),
        ("heze_execution_payload_bid", "execution_payload_bid", "execution_payload_bid"),
    ] {
        let Some(mut kat) = kat(name) else { return };
        let body = kat.request.as_object_mut().unwrap();
        let data = body.remove(key).unwrap()["data"].take();
        body.insert(alias.to_owned(), data);
        assert_eq!(parse(&kat.request, &network).unwrap().signing_root.to_string(), kat.signing_root, "{name}");
    }
}

#[test]
fn versions_of_blocks_are_upper_case_and_those_of_other_objects_in_any_case() {
    let Some(mut block) = kat("fulu_block_v2") else { return };
    block.request["beacon_block"]["version"] = json!("fulu");
    let error = parse(&block.request, &mainnet()).unwrap_err().to_string();
    assert!(error.starts_with("beacon_block.version: \"fulu\" is not a version"), "{error}");
    for name in ["fulu_aggregate_and_proof_v2", "deneb_aggregate_and_proof_v2"] {
        let mut aggregate = kat(name).unwrap();
        let version = field(&aggregate.request["aggregate_and_proof"], "version").to_lowercase();
        aggregate.request["aggregate_and_proof"]["version"] = json!(version);
        assert!(parse(&aggregate.request, &mainnet()).is_ok());
    }
    let mut bid = kat("gloas_execution_payload_bid").unwrap();
    bid.request["execution_payload_bid"]["version"] = json!("FULU");
    let error = parse(&bid.request, &mainnet()).unwrap_err().to_string();
    assert!(error.starts_with("execution_payload_bid.version:") && error.ends_with("GLOAS, HEZE"), "{error}");
}

#[test]
fn the_version_of_an_aggregate_must_fit_the_schedule_where_there_is_one() {
    let Some(electra) = kat("electra_aggregate_and_proof_v2") else { return };
    let mut wrong = electra.request.clone();
    wrong["aggregate_and_proof"]["version"] = json!("DENEB");
    let error = parse(&wrong, &mainnet()).unwrap_err().to_string();
    assert!(error.starts_with("aggregate_and_proof.version: DENEB does not fit slot"), "{error}");
    // Electra and Fulu share a shape: the name alone may differ.
    let mut same_shape = electra.request.clone();
    same_shape["aggregate_and_proof"]["version"] = json!("FULU");
    assert_eq!(parse(&same_shape, &mainnet()).unwrap().signing_root.to_string(), electra.signing_root);
    // Once Gloas has a date, its version does not fit earlier slots, and a bare object follows the date alone.
    let gloas = kat("gloas_aggregate_and_proof_v2").unwrap();
    let bare = kat("gloas_aggregate_and_proof_legacy").unwrap();
    let Some(scheduled) = mainnet_with_gloas(500_000) else { return };
    assert!(parse(&gloas.request, &scheduled).is_ok());
    assert!(parse(&bare.request, &scheduled).is_ok());
    let Some(later) = mainnet_with_gloas(500_008) else { return };
    let error = parse(&gloas.request, &later).unwrap_err().to_string();
    assert!(error.contains("GLOAS does not fit slot 16000229, which belongs to FULU"), "{error}");
    assert!(matches!(parse(&bare.request, &later).unwrap_err(), ParseError::SigningRootMismatch { .. }));
}

fn mainnet_with_gloas(epoch: u64) -> Option<Network> {
    let text = std::fs::read_to_string(message_support::vectors()?.join("networks/mainnet.yaml")).unwrap();
    let text = text.replace(&format!("GLOAS_FORK_EPOCH: {}", u64::MAX), &format!("GLOAS_FORK_EPOCH: {epoch}"));
    Some(Network::from_yaml(&text, "mainnet").unwrap())
}

#[test]
fn a_block_is_a_header_or_for_the_first_two_forks_whole_but_not_both() {
    let Some(altair) = kat("altair_block_v2") else { return };
    let fulu = kat("fulu_block_v2").unwrap();
    let mut header_of_altair = fulu.request.clone();
    header_of_altair["beacon_block"]["version"] = json!("ALTAIR");
    assert!(parse(&header_of_altair, &mainnet()).is_ok());
    let mut both = altair.request.clone();
    both["beacon_block"]["block_header"] = fulu.request["beacon_block"]["block_header"].clone();
    let error = parse(&both, &mainnet()).unwrap_err().to_string();
    assert_eq!(error, "beacon_block.block_header: given together with \"block\"; give one of them");
    let mut whole_later = altair.request;
    whole_later["beacon_block"]["version"] = json!("CAPELLA");
    assert_eq!(parse(&whole_later, &mainnet()).unwrap_err().to_string(), "beacon_block.block_header: missing");
}

#[test]
fn fork_info_is_not_read_where_no_chain_is_meant_and_must_be_whole_elsewhere() {
    for name in ["validator_registration", "deposit", "gloas_builder_request_auth"] {
        let Some(mut kat) = kat(name) else { return };
        for fork_info in [
            Value::Null,
            json!({ "fork": null, "genesis_validators_root": format!("0x{}", "00".repeat(32)) }),
            json!({ "fork": { "previous_version": "?" } }),
        ] {
            kat.request["fork_info"] = fork_info;
            let request = parse(&kat.request, &mainnet()).unwrap();
            assert_eq!(request.signing_root.to_string(), kat.signing_root);
            assert_eq!(request.genesis_validators_root, None);
        }
    }
    let mut attestation = kat("fulu_attestation").unwrap();
    attestation.request["fork_info"]["fork"] = Value::Null;
    assert_eq!(parse(&attestation.request, &mainnet()).unwrap_err().to_string(), "fork_info.fork: missing");
}

/// EIP-7044: an exit may name an epoch before Deneb on a chain that is past it.
#[test]
fn an_old_exit_has_the_capella_domain_when_the_chain_is_past_deneb() {
    let Some(mut kat) = kat("fulu_voluntary_exit_current_fork_info") else { return };
    let exit = json!({ "epoch": "100", "validator_index": "99" });
    let request = |mut body: Value| {
        body.as_object_mut().unwrap().remove("signingRoot");
        body["voluntary_exit"] = exit.clone();
        parse(&body, &mainnet()).unwrap().signing_root
    };
    let current = request(kat.request.clone());
    let capella = json!({ "previous_version": "0x03000000", "current_version": "0x03000000", "epoch": "0" });
    kat.request["fork_info"]["fork"] = capella;
    assert_eq!(current, request(kat.request));
}

#[test]
fn plain_numbers_unknown_fields_and_missing_prefixes_are_taken() {
    let Some(kat) = kat("fulu_attestation") else { return };
    let mut body = kat.request.clone();
    for pointer in ["/attestation/slot", "/attestation/source/epoch", "/fork_info/fork/epoch"] {
        let value = body.pointer_mut(pointer).unwrap();
        *value = json!(value.as_str().unwrap().parse::<u64>().unwrap());
    }
    body["attestation"]["extra"] = json!({ "anything": [1, -2, 3.5, "text", null, true] });
    body["proofs"] = json!([]);
    let root = body["attestation"]["beacon_block_root"].as_str().unwrap().trim_start_matches("0x").to_owned();
    body["attestation"]["beacon_block_root"] = json!(root);
    assert_eq!(parse(&body, &mainnet()).unwrap().signing_root.to_string(), kat.signing_root);
}

/// One reader takes the first of two equal fields, another the last; what was checked and what is signed could differ.
#[test]
fn a_field_given_twice_is_refused_wherever_it_stands() {
    let Some(kat) = kat("fulu_attestation") else { return };
    let text = kat.request.to_string();
    for (once, twice) in [
        ("\"target\":{", "\"target\":{\"epoch\":\"1\","),
        ("\"type\":", "\"type\":\"RANDAO_REVEAL\",\"type\":"),
        ("\"type\":", "\"attestation\":{},\"type\":"),
        // The same name, written with an escape.
        ("\"type\":", "\"\\u0074ype\":\"RANDAO_REVEAL\",\"type\":"),
    ] {
        let body = text.replace(once, twice);
        assert_ne!(body, text);
        let error = SignRequest::parse(PUBLIC_KEY, body.as_bytes(), &mainnet()).unwrap_err().to_string();
        assert!(error.contains("is given twice"), "{error}");
    }
}

#[test]
fn both_spellings_of_the_signing_root_must_be_right() {
    let Some(mut kat) = kat("fulu_attestation") else { return };
    kat.request["signing_root"] = json!(kat.signing_root);
    assert!(parse(&kat.request, &mainnet()).is_ok());
    kat.request["signing_root"] = json!(message_support::flip_last_digit(&kat.signing_root));
    assert!(matches!(parse(&kat.request, &mainnet()).unwrap_err(), ParseError::SigningRootMismatch { .. }));
}

#[test]
fn bodies_made_to_exhaust_are_refused_early() {
    let network = mainnet();
    let refused = |body: String, why: &str| {
        let error = SignRequest::parse(PUBLIC_KEY, body.as_bytes(), &network).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    refused("[".repeat(1 << 20), "recursion limit");
    refused("{\"a\":".repeat(1 << 20), "recursion limit");
    refused(format!("[{}0]", "0,".repeat(8 << 20)), "values in one body");
    let fields: Vec<_> = (0..100).map(|index| format!("\"{index}\":0")).collect();
    refused(format!("{{{}}}", fields.join(",")), "fields in one object");
    refused(String::new(), "EOF");
    refused("{} {}".to_owned(), "trailing");
    assert!(SignRequest::parse(PUBLIC_KEY, b"{\"type\":\"\xff\xfe\"}", &network).is_err());
}

#[test]
fn lists_longer_than_their_limit_are_refused() {
    let Some(mut kat) = kat("phase0_block_v2") else { return };
    let slashing = kat.request["beacon_block"]["block"]["body"]["proposer_slashings"][0].clone();
    kat.request["beacon_block"]["block"]["body"]["proposer_slashings"] = json!(vec![slashing; 17]);
    let error = parse(&kat.request, &mainnet()).unwrap_err().to_string();
    assert_eq!(error, "beacon_block.block.body.proposer_slashings: expected at most 16 elements, found 17");
    let mut aggregate = self::kat("deneb_aggregate_and_proof_v2").unwrap();
    let bits = aggregate.request.pointer_mut("/aggregate_and_proof/data/aggregate/aggregation_bits").unwrap();
    *bits = json!(format!("0x{}02", "00".repeat(256)));
    let error = parse(&aggregate.request, &mainnet()).unwrap_err().to_string();
    assert!(error.ends_with("aggregation_bits: expected at most 2048 bits, found 2049"), "{error}");
}
