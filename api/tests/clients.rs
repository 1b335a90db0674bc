//! What real clients send, over HTTP, with the signatures that it must give.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_keys::development::interop_secret;
use consigner_rules::{Network, Root};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, USER_AGENT};
use serde_json::Value;
use std::path::Path;
use support::{Node, post, vectors};

/// Of all known-answer tests (see the provenance of the vectors).
const KAT_SECRET: &str = "0x000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Slot or target epoch of what slashing protection orders; one validator signs all vectors, in this order.
fn order(kat: &Value) -> u64 {
    let request = &kat["request"];
    let slots =
        ["/beacon_block/block_header/slot", "/beacon_block/block/slot", "/block/slot", "/attestation/target/epoch"];
    slots.iter().find_map(|path| request.pointer(path)?.as_str()?.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_known_answer_is_given_over_http() {
    let Some(vectors) = vectors() else { return };
    let network = Network::by_name("mainnet").unwrap();
    let root = network.genesis_validators_root().unwrap();
    let node = Node::with_keys(network, root, &[support::secret(KAT_SECRET)]).await;
    let folder = std::fs::read_dir(vectors.join("signing-kat")).unwrap();
    let mut kats: Vec<Value> = folder.map(|entry| read(&entry.unwrap().path())).collect();
    assert_eq!(kats.len(), 118);
    kats.sort_by_key(order);
    for kat in &kats {
        let path = format!("/api/v1/eth2/sign/{}", kat["expected"]["pubkey"].as_str().unwrap());
        let answer = post(&path, kat["request"].to_string()).of(&node).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, kat["expected"]["signature"].as_str().unwrap()),
            "{}",
            kat["name"]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_lodestar_sent_get_the_signatures_it_got() {
    let Some(vectors) = vectors() else { return };
    let minimal = std::fs::read_to_string(vectors.join("networks/minimal.yaml")).unwrap();
    let mut replayed = 0;
    for (file, epochs) in [
        ("lodestar-1.5.1-phase0-altair-bellatrix.samples.jsonl", [1, 2, u64::MAX]),
        ("lodestar-1.5.1-capella-builder.samples.jsonl", [0, 0, 0]),
    ] {
        let mut text = minimal.clone();
        for (fork, epoch) in ["ALTAIR", "BELLATRIX", "CAPELLA"].into_iter().zip(epochs) {
            text = text.replace(&format!("{fork}_FORK_EPOCH: {}", u64::MAX), &format!("{fork}_FORK_EPOCH: {epoch}"));
        }
        let lines = std::fs::read_to_string(vectors.join("clients/lodestar").join(file)).unwrap();
        let mut samples: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // As the client sent them, so that slashing protection sees them in their order.
        samples.sort_by(|a, b| a["t"].as_f64().unwrap().total_cmp(&b["t"].as_f64().unwrap()));
        let chains = samples.iter().find_map(|sample| sample.pointer("/body/fork_info/genesis_validators_root"));
        let root: Root = chains.unwrap().as_str().unwrap().parse().unwrap();
        let network = Network::from_yaml(&text, "lodestar").unwrap();
        let secrets: Vec<_> = (0..8).map(interop_secret).collect();
        let node = Node::with_keys(network, root, &secrets).await;
        for sample in samples.iter().filter(|sample| sample["method"] == "POST") {
            let mut request = post(sample["path"].as_str().unwrap(), sample["body"].to_string());
            for name in [ACCEPT, CONTENT_TYPE, USER_AGENT] {
                request = request.header(name.clone(), header(sample, &name));
            }
            let answer = request.of(&node).await;
            assert_eq!(answer.status, 200, "{}: {}", sample["kind"], answer.body);
            let expected: Value = serde_json::from_str(sample["response"].as_str().unwrap()).unwrap();
            assert_eq!(answer.json(), expected, "{}", sample["kind"]);
            replayed += 1;
        }
    }
    assert_eq!(replayed, 95);
}

fn header<'a>(sample: &'a Value, name: &HeaderName) -> &'a str {
    let headers = sample["headers"].as_object().unwrap();
    let found = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name.as_str()));
    found.and_then(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("{name} in {sample}"))
}
