//! What was recorded, page by page, and watermarks, over a real cluster of one node.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_keys::SecretKey;
use consigner_keys::development::interop_secret;
use consigner_rules::interchange::Interchange;
use consigner_rules::{Network, PublicKey, Root};
use serde_json::{Value, json};
use support::{Node, get, post};

const ROOT: Root = Root([0x11; 32]);
const MARKS: &str = "/admin/v1/history/watermarks";

async fn node() -> (Node, Vec<PublicKey>) {
    let secrets: Vec<SecretKey> = (0..3).map(interop_secret).collect();
    let node = Node::with_keys(Network::by_name("mainnet").unwrap(), ROOT, &secrets).await;
    let mut keys: Vec<PublicKey> = secrets.iter().map(SecretKey::public_key).collect();
    keys.sort();
    (node, keys)
}

fn past(keys: &[PublicKey]) -> String {
    let data: Vec<Value> = keys
        .iter()
        .map(|key| {
            let votes = json!([{"source_epoch": "7", "target_epoch": "8"}]);
            json!({"pubkey": key, "signed_blocks": [{"slot": "100"}], "signed_attestations": votes})
        })
        .collect();
    let metadata = json!({"interchange_format_version": "5", "genesis_validators_root": ROOT});
    json!({"metadata": metadata, "data": data}).to_string()
}

async fn done(node: &Node, path: &str, body: Value) -> Value {
    let answer = post(path, body.to_string()).by("admin").of(node).await;
    assert_eq!(answer.status, 200, "{path} {body}: {}", answer.body);
    answer.json()
}

async fn refused(node: &Node, path: &str, body: Value) -> (u16, String) {
    let answer = post(path, body.to_string()).by("admin").of(node).await;
    assert_ne!(answer.status, 200, "{path} {body}: {}", answer.body);
    (answer.status, answer.error())
}

async fn shown(node: &Node, key: &PublicKey) -> Value {
    let answer = get(&format!("{MARKS}?pubkeys={key}")).by("admin").of(node).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["data"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn low_watermarks_rise_each_by_itself_and_never_fall() {
    let (node, keys) = node().await;
    assert_eq!(post("/admin/v1/history/import", past(&keys[..2])).by("admin").of(&node).await.status, 200);
    let raise = &format!("{MARKS}/raise");
    let one = json!({"slot": "90", "source_epoch": "8", "target_epoch": "9", "pubkeys": [keys[0], keys[2]]});
    let mut dry = one.clone();
    dry["dry_run"] = json!(true);
    let tried = done(&node, raise, dry).await;
    assert_eq!((&tried["dry_run"], &tried["data"][0]["status"]), (&json!(true), &json!("raised")));
    assert_eq!(shown(&node, &keys[0]).await["target_epoch"], "8", "a dry run changes nothing");
    let made = done(&node, raise, one.clone()).await;
    assert_eq!(made["data"][0]["before"], json!({"slot": "100", "source_epoch": "7", "target_epoch": "8"}));
    let after = json!({"slot": "100", "source_epoch": "8", "target_epoch": "9"});
    assert_eq!(made["data"][0]["after"], after, "the slot lies above already");
    assert_eq!(made["data"][1]["after"]["slot"], "90", "no history yet");
    let again = done(&node, raise, one).await;
    assert!(again["data"].as_array().unwrap().iter().all(|line| line["status"] == "unchanged"), "{again}");
    let all = done(&node, raise, json!({"slot": "5", "all": true})).await;
    assert_eq!(all["data"].as_array().unwrap().len(), 3);
    let seen = shown(&node, &keys[0]).await;
    assert_eq!(
        (&seen["slot"], &seen["source_epoch"], &seen["target_epoch"]),
        (&after["slot"], &json!("8"), &json!("9"))
    );
    assert_eq!((&seen["pubkey"], &seen["held"]), (&json!(keys[0]), &json!(true)));
    assert_eq!(shown(&node, &keys[1]).await["slot"], "100");
    assert_eq!(refused(&node, raise, json!({"slot": "1"})).await.0, 400);
    assert_eq!(post(raise, json!({"slot": "1", "all": true}).to_string()).of(&node).await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_high_watermark_lies_above_everything_signed() {
    let (node, keys) = node().await;
    assert_eq!(post("/admin/v1/history/import", past(&keys)).by("admin").of(&node).await.status, 200);
    let (high, clear) = (&format!("{MARKS}/high"), &format!("{MARKS}/high/clear"));
    for limit in [json!({"epoch": "8", "slot": "101"}), json!({"epoch": "9", "slot": "100"})] {
        for dry_run in [true, false] {
            let mut body = limit.clone();
            body["dry_run"] = json!(dry_run);
            let (status, why) = refused(&node, high, body).await;
            assert!(status == 409 && why.contains(&keys[0].to_string()), "{status} {why}");
        }
    }
    let limit = json!({"epoch": "9", "slot": "101"});
    let mut dry = limit.clone();
    dry["dry_run"] = json!(true);
    assert_eq!(done(&node, high, dry).await["after"], limit);
    let before = get("/api/v1/eth2/highWatermark").of(&node).await.json();
    assert_eq!(before, json!({}), "a dry run changes nothing");
    assert_eq!(done(&node, high, limit.clone()).await["before"], Value::Null);
    assert_eq!(get("/api/v1/eth2/highWatermark").of(&node).await.json(), limit);
    let (status, why) = refused(&node, &format!("{MARKS}/raise"), json!({"slot": "102", "all": true})).await;
    assert!(status == 409 && why.contains("high watermark"), "{status} {why}");
    assert_eq!(done(&node, clear, json!({})).await["before"], limit);
    assert_eq!(get("/api/v1/eth2/highWatermark").of(&node).await.json(), json!({}));
    assert_eq!(refused(&node, high, json!({"epoch": "9"})).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_comes_with_where_it_is_complete() {
    let (node, keys) = node().await;
    let import = post("/admin/v1/history/import", past(&keys[..2])).by("admin").of(&node).await;
    assert_eq!(import.json()["data"][0]["target_epoch"], "8", "what the file brought");
    let path = format!("/admin/v1/history/recorded?after=0&pubkeys={},{}", keys[0], keys[2]);
    assert_eq!(get(&path).of(&node).await.status, 403);
    let answer = get(&path).by("admin").of(&node).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let first = answer.json();
    assert_eq!(
        (&first["node"], &first["complete_from_log_index"], &first["next"]),
        (&json!(support::NODE), &json!("1"), &Value::Null)
    );
    let file = Interchange::parse(first["interchange"].to_string()).unwrap();
    file.check_genesis(&ROOT).unwrap();
    assert_eq!(file.validators().keys().collect::<Vec<_>>(), [&keys[0]], "nothing is known of the third");
}
