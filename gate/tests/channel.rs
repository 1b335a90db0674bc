//! Calls between nodes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use consigner_gate::tls::ALPN_PEER;
use consigner_gate::{ChannelError, DoorConfig, DoorLimits, Peer, PeerChannel, ReloadableTls};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use support::pki::{LONG, Pki};
use support::{Open, config, echo, open, open_with, until};
use tokio::task::JoinSet;

const LIMIT: usize = 4 << 20;

fn peer_door(name: &str, pki: &Pki) -> DoorConfig {
    let tls = ReloadableTls::load(pki.server_files(), ALPN_PEER).unwrap();
    DoorConfig { limits: DoorLimits::peer(), ..config(name, Some(tls)) }
}

async fn call(channel: &PeerChannel, body: &'static [u8]) -> Result<(StatusCode, Bytes), ChannelError> {
    channel.call("/raft", &[], Bytes::from_static(body), LONG, LIMIT).await
}

/// A door where `/never` gets no answer and everything else an echo.
async fn open_with_silence(config: DoorConfig) -> Open {
    open_with(config, |request: Request<Incoming>| async move {
        if request.uri().path() == "/never" {
            std::future::pending::<()>().await;
        }
        echo(request).await
    })
    .await
}

#[tokio::test]
async fn a_call_carries_path_headers_and_body_both_ways() {
    let pki = Pki::new();
    let door = open_with(peer_door("call", &pki), |request: Request<Incoming>| async move {
        assert_eq!(request.extensions().get::<Peer>().unwrap().name(), "node2");
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/raft/append"));
        assert_eq!(request.headers()["cluster"], "abc");
        let mut response = echo(request).await;
        *response.status_mut() = StatusCode::CONFLICT;
        response
    })
    .await;
    let channel = pki.channel("node2", &door.host_port());
    assert!(!channel.is_connected(), "connects at the first call");
    let headers = [(HeaderName::from_static("cluster"), HeaderValue::from_static("abc"))];
    let answer = channel.call("/raft/append", &headers, Bytes::from_static(b"entries"), LONG, LIMIT).await.unwrap();
    assert_eq!(answer, (StatusCode::CONFLICT, Bytes::from_static(b"entries")));
    assert!(channel.is_connected());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_concurrent_calls_share_one_connection() {
    let pki = Pki::new();
    let door = open(peer_door("concurrent", &pki)).await;
    let channel = pki.channel("node2", &door.host_port());
    let mut calls = JoinSet::new();
    for number in 0..200_usize {
        let channel = channel.clone();
        calls.spawn(async move {
            // Sizes from nothing to 1 MiB, most of them small.
            let size = if number % 50 == 0 { 1 << 20 } else { number * 10 };
            let body = Bytes::from(vec![number as u8; size]);
            let (status, echoed) = channel.call("/", &[], body.clone(), LONG, LIMIT).await.unwrap();
            assert_eq!(status, StatusCode::OK);
            assert!(echoed == body, "call {number} got another answer");
        });
    }
    calls.join_all().await;
    assert_eq!(door.counters.accepted(), 1);
}

#[tokio::test]
async fn a_restarted_server_is_found_again() {
    let pki = Pki::new();
    let mut first = peer_door("restart", &pki);
    first.addr = support::lasting();
    let door = open(first).await;
    let (addr, channel) = (door.addr, pki.channel("node2", &door.host_port()));
    for _ in 0..3 {
        call(&channel, b"up").await.unwrap();
    }
    assert_eq!(door.close().await, 0);

    let error = call(&channel, b"down").await.expect_err("nobody listens");
    assert!(matches!(error, ChannelError::ConnectRefused { .. }), "{error:?}");
    assert!(error.is_unreachable() && error.source().is_some());
    // A dead peer is not hammered: calls in the pause get the last failure, those who can wait do.
    let impatient = channel.call("/", &[], Bytes::new(), Duration::ZERO, LIMIT).await.expect_err("nobody listens");
    assert!(impatient.is_unreachable(), "{impatient:?}");

    let mut again = peer_door("restarted", &pki);
    again.addr = addr;
    let door = open(again).await;
    let began = Instant::now();
    let (_, body) = call(&channel, b"again").await.unwrap();
    assert_eq!(body.as_ref(), b"again");
    assert!(began.elapsed() < support::PATIENCE, "found after {:?}", began.elapsed());
    assert_eq!(door.counters.accepted(), 1);
}

#[tokio::test]
async fn a_deadline_ends_the_call_and_a_silent_connection_is_replaced() {
    let pki = Pki::new();
    let door = open_with_silence(peer_door("deadline", &pki)).await;
    let channel = pki.channel("node2", &door.host_port());
    let short = Duration::from_millis(50);
    unless_held_up(async || {
        call(&channel, b"warm").await.unwrap();
        let before = door.counters.accepted();
        let began = Instant::now();
        let error = channel.call("/never", &[], Bytes::new(), short, LIMIT).await.expect_err("no answer");
        let took = began.elapsed();
        assert!(matches!(error, ChannelError::Deadline { sent: true, .. }), "{error:?}");
        assert!(!error.is_unreachable(), "it may have been processed");
        call(&channel, b"still").await.unwrap();
        (took, door.counters.accepted() == before)
    })
    .await;

    let (before, long) = (door.counters.accepted(), Duration::from_millis(300));
    channel.call("/never", &[], Bytes::new(), long, LIMIT).await.expect_err("no answer");
    call(&channel, b"fresh").await.unwrap();
    assert_eq!(door.counters.accepted(), before + 1, "a connection without any answer is given up");
}

/// A silence of less than this is no reason to give a connection up.
const SILENCE: Duration = Duration::from_millis(200);

/// Makes an attempt that must keep the connection unless it was silent for long. An attempt on which the machine itself
/// was held up so long says nothing and is made again.
async fn unless_held_up(attempt: impl AsyncFn() -> (Duration, bool)) {
    for _ in 0..50 {
        let (silence, is_kept) = attempt().await;
        if silence < SILENCE {
            return assert!(is_kept, "a silence of {silence:?} is no reason to reconnect");
        }
    }
    panic!("this machine is held up for {SILENCE:?} again and again");
}

#[tokio::test]
async fn a_slow_answer_among_others_does_not_cost_the_connection() {
    let pki = Pki::new();
    let door = open_with_silence(peer_door("among", &pki)).await;
    let channel = pki.channel("node2", &door.host_port());
    unless_held_up(async || {
        call(&channel, b"before").await.unwrap();
        let before = door.counters.accepted();
        let slow = tokio::spawn({
            let channel = channel.clone();
            async move { channel.call("/never", &[], Bytes::new(), Duration::from_millis(400), LIMIT).await }
        });
        let mut longest = Duration::ZERO;
        while !slow.is_finished() {
            let began = Instant::now();
            call(&channel, b"others").await.unwrap();
            longest = longest.max(began.elapsed());
        }
        slow.await.unwrap().expect_err("no answer");
        call(&channel, b"after").await.unwrap();
        (longest, door.counters.accepted() == before)
    })
    .await;
}

#[tokio::test]
async fn a_frozen_server_costs_only_the_callers_deadline() {
    let pki = Pki::new();
    // Accepted by the kernel, never by a program: what a stopped process looks like.
    let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let channel = pki.channel("node2", &frozen.local_addr().unwrap().to_string());
    let began = Instant::now();
    let deadline = Duration::from_millis(100);
    let error = channel.call("/", &[], Bytes::new(), deadline, LIMIT).await.expect_err("frozen");
    assert!(matches!(error, ChannelError::Deadline { sent: false, .. }), "{error:?}");
    assert!(error.is_unreachable());
    assert!(began.elapsed() < support::PATIENCE, "took {:?}", began.elapsed());
}

#[tokio::test]
async fn an_oversized_answer_is_refused_without_losing_the_connection() {
    let pki = Pki::new();
    let door = open(peer_door("oversized", &pki)).await;
    let channel = pki.channel("node2", &door.host_port());
    let body = Bytes::from(vec![7; 1 << 20]);
    let error = channel.call("/", &[], body.clone(), LONG, (1 << 20) - 1).await.expect_err("one byte too long");
    assert!(matches!(error, ChannelError::TooLarge { limit: 1_048_575, .. }), "{error:?}");
    let (_, whole) = channel.call("/", &[], body, LONG, 1 << 20).await.unwrap();
    assert_eq!((whole.len(), door.counters.accepted()), (1 << 20, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_calls_reset_only_themselves() {
    let pki = Pki::new();
    let door = open_with_silence(peer_door("dropped", &pki)).await;
    let channel = pki.channel("node2", &door.host_port());
    call(&channel, b"warm").await.unwrap();
    for _ in 0..3 {
        let mut calls = JoinSet::new();
        for _ in 0..300 {
            let channel = channel.clone();
            calls.spawn(async move { channel.call("/never", &[], Bytes::new(), LONG, LIMIT).await });
        }
        tokio::task::yield_now().await;
        calls.shutdown().await;
        call(&channel, b"after").await.unwrap();
    }
    assert_eq!(door.counters.accepted(), 1);
}

#[tokio::test]
async fn one_attempt_serves_all_who_wait_and_survives_those_who_leave() {
    let pki = Pki::new();
    let door = open(peer_door("single-flight", &pki)).await;
    let channel = pki.channel("node2", &door.host_port());
    let impatient = channel.call("/", &[], Bytes::new(), Duration::ZERO, LIMIT).await.expect_err("no time to connect");
    assert!(impatient.is_unreachable(), "{impatient:?}");
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let channel = channel.clone();
        calls.spawn(async move { call(&channel, b"x").await.unwrap() });
    }
    calls.join_all().await;
    assert_eq!(door.counters.accepted(), 1);
}

#[tokio::test]
async fn distrust_on_either_side_is_a_tls_error_and_means_not_processed() {
    let (pki, foreign) = (Pki::new(), Pki::new());
    let mut members_only = peer_door("distrust", &pki);
    members_only.admit = Some(Arc::new(|peer: &Peer| match peer.name().as_str() {
        "stranger" => Err("not a member".to_owned()),
        _ => Ok(()),
    }));
    let door = open(members_only).await;
    let addr = door.host_port();

    let unknown_to_us = foreign.channel("node2", &addr);
    let error = call(&unknown_to_us, b"").await.expect_err("we do not trust the server");
    assert!(matches!(error, ChannelError::Tls { .. }), "{error:?}");

    let identity = foreign.issue("node2");
    let files = consigner_gate::ClientTls { cert: identity.cert, key: identity.key, ca: pki.ca_file.clone() };
    let tls = consigner_gate::tls::client_config(&files, ALPN_PEER).unwrap();
    let unknown_to_them = PeerChannel::new(addr.clone(), "localhost".to_owned(), tls).unwrap();
    let error = call(&unknown_to_them, b"").await.expect_err("the server does not trust us");
    assert!(matches!(error, ChannelError::Tls { .. }) && error.is_unreachable(), "{error:?}");

    let wrong_name = PeerChannel::new(addr.clone(), "node9.example".to_owned(), pki.client_tls("node2")).unwrap();
    let error = call(&wrong_name, b"").await.expect_err("another node answers there");
    assert!(matches!(error, ChannelError::Tls { .. }), "{error:?}");

    let error = call(&pki.channel("stranger", &addr), b"").await.expect_err("not a member");
    assert!(matches!(error, ChannelError::Connect { .. }) && error.is_unreachable(), "{error:?}");
    call(&pki.channel("node2", &addr), b"").await.unwrap();
}

#[tokio::test]
async fn a_server_that_dies_under_a_call_is_closed_not_unreachable() {
    let pki = Pki::new();
    let mut config = peer_door("dies", &pki);
    config.limits.drain_timeout = Duration::ZERO;
    let door = open_with_silence(config).await;
    let channel = pki.channel("node2", &door.host_port());
    call(&channel, b"warm").await.unwrap();
    let pending = tokio::spawn({
        let channel = channel.clone();
        async move { channel.call("/never", &[], Bytes::new(), LONG, LIMIT).await }
    });
    // Ordered behind the pending call on the same connection.
    call(&channel, b"behind").await.unwrap();
    door.close().await;
    let error = pending.await.unwrap().expect_err("cut");
    assert!(matches!(error, ChannelError::Closed { .. }), "{error:?}");
    assert!(!error.is_unreachable(), "it may have been processed");
    until("the end to be noticed", || !channel.is_connected()).await;
}

#[test]
fn malformed_addresses_are_refused_at_once() {
    let pki = Pki::new();
    for (addr, name) in [("localhost", "localhost"), ("", "localhost"), ("a b:1", "localhost"), ("localhost:1", "")] {
        let error = PeerChannel::new(addr.to_owned(), name.to_owned(), pki.client_tls("node2"));
        assert!(matches!(error, Err(ChannelError::Address { .. })), "{addr:?} {name:?}");
    }
}
