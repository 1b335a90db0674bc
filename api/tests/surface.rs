//! Every other endpoint over a real cluster of one node.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_api::router_with_readiness;
use consigner_keys::SecretKey;
use consigner_keys::development::interop_secret;
use consigner_rules::command::HighWatermark;
use consigner_rules::{Command, Network, PublicKey, Root};
use http::Method;
use http::header::{ACCEPT, ALLOW, RETRY_AFTER};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{LONG, Node, ask, get, post};

const ROOT: Root = Root([0x11; 32]);

fn network() -> Network {
    Network::by_name("mainnet").unwrap()
}

fn secrets() -> Vec<SecretKey> {
    (0..4).map(interop_secret).collect()
}

fn sorted_keys() -> Vec<String> {
    let mut keys: Vec<String> = secrets().iter().map(|secret| secret.public_key().to_string()).collect();
    keys.sort();
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_cluster_says_so_everywhere() {
    let node = Node::lonely(network(), ROOT).await;
    let up = get("/upcheck").of(&node).await;
    assert_eq!((up.status, up.body.as_str(), up.content_type()), (200, "OK", "text/plain; charset=utf-8"));
    let ready = get("/ready").of(&node).await;
    assert_eq!((ready.status, &ready.headers[RETRY_AFTER]), (503, &"1".parse().unwrap()));
    assert!(ready.error().contains("not initialised"), "{}", ready.body);
    let leader = get("/leader").of(&node).await;
    assert_eq!((leader.status, &leader.json()["leader"]), (503, &Value::Null));
    let health = get("/healthcheck").of(&node).await;
    assert_eq!((health.status, &health.json()["outcome"]), (503, &json!("DOWN")));
    for path in ["/api/v1/eth2/publicKeys", "/api/v1/eth2/highWatermark"] {
        let answer = get(path).of(&node).await;
        assert_eq!(answer.status, 503, "{path}: {}", answer.body);
    }
    for (method, path) in [(Method::GET, "/admin/v1/history/export"), (Method::POST, "/admin/v1/history/import")] {
        let answer = ask(method, path).by("admin").of(&node).await;
        assert!([409, 503].contains(&answer.status), "{path}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_initialised_once_and_by_the_admin() {
    let node = Node::lonely(network(), ROOT).await;
    let init = |members: Value| post("/admin/v1/cluster/init", json!({ "members": members }).to_string());
    let members = json!([node.member_json()]);
    assert_eq!(init(members.clone()).of(&node).await.status, 403, "a client is no admin");
    assert_eq!(init(json!([])).by("admin").of(&node).await.status, 400);
    let mut other = node.member_json();
    other["peer_addr"] = json!("127.0.0.1:1");
    assert_eq!(init(json!([other])).by("admin").of(&node).await.status, 400, "not as it advertises itself");
    let done = init(members.clone()).by("admin").of(&node).await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(done.json(), json!({"cluster_id": support::CLUSTER_ID, "members": [support::NODE]}));
    node.until_ready().await;
    let again = init(members).by("admin").of(&node).await;
    assert_eq!(again.status, 409, "{}", again.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_serving_leader_looks_like_one() {
    let node = Node::with_keys(network(), ROOT, &secrets()).await;
    let leader = get("/leader").of(&node).await;
    assert_eq!((leader.status, &leader.json()["leader"]["id"]), (200, &json!(support::NODE)));
    let health = get("/healthcheck").of(&node).await;
    assert_eq!((health.status, &health.json()["status"], &health.json()["outcome"]), (200, &json!("UP"), &json!("UP")));
    for path in ["/upcheck", "/healthcheck", "/leader", "/ready"] {
        for name in ["lb", "client"] {
            let head = ask(Method::HEAD, path).by(name).of(&node).await;
            assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        }
        let options = ask(Method::OPTIONS, path).of(&node).await;
        assert_eq!((options.status, &options.headers[ALLOW]), (405, &"GET,HEAD".parse().unwrap()), "{path}");
        assert!(options.headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn public_keys_are_complete_sorted_and_json_only() {
    let node = Node::with_keys(network(), ROOT, &secrets()).await;
    for ask in [get("/api/v1/eth2/publicKeys"), get("//api/v1/eth2/publicKeys").accept_json()] {
        let answer = ask.of(&node).await;
        assert_eq!((answer.status, answer.content_type()), (200, "application/json; charset=utf-8"), "{}", answer.body);
        assert_eq!(answer.json(), json!(sorted_keys()));
    }
    let text = get("/api/v1/eth2/publicKeys").header(ACCEPT, "text/plain").of(&node).await;
    assert_eq!(text.status, 406, "{}", text.body);
    assert_eq!(get("/api/v1/eth2/publicKeys").by("stranger").of(&node).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_this_node_cannot_open_is_503_and_never_404_or_missing() {
    let node = Node::with_keys(network(), ROOT, &secrets()[..3]).await;
    node.import_damaged(&interop_secret(3)).await;
    let key = interop_secret(3).public_key();
    let listed = get("/api/v1/eth2/publicKeys").of(&node).await;
    assert_eq!((listed.status, listed.json()), (200, json!(sorted_keys())), "the list is the cluster's");
    let body = json!({"type": "RANDAO_REVEAL", "randao_reveal": {"epoch": "400000"}, "fork_info": {
        "fork": {"previous_version": "0x04000000", "current_version": "0x05000000", "epoch": "364032"},
        "genesis_validators_root": ROOT,
    }});
    let signed = post(&support::sign_path(&key), body.to_string()).of(&node).await;
    assert_eq!((signed.status, &signed.headers[RETRY_AFTER]), (503, &"1".parse().unwrap()), "{}", signed.body);
    let health = get("/healthcheck").of(&node).await;
    let loading = health.json()["checks"][2]["checks"][0]["data"].clone();
    assert_eq!((health.status, loading), (200, json!({"keys-loaded": 3, "error-count": 1})));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_high_watermark_is_empty_or_two_numbers_as_text() {
    let node = Node::with_keys(network(), ROOT, &secrets()).await;
    assert_eq!(get("/api/v1/eth2/highWatermark").of(&node).await.json(), json!({}));
    let limit = Command::SetHighWatermark(Some(HighWatermark { epoch: 500_000, slot: 16_000_000 }));
    node.app.cluster.propose(vec![limit], LONG).await.unwrap();
    let expected = json!({"epoch": "500000", "slot": "16000000"});
    assert_eq!(get("/api/v1/eth2/highWatermark").of(&node).await.json(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_of_the_cluster_is_for_the_admin() {
    let node = Node::with_keys(network(), ROOT, &secrets()).await;
    for name in ["client", "node1", "stranger"] {
        let refused = get("/admin/v1/cluster/status").by(name).of(&node).await;
        assert_eq!(refused.status, 403, "{name}");
        assert!(refused.error().contains("administrator"), "{}", refused.body);
    }
    let answer = get("/admin/v1/cluster/status").by("admin").of(&node).await;
    assert_eq!((answer.status, answer.content_type()), (200, "application/json; charset=utf-8"), "{}", answer.body);
    let status = answer.json();
    assert_eq!(status["node"], json!(support::NODE));
    assert_eq!(status["nodes"].as_array().unwrap().len(), 1);
    let this = &status["nodes"][0]["status"];
    assert_eq!((&this["role"], &this["keys"], &this["ready"]), (&json!("leader"), &json!(4), &json!(true)));
}

fn history(keys: &[PublicKey], slot: u64) -> Value {
    let data: Vec<Value> = keys
        .iter()
        .map(|key| {
            json!({
                "pubkey": key,
                "signed_blocks": [{"slot": slot.to_string()}],
                "signed_attestations": [{"source_epoch": "7", "target_epoch": "8"}],
            })
        })
        .collect();
    let metadata = json!({"interchange_format_version": "5", "genesis_validators_root": ROOT});
    json!({"metadata": metadata, "data": data})
}

async fn export(node: &Node, query: &str) -> Value {
    let answer = get(&format!("/admin/v1/history/export{query}")).by("admin").of(node).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn history_goes_in_and_comes_out() {
    let node = Node::with_keys(network(), ROOT, &secrets()).await;
    let import = |file: &Value| post("/admin/v1/history/import", file.to_string());
    // More validators than fit into one batch; most have no key here.
    let keys: Vec<PublicKey> = (0..=450_u16)
        .map(|index| {
            let mut key = [0x80; 48];
            key[46..].copy_from_slice(&index.to_be_bytes());
            PublicKey(key)
        })
        .collect();
    let file = history(&keys, 100);
    assert_eq!(import(&file).of(&node).await.status, 403);
    for status in ["merged", "unchanged"] {
        let answer = import(&file).by("admin").of(&node).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let lines = answer.json()["data"].as_array().unwrap().clone();
        assert_eq!(lines.len(), keys.len());
        assert!(lines.iter().all(|line| line["status"] == status), "{}", lines[0]);
        assert_eq!(lines[0]["pubkey"], json!(keys[0]));
    }
    let exported = export(&node, "").await;
    assert_eq!(exported["data"].as_array().unwrap().len(), keys.len());
    assert_eq!(exported["metadata"], file["metadata"]);
    let two = export(&node, &format!("?pubkeys={},{}", keys[3], keys[5])).await;
    assert_eq!(two["data"].as_array().unwrap().len(), 2);
    assert_eq!(two["data"][0]["signed_blocks"][0]["slot"], "100");
    let wrong = get("/admin/v1/history/export?pubkeys=0x12").by("admin").of(&node).await;
    assert_eq!(wrong.status, 400, "{}", wrong.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_bad_history_file_is_used() {
    let node = Node::with_keys(network(), ROOT, &secrets()).await;
    let keys: Vec<PublicKey> = secrets().iter().map(SecretKey::public_key).collect();
    let mut broken = history(&keys, 100);
    broken["data"][3]["signed_attestations"][0]["target_epoch"] = json!("eight");
    let mut foreign = history(&keys, 100);
    foreign["metadata"]["genesis_validators_root"] = json!(Root([0xee; 32]));
    for (file, status, named) in [
        (broken.to_string(), 400, "data[3].signed_attestations[0].target_epoch"),
        (foreign.to_string(), 412, "0xeeee"),
        ("{".to_owned(), 400, "JSON"),
        (String::new(), 400, "JSON"),
    ] {
        let answer = post("/admin/v1/history/import", file).by("admin").of(&node).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.error().contains(named), "{named}: {}", answer.body);
    }
    assert_eq!(export(&node, "").await["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_not_ready_says_so_wherever_a_load_balancer_asks() {
    let node = Node::with_keys(network(), ROOT, &secrets()).await;
    let importing = Arc::new(AtomicBool::new(true));
    let ready = {
        let importing = importing.clone();
        move || if importing.load(Ordering::Relaxed) { Err("keys are being imported".to_owned()) } else { Ok(()) }
    };
    let router = router_with_readiness(node.app.clone(), Arc::new(ready));
    let paths = ["/ready", "//ready", "/ready/", "/healthcheck", "/healthcheck/", "/leader", "//leader"];
    for path in paths {
        let answer = get(path).through(&router).await;
        assert_eq!((answer.status, &answer.headers[RETRY_AFTER]), (503, &"1".parse().unwrap()), "{path}");
        assert!(answer.body.contains("keys are being imported"), "{path}: {}", answer.body);
        assert_eq!(answer.content_type(), "application/json; charset=utf-8", "{path}");
    }
    assert_eq!(get("/upcheck").through(&router).await.status, 200, "the process answers");
    importing.store(false, Ordering::Relaxed);
    for path in paths {
        let answer = get(path).through(&router).await;
        assert_eq!((answer.status, answer.content_type()), (200, "application/json; charset=utf-8"), "{path}");
    }
}
