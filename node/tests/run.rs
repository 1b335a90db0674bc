//! `consigner run` and `consigner config check`: what a bad configuration is answered.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use bytes::Bytes;
use common::{consigner, output};
use consigner_gate::HttpsClient;
use consigner_gate::tls::{ALPN_API, client_config};
use http::{Method, StatusCode};
use std::time::{Duration, Instant};

const CONFIG: &str = "\
node: {id: 1, name: node1, data-dir: data}
cluster: {id: 000102030405060708090a0b0c0d0e0f}
api:
  clients: [vc]
  tls: {cert: a.pem, key: a-key.pem, client-ca: ca.pem}
peer:
  listen: 127.0.0.1:9001
  tls: {cert: p.pem, key: p-key.pem, ca: ca.pem}
keys: {sealer: {local: {key-file: sealing.key}}}
";

#[test]
fn a_bad_configuration_stops_the_start_with_every_problem() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("consigner.yaml");
    let text = CONFIG.replace("id: 1,", "id: one,").replace("listen: 127.0.0.1:9001", "lisen: 127.0.0.1:9001");
    std::fs::write(&file, text).unwrap();
    for command in [&["run"][..], &["config", "check"]] {
        let mut arguments = command.to_vec();
        arguments.extend(["--config", file.to_str().unwrap()]);
        let (code, stdout, stderr) = output(&arguments);
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        let line = |number: usize| format!("{}:{number}: ", file.display());
        assert!(
            stderr.contains(&format!("{}peer.lisen: unknown key; did you mean \"peer.listen\"?", line(7))),
            "{stderr}"
        );
        assert!(stderr.contains(&format!("{}node.id: \"one\" does not fit", line(1))), "{stderr}");
        assert!(stderr.contains("peer.listen: missing"), "{stderr}");
    }
}

#[test]
fn files_that_are_not_there_stop_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("consigner.yaml");
    std::fs::write(&file, CONFIG).unwrap();
    let (code, _, stderr) = output(&["run", "--config", file.to_str().unwrap(), "--dry-run"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("api.tls.cert: ") && stderr.contains("a.pem cannot be read"), "{stderr}");
}

#[test]
fn the_environment_overrides_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("consigner.yaml");
    std::fs::write(&file, CONFIG).unwrap();
    let mut command = consigner();
    command.args(["config", "check", "--config"]).arg(&file).env("CONSIGNER_LOG_LEVEL", "loud");
    let stderr = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(stderr.contains("environment variable CONSIGNER_LOG_LEVEL: log.level: \"loud\" does not fit"), "{stderr}");
}

/// Prepares the files of a cluster of one with `dev`, which then leaves.
fn cluster_of_one(dir: &std::path::Path) {
    let port = common::free_base_port(1).to_string();
    let mut dev = common::Dev::start(dir, &["--nodes", "1", "--base-port", &port]);
    dev.until_ready();
    dev.signal(rustix::process::Signal::TERM);
    assert_eq!(dev.ended(common::STOP).code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_runs_by_itself_tells_metrics_logs_json_and_stops_on_sigterm() {
    let dir = tempfile::tempdir().unwrap();
    cluster_of_one(dir.path());
    let config = dir.path().join("node1/config.yaml");
    let log = dir.path().join("json-log");
    let mut node = consigner()
        .args(["run", "--log-format", "json", "--logging", "DEBUG", "--config"])
        .arg(&config)
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let deployment = common::deployment(dir.path());
    let signer = deployment.signer(1).unwrap();
    let until = Instant::now() + common::START;
    while signer.probe("/ready", Duration::from_secs(2)).await != Some(StatusCode::OK) {
        assert!(Instant::now() < until, "not ready: {}", std::fs::read_to_string(&log).unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let pid_file = dir.path().join("node1/pid");
    assert_eq!(std::fs::read_to_string(&pid_file).unwrap().trim(), node.id().to_string());
    metrics_answer(&deployment).await;

    consigner_node::dev::signal_pid(node.id(), rustix::process::Signal::TERM);
    let status = common::eventually("the end of the node", common::END, || node.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
    assert!(!pid_file.exists());
    let lines = std::fs::read_to_string(&log).unwrap();
    assert!(lines.contains("\"node stopped\""), "{lines}");
    for line in lines.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(value["level"].is_string() && value["timestamp"].is_string(), "{line}");
    }
}

/// A full log disk, or a supervisor that closed stderr, must not take the node down line by line.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_log_cannot_be_written_serves_and_stops_in_order() {
    let dir = tempfile::tempdir().unwrap();
    cluster_of_one(dir.path());
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut node =
        consigner().args(["run", "--config"]).arg(dir.path().join("node1/config.yaml")).stderr(full).spawn().unwrap();
    let deployment = common::deployment(dir.path());
    let signer = deployment.signer(1).unwrap();
    let until = Instant::now() + common::START;
    while signer.probe("/ready", Duration::from_secs(2)).await != Some(StatusCode::OK) {
        assert!(node.try_wait().unwrap().is_none(), "the node ended");
        assert!(Instant::now() < until, "not ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Each of these writes a WARN in the accept loop.
    let api: std::net::SocketAddr = deployment.nodes[0].api_url.trim_start_matches("https://").parse().unwrap();
    for _ in 0..20 {
        use std::io::Write as _;
        std::net::TcpStream::connect(api).unwrap().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    }
    let until = Instant::now() + common::START;
    while signer.probe("/ready", Duration::from_secs(5)).await != Some(StatusCode::OK) {
        assert!(node.try_wait().unwrap().is_none() && Instant::now() < until, "the node does not go on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    consigner_node::dev::signal_pid(node.id(), rustix::process::Signal::TERM);
    let status = common::eventually("the end of the node", common::END, || node.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

async fn metrics_answer(deployment: &consigner_node::client::Deployment) {
    let tls = consigner_gate::ClientTls {
        cert: deployment.client_cert.clone(),
        key: deployment.client_key.clone(),
        ca: deployment.ca.clone(),
    };
    let client = HttpsClient::new(client_config(&tls, ALPN_API).unwrap(), 1);
    let url = deployment.nodes[0].metrics_url.clone();
    let get = async |headers: &[(http::HeaderName, http::HeaderValue)]| {
        client.request(Method::GET, &url, headers, Bytes::new(), common::START).await.unwrap()
    };
    let answer = get(&[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    for name in ["signing_signers_loaded_count 4", "consigner_door_connections_total{door=\"api\"}", "# HELP "] {
        assert!(text.contains(name), "{name} is not in\n{text}");
    }
    let foreign = get(&[(http::header::HOST, http::HeaderValue::from_static("evil.example"))]).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
}

#[test]
fn a_port_that_is_taken_ends_the_start_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    cluster_of_one(dir.path());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let config = dir.path().join("node1/config.yaml");
    let (code, _, stderr) = output(&["run", "--config", config.to_str().unwrap(), "--http-listen-port", &port]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains(&format!("the api door cannot listen on 127.0.0.1:{port}")), "{stderr}");
}
