//! Where it listens, what it holds, how it stops and renews its certificates.

use super::harness::{FakeNode, Manner, PATIENCE, SIGNED, World, is_signed};
use crate::connect::{ConnectError, Listen, Sidecar};
use http::{Method, StatusCode};
use std::sync::Arc;
use tokio::sync::Notify;

#[tokio::test(flavor = "multi_thread")]
async fn other_machines_stay_out_unless_said_otherwise() {
    let world = World::new();
    let mut options = world.options(&["https://127.0.0.1:1"]);
    options.listen = Listen::parse("0.0.0.0:0").unwrap();
    let refused = Sidecar::start(options.clone()).await.err().unwrap();
    assert!(matches!(refused, ConnectError::NotLoopback(_)) && refused.is_usage(), "{refused}");
    options.allow_non_loopback = true;
    Sidecar::start(options.clone()).await.unwrap().stop().await;

    options.listen = Listen::parse("127.0.0.1:0").unwrap();
    options.metrics = Some("[::]:0".parse().unwrap());
    options.allow_non_loopback = false;
    let refused = Sidecar::start(options).await.err().unwrap();
    assert!(matches!(refused, ConnectError::NotLoopback(_)), "the metrics, too: {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn senseless_options_are_usage_errors() {
    let world = World::new();
    for endpoints in [&[][..], &["http://127.0.0.1:1"], &["https://127.0.0.1:1/base"]] {
        let error = Sidecar::start(world.options(endpoints)).await.err().unwrap();
        assert!(matches!(error, ConnectError::Endpoint(_)) && error.is_usage(), "{error}");
    }
    let mut options = world.options(&["https://127.0.0.1:1"]);
    options.try_timeout = options.deadline;
    let error = Sidecar::start(options).await.err().unwrap();
    assert!(matches!(error, ConnectError::Deadlines) && error.is_usage());
    let mut options = world.options(&["https://127.0.0.1:1"]);
    options.tls.key = world.dir.path().join("nothing.pem");
    let error = Sidecar::start(options).await.err().unwrap();
    assert!(matches!(error, ConnectError::Tls(_)) && !error.is_usage());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_longer_than_a_node_takes_is_refused_here() {
    let world = World::new();
    let node = FakeNode::start(&world, SIGNED).await;
    let sidecar = world.sidecar(&[&node]).await;
    let largest = vec![b' '; 16 << 20];
    let answer = world.send(&sidecar, Method::POST, super::harness::SIGN, &[], largest.clone()).await;
    assert!(is_signed(&answer));
    assert_eq!(node.seen()[0].body.len(), largest.len());
    // By its announced length, before its bytes.
    let mut head = format!("POST {} HTTP/1.1\r\nHost: localhost\r\n", super::harness::SIGN);
    head.push_str(&format!("Content-Length: {}\r\n\r\n", largest.len() + 1));
    let answer = raw(&sidecar, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(node.count(), 1);
}

/// The beginning of the answer to these bytes.
async fn raw(sidecar: &Sidecar, bytes: &[u8]) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let Listen::Tcp(addr) = sidecar.listen() else { panic!("not TCP") };
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut answer)).await.unwrap().unwrap();
    String::from_utf8(answer[..read].to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_requests_under_way() {
    let world = World::new();
    let go = Arc::new(Notify::new());
    let node = FakeNode::start(&world, Manner::Held(go.clone())).await;
    let sidecar = world.sidecar(&[&node]).await;
    let Listen::Tcp(addr) = *sidecar.listen() else { panic!("not TCP") };
    let client = world.send_later(&sidecar);
    node.asked().await;
    let stopping = tokio::spawn(sidecar.stop());
    // It no longer takes connections, and still answers.
    while tokio::net::TcpStream::connect(addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    go.notify_waiters();
    go.notify_one();
    assert_eq!(client.await.unwrap().status, StatusCode::OK);
    tokio::time::timeout(PATIENCE, stopping).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_read_again_and_bad_ones_are_not_taken() {
    let world = World::new();
    let node = FakeNode::start(&world, SIGNED).await;
    let mut options = world.options(&[&node.url]);
    let cert = world.dir.path().join("vc.pem");
    std::fs::copy(&options.tls.cert, &cert).unwrap();
    options.tls.cert = cert.clone();
    let sidecar = Sidecar::start(options).await.unwrap();
    assert!(is_signed(&world.sign(&sidecar).await));
    std::fs::write(&cert, "no certificate").unwrap();
    assert!(sidecar.reload().is_err());
    assert!(is_signed(&world.sign(&sidecar).await), "with the old ones");
    std::fs::copy(world.certs.cert("client"), &cert).unwrap();
    sidecar.reload().unwrap();
    assert!(is_signed(&world.sign(&sidecar).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_of_requests_and_nodes() {
    let world = World::new();
    let node = FakeNode::start(&world, SIGNED).await;
    let mut options = world.options(&[&node.url]);
    options.metrics = Some("127.0.0.1:0".parse().unwrap());
    let sidecar = Sidecar::start(options).await.unwrap();
    assert!(is_signed(&world.sign(&sidecar).await));
    let text = world.absolute(&format!("http://{}/metrics", sidecar.metrics().unwrap())).await;
    let server = node.url.strip_prefix("https://").unwrap();
    for line in [
        r#"consigner_connect_requests_total{outcome="answered"} "#.to_owned(),
        r#"consigner_connect_tries_total{outcome="answered"} "#.to_owned(),
        "consigner_connect_request_duration_seconds".to_owned(),
        format!("consigner_connect_node_up{{node=\"{server}\"}} 1"),
        format!("consigner_connect_node_current{{node=\"{server}\"}} 1"),
    ] {
        assert!(text.contains(&line), "{line} is missing in {text}");
    }
}

/// More than may be asked twice at one time: nobody waits for ever, and nobody is forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_gets_past_a_frozen_node() {
    const BURST: usize = 200;
    let world = World::new();
    let frozen = FakeNode::start(&world, Manner::Frozen).await;
    let well = FakeNode::start(&world, SIGNED).await;
    let sidecar = world.sidecar(&[&frozen, &well]).await;
    let burst: Vec<_> = (0..BURST).map(|_| world.send_later(&sidecar)).collect();
    for answer in burst {
        assert!(is_signed(&answer.await.unwrap()));
    }
    assert_eq!(well.count(), BURST, "each was signed once");
    assert!(frozen.count() > 0);
}
