//! Who belongs to the cluster, over HTTP: rights, bodies, refusals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use http::header::CACHE_CONTROL;
use serde_json::{Value, json};
use support::messages::mainnet;
use support::policy::policy;
use support::{Answer, Node, get, post};

const MEMBERS: &str = "/admin/v1/cluster/members";
const JOIN_TOKENS: &str = "/admin/v1/cluster/join-tokens";

/// Every endpoint of this kind, with a body that it understands.
fn endpoints() -> Vec<(&'static str, Value)> {
    vec![
        (MEMBERS, json!({"id": 1, "peer_addr": "127.0.0.1:1"})),
        ("/admin/v1/cluster/members/promote", json!({"id": 1})),
        ("/admin/v1/cluster/members/remove", json!({"id": 1})),
        ("/admin/v1/cluster/members/replace", json!({"id": 1, "with": {"id": 1, "peer_addr": "127.0.0.1:1"}})),
        ("/admin/v1/cluster/transfer-leader", json!({"to": 9})),
        (JOIN_TOKENS, json!({"node": 1})),
        ("/admin/v1/cluster/join-tokens/revoke", json!({"id": "0011223344556677"})),
        ("/admin/v1/cluster/accept-restart", json!({"id": 1})),
    ]
}

async fn node() -> Node {
    let (network, root) = mainnet();
    Node::with_keys(network, root, &[]).await
}

async fn asked(node: &Node, path: &str, body: &Value) -> Answer {
    post(path, body.to_string()).by("admin").of(node).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_of_the_cluster_may() {
    let node = node().await;
    for (path, body) in endpoints() {
        assert_eq!(post(path, body.to_string()).of(&node).await.status, 403, "{path} by a client");
        let bare = post(path, body.to_string()).without_certificate().of(&node).await;
        assert!([401, 403].contains(&bare.status), "{path} by nobody: {}", bare.status);
    }
    assert_eq!(get(JOIN_TOKENS).of(&node).await.status, 403);
    assert_eq!(get(JOIN_TOKENS).by("admin").of(&node).await.status, 200);

    let roles = "  looker: {operations: [admin.status]}\n  member-maker: {operations: [admin.cluster]}\n";
    let clients = "  - {name: looks, certificate: {common-name: looks}, roles: [looker]}\n  \
                   - {name: makes, certificate: {common-name: makes}, roles: [member-maker]}\n";
    node.applied(&policy(roles, clients)).await;
    for (path, body) in endpoints() {
        let refused = post(path, body.to_string()).by("looks").of(&node).await;
        assert_eq!(refused.status, 403, "{path}: {}", refused.body);
        assert!(refused.error().contains("admin.cluster"), "{path}: {}", refused.body);
        let let_in = post(path, body.to_string()).by("makes").of(&node).await;
        assert!([200, 409].contains(&let_in.status), "{path}: {} {}", let_in.status, let_in.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_why_and_what_to_do_and_change_nothing() {
    let node = node().await;
    let cases = [
        (MEMBERS, json!({"id": 1, "peer_addr": "127.0.0.1:1"}), 409, "node 1 is a member already (voter)"),
        (MEMBERS, json!({"id": 4, "peer_addr": "127.0.0.1:1"}), 503, "node 4 gives no answer at 127.0.0.1:1"),
        (MEMBERS, json!({"id": 4}), 400, "peer_addr"),
        ("/admin/v1/cluster/members/remove", json!({"id": 1}), 409, "node 1 is the only voter"),
        ("/admin/v1/cluster/members/remove", json!({"id": 4}), 409, "node 4 is not a member; members are 1"),
        ("/admin/v1/cluster/transfer-leader", json!({}), 409, "node 1 is the only voter"),
        (JOIN_TOKENS, json!({"node": 1}), 409, "node 1 is a member already"),
        (JOIN_TOKENS, json!({"node": 4, "expires_in_s": 1}), 400, "a join token lives for"),
        ("/admin/v1/cluster/join-tokens/revoke", json!({"id": "xyz"}), 400, "not the id of a join token"),
        ("/admin/v1/cluster/accept-restart", json!({"id": 4}), 400, "this is node 1"),
    ];
    for (path, body, status, says) in cases {
        let answer = asked(&node, path, &body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.body);
        assert!(answer.error().contains(says), "{path} {body}: {}", answer.body);
    }
    let status = get("/admin/v1/cluster/status").by("admin").of(&node).await.json();
    let view = &status["nodes"][0]["status"];
    assert_eq!((&view["voters"], &view["learners"]), (&json!([1]), &json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_is_shown_once_and_taken_back_once() {
    let node = node().await;
    let made = asked(&node, JOIN_TOKENS, &json!({"node": 4, "expires_in_s": 600})).await;
    assert_eq!(made.status, 200, "{}", made.body);
    assert_eq!(made.headers[CACHE_CONTROL], "no-store");
    let made = made.json();
    let (id, text) = (made["id"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert!(text.starts_with(&format!("cjt_{id}_")), "{text}");
    let listed = get(JOIN_TOKENS).by("admin").of(&node).await;
    assert!(!listed.body.contains(text), "{}", listed.body);
    let line = &listed.json()["data"][0];
    assert_eq!((&line["id"], &line["node"], &line["expired"]), (&json!(id), &json!(4), &json!(false)));
    for status in ["revoked", "not_found"] {
        let answer = asked(&node, "/admin/v1/cluster/join-tokens/revoke", &json!({"id": id})).await;
        assert_eq!(answer.json()["status"], status, "{}", answer.body);
    }
}
