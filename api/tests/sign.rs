//! `POST /api/v1/eth2/sign/{identifier}` over a real cluster of one node: statuses, their order, content types.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use axum::body::Body;
use bytes::Bytes;
use consigner_keys::development::interop_secret;
use consigner_keys::verify;
use consigner_rules::{PublicKey, Root, SignRequest, Signature};
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use serde_json::{Value, json};
use support::messages::{EPOCH, attestation, block, mainnet, randao};
use support::{Ask, Node, post, sign_path};

async fn node() -> (Node, PublicKey) {
    let (network, root) = mainnet();
    let secret = interop_secret(0);
    let key = secret.public_key();
    (Node::with_keys(network, root, &[secret]).await, key)
}

fn sign(key: &PublicKey, body: &Value) -> Ask {
    post(&sign_path(key), body.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_comes_as_the_client_accepts_it_and_is_valid() {
    let (node, key) = node().await;
    let body = attestation(EPOCH, EPOCH + 1, 9);
    let bare = sign(&key, &body).of(&node).await;
    assert_eq!((bare.status, bare.content_type()), (200, "text/plain; charset=utf-8"), "{}", bare.body);
    let signature: Signature = bare.body.parse().expect("bare hexadecimal without a newline");
    assert_eq!(bare.body, signature.to_string(), "0x, lower case");
    let request = SignRequest::parse(key, body.to_string().as_bytes(), &node.app.network).unwrap();
    assert!(verify(&key, &request.signing_root, &signature));
    // The same message again, as a client that lost the answer asks: the same signature, now as JSON.
    for accept in ["application/json", "*/*", "text/plain, */*;q=0.1"] {
        let answer = sign(&key, &body).header(ACCEPT, accept).of(&node).await;
        assert_eq!((answer.status, answer.content_type()), (200, "application/json; charset=utf-8"), "{accept}");
        assert_eq!(answer.json(), json!({"signature": signature.to_string()}), "{accept}");
    }
    for accept in ["text/plain", "application/json;q=0", "application/octet-stream"] {
        let answer = sign(&key, &body).header(ACCEPT, accept).of(&node).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, bare.body.as_str()), "{accept}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_identifier_and_the_path_are_taken_as_clients_write_them() {
    let (node, key) = node().await;
    let body = randao(EPOCH).to_string();
    let expected = post(&sign_path(&key), body.clone()).of(&node).await;
    assert_eq!(expected.status, 200, "{}", expected.body);
    let digits = hex::encode(key.0);
    for path in [
        format!("/api/v1/eth2/sign/{digits}"),
        format!("/api/v1/eth2/sign/0x{}", digits.to_uppercase()),
        format!("/api/v1/eth2/sign/0X{digits}"),
        format!("//api/v1/eth2/sign/0x{digits}"),
        format!("/api/v1//eth2/sign/0x{digits}/"),
        format!("/api/v1/eth2/sign/0x{digits}?from=prysm"),
    ] {
        for content_type in ["application/json", "text/plain", "application/x-www-form-urlencoded"] {
            let answer = post(&path, body.clone()).header(CONTENT_TYPE, content_type).of(&node).await;
            assert_eq!((answer.status, &answer.body), (200, &expected.body), "{path} {content_type}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slashable_messages_are_refused_with_both_records_and_no_signature() {
    let (node, key) = node().await;
    assert_eq!(sign(&key, &attestation(EPOCH, EPOCH + 5, 9)).of(&node).await.status, 200);
    assert_eq!(sign(&key, &block(EPOCH * 32, 9)).of(&node).await.status, 200);
    let (from, to, slot) = (EPOCH.to_string(), (EPOCH + 5).to_string(), (EPOCH * 32).to_string());
    let (before, below) = ((EPOCH - 1).to_string(), (EPOCH + 2).to_string());
    let cases = [
        ("double vote", attestation(EPOCH, EPOCH + 5, 8), vec![&from, &to]),
        ("surround", attestation(EPOCH - 1, EPOCH + 6, 8), vec![&before, &from]),
        ("surrounded", attestation(EPOCH + 1, EPOCH + 2, 8), vec![&below, &to]),
        ("double block", block(EPOCH * 32, 8), vec![&slot]),
    ];
    for (name, body, named) in cases {
        for accept in ["text/plain", "application/json"] {
            let refused = sign(&key, &body).header(ACCEPT, accept).of(&node).await;
            assert_eq!(refused.status, 412, "{name}: {}", refused.body);
            let error = refused.error();
            assert!(error.starts_with("slashing protection: "), "{name}: {error}");
            assert!(named.iter().all(|number| error.contains(*number)), "{name}: {error}");
            assert!(!error.contains("0x"), "no root and no signature of the other message: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_chain_is_412_with_both_roots() {
    let (node, key) = node().await;
    let mut body = attestation(EPOCH, EPOCH + 1, 9);
    let foreign = Root([0xee; 32]);
    body["fork_info"]["genesis_validators_root"] = json!(foreign);
    let refused = sign(&key, &body).of(&node).await;
    assert_eq!(refused.status, 412, "{}", refused.body);
    let error = refused.error();
    assert!(error.contains(&foreign.to_string()) && error.contains(&mainnet().1.to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn misuse_is_answered_in_a_fixed_order() {
    let (node, key) = node().await;
    let unknown = PublicKey([0xab; 48]);
    let good = attestation(EPOCH, EPOCH + 1, 9);
    let mut no_fork = good.clone();
    no_fork.as_object_mut().unwrap().remove("fork_info");
    let mut wrong_root = good.clone();
    wrong_root["signingRoot"] = json!(Root([0x77; 32]));
    let cases = [
        (sign(&key, &json!({"type": "NONSENSE"})), 400, "NONSENSE"),
        (sign(&key, &json!({})), 400, "type"),
        (post(&sign_path(&key), "not json"), 400, "JSON"),
        (post(&sign_path(&key), ""), 400, "JSON"),
        (sign(&key, &no_fork), 400, "fork_info"),
        (sign(&key, &wrong_root), 400, "0x7777"),
        (post("/api/v1/eth2/sign/0x1234", good.to_string()), 400, "0x1234"),
        (post("/api/v1/eth2/sign/validator-7", good.to_string()), 400, "validator-7"),
        // A bad body for an unknown key is 400, a good one 404.
        (sign(&unknown, &json!({"type": "NONSENSE"})), 400, "NONSENSE"),
        (sign(&unknown, &good), 404, "0xabab"),
        (sign(&unknown, &randao(EPOCH)), 404, "0xabab"),
        // Who asks comes before what is asked.
        (sign(&unknown, &json!({})).by("stranger"), 403, "client certificate"),
        (sign(&unknown, &json!({})).without_certificate(), 403, "client certificate"),
        (sign(&unknown, &json!({})).by("stranger").header(HOST, "evil.example"), 403, "Host"),
        (support::get(&sign_path(&key)), 405, "Allow"),
    ];
    for (ask, status, named) in cases {
        let answer = ask.accept_json().of(&node).await;
        assert_eq!(answer.status, status, "{named}: {}", answer.body);
        assert!(answer.error().contains(named), "{named}: {}", answer.body);
    }
    assert_eq!(sign(&key, &good).by("admin").of(&node).await.status, 200, "the admin may do everything");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_413_however_it_is_framed() {
    const LIMIT: usize = 16 << 20;
    let (node, key) = node().await;
    let whole = post(&sign_path(&key), vec![b' '; LIMIT + 1]).of(&node).await;
    assert_eq!(whole.status, 413);
    assert!(whole.error().contains(&LIMIT.to_string()), "{}", whole.body);
    let endless = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 65_536])));
    assert_eq!(post(&sign_path(&key), Body::from_stream(endless)).of(&node).await.status, 413);
    // Up to the limit it is read and understood, off the async threads.
    let mut padded = randao(EPOCH).to_string().into_bytes();
    padded.resize(LIMIT, b' ');
    let answer = post(&sign_path(&key), padded).of(&node).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_signs_for_clients_that_follow_and_for_those_that_do_not() {
    let (node, key) = node().await;
    for (epoch, agent) in [(EPOCH, "Go-http-client/1.1"), (EPOCH + 1, "Java-http-client/17"), (EPOCH + 2, "")] {
        let answer = sign(&key, &attestation(epoch, epoch + 1, 9)).header(USER_AGENT, agent).of(&node).await;
        assert_eq!(answer.status, 200, "{agent}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_conflicting_requests_at_once_exactly_one_is_signed() {
    let (node, key) = node().await;
    let node = std::sync::Arc::new(node);
    let mut asking = tokio::task::JoinSet::new();
    for block in 0..32 {
        let node = node.clone();
        asking.spawn(async move { sign(&key, &attestation(EPOCH, EPOCH + 1, block)).of(&node).await });
    }
    let answers = asking.join_all().await;
    let signed = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 412).count();
    assert_eq!((signed, refused), (1, 31));
}
