//! The router behind a real door: mutual TLS, real framing, the caller's certificate.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

mod support;

use bytes::Bytes;
use consigner_api::{KeyManagerDoor, KeyManagerProof, RateLimit, TokenHash, keymanager_router};
use consigner_gate::tls::{ALPN_API, ClientAuth};
use consigner_gate::{ClientTls, Door, DoorConfig, DoorLimits, HostAllowlist, ReloadableTls};
use consigner_keys::development::interop_secret;
use consigner_rules::{Network, Root};
use http::Method;
use http::header::{CONNECTION, CONTENT_TYPE, HOST};
use serde_json::json;
use std::io::Write as _;
use std::process::Command;
use support::keystores::{KEYSTORES, TOKEN};
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

/// The status that curl sees over HTTP/2, if there is a curl that speaks it.
async fn status_by_curl(node: &Node, url: &str, body: usize) -> Option<String> {
    let version = Command::new("curl").arg("--version").output();
    if !version.is_ok_and(|version| String::from_utf8_lossy(&version.stdout).contains("HTTP2")) {
        eprintln!("SKIPPED: no curl with HTTP/2 on this machine");
        return None;
    }
    let ClientTls { cert, key, ca } = node.site.pki.client("client");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&vec![b' '; body]).unwrap();
    let mut curl = Command::new("curl");
    curl.args(["--http2", "--silent", "--show-error", "--noproxy", "*", "--max-time", "60", "--output", "/dev/null"]);
    curl.args(["--write-out", "%{http_version} %{http_code}", "--data-binary"])
        .arg(format!("@{}", file.path().display()));
    curl.arg("--cert").arg(cert).arg("--key").arg(key).arg("--cacert").arg(ca).arg(url);
    let output = tokio::task::spawn_blocking(move || curl.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_end_of_a_body_is_seen_over_http2() {
    let secret = interop_secret(0);
    let key = secret.public_key();
    let node = Node::with_keys(Network::by_name("mainnet").unwrap(), ROOT, &[secret]).await;
    let url = open(&node).await;
    let sign = sign_path(&key);
    for (path, mib, status) in [
        (sign.as_str(), 17, 413),
        ("/no/such/path", 5, 404),
        ("/api/v1/eth2/publicKeys", 5, 405),
        ("/admin/v1/history/import", 5, 403),
        ("/api/v1/eth2/sign/0x12", 5, 400),
    ] {
        if let Some(seen) = status_by_curl(&node, &format!("{url}{path}"), mib << 20).await {
            assert_eq!(seen, format!("2 {status}"), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_end_of_a_body_is_seen_over_http1() {
    let node = Node::lonely(Network::by_name("mainnet").unwrap(), ROOT).await;
    let url = open(&node).await;
    let client = node.site.pki.https("client");
    for (path, mib, status) in [("/no/such/path", 5, 404), ("/upcheck", 5, 405), ("/admin/v1/history/import", 5, 403)] {
        let body = Bytes::from(vec![b' '; mib << 20]);
        let answer = client.request(Method::POST, &format!("{url}{path}"), &[], body, LONG).await.unwrap();
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert!(!answer.headers.contains_key(CONNECTION), "{path}");
    }
}

/// The status that curl sees without a client certificate, if there is a curl.
async fn status_by_token(node: &Node, url: &str, token: Option<&str>) -> Option<String> {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("SKIPPED: no curl on this machine");
        return None;
    }
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "60", "--output", "/dev/null"]);
    curl.args(["--write-out", "%{http_code}", "--cacert"]).arg(node.site.pki.client("curl").ca).arg(url);
    if let Some(token) = token {
        curl.arg("--header").arg(format!("Authorization: Bearer {token}"));
    }
    let output = tokio::task::spawn_blocking(move || curl.output()).await.unwrap().unwrap();
    Some(String::from_utf8(output.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_alone_opens_the_key_managers_own_door_and_no_other() {
    let node = Node::with_keys(Network::by_name("mainnet").unwrap(), ROOT, &[interop_secret(0)]).await;
    let files = node.site.pki.server_files("node1");
    let config = DoorConfig {
        name: "keymanager".to_owned(),
        addr: "127.0.0.1:0".parse().unwrap(),
        tls: Some(ReloadableTls::load_for(files, ClientAuth::Optional, ALPN_API).unwrap()),
        admit: None,
        limits: DoorLimits::default(),
    };
    let door = Door::bind(config).await.unwrap();
    let url = format!("https://{}{KEYSTORES}", door.local_addr());
    let policy = KeyManagerDoor {
        hosts: HostAllowlist::parse(&["127.0.0.1"]).unwrap(),
        proof: KeyManagerProof::Token(TokenHash::of(TOKEN).unwrap()),
        rate: RateLimit::default(),
    };
    tokio::spawn(door.serve(keymanager_router(node.app.clone(), policy), CancellationToken::new()));
    for (token, status) in [(Some(TOKEN), "200"), (Some(&TOKEN[1..]), "401"), (None, "401")] {
        if let Some(seen) = status_by_token(&node, &url, token).await {
            assert_eq!(seen, status, "{token:?}");
        }
    }
    // The API port asks for a certificate in the handshake, whatever comes after it.
    let api = open(&node).await;
    if let Some(seen) = status_by_token(&node, &format!("{api}{KEYSTORES}"), Some(TOKEN)).await {
        assert_eq!(seen, "000", "no answer at all");
    }
}
