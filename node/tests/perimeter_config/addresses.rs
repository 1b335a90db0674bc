//! Address lists, and a layer-4 balancer that tells for whom it connects.

use crate::common::eventually;
use crate::site::{PATIENCE, Site, apply, ran, tool, until, upcheck};
use http::StatusCode;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Connects from another loopback address.
async fn connect_from(source: &str, to: &str) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source.parse().unwrap(), 0))?;
    socket.connect(to.parse().unwrap()).await
}

/// Whether the other side closes before it has said anything.
async fn is_closed_at_once(source: &str, to: &str, said: &[u8]) -> bool {
    let Ok(mut stream) = connect_from(source, to).await else { return true };
    let _closed_already = stream.write_all(said).await;
    let read = tokio::time::timeout(PATIENCE, stream.read(&mut [0; 1])).await.expect("neither closed nor answered");
    !matches!(read, Ok(1))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_from_elsewhere_is_closed_before_the_handshake() {
    let mut site = Site::new();
    site.start(
        "api: {ip-allowlist: [127.0.0.1]}\nmetrics: {ip-allowlist: [127.0.0.1]}\npeer: {ip-allowlist: [127.0.0.1]}\n",
    );
    let client = site.api_client(&site.identity("client"));
    assert_eq!(upcheck(&client).await, Some(StatusCode::OK));
    let metrics = site.deployment().nodes[0].metrics_url.clone();
    let metrics = metrics.trim_start_matches("http://").trim_end_matches("/metrics");
    let peer = site.deployment().nodes[0].peer_addr.clone();
    for (address, door) in [(site.api().as_str(), "api"), (metrics, "metrics"), (peer.as_str(), "peer")] {
        assert!(is_closed_at_once("127.0.0.2", address, b"").await, "{door}");
        let audited = ["audit", "connection", "refused", "127.0.0.2", door, "address not allowed"];
        until("the refusal is audited", async || !site.lines_with(&audited).is_empty()).await;
    }
    let counted = "consigner_door_address_refused_total{door=\"api\"}";
    until("it is counted once", async || site.metric(counted).await.as_deref() == Some("1")).await;
}

const POLICY: &str = "\
version: 1
addresses: {sign: [127.0.0.9], metrics: [127.0.0.9]}
roles:
  operator: {operations: [\"admin.*\"]}
clients:
  - {name: admin, certificate: {common-name: dev-admin}, roles: [operator]}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_narrows_each_door_by_what_is_served_there_also_after_a_restart() {
    let mut site = Site::new();
    let door = site.port(3);
    let overlay = format!("token-door: {{listen: \"127.0.0.1:{door}\"}}\n");
    site.start(&overlay);
    let token_door = format!("127.0.0.1:{door}");
    let metrics = site.deployment().nodes[0].metrics_url.clone();
    let metrics = metrics.trim_start_matches("http://").trim_end_matches("/metrics").to_owned();
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert!(!is_closed_at_once("127.0.0.1", &metrics, request).await, "nothing is narrowed yet");

    let (applied, said) = apply(&site.api_client(&site.identity("admin")), POLICY).await;
    assert_eq!(applied, StatusCode::OK, "{said}");
    for start in ["running", "started again"] {
        for address in [&metrics, &token_door] {
            let closed = async || is_closed_at_once("127.0.0.1", address, request).await;
            until("the policy's list is kept", closed).await;
            assert!(!is_closed_at_once("127.0.0.9", &metrics, request).await, "{start}");
        }
        // Administrators are let in from everywhere, and they come through this port, too.
        let upcheck = upcheck(&site.api_client(&site.identity("admin"))).await;
        assert_eq!(upcheck, Some(StatusCode::OK), "{start}");
        if start == "running" {
            site.stop();
            site.start(&overlay);
        }
    }
}

/// A balancer before the API port, which connects from 127.0.0.3.
struct Balancer {
    process: Child,
    port: u16,
}

impl Balancer {
    fn start(haproxy: &std::path::Path, site: &Site) -> Self {
        let port = site.port(5);
        let config = format!(
            "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n\
             frontend in\n  bind 127.0.0.1:{port}\n  default_backend nodes\n\
             backend nodes\n  server node1 {} send-proxy-v2 source 127.0.0.3\n",
            site.api()
        );
        let file = site.write("haproxy.cfg", config);
        let mut command = Command::new(haproxy);
        command.arg("-db").arg("-f").arg(file).stdin(Stdio::null()).stdout(Stdio::null());
        let balancer = Self { process: command.spawn().unwrap(), port };
        eventually("the balancer", PATIENCE, || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
        balancer
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_balancer_it_is_the_client_that_counts() {
    let mut site = Site::new();
    site.start("api: {ip-allowlist: [127.0.0.1, 127.0.0.4], balancers: [127.0.0.3]}\n");
    let client = site.identity("client");
    assert_eq!(upcheck(&site.api_client(&client)).await, Some(StatusCode::OK), "without a balancer, without a header");
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\x30\x39\x23\x28";
    let api = site.api();
    assert!(is_closed_at_once("127.0.0.3", &api, b"\x16\x03\x01").await, "a balancer without a header");
    assert!(is_closed_at_once("127.0.0.4", &api, header).await, "a header from somebody else");

    let (Some(haproxy), Some(curl)) = (tool("haproxy", "PROXY v2"), tool("curl", "a client behind the balancer"))
    else {
        return;
    };
    let balancer = Balancer::start(&haproxy, &site);
    assert_eq!(upcheck(&site.client(&client, balancer.port)).await, Some(StatusCode::OK));
    // As somebody who may not administrate, from two addresses: one that is allowed, one that is not.
    let url = format!("https://127.0.0.1:{}/admin/v1/cluster/status", balancer.port);
    let from = |source: &str| {
        let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
        let (cert, key, ca) = (text(&client.cert), text(&client.key), text(&client.ca));
        let write =
            ["--silent", "--noproxy", "*", "--max-time", "60", "--write-out", "%{http_code}", "--output", "/dev/null"];
        let more = ["--interface", source, "--cert", &cert, "--key", &key, "--cacert", &ca, &url];
        ran(&curl, &[&write[..], &more].concat())
    };
    let (_, status, said) = from("127.0.0.4");
    assert_eq!(status, "403", "{said}");
    let audited = ["audit", "admin_access", "refused", "127.0.0.4", "dev-client"];
    until("the client behind the balancer is named", async || !site.lines_with(&audited).is_empty()).await;
    assert!(site.lines_with(&["audit", "admin_access", "127.0.0.3"]).is_empty(), "not the balancer");
    let (reached, status, _) = from("127.0.0.5");
    assert!(!reached && status == "000", "{status}");
    let audited = ["audit", "connection", "refused", "127.0.0.5", "address not allowed"];
    until("an address behind the balancer is refused", async || !site.lines_with(&audited).is_empty()).await;
}
