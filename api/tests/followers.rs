//! Three nodes: what a follower does with a request, and what it looks like to a load balancer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_api::FollowerRequests;
use consigner_keys::development::interop_secret;
use consigner_rules::PublicKey;
use http::header::{LOCATION, USER_AGENT};
use serde_json::{Value, json};
use std::time::Instant;
use support::messages::{EPOCH, attestation, mainnet, randao};
use support::{Ask, LONG, Node, Site, get, post, sign_path};

const FOLLOWS: &str = "Go-http-client/1.1";
const DOES_NOT: &str = "Java-http-client/17.0.9";

/// Three serving nodes with one key, the leader first.
async fn cluster() -> (Vec<Node>, PublicKey) {
    let (network, root) = mainnet();
    let site = Site::new(network, root);
    let mut nodes = vec![site.node(1).await, site.node(2).await, site.node(3).await];
    nodes[0].initialise(&[&nodes[0], &nodes[1], &nodes[2]]).await;
    let secret = interop_secret(0);
    nodes[0].import(std::slice::from_ref(&secret)).await;
    for node in &nodes {
        node.until_ready().await;
    }
    let deadline = Instant::now() + LONG;
    loop {
        for index in 0..nodes.len() {
            if get("/leader").of(&nodes[index]).await.status == 200 {
                nodes.swap(0, index);
                return (nodes, secret.public_key());
            }
        }
        assert!(Instant::now() < deadline, "no node led");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

fn sign(path: &str, body: &Value, agent: &str) -> Ask {
    post(path, body.to_string()).header(USER_AGENT, agent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_follower_redirects_who_follows_and_forwards_for_who_does_not() {
    let (nodes, key) = cluster().await;
    let [leader, followers @ ..] = nodes.as_slice() else { panic!("three nodes") };
    for (number, follower) in followers.iter().enumerate() {
        let epoch = EPOCH + 10 * number as u64;
        let body = attestation(epoch, epoch + 1, 9);
        let path = format!("//api/v1/eth2/sign/{key}?from=prysm");
        let redirected = sign(&path, &body, FOLLOWS).of(follower).await;
        assert_eq!(redirected.status, 307, "{}", redirected.body);
        let leader_url = &leader.member.api_url;
        assert_eq!(redirected.headers[LOCATION], format!("{leader_url}{path}"), "path and query as they were sent");
        assert!(redirected.error().contains(leader_url), "{}", redirected.body);
        // The client follows; another client asks the follower for the same message and gets the same signature.
        let followed = sign(&path, &body, FOLLOWS).of(leader).await;
        let forwarded = sign(&path, &body, DOES_NOT).of(follower).await;
        assert_eq!((followed.status, forwarded.status), (200, 200), "{} {}", followed.body, forwarded.body);
        assert_eq!(followed.body, forwarded.body);
        let double = sign(&path, &attestation(epoch, epoch + 1, 8), DOES_NOT).of(follower).await;
        assert_eq!(double.status, 412, "{}", double.body);
        assert!(double.error().starts_with("slashing protection: "), "{}", double.body);
        // What cannot be slashed needs no leader.
        let local = sign(&sign_path(&key), &randao(epoch), FOLLOWS).of(follower).await;
        assert_eq!(local.status, 200, "{}", local.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_configured_mode_overrides_what_is_known_of_the_client() {
    let (nodes, key) = cluster().await;
    let path = sign_path(&key);
    for (mode, agent, status) in [
        (FollowerRequests::Redirect, DOES_NOT, 307),
        (FollowerRequests::Forward, FOLLOWS, 200),
        (FollowerRequests::Auto, "", 200),
    ] {
        let answer = sign(&path, &attestation(EPOCH, EPOCH + 1, 9), agent).through(&nodes[1].router_with(mode)).await;
        assert_eq!(answer.status, status, "{mode:?}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_follower_is_ready_but_never_the_leader() {
    let (nodes, key) = cluster().await;
    let [leader, followers @ ..] = nodes.as_slice() else { panic!("three nodes") };
    for follower in followers {
        assert_eq!(get("/ready").of(follower).await.status, 200);
        let answer = get("/leader").header(USER_AGENT, FOLLOWS).of(follower).await;
        assert_eq!(answer.status, 503, "never 3xx: {}", answer.body);
        let named = &answer.json()["leader"];
        assert_eq!((&named["id"], &named["api_url"]), (&leader.member_json()["id"], &json!(leader.member.api_url)));
        assert_eq!(get("/api/v1/eth2/publicKeys").of(follower).await.json(), json!([key]));
        let status = get("/admin/v1/cluster/status").by("admin").of(follower).await.json();
        assert_eq!(status["nodes"].as_array().unwrap().len(), 3);
        assert!(status["nodes"].as_array().unwrap().iter().all(|node| node["status"]["ready"] == true), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_quorum_nothing_slashable_is_signed() {
    let (mut nodes, key) = cluster().await;
    let last = nodes.swap_remove(0);
    for node in &nodes {
        node.app.cluster.shutdown(LONG).await;
    }
    let path = sign_path(&key);
    let started = Instant::now();
    let answer = sign(&path, &attestation(EPOCH, EPOCH + 1, 9), DOES_NOT).of(&last).await;
    assert_eq!(answer.status, 503, "{}", answer.body);
    assert_eq!(answer.headers["retry-after"], "1");
    assert!(started.elapsed() < LONG, "the wait for a leader is bounded");
    let listed = get("/api/v1/eth2/publicKeys").of(&last).await;
    assert_eq!(listed.status, 503, "a list that may be stale is worse than none: {}", listed.body);
    let deadline = Instant::now() + LONG;
    while get("/ready").of(&last).await.status == 200 {
        assert!(Instant::now() < deadline, "a node without a quorum stayed ready");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(get("/leader").of(&last).await.status, 503);
    let local = sign(&path, &randao(EPOCH), DOES_NOT).of(&last).await;
    assert_eq!(local.status, 503, "no lease, no signature: {}", local.body);
}
