//! The key manager API over real clusters: what goes in, what comes out, what stays.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_keys::SecretKey;
use consigner_keys::development::interop_secret;
use consigner_rules::{PublicKey, Root};
use http::Method;
use serde_json::{Value, json};
use support::keystores::{KEYSTORES, REMOTE_KEYS, delete_keys, history, import_of, keystore, post_keys, statuses};
use support::messages::{EPOCH, attestation, block, mainnet, randao};
use support::openapi::Document;
use support::{Answer, Node, Site, ask, get, post, sign_path};

/// An empty cluster of one node.
async fn empty() -> (Node, Root) {
    let (network, root) = mainnet();
    let node = Node::lonely(network, root).await;
    node.initialise(&[&node]).await;
    node.until_ready().await;
    (node, root)
}

fn secrets(count: u64) -> Vec<SecretKey> {
    (0..count).map(interop_secret).collect()
}

fn keys(secrets: &[SecretKey]) -> Vec<PublicKey> {
    secrets.iter().map(SecretKey::public_key).collect()
}

/// Compares an answer with the specification, where it is at hand.
fn conforms(method: &str, answer: &Answer) {
    if let Some(document) = Document::of_vectors("openapi/keymanager/apis/local_keystores.yaml") {
        document.check(method, answer);
    }
}

async fn import(router: &axum::Router, body: &Value) -> Answer {
    let answer = post_keys(KEYSTORES, body).through(router).await;
    conforms("post", &answer);
    answer
}

async fn delete(router: &axum::Router, keys: &[PublicKey]) -> (Vec<String>, Value) {
    let answer = delete_keys(KEYSTORES, keys).through(router).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    conforms("delete", &answer);
    let body = answer.json();
    let statuses = statuses(&body).into_iter().map(ToOwned::to_owned).collect();
    (statuses, serde_json::from_str(body["slashing_protection"].as_str().expect("a string")).unwrap())
}

async fn listed(router: &axum::Router) -> Vec<Value> {
    let answer = get(KEYSTORES).by("admin").through(router).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    conforms("get", &answer);
    answer.json()["data"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keystore_comes_with_its_history_and_leaves_with_it() {
    let (node, root) = empty().await;
    let manager = node.manager();
    let (secrets, names) = (secrets(3), keys(&secrets(3)));
    assert_eq!(listed(&manager).await, Vec::<Value>::new());
    let past = history(root, &names, 11_839_990, EPOCH - 2, EPOCH - 1);
    let answer = import(&manager, &import_of(&secrets, Some(&past))).await;
    assert_eq!(
        (answer.status, answer.json()),
        (
            200,
            json!({"data": [
                {"status": "imported"}, {"status": "imported"}, {"status": "imported"},
            ]})
        )
    );
    let mut sorted = names.clone();
    sorted.sort();
    let expected: Vec<Value> = sorted.iter().map(|key| json!({"validating_pubkey": key, "readonly": false})).collect();
    assert_eq!(listed(&manager).await, expected);

    // The key signs at once, above what it signed elsewhere and not below.
    let sign = |body: Value| post(&sign_path(&names[0]), body.to_string());
    assert_eq!(sign(attestation(EPOCH - 2, EPOCH - 1, 9)).of(&node).await.status, 412);
    assert_eq!(sign(block(11_839_990, 9)).of(&node).await.status, 412);
    assert_eq!(sign(attestation(EPOCH - 1, EPOCH, 9)).of(&node).await.status, 200);
    assert_eq!(sign(block(11_840_001, 9)).of(&node).await.status, 200);

    let (statuses, exported) = delete(&manager, &[names[0], names[1], names[0], PublicKey([0xaa; 48])]).await;
    assert_eq!(statuses, ["deleted", "deleted", "not_active", "not_found"]);
    let told: Vec<&Value> = exported["data"].as_array().unwrap().iter().collect();
    assert_eq!(told.len(), 2, "{exported}");
    let mine = told.iter().find(|validator| validator["pubkey"] == json!(names[0])).unwrap();
    assert_eq!(mine["signed_blocks"][0]["slot"], "11840001");
    assert_eq!(mine["signed_attestations"][0]["target_epoch"], EPOCH.to_string());
    assert_eq!(exported["metadata"]["genesis_validators_root"], json!(root));

    for body in [attestation(EPOCH, EPOCH + 1, 9), randao(EPOCH)] {
        let answer = sign(body).of(&node).await;
        assert_eq!(answer.status, 404, "{}", answer.body);
    }
    assert_eq!(listed(&manager).await.len(), 1);
    let again = delete(&manager, &[names[1], names[0]]).await;
    assert_eq!(again, (vec!["not_active".to_owned(), "not_active".to_owned()], exported.clone()), "kept for ever");

    // Back again, and still bound by what it signed here.
    let answer = import(&manager, &import_of(&secrets[..1], None)).await;
    assert_eq!(answer.json(), json!({"data": [{"status": "imported"}]}));
    assert_eq!(sign(attestation(EPOCH - 1, EPOCH, 8)).of(&node).await.status, 412);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_keystore_stands_for_itself_and_in_its_place() {
    let (node, _) = empty().await;
    let manager = node.manager();
    let good = secrets(3);
    let mut stranger: Value = serde_json::from_str(&keystore(&interop_secret(7), "seven")).unwrap();
    stranger["pubkey"] = json!(hex::encode(interop_secret(8).public_key().as_bytes()));
    let body = json!({
        "keystores": [
            keystore(&good[0], "right"), keystore(&good[1], "right"), "{\"version\":", "not a keystore",
            stranger.to_string(), keystore(&good[0], "other"), keystore(&good[2], "pass\tword"),
        ],
        "passwords": ["right", "wrong", "", "", "seven", "other", "password"],
    });
    let answer = import(&manager, &body).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let told = answer.json();
    // EIP-2335: control characters are stripped from passwords.
    let expected = ["imported", "error", "error", "error", "error", "duplicate", "imported"];
    assert_eq!(statuses(&told), expected, "{told}");
    for (index, says) in [(1, "wrong password"), (2, "truncated"), (3, "not JSON"), (4, "holds the key of")] {
        let message = told["data"][index]["message"].as_str().expect("an error says why");
        assert!(message.contains(says) && !message.contains("right") && !message.contains("seven"), "{message}");
    }
    assert_eq!(listed(&manager).await.len(), 2);
    let answer = import(&manager, &import_of(&good, None)).await;
    assert_eq!(statuses(&answer.json()), ["duplicate", "imported", "duplicate"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_still_brings_its_history_and_a_stranger_in_the_file_does_not() {
    let (node, root) = empty().await;
    let manager = node.manager();
    let (both, names) = (secrets(2), keys(&secrets(2)));
    assert_eq!(statuses(&import(&manager, &import_of(&both[..1], None)).await.json()), ["imported"]);
    let past = history(root, &names, 11_839_990, EPOCH - 1, EPOCH);
    let answer = import(&manager, &import_of(&both[..1], Some(&past))).await;
    assert_eq!(statuses(&answer.json()), ["duplicate"]);
    let refused = post(&sign_path(&names[0]), attestation(EPOCH - 1, EPOCH, 9).to_string()).of(&node).await;
    assert_eq!(refused.status, 412, "{}", refused.body);
    let (statuses, exported) = delete(&manager, &names).await;
    assert_eq!(statuses, ["deleted", "not_found"], "nothing of the other validator was kept");
    assert_eq!(exported["data"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_call_changes_nothing() {
    let (node, root) = empty().await;
    let manager = node.manager();
    let (one, names) = (secrets(1), keys(&secrets(1)));
    let good = import_of(&one, None);
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body.to_string()
    };
    let foreign = history(Root([0xee; 32]), &names, 1, 1, 2).to_string();
    let broken = history(root, &names, 1, 1, 2).to_string().replace("\"5\"", "\"4\"");
    for (body, says) in [
        (String::new(), "the JSON ends too early"),
        ("[]".to_owned(), "the body is not"),
        ("{}".to_owned(), "missing field `keystores`"),
        (with("passwords", json!([])), "1 and 0 items"),
        (with("passwords", json!(["password 0", "more"])), "1 and 2 items"),
        (with("passwords", json!("password 0")), "another type"),
        (with("keystores", json!([1])), "another type"),
        (with("slashing_protection", json!({})), "another type"),
        (with("slashing_protection", json!("")), "slashing_protection: the interchange file is not valid JSON"),
        (with("slashing_protection", json!(broken)), "version \"4\" is not supported"),
        (with("slashing_protection", json!(foreign)), "0xeeee"),
    ] {
        let answer = post_keys(KEYSTORES, &Value::Null).with(body.clone()).through(&manager).await;
        assert_eq!((answer.status, answer.content_type()), (400, "application/json; charset=utf-8"), "{body}");
        conforms("post", &answer);
        let message = answer.json()["message"].as_str().expect("a message").to_owned();
        assert!(message.contains(says) && !message.contains("password 0"), "{body}: {message}");
    }
    assert_eq!(listed(&manager).await, Vec::<Value>::new());
    for body in ["", "{}", "{\"pubkeys\":[\"0x12\"]}", "{\"pubkeys\":[null]}", "{\"pubkeys\":\"0x\"}"] {
        let answer = ask(Method::DELETE, KEYSTORES).by("admin").with(body.to_owned()).through(&manager).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
        conforms("delete", &answer);
    }
    let nothing = json!({"keystores": [], "passwords": [], "slashing_protection": null});
    assert_eq!(import(&manager, &nothing).await.json(), json!({"data": []}));
    assert_eq!(delete(&manager, &[]).await.0, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_has_no_remote_keys_says_so_per_item() {
    let (node, _) = empty().await;
    let manager = node.manager();
    let document = Document::of_vectors("openapi/keymanager/apis/remote_keystores.yaml");
    let conforms = |method: &str, answer: &Answer| document.iter().for_each(|document| document.check(method, answer));
    let names = keys(&secrets(2));
    let list = get(REMOTE_KEYS).by("admin").through(&manager).await;
    assert_eq!((list.status, list.json()), (200, json!({"data": []})));
    conforms("get", &list);
    let remote =
        json!({"remote_keys": [{"pubkey": names[0], "url": "https://signer"}, {"pubkey": names[1]}, {"pubkey": "0x"}]});
    let posted = post_keys(REMOTE_KEYS, &remote).through(&manager).await;
    assert_eq!((posted.status, statuses(&posted.json())), (200, vec!["error", "error", "error"]));
    conforms("post", &posted);
    let deleted = delete_keys(REMOTE_KEYS, &names).through(&manager).await;
    assert_eq!(
        (deleted.status, deleted.json()),
        (200, json!({"data": [{"status": "not_found"}, {"status": "not_found"}]}))
    );
    conforms("delete", &deleted);
    for malformed in
        [json!([]), json!({"remote_keys": [{"pubkey": names[0], "url": null}]}), json!({"remote_keys": [{}]})]
    {
        assert_eq!(post_keys(REMOTE_KEYS, &malformed).through(&manager).await.status, 400, "{malformed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_cluster_lists_nothing_rather_than_none() {
    let (network, root) = mainnet();
    let node = Node::lonely(network, root).await;
    let manager = node.manager();
    let list = get(KEYSTORES).by("admin").through(&manager).await;
    assert_eq!(list.status, 503, "{}", list.body);
    assert!(list.json()["message"].is_string(), "{}", list.body);
    let answer = post_keys(KEYSTORES, &import_of(&secrets(1), None)).through(&manager).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(delete_keys(KEYSTORES, &keys(&secrets(1))).through(&manager).await.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_broke_off_is_repeated_and_goes_on_where_it_was() {
    let (node, _) = empty().await;
    let manager = node.manager();
    let body = import_of(&secrets(60), None);
    let held = || node.app.cluster.read(|state| state.keys().count());
    let some = async {
        while held() == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        biased;
        () = some => {}
        answer = post_keys(KEYSTORES, &body).through(&manager) => assert_eq!(answer.status, 200, "{}", answer.body),
    }
    let answer = import(&manager, &body).await;
    let told = answer.json();
    let statuses = statuses(&told);
    let duplicates = statuses.iter().filter(|status| **status == "duplicate").count();
    let imported = statuses.iter().filter(|status| **status == "imported").count();
    assert_eq!((duplicates + imported, held()), (60, 60), "{told}");
    assert!(duplicates > 0, "{told}");
}

/// Three serving nodes without keys.
async fn three() -> (Vec<Node>, Root) {
    let (network, root) = mainnet();
    let site = Site::new(network, root);
    let nodes = vec![site.node(1).await, site.node(2).await, site.node(3).await];
    nodes[0].initialise(&[&nodes[0], &nodes[1], &nodes[2]]).await;
    for node in &nodes {
        node.until_ready().await;
    }
    (nodes, root)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_node_acknowledged_holds_on_all() {
    let (nodes, root) = three().await;
    let managers: Vec<axum::Router> = nodes.iter().map(Node::manager).collect();
    let (all, names) = (secrets(6), keys(&secrets(6)));
    for (round, importer) in managers.iter().enumerate() {
        let (mine, name) = (&all[2 * round..2 * round + 2], names[2 * round]);
        let past = history(root, &names, 11_000_000, EPOCH - 10, EPOCH - 9);
        let answer = import(importer, &import_of(mine, Some(&past))).await;
        assert_eq!(statuses(&answer.json()), ["imported", "imported"], "{}", answer.body);
        for (number, node) in nodes.iter().enumerate() {
            let signed = post(&sign_path(&name), randao(EPOCH).to_string()).of(node).await;
            assert_eq!(signed.status, 200, "node {number} at once: {}", signed.body);
            let number = number as u64;
            let vote = attestation(EPOCH + number, EPOCH + number + 1, 9).to_string();
            let signed = post(&sign_path(&name), vote).of(node).await;
            assert_eq!(signed.status, 200, "node {number} at once: {}", signed.body);
        }
        let (statuses, exported) = delete(&managers[(round + 1) % 3], &[name]).await;
        assert_eq!(statuses, ["deleted"]);
        let covered = &exported["data"][0]["signed_attestations"][0];
        assert_eq!(covered["target_epoch"], (EPOCH + 3).to_string(), "{exported}");
        for node in &nodes {
            assert!(!node.app.keyring.contains(&name), "its secret is gone everywhere");
            for body in [randao(EPOCH), attestation(EPOCH + 7, EPOCH + 8, 9)] {
                let answer = post(&sign_path(&name), body.to_string()).of(node).await;
                assert_eq!(answer.status, 404, "{}", answer.body);
            }
        }
        assert_eq!(listed(&managers[(round + 2) % 3]).await.len(), round + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deletion_waits_for_a_node_out_of_contact_and_never_guesses_without_a_quorum() {
    let (mut nodes, root) = three().await;
    let (both, names) = (secrets(2), keys(&secrets(2)));
    let past = history(root, &names, 11_000_000, EPOCH - 10, EPOCH - 9);
    let answer = import(&nodes[0].manager(), &import_of(&both, Some(&past))).await;
    assert_eq!(statuses(&answer.json()), ["imported", "imported"]);
    let third = nodes.pop().unwrap();
    third.app.cluster.shutdown(support::LONG).await;
    drop(third);
    let (statuses, exported) = delete(&nodes[0].manager(), &names[..1]).await;
    assert_eq!((statuses, exported["data"][0]["pubkey"].clone()), (vec!["deleted".to_owned()], json!(names[0])));
    let second = nodes.pop().unwrap();
    second.app.cluster.shutdown(support::LONG).await;
    drop(second);
    let answer = delete_keys(KEYSTORES, &names[1..]).through(&nodes[0].manager()).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert!(answer.json()["message"].is_string(), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_of_any_length_costs_no_memory() {
    let (node, _) = empty().await;
    let (longest, longer) = ("x".repeat(4096), "x".repeat(4097));
    let keystores: Vec<String> = secrets(2).iter().map(|secret| keystore(secret, &longest)).collect();
    let answer = import(&node.manager(), &json!({"keystores": keystores, "passwords": [longer, longest]})).await;
    let told = answer.json();
    assert_eq!(statuses(&told), ["error", "imported"], "{told}");
    assert_eq!(told["data"][0]["message"], "password longer than 4096 bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_says_what_this_node_could_not_open() {
    let (node, _) = empty().await;
    let secrets = secrets(2);
    node.import_damaged(&secrets[0]).await;
    let told = import(&node.manager(), &import_of(&secrets, None)).await.json();
    assert_eq!(statuses(&told), ["duplicate", "imported"], "{told}");
    let message = told["data"][0]["message"].as_str().expect("why it is not open");
    assert!(message.contains("this node has not opened it") && message.contains("altered"), "{message}");
    assert_eq!(told["data"][1], json!({"status": "imported"}));
}
