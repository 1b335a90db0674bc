//! Whose answer the client gets.

use super::harness::{FakeNode, Manner, NOT_NOW, PATIENCE, SIGN, SIGNED, World, error_of, is_signed};
use crate::connect::Sidecar;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, StatusCode};
use std::time::Duration;

/// A URL behind which nobody listens.
fn nobody() -> String {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("https://{}", free.local_addr().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_arrives_as_the_cluster_expects_it() {
    let world = World::new();
    let node = FakeNode::start(&world, SIGNED).await;
    let sidecar = world.sidecar(&[&node]).await;
    let headers = [
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("authorization", "Bearer x"),
        ("cookie", "a=b"),
        ("user-agent", "Go-http-client/1.1"),
        ("connection", "keep-alive"),
        ("host", "localhost:9900"),
    ];
    let answer = world.send(&sidecar, Method::POST, "//api/v1//eth2/sign/0xab?x=1", &headers, "{\"a\":1}").await;
    assert!(is_signed(&answer));
    assert_eq!(answer.headers[CONTENT_TYPE], "application/json");
    let seen = node.seen().remove(0);
    assert_eq!(
        (seen.method, seen.path.as_str(), &seen.body[..]),
        (Method::POST, "/api/v1/eth2/sign/0xab?x=1", &b"{\"a\":1}"[..])
    );
    let text = |name: &str| seen.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(text("accept").as_deref(), Some("application/json"));
    assert_eq!(text("content-type").as_deref(), Some("application/json"));
    assert_eq!(text("host").as_deref(), node.url.strip_prefix("https://"));
    assert!(text("user-agent").unwrap().starts_with("consigner-connect/"));
    assert_eq!((text("authorization"), text("cookie")), (None, None));

    let answer = world.get(&sidecar, "/api/v1/eth2/publicKeys").await;
    assert_eq!(answer.status, StatusCode::OK);
    let seen = node.seen().remove(1);
    assert_eq!((seen.method, seen.headers.get("accept")), (Method::GET, None), "no Accept means text from a signer");
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_pass_unchanged_and_are_asked_for_once() {
    let world = World::new();
    let (first, second) = (FakeNode::start(&world, SIGNED).await, FakeNode::start(&world, SIGNED).await);
    let sidecar = world.sidecar(&[&first, &second]).await;
    for (round, status) in [200, 400, 401, 403, 404, 412, 413, 429].into_iter().enumerate() {
        first.behave(Manner::Answer(status, "text/weird", "verdict"));
        let answer = world.sign(&sidecar).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (status, &b"verdict"[..]));
        assert_eq!(answer.headers[CONTENT_TYPE], "text/weird");
        assert_eq!((first.count(), second.count()), (round + 1, 0), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_cannot_now_another_one_does() {
    for status in [500, 502, 503, 504, 302] {
        let world = World::new();
        let first = FakeNode::start(&world, Manner::Answer(status, "text/plain", "no")).await;
        let second = FakeNode::start(&world, SIGNED).await;
        let sidecar = world.sidecar(&[&first, &second]).await;
        assert!(is_signed(&world.sign(&sidecar).await), "{status}");
        assert_eq!((first.count(), second.count()), (1, 1), "{status}");
        // Who answered is asked first from now on.
        assert!(is_signed(&world.sign(&sidecar).await));
        assert_eq!((first.count(), second.count()), (1, 2), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_followed_and_remembered() {
    let world = World::new();
    let leader = FakeNode::start(&world, SIGNED).await;
    let follower = FakeNode::start(&world, Manner::Redirect(leader.url.clone())).await;
    let sidecar = world.sidecar(&[&follower, &leader]).await;
    for round in 1..=3 {
        assert!(is_signed(&world.sign(&sidecar).await));
        assert_eq!((follower.count(), leader.count()), (1, round));
    }
    assert_eq!(leader.seen()[0].body, "{}", "with its body");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_leaves_the_endpoints_only_where_that_is_allowed() {
    let world = World::new();
    let stranger = FakeNode::start(&world, SIGNED).await;
    let follower = FakeNode::start(&world, Manner::Redirect(stranger.url.clone())).await;
    let mut options = world.options(&[&follower.url]);
    options.deadline = Duration::from_secs(2);
    let sidecar = Sidecar::start(options.clone()).await.unwrap();
    let answer = world.sign(&sidecar).await;
    assert_eq!((answer.status, stranger.count()), (StatusCode::SERVICE_UNAVAILABLE, 0));
    assert!(error_of(&answer).contains("which is not an --endpoint"), "{}", error_of(&answer));

    options.follow_any = true;
    let sidecar = Sidecar::start(options).await.unwrap();
    assert!(is_signed(&world.sign(&sidecar).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_another_path_or_without_tls_is_not_followed() {
    let world = World::new();
    let other = FakeNode::start(&world, SIGNED).await;
    let follower = FakeNode::start(&world, SIGNED).await;
    let mut options = world.options(&[&follower.url, &other.url]);
    options.follow_any = true;
    for location in [
        format!("{}/admin/v1/keys", other.url),
        SIGN.to_owned(),
        format!("{}{SIGN}", other.url.replace("https", "http")),
        format!("https://user:pass@{}{SIGN}", other.url.trim_start_matches("https://")),
    ] {
        follower.behave(Manner::RedirectTo(location.clone()));
        let before = other.count();
        let sidecar = Sidecar::start(options.clone()).await.unwrap();
        assert!(is_signed(&world.sign(&sidecar).await), "{location}");
        // By the ordinary way to the next node, with the path that was asked.
        assert_eq!(other.count(), before + 1, "{location}");
        assert_eq!(other.seen().last().unwrap().path, SIGN, "{location}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_silent_node_another_one_is_asked() {
    let world = World::new();
    let frozen = FakeNode::start(&world, Manner::Frozen).await;
    let well = FakeNode::start(&world, SIGNED).await;
    let sidecar = world.sidecar(&[&frozen, &well]).await;
    assert!(is_signed(&world.sign(&sidecar).await));
    assert_eq!((frozen.count(), well.count()), (1, 1));
    assert!(is_signed(&world.sign(&sidecar).await));
    assert_eq!((frozen.count(), well.count()), (1, 2), "the silent one is asked last from now on");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_answer_wins_even_if_it_is_the_slow_ones() {
    let world = World::new();
    let go = std::sync::Arc::new(tokio::sync::Notify::new());
    let slow = FakeNode::start(&world, Manner::Held(go.clone())).await;
    let frozen = FakeNode::start(&world, Manner::Frozen).await;
    let sidecar = world.sidecar(&[&slow, &frozen]).await;
    let release = async {
        frozen.asked().await;
        go.notify_one();
    };
    let (answer, ()) = tokio::join!(world.sign(&sidecar), release);
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"signed"[..]));
}

/// In an election: a follower that still points at the frozen leader, and one that will lead.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_the_frozen_node_does_not_stop_the_search() {
    let world = World::new();
    let frozen = FakeNode::start(&world, Manner::Frozen).await;
    let stale = FakeNode::start(&world, Manner::Redirect(frozen.url.clone())).await;
    let next = FakeNode::start(&world, NOT_NOW).await;
    let sidecar = world.sidecar(&[&frozen, &stale, &next]).await;
    let elect = async {
        next.asked().await;
        next.behave(SIGNED);
    };
    let (answer, ()) = tokio::join!(world.sign(&sidecar), elect);
    assert!(is_signed(&answer));
    assert_eq!(frozen.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_gone_are_passed_over_and_said_when_all_are() {
    let world = World::new();
    let well = FakeNode::start(&world, SIGNED).await;
    let gone = nobody();
    let sidecar = Sidecar::start(world.options(&[&gone, &well.url])).await.unwrap();
    assert!(is_signed(&world.sign(&sidecar).await));

    let mut options = world.options(&[&gone]);
    options.deadline = Duration::from_millis(300);
    let sidecar = Sidecar::start(options).await.unwrap();
    let answer = world.sign(&sidecar).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers[CONTENT_TYPE], "application/json");
    assert_eq!(answer.headers[RETRY_AFTER], "1");
    let error = error_of(&answer);
    assert!(error.contains("no node answered within 300ms") && error.contains(&gone), "{error}");
    let answer = world.get(&sidecar, "/upcheck").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_no_node_can_the_last_ones_own_words_are_passed_on() {
    let world = World::new();
    let (first, second) = (FakeNode::start(&world, NOT_NOW).await, FakeNode::start(&world, NOT_NOW).await);
    let mut options = world.options(&[&first.url, &second.url]);
    options.deadline = Duration::from_secs(2);
    let sidecar = Sidecar::start(options).await.unwrap();
    let answer = world.sign(&sidecar).await;
    assert_eq!((answer.status, error_of(&answer).as_str()), (StatusCode::SERVICE_UNAVAILABLE, "no leader"));
    assert!(first.count() > 1 && second.count() > 1, "asked again until the deadline");

    // A health check is asked of everybody once and does not wait for better times.
    let (before, begun) = (first.count() + second.count(), std::time::Instant::now());
    let mut options = world.options(&[&first.url, &second.url]);
    options.deadline = PATIENCE;
    let sidecar = Sidecar::start(options).await.unwrap();
    let answer = world.get(&sidecar, "/healthcheck").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(first.count() + second.count(), before + 2);
    assert!(begun.elapsed() < PATIENCE);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_administers_never_reaches_a_node() {
    let world = World::new();
    let node = FakeNode::start(&world, SIGNED).await;
    let sidecar = world.sidecar(&[&node]).await;
    for path in ["/admin/v1/keys", "/eth/v1/keystores", "/eth/v1/remotekeys", "/leader", "/ready", "/metrics", "/"] {
        assert_eq!(world.get(&sidecar, path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let answer = world.send(&sidecar, Method::POST, "/reload", &[], "").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers[ALLOW], "GET, HEAD");
    let page = [("origin", "https://evil.example")];
    assert_eq!(world.send(&sidecar, Method::POST, SIGN, &page, "{}").await.status, StatusCode::FORBIDDEN);
    let rebound = [("host", "evil.example:9900")];
    assert_eq!(world.send(&sidecar, Method::POST, SIGN, &rebound, "{}").await.status, StatusCode::FORBIDDEN);
    assert_eq!(node.count(), 0);
    let answer = world.get(&sidecar, "/upcheck").await;
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &b"OK"[..]));
}
