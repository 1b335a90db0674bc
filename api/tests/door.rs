//! The router behind a real door: mutual TLS, real framing, the caller's certificate.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use bytes::Bytes;
use consigner_gate::tls::ALPN_API;
use consigner_gate::{Door, DoorConfig, DoorLimits};
use consigner_keys::development::interop_secret;
use consigner_rules::{Network, Root};
use http::Method;
use http::header::{CONNECTION, CONTENT_TYPE, HOST};
use serde_json::json;
use support::{LONG, Node, sign_path};
use tokio_util::sync::CancellationToken;

const ROOT: Root = Root([0x11; 32]);

/// Opens a door for the node; its base URL.
async fn open(node: &Node) -> String {
    let config = DoorConfig {
        name: "api".to_owned(),
        addr: "127.0.0.1:0".parse().unwrap(),
        tls: Some(node.site.pki.server("node1", ALPN_API)),
        admit: None,
        limits: DoorLimits::default(),
    };
    let door = Door::bind(config).await.unwrap();
    let url = format!("https://{}", door.local_addr());
    tokio::spawn(door.serve(node.router.clone(), CancellationToken::new()));
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_for_the_certificate_that_may_and_for_no_other() {
    let secret = interop_secret(0);
    let key = secret.public_key();
    let node = Node::with_keys(Network::by_name("mainnet").unwrap(), ROOT, &[secret]).await;
    let url = format!("{}{}", open(&node).await, sign_path(&key));
    let body = json!({"type": "RANDAO_REVEAL", "randao_reveal": {"epoch": "400000"}, "fork_info": {
        "fork": {"previous_version": "0x04000000", "current_version": "0x05000000", "epoch": "364032"},
        "genesis_validators_root": ROOT,
    }});
    let body = Bytes::from(body.to_string());
    for (name, status) in [("client", 200), ("admin", 200), ("node1", 403), ("Client", 403)] {
        let client = node.site.pki.https(name);
        let answer = client.request(Method::POST, &url, &[], body.clone(), LONG).await.unwrap();
        assert_eq!(answer.status.as_u16(), status, "{name}: {:?}", answer.body);
        let content_type = if status == 200 { "text/plain; charset=utf-8" } else { "application/json; charset=utf-8" };
        assert_eq!(answer.headers[CONTENT_TYPE], content_type, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_too_much_sees_413_and_not_a_broken_connection() {
    let secret = interop_secret(0);
    let key = secret.public_key();
    let node = Node::with_keys(Network::by_name("mainnet").unwrap(), ROOT, &[secret]).await;
    let url = format!("{}{}", open(&node).await, sign_path(&key));
    let client = node.site.pki.https("client");
    let answer = client.request(Method::POST, &url, &[], Bytes::from(vec![b' '; 20 << 20]), LONG).await.unwrap();
    assert_eq!(answer.status.as_u16(), 413);
    assert_eq!(answer.headers[CONNECTION], "close", "no request may follow an unread body");
    let foreign = [(HOST, "evil.example".parse().unwrap())];
    let answer = client.request(Method::POST, &url, &foreign, Bytes::new(), LONG).await.unwrap();
    assert_eq!(answer.status.as_u16(), 403, "{:?}", answer.body);
}
