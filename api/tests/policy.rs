//! The endpoints of policy and tokens: what they refuse, what they answer, and when a right ends.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use axum::body::Body;
use bytes::Bytes;
use consigner_keys::development::interop_secret;
use consigner_rules::Command;
use consigner_rules::command::AuditAnchor;
use futures::channel::{mpsc, oneshot};
use futures::{SinkExt as _, StreamExt as _, stream};
use http::header::CACHE_CONTROL;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Instant;
use support::messages::{EPOCH, attestation, mainnet, randao};
use support::policy::{OPERATOR, policy};
use support::{Answer, LONG, Node, get, post, sign_path};

const APPLY: &str = "/admin/v1/policy/apply";
const CHECK: &str = "/admin/v1/policy/check";
const TOKENS: &str = "/admin/v1/policy/tokens";

async fn node() -> Node {
    let (network, root) = mainnet();
    Node::with_keys(network, root, &[interop_secret(0)]).await
}

/// `client` may do duties with every key.
fn duties() -> String {
    policy(
        "  validator: {keys: all, operations: [duties]}\n",
        "  - {name: vc, certificate: {common-name: client}, roles: [validator]}\n",
    )
}

async fn admin(node: &Node, path: &str, body: &Value) -> Answer {
    post(path, body.to_string()).by("admin").of(node).await
}

async fn shown(node: &Node) -> Value {
    let answer = get("/admin/v1/policy").by("admin").of(node).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_shown_compared_and_replaced() {
    let node = node().await;
    let before = shown(&node).await;
    assert_eq!(before["policy"], Value::Null);
    let version = before["version"].as_u64().unwrap();
    let dry = admin(&node, APPLY, &json!({"policy": duties(), "dry_run": true})).await;
    assert_eq!((dry.status, dry.json()["version"].as_u64()), (200, Some(version)), "{}", dry.body);
    let changes = dry.json();
    assert!(texts(&changes["changes"]).iter().any(|line| line.contains("validator")), "{changes}");
    assert_eq!(shown(&node).await, before, "nothing was applied");
    let applied = node.applied(&duties()).await;
    assert_eq!(applied, version + 1);
    let after = shown(&node).await;
    assert_eq!((after["version"].as_u64(), after["since"].as_u64()), (Some(applied), Some(applied)));
    // What is shown can be applied: nothing changes, and no new version is made.
    let again = node.apply(after["policy"].as_str().unwrap()).await;
    assert_eq!((again.status, again.json()["version"].as_u64()), (200, Some(applied)), "{}", again.body);
    assert_eq!(again.json()["changes"], json!([]));
    let stale = admin(&node, APPLY, &json!({"policy": duties(), "replaces": version})).await;
    assert_eq!(stale.status, 409, "{}", stale.body);
    assert!(stale.error().contains("changed meanwhile"), "{}", stale.body);
    let named = admin(&node, APPLY, &json!({"policy": duties(), "replaces": applied})).await;
    assert_eq!(named.status, 200, "{}", named.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_a_policy_is_named_with_its_place() {
    let node = node().await;
    let other = duties().replace("roles: [validator]", "roles: [validators]");
    let line = other.lines().position(|line| line.contains("validators")).unwrap() + 1;
    let column = other.lines().nth(line - 1).unwrap().find("validators").unwrap() + 1;
    let place = format!("line {line}, column {column}");
    let cases = [
        (json!({"policy": other}), vec![place.as_str(), "validators"]),
        (json!({"policy": "version: 1\nrolls: {}\n"}), vec!["line 2", "rolls"]),
        (json!({"policy": duties().replace("duties", "BLESSING")}), vec!["line", "BLESSING"]),
        (
            json!({"policy": duties().replace("roles:\n", "hosts: [\"https://a\"]\nroles:\n")}),
            vec!["line 2, column 9", "https://a"],
        ),
        (
            json!({"policy": duties().replace("roles:\n", "addresses: {admin: [10.0.0.1/8]}\nroles:\n")}),
            vec!["10.0.0."],
        ),
        (json!({"policy": "{"}), vec!["line 1"]),
        (json!({"policy": "a".repeat(200 * 1024)}), vec!["policy"]),
        (json!({"policy": 7}), vec!["the body is not"]),
        (json!({"polizy": ""}), vec!["unknown field `polizy`"]),
        (json!([]), vec!["the body is not"]),
    ];
    for (body, named) in cases {
        let answer = admin(&node, APPLY, &body).await;
        assert_eq!(answer.status, 400, "{named:?}: {}", answer.body);
        for word in named {
            assert!(answer.error().contains(word), "{word}: {}", answer.body);
        }
    }
    assert_eq!(shown(&node).await["policy"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_locks_itself_out() {
    let node = node().await;
    let with = |top: &str| duties().replacen("roles:\n", &format!("{top}\nroles:\n"), 1);
    for (yaml, why) in [
        (duties().replace(OPERATOR, ""), "the policy knows no client"),
        (duties().replace("\"admin.*\"", "admin.policy-read"), "does not grant admin.policy-write to ops"),
        (duties().replace("common-name: admin", "common-name: admin, dns: ops.example"), "knows no client"),
        (with("addresses: {admin: [10.0.0.0/8]}"), "127.0.0.1, from where you call"),
        (with("hosts: [signer.example]"), "hosts"),
    ] {
        for dry_run in [true, false] {
            let answer = admin(&node, APPLY, &json!({"policy": yaml, "dry_run": dry_run})).await;
            assert_eq!(answer.status, 409, "{why}: {}", answer.body);
            assert!(answer.error().contains("would lock you out") && answer.error().contains(why), "{}", answer.body);
        }
    }
    assert_eq!(shown(&node).await["policy"], Value::Null);
    // A token is a proof of the call, too: its role must stay.
    node.applied(&duties()).await;
    let (_, token) = node.token("ops", &["operator"]).await;
    let by_token = |yaml: String| post(APPLY, json!({"policy": yaml}).to_string()).by("stranger").bearer(&token);
    let answer = by_token(duties().replace("operator", "operators")).of(&node).await;
    assert_eq!(answer.status, 409, "{}", answer.body);
    let answer = by_token(duties().replace(OPERATOR, "")).of(&node).await;
    assert_eq!(answer.status, 200, "only the token can change it again: {}", answer.body);
    let warned = answer.json();
    assert!(texts(&warned["warnings"]).iter().any(|line| line.contains("only a token")), "{warned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_probably_not_meant_is_said() {
    let node = node().await;
    node.applied(&duties()).await;
    node.token("old", &["validator"]).await;
    let (held, unheld) = (interop_secret(0).public_key(), interop_secret(1).public_key());
    let next = duties().replace("validator", "duty").replace("common-name: client", "common-name: unnamed");
    let next = next.replacen("roles:\n", &format!("tags: {{pool: [\"{held}\", \"{unheld}\"]}}\nroles:\n"), 1)
        + "  - {name: load, certificate: {uri: \"spiffe://a/vc\"}, roles: [duty]}\n";
    let answer = admin(&node, APPLY, &json!({"policy": next, "dry_run": true})).await;
    let answer = answer.json();
    let warnings = texts(&answer["warnings"]);
    let missing = format!("tag pool: the cluster does not hold 1 of 2 keys, the first is {unheld}");
    for part in [
        "token old has role validator",
        "api.clients does not name \"unnamed\"",
        "client load may sign through api.listen of this node only with a common name of api.clients",
        missing.as_str(),
    ] {
        assert!(warnings.iter().any(|line| line.contains(part)), "{part}: {warnings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_explained() {
    let node = node().await;
    let key = interop_secret(0).public_key().to_string();
    let asked = |who: &[&str], operation: &str| json!({"as": who, "operation": operation, "key": key});
    let none = admin(&node, CHECK, &asked(&["cn:client"], "ATTESTATION")).await.json();
    assert!(none["reason"].as_str().unwrap().contains("no policy"), "{none}");
    node.applied(&duties()).await;
    let (id, _) = node.token("t", &["validator"]).await;
    let token = format!("token:{id}");
    for (who, operation, client, says) in [
        (vec!["cn:client"], "ATTESTATION", Some("vc"), ""),
        (vec!["cn:client", "dns:a.example", "uri:spiffe://a"], "list-keys", Some("vc"), ""),
        (vec![token.as_str()], "BLOCK_V2", Some("token:t"), ""),
        (vec!["cn:admin"], "admin.policy-write", Some("ops"), ""),
        (vec!["cn:client"], "VOLUNTARY_EXIT", None, "does not grant VOLUNTARY_EXIT to vc"),
        (vec!["cn:stranger"], "ATTESTATION", None, "knows no client"),
        (vec![], "ATTESTATION", None, "no certificate, token or JWT"),
        (vec!["jwt:issuer=https://idp", "jwt:groups=ops"], "admin.status", None, "knows no client"),
        (vec!["fingerprint:0707"], "ATTESTATION", None, "fingerprint"),
    ] {
        let answer = admin(&node, CHECK, &asked(&who, operation)).await;
        if who == ["fingerprint:0707"] {
            assert_eq!(answer.status, 400, "{}", answer.body);
            assert!(answer.error().contains(says), "{}", answer.body);
            continue;
        }
        assert_eq!(answer.status, 200, "{}", answer.body);
        let answer = answer.json();
        assert_eq!(answer["allowed"], json!(client.is_some()), "{who:?} {operation}: {answer}");
        assert_eq!(answer["client"], json!(client), "{who:?} {operation}");
        assert!(answer["reason"].as_str().unwrap_or_default().contains(says), "{answer}");
    }
    for (body, named) in [
        (json!({"as": [], "operation": "BLESSING"}), "operation"),
        (json!({"as": ["cn:a", "cn:b"], "operation": "ATTESTATION"}), "only one"),
        (json!({"as": ["a"], "operation": "ATTESTATION"}), "cn:, dns:"),
        (json!({"as": ["jwt:a"], "operation": "ATTESTATION"}), "CLAIM=VALUE"),
        (json!({"as": ["token:0000000000000000"], "operation": "ATTESTATION"}), "no token"),
        (json!({"as": [], "key": "0x00", "operation": "ATTESTATION"}), "key"),
    ] {
        let answer = admin(&node, CHECK, &body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
        assert!(answer.error().contains(named), "{named}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_shown_once_listed_without_their_secret_and_revoked() {
    let node = node().await;
    node.applied(&duties()).await;
    let body = json!({"name": "vc-2", "roles": ["validator"], "expires_in_s": 3600});
    let made = admin(&node, TOKENS, &body).await;
    assert_eq!((made.status, made.headers[CACHE_CONTROL].to_str().unwrap()), (200, "no-store"), "{}", made.body);
    let (id, text) =
        (made.json()["id"].as_str().unwrap().to_owned(), made.json()["token"].as_str().unwrap().to_owned());
    assert!(text.starts_with(&format!("cst_{id}_")) && text.len() == 4 + 16 + 1 + 64, "{text}");
    let listed = get(TOKENS).by("admin").of(&node).await;
    let line = listed.json()["data"][0].clone();
    assert_eq!((&line["id"], &line["name"], &line["roles"]), (&json!(id), &json!("vc-2"), &json!(["validator"])));
    assert_eq!((&line["expired"], line["expires_ms"].is_u64()), (&json!(false), true));
    assert!(!listed.body.contains(&text[21..]), "the secret is not kept");
    let path = sign_path(&interop_secret(0).public_key());
    let sign = || post(&path, randao(EPOCH).to_string()).by("client").bearer(&text);
    assert_eq!(sign().of(&node).await.status, 200);
    assert_eq!(node.revoke(&id).await["status"], "revoked");
    assert_eq!(node.revoke(&id).await["status"], "not_found");
    let refused = sign().of(&node).await;
    assert_eq!(refused.status, 401, "a credential that does not count is refused although the certificate would do");
    for (body, named) in [
        (json!({"name": "a", "roles": ["nobody"]}), "no role \"nobody\""),
        (json!({"name": "a", "roles": []}), "roles"),
        (json!({"name": "a b", "roles": ["validator"]}), "is no name"),
        (json!({"name": "a", "roles": ["validator"], "expires_in_s": 0}), "expires_in_s"),
        (json!({"name": "a", "roles": ["validator"], "expires_in_s": u64::MAX}), "expires_in_s"),
        (json!({"name": "a", "roles": ["validator"], "expires": 1}), "unknown field"),
    ] {
        let answer = admin(&node, TOKENS, &body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
        assert!(answer.error().contains(named), "{named}: {}", answer.body);
    }
    let wrong = admin(&node, &format!("{TOKENS}/revoke"), &json!({"id": "xyz"})).await;
    assert_eq!(wrong.status, 400, "{}", wrong.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_at_its_time() {
    let node = node().await;
    node.applied(&duties()).await;
    let body = json!({"name": "short", "roles": ["operator"], "expires_in_s": 1});
    let text = admin(&node, TOKENS, &body).await.json()["token"].as_str().unwrap().to_owned();
    let deadline = Instant::now() + LONG;
    loop {
        let answer = get("/admin/v1/policy").by("client").bearer(&text).of(&node).await;
        if answer.status == 401 {
            assert!(answer.error().contains("short") && answer.error().contains("expired"), "{}", answer.body);
            return;
        }
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(Instant::now() < deadline, "it never expired");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_make_tokens_cannot_make_itself_an_operator() {
    let node = node().await;
    let yaml = policy(
        "  validator: {keys: all, operations: [duties]}\n  tokens: {operations: [admin.tokens]}\n",
        "  - {name: clerk, certificate: {common-name: client}, roles: [tokens]}\n",
    );
    node.applied(&yaml).await;
    let make = |role: &str| post(TOKENS, json!({"name": "t", "roles": [role]}).to_string()).by("client");
    assert_eq!(make("tokens").of(&node).await.status, 200);
    for role in ["validator", "operator"] {
        let refused = make(role).of(&node).await;
        assert_eq!(refused.status, 403, "{role}: {}", refused.body);
        assert!(refused.error().contains("which its maker has not"), "{role}: {}", refused.body);
    }
    // With some keys of its own it can give those, and not all.
    let own = format!("  own: {{keys: [\"{}\"], operations: [duties]}}\n", interop_secret(0).public_key());
    let yaml = yaml.replacen("roles:\n", &format!("roles:\n{own}"), 1).replace("[tokens]}", "[tokens, own]}");
    node.applied(&yaml).await;
    assert_eq!(make("own").of(&node).await.status, 200);
    let refused = make("validator").of(&node).await;
    assert_eq!(refused.status, 403, "{}", refused.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_to_change_that_ends_while_a_body_comes_gives_nothing_back() {
    let node = node().await;
    node.applied(&duties()).await;
    let apply =
        json!({"policy": policy("", "  - {name: back, certificate: {common-name: stranger}, roles: [operator]}\n")});
    let token = json!({"name": "back", "roles": ["operator"]});
    let history =
        json!({"metadata": {"interchange_format_version": "5", "genesis_validators_root": mainnet().1}, "data": []});
    for (path, body) in [(APPLY, apply), (TOKENS, token), ("/admin/v1/history/import", history)] {
        let (id, right) = node.token("mallory", &["operator"]).await;
        let answer = on_its_way(&node, path, "stranger", body, &right, async {
            assert_eq!(node.revoke(&id).await["status"], "revoked");
        })
        .await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.body);
        assert!(answer.error().contains("was revoked"), "{path}: {}", answer.body);
    }
    let data_keys = || get("/admin/v1/keys/data-keys").by("admin");
    let before = data_keys().of(&node).await.body;
    let (id, right) = node.token("mallory", &["operator"]).await;
    let body = json!({"sealer": "local"});
    let answer = on_its_way(&node, "/admin/v1/keys/data-keys", "stranger", body, &right, async {
        node.revoke(&id).await;
    })
    .await;
    assert_eq!(answer.status, 403, "{}", answer.body);
    assert_eq!(data_keys().of(&node).await.body, before, "nothing was made");
    let held = shown(&node).await;
    assert!(!held["policy"].as_str().unwrap().contains("stranger"), "{held}");
    assert_eq!(get(TOKENS).by("admin").of(&node).await.json()["data"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_away_while_a_request_comes_counts() {
    let node = node().await;
    node.applied(&duties()).await;
    let narrow = duties().replacen("roles:\n", "addresses: {sign: [10.0.0.0/8]}\nroles:\n", 1);
    let path = sign_path(&interop_secret(0).public_key());
    for body in [attestation(EPOCH, EPOCH + 1, 1), randao(EPOCH)] {
        node.applied(&duties()).await;
        let (_, token) = node.token("t", &["validator"]).await;
        let answer = on_its_way(&node, &path, "client", body.clone(), &token, async {
            node.applied(&narrow).await;
        })
        .await;
        assert_eq!(answer.status, 403, "{}", answer.body);
        assert!(answer.error().contains("from the address 127.0.0.1"), "{}", answer.body);
        let inside = post(&path, body.to_string()).by("client").from("10.1.2.3").of(&node).await;
        assert_eq!(inside.status, 200, "{}", inside.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_way_to_change_the_policy_stays() {
    let node = node().await;
    node.applied(&duties()).await;
    let (id, token) = node.token("last", &["operator"]).await;
    let short = json!({"name": "short", "roles": ["operator"], "expires_in_s": 3600});
    let short = admin(&node, TOKENS, &short).await.json()["token"].as_str().unwrap().to_owned();
    let without = json!({"policy": duties().replace(OPERATOR, "")}).to_string();
    let answer = post(APPLY, without.clone()).by("stranger").bearer(&token).of(&node).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let revoke = |id: &str| post(&format!("{TOKENS}/revoke"), json!({"id": id}).to_string()).by("stranger");
    let refused = revoke(&id).bearer(&token).of(&node).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(refused.error().contains("the policy can be changed"), "{}", refused.body);
    // With a client it may go; and then only a token that expires is no way for a policy without one.
    let with = json!({"policy": duties()}).to_string();
    assert_eq!(post(APPLY, with).by("stranger").bearer(&token).of(&node).await.status, 200);
    assert_eq!(revoke(&id).bearer(&token).of(&node).await.status, 200);
    let refused = post(APPLY, without).by("stranger").bearer(&short).of(&node).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(refused.error().contains("a token that expires"), "{}", refused.body);
}

/// A body whose end waits: what was admitted before is judged again when the request is understood.
async fn revoked_on_its_way(node: &Node, body: Value, token: &str, revoke: impl Future<Output = ()>) -> Answer {
    on_its_way(node, &sign_path(&interop_secret(0).public_key()), "client", body, token, revoke).await
}

async fn on_its_way(
    node: &Node,
    path: &str,
    by: &str,
    body: Value,
    token: &str,
    meanwhile: impl Future<Output = ()>,
) -> Answer {
    let (mut rest, gate) = mpsc::channel::<Bytes>(1);
    let (begun, is_read) = oneshot::channel();
    let text = body.to_string();
    let (head, tail) = text.split_at(10);
    let (head, tail) = (Bytes::from(head.to_owned()), Bytes::from(tail.to_owned()));
    let first = stream::once(async move {
        begun.send(()).unwrap();
        head
    });
    let pieces = first.chain(gate).map(Ok::<Bytes, Infallible>);
    let ask = post(path, Body::from_stream(pieces)).by(by).bearer(token).of(node);
    let meanwhile = async {
        is_read.await.unwrap();
        meanwhile.await;
        rest.send(tail).await.unwrap();
        drop(rest);
    };
    let (answer, ()) = tokio::join!(ask, meanwhile);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_ends_while_a_request_is_on_its_way_is_gone() {
    let node = node().await;
    // The certificate alone may do nothing: the token is what signs.
    let yaml = policy("  validator: {keys: all, operations: [duties]}\n", "");
    node.applied(&yaml).await;
    for body in [attestation(EPOCH, EPOCH + 1, 1), randao(EPOCH)] {
        let (id, token) = node.token("t", &["validator"]).await;
        let answer = revoked_on_its_way(&node, body.clone(), &token, async {
            node.revoke(&id).await;
        })
        .await;
        assert_eq!(answer.status, 403, "{}", answer.body);
        assert!(answer.error().contains("was revoked"), "{}", answer.body);
        let (_, token) = node.token("t", &["validator"]).await;
        let narrower = yaml.replace("[duties]", "[DEPOSIT]");
        let answer = revoked_on_its_way(&node, body.clone(), &token, async {
            node.applied(&narrower).await;
        })
        .await;
        assert_eq!(answer.status, 403, "{}", answer.body);
        assert!(answer.error().contains("does not grant"), "{}", answer.body);
        node.applied(&yaml).await;
        // The refused attestation left no trace: another one for the same target is signed.
        let answer = revoked_on_its_way(&node, body, &token, async {}).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bound_on_future_slots_needs_and_uses_the_clock() {
    let node = node().await;
    let yaml = duties().replacen("roles:\n", "future-slots: 64\nroles:\n", 1);
    node.applied(&yaml).await;
    let path = sign_path(&interop_secret(0).public_key());
    let far = post(&path, randao(EPOCH * 100).to_string()).of(&node).await;
    assert_eq!(far.status, 403, "{}", far.body);
    assert!(far.error().contains("ahead of the clock"), "{}", far.body);
    assert_eq!(post(&path, randao(EPOCH).to_string()).of(&node).await.status, 200, "the past is no matter of clocks");
}

#[tokio::test(flavor = "multi_thread")]
async fn anchors_of_the_audit_are_listed() {
    let node = node().await;
    let anchor = AuditAnchor { node: 1, public_key: [0xab; 32], sequence: 7, hash: [0xcd; 32] };
    node.app.cluster.propose(vec![Command::AnchorAudit(anchor)], LONG).await.unwrap();
    let listed = get("/admin/v1/audit/anchors").by("admin").of(&node).await;
    let expected = json!({"node": 1, "public_key": "ab".repeat(32), "sequence": 7, "hash": "cd".repeat(32)});
    assert_eq!(listed.json(), json!({"data": [expected]}));
    assert_eq!(get("/admin/v1/audit/anchors").by("client").of(&node).await.status, 403);
}
