//! Tests of what the command line sends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::admin::ClusterStatus;
use super::signing::{Chain, Duty, Vote};
use consigner_rules::message::SignPath;
use consigner_rules::{Network, PublicKey, Root, SignRequest, Signature, SigningType};

fn chains() -> impl Iterator<Item = Chain> {
    Network::NAMES.iter().map(|name| {
        let network = Network::by_name(name).unwrap();
        let root = network.genesis_validators_root().unwrap_or(Root([7; 32]));
        Chain::new(network, root)
    })
}

#[test]
fn every_body_is_a_request_on_every_network() {
    for chain in chains() {
        let target = chain.newest_fork_epoch() + 2;
        let slot = chain.first_slot(target) + 1;
        let vote = Vote { slot, source: target - 1, target, head: 1 };
        let mut bodies = vec![
            (SigningType::Attestation, chain.attestation(&vote)),
            (SigningType::RandaoReveal, chain.randao(slot)),
            (SigningType::AggregationSlot, chain.selection_proof(slot)),
            (SigningType::AggregateAndProofV2, chain.aggregate_and_proof(&vote, 3, &Signature([1; 96]))),
            (SigningType::SyncCommitteeMessage, chain.sync_message(slot, 1)),
        ];
        if chain.signs_headers(slot) {
            bodies.push((SigningType::BlockV2, chain.block(slot, 1)));
        }
        for (kind, body) in bodies {
            let request = SignRequest::parse(PublicKey([1; 48]), &body, chain.network());
            let request = request.unwrap_or_else(|error| panic!("{} {kind:?}: {error}", chain.network().name()));
            assert_eq!(request.signing_type, kind);
            let agreed = matches!(request.path, SignPath::Agreed(_));
            assert_eq!(agreed, matches!(kind, SigningType::Attestation | SigningType::BlockV2), "{kind:?}");
        }
    }
}

#[test]
fn votes_differ_by_head_and_only_by_head() {
    let chain = chains().next().unwrap();
    let root = |head| {
        let target = chain.newest_fork_epoch() + 2;
        let body = chain.attestation(&Vote { slot: chain.first_slot(target), source: target - 1, target, head });
        SignRequest::parse(PublicKey([1; 48]), &body, chain.network()).unwrap().signing_root
    };
    assert_eq!(root(1), root(1));
    assert_ne!(root(1), root(2));
}

#[test]
fn a_signature_of_another_key_or_message_does_not_verify() {
    let chain = chains().next().unwrap();
    let yardstick = consigner_keys::development::Yardstick::new();
    let duty = |slot| Duty { public_key: yardstick.public_key(), body: chain.selection_proof(slot) };
    let slot = chain.first_slot(chain.newest_fork_epoch());
    let request = SignRequest::parse(yardstick.public_key(), &duty(slot).body, chain.network()).unwrap();
    let signature = yardstick.sign_plain(&request.signing_root);
    assert!(chain.verify(&duty(slot), &signature).unwrap());
    assert!(!chain.verify(&duty(slot + 1), &signature).unwrap());
    let other = consigner_keys::development::interop_secret(1).public_key();
    assert!(!chain.verify(&Duty { public_key: other, ..duty(slot) }, &signature).unwrap());
}

#[test]
fn the_leader_is_the_one_of_the_greatest_term() {
    let node = |id: u64, role: &str, term: u64, leader: u64| {
        serde_json::json!({"id": id, "status": {
            "id": id, "member": {"name": "n", "peer_addr": "a:1", "api_url": ""}, "role": role, "term": term,
            "leader": leader, "last_log_index": null, "commit_index": null, "applied_index": null,
            "snapshot_index": null, "digest": "0x", "keys": 0, "ready": true, "not_ready": null, "version": "0",
            "voters": [1, 2, 3]}})
    };
    let status = |nodes: Vec<serde_json::Value>| -> ClusterStatus {
        serde_json::from_value(serde_json::json!({"node": 1, "nodes": nodes})).unwrap()
    };
    // A deposed leader that was frozen still claims its old term.
    let two =
        status(vec![node(1, "leader", 4, 1), node(2, "leader", 5, 2), serde_json::json!({"id": 3, "error": "x"})]);
    assert_eq!(two.leader(), Some(2));
    assert_eq!(status(vec![node(1, "follower", 4, 2)]).leader(), None);
}
