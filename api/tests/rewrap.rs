//! The operator's calls on keys and data keys: plain imports, moving keys to another data key while they sign.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_keys::development::interop_secret;
use consigner_keys::sealing::UnwrapError;
use consigner_keys::{LocalSealer, PlainDataKey, Sealer, SealerError, SecretKey};
use consigner_rules::command::DataKey;
use consigner_rules::primitives::ClusterId;
use consigner_rules::{PublicKey, Root};
use futures::future::{BoxFuture, ready};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::keystores::{history, statuses};
use support::messages::{EPOCH, attestation, mainnet, randao};
use support::{Answer, Node, Site, get, post, sign_path};

const KEYS: &str = "/admin/v1/keys";
const IMPORT: &str = "/admin/v1/keys/import";
const DELETE: &str = "/admin/v1/keys/delete";
const DATA_KEYS: &str = "/admin/v1/keys/data-keys";
const REMOVE: &str = "/admin/v1/keys/data-keys/remove";
const REWRAP: &str = "/admin/v1/keys/rewrap";

async fn call(node: &Node, path: &str, body: &Value) -> Answer {
    post(path, body.to_string()).by("admin").of(node).await
}

async fn done(node: &Node, path: &str, body: &Value) -> Value {
    let answer = call(node, path, body).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

async fn seen(node: &Node, path: &str) -> Value {
    let answer = get(path).by("admin").of(node).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.json()
}

fn secrets(count: u64) -> Vec<SecretKey> {
    (0..count).map(interop_secret).collect()
}

/// A node whose key file was replaced after these keys were sealed.
async fn rotating(count: u64) -> (Node, Root) {
    let (network, root) = mainnet();
    let node = Site::rotating(network, root).node(support::NODE).await;
    node.initialise(&[&node]).await;
    node.import(&secrets(count)).await;
    node.until_ready().await;
    (node, root)
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_calls_are_for_operators() {
    let (network, root) = mainnet();
    let node = Node::with_keys(network, root, &secrets(1)).await;
    for path in [KEYS, DATA_KEYS] {
        assert_eq!(get(path).of(&node).await.status, 403, "{path}");
    }
    for path in [IMPORT, DELETE, DATA_KEYS, REMOVE, REWRAP] {
        assert_eq!(post(path, "{}").of(&node).await.status, 403, "{path}");
        let answer = post(path, "{\"unknown\":1}").by("admin").of(&node).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.body);
        assert!(answer.error().starts_with("the body is not {"), "{}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_secrets_come_in_with_their_history_and_go() {
    let (network, root) = mainnet();
    let node = Node::with_keys(network, root, &[]).await;
    let names: Vec<PublicKey> = secrets(2).iter().map(SecretKey::public_key).collect();
    // Interop secrets, which everybody knows.
    let known = "0x25295f0d1d592a90b333e26e85149708208e9f8e8bc18f6c77bd62f8ad7a6866";
    let past = history(root, &names, 1, EPOCH - 1, EPOCH).to_string();
    let body = json!({
        "keys": [{"secret": known}, {"secret": "0x12"}, {"secret": known}, {"secret": "00".repeat(32)}],
        "slashing_protection": past,
    });
    let told = done(&node, IMPORT, &body).await;
    assert_eq!(statuses(&told), ["imported", "error", "duplicate", "error"], "{told}");
    assert_eq!(told["data"][0], json!({"pubkey": names[0], "status": "imported"}));
    assert!(!told.to_string().contains(&known[2..]), "{told}");
    assert_eq!(statuses(&done(&node, IMPORT, &json!({"keys": [{"secret": known}]})).await), ["duplicate"]);
    let sign = |body: Value| post(&sign_path(&names[0]), body.to_string());
    assert_eq!(sign(attestation(EPOCH - 1, EPOCH, 9)).of(&node).await.status, 412);
    assert_eq!(sign(attestation(EPOCH, EPOCH + 1, 9)).of(&node).await.status, 200);
    let listed = seen(&node, KEYS).await;
    let line = &listed["data"][0];
    assert_eq!((&line["pubkey"], &line["sealer"], &line["open"]), (&json!(names[0]), &json!("local"), &json!(true)));
    let deletion = done(&node, DELETE, &json!({"pubkeys": [names[0], names[1]]})).await;
    assert_eq!(statuses(&deletion), ["deleted", "not_found"]);
    let exported: Value = serde_json::from_str(deletion["slashing_protection"].as_str().unwrap()).unwrap();
    assert_eq!(exported["data"][0]["signed_attestations"][0]["target_epoch"], (EPOCH + 1).to_string());
    assert_eq!(seen(&node, KEYS).await, json!({"data": []}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_move_to_a_new_master_key_while_they_sign() {
    let (node, _) = rotating(45).await;
    let node = Arc::new(node);
    let before = seen(&node, DATA_KEYS).await;
    assert_eq!((&before["in_use"], &before["sealers"][0]["kind"]), (&json!("local"), &json!("local")));
    let old = before["data"][0].clone();
    assert_eq!((&old["current"], &old["open"], &old["keys"]), (&json!(false), &json!(true), &json!(45)), "{before}");

    let stop = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let (node, stop) = (node.clone(), stop.clone());
        async move {
            let mut signed = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                let key = interop_secret(signed % 45).public_key();
                let answer = post(&sign_path(&key), randao(EPOCH + signed).to_string()).of(&node).await;
                assert_eq!(answer.status, 200, "{}", answer.body);
                signed += 1;
            }
            signed
        }
    });
    let made = done(&node, DATA_KEYS, &json!({})).await["id"].clone();
    let (mut moved, mut calls) = (0, 0);
    loop {
        let report = done(&node, REWRAP, &json!({"data_key": made, "max": 20})).await;
        moved += report["moved"].as_u64().unwrap();
        calls += 1;
        assert_eq!(report["remaining"], json!(45 - moved), "{report}");
        assert_eq!((&report["skipped"], &report["why"]), (&json!(0), &json!([])), "{report}");
        if report["remaining"] == 0 {
            break;
        }
        assert_eq!(report["moved"], 20, "a bounded number per call");
        let in_use = done(&node, REMOVE, &json!({"ids": [old["id"]]})).await;
        assert_eq!(statuses(&in_use), ["in_use"]);
    }
    assert_eq!((moved, calls), (45, 3));
    let gone = "ab".repeat(16);
    let removed = done(&node, REMOVE, &json!({"ids": [old["id"], gone, made]})).await;
    assert_eq!(statuses(&removed), ["removed", "not_found", "in_use"], "{removed}");
    stop.store(true, Ordering::Relaxed);
    assert!(load.await.unwrap() > 0);

    let after = seen(&node, DATA_KEYS).await;
    assert_eq!(after["data"].as_array().unwrap().len(), 1, "{after}");
    let new = &after["data"][0];
    assert_eq!((&new["id"], &new["current"], &new["keys"]), (&made, &json!(true), &json!(45)), "{after}");
    // The next import uses it.
    let secret = "0x51d0b65185db6989ab0b560d6deed19c7ead0e24b9b6372cbecb1f26bdfad000";
    assert_eq!(statuses(&done(&node, IMPORT, &json!({"keys": [{"secret": secret}]})).await), ["duplicate"]);
    assert_eq!(seen(&node, DATA_KEYS).await["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_does_not_open_is_skipped_and_said() {
    let (node, _) = rotating(3).await;
    node.import_damaged(&interop_secret(9)).await;
    let made = done(&node, DATA_KEYS, &json!({"sealer": "local"})).await["id"].clone();
    let report = done(&node, REWRAP, &json!({"data_key": made})).await;
    assert_eq!(
        (&report["moved"], &report["skipped"], &report["remaining"]),
        (&json!(3), &json!(1), &json!(1)),
        "{report}"
    );
    let why = report["why"][0].as_str().unwrap();
    assert!(why.contains(&interop_secret(9).public_key().to_string()) && why.contains("altered"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_moved_to_is_refused() {
    let (node, _) = rotating(1).await;
    for (body, status, says) in [
        (json!({"data_key": "ab".repeat(16)}), 409, "holds no data key"),
        (json!({"data_key": "abc"}), 400, "not the id of a data key"),
        (json!({"data_key": "ab".repeat(16), "max": 0}), 400, "max"),
        (json!({"data_key": "ab".repeat(16), "max": 5001}), 400, "5000"),
        (json!({"data_key": "ab".repeat(16), "max": -1}), 400, "another type"),
    ] {
        let answer = call(&node, REWRAP, &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        assert!(answer.error().contains(says), "{body}: {}", answer.body);
    }
    let answer = call(&node, DATA_KEYS, &json!({"sealer": "vault-transit"})).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert!(answer.error().contains("only local"), "{}", answer.body);
    assert_eq!(call(&node, REMOVE, &json!({"ids": ["zz"]})).await.status, 400);
    let ids = |count: u8| (0..count).map(|number| hex::encode([number; 16])).collect::<Vec<_>>();
    let answer = call(&node, REMOVE, &json!({"ids": ids(17)})).await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    assert!(answer.error().contains("more than 16"), "{}", answer.body);
    let each_twice = [ids(16), ids(16)].concat();
    assert_eq!(statuses(&done(&node, REMOVE, &json!({"ids": each_twice})).await), ["not_found"; 16]);
}

/// A sealer elsewhere: its master key changes between any two questions, and from the third on nobody answers.
struct Elsewhere {
    inner: LocalSealer,
    asked: AtomicU64,
}

impl Sealer for Elsewhere {
    fn kind(&self) -> &'static str {
        "vault-transit"
    }

    fn master(&self) -> String {
        format!("key {}", self.asked.load(Ordering::SeqCst).min(2))
    }

    fn is_current(&self, data_key: &DataKey) -> bool {
        self.inner.is_current(data_key)
    }

    fn refresh<'a>(&'a self, cluster_id: &'a ClusterId) -> BoxFuture<'a, Result<(), SealerError>> {
        assert_eq!(*cluster_id, support::CLUSTER_ID);
        let is_away = self.asked.fetch_add(1, Ordering::SeqCst) >= 2;
        let away = SealerError::Record(UnwrapError::Length { data_key: [0; 16], got: 1 });
        Box::pin(ready(if is_away { Err(away) } else { Ok(()) }))
    }

    fn generate<'a>(
        &'a self,
        cluster_id: &'a ClusterId,
    ) -> BoxFuture<'a, Result<(DataKey, PlainDataKey), SealerError>> {
        self.inner.generate(cluster_id)
    }

    fn unwrap<'a>(
        &'a self,
        data_key: &'a DataKey,
        cluster_id: &'a ClusterId,
    ) -> BoxFuture<'a, Result<PlainDataKey, SealerError>> {
        self.inner.unwrap(data_key, cluster_id)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealer_is_asked_for_its_master_key_before_anybody_decides() {
    let dir = tempfile::tempdir().unwrap();
    let key_file = dir.path().join("elsewhere.key");
    LocalSealer::create_key_file(&key_file).unwrap();
    let elsewhere = Elsewhere { inner: LocalSealer::from_key_file(&key_file).unwrap(), asked: AtomicU64::new(0) };
    let (network, root) = mainnet();
    let node = Site::with_other_sealer(network, root, Arc::new(elsewhere)).node(support::NODE).await;
    node.initialise(&[&node]).await;
    node.until_ready().await;
    let sealer = async || seen(&node, DATA_KEYS).await["sealers"][1].clone();
    assert_eq!(sealer().await, json!({"kind": "vault-transit", "master": "key 1", "error": null}));
    done(&node, DATA_KEYS, &json!({})).await;
    let told = sealer().await;
    assert_eq!((&told["kind"], &told["master"]), (&json!("vault-transit"), &json!("key 2")), "{told}");
    assert!(told["error"].as_str().unwrap().contains("1 wrapped bytes"), "{told}");
    // That one does not say which of its keys is current is no reason not to seal by another.
    done(&node, DATA_KEYS, &json!({"sealer": "local"})).await;
}
