//! A real node whose certificates are replaced while it serves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use common::{Dev, deployment, free_base_port};
use consigner_gate::ClientTls;
use consigner_node::certs::CertificateDir;
use consigner_node::client::ClusterClient;
use http::StatusCode;
use std::path::Path;
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(60);

/// Another CA vouches for the new certificate: a client that trusts one of the two sees which one is served, and one
/// that trusts the first can only go on through the connection that it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_served_after_sighup_and_a_bad_one_is_not() {
    let (work, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let port = free_base_port(1).to_string();
    let mut dev = Dev::start(work.path(), &["--nodes", "1", "--base-port", &port, "--validators", "1"]);
    dev.until_ready();
    let deployment = deployment(work.path());
    let client = |ca: &Path| {
        let tls = ClientTls { cert: deployment.client_cert.clone(), key: deployment.client_key.clone(), ca: ca.into() };
        ClusterClient::new(vec![deployment.nodes[0].api_url.clone()], &tls, 1).unwrap()
    };
    let served = async |client: &ClusterClient| client.probe("/upcheck", DEADLINE).await == Some(StatusCode::OK);
    let kept = client(&deployment.ca);
    assert!(served(&kept).await);

    let (cert, key) = (work.path().join("certs/node1.pem"), work.path().join("certs/node1-key.pem"));
    std::fs::write(&cert, "no certificate").unwrap();
    hang_up(work.path());
    until("the bad file is refused", async || log(work.path()).contains("TLS files not reloaded")).await;
    assert!(served(&client(&deployment.ca)).await, "the old certificate stays in use");

    let renewed = CertificateDir::new(other.path().to_owned());
    renewed.ensure(["node1"].into_iter()).unwrap();
    std::fs::copy(renewed.key("node1"), &key).unwrap();
    std::fs::copy(renewed.cert("node1"), &cert).unwrap();
    hang_up(work.path());
    until("the new certificate is served", async || served(&client(&renewed.cert("ca"))).await).await;
    assert!(!served(&client(&deployment.ca)).await, "nobody is shown the old one any more");
    assert!(served(&kept).await, "a connection that stands goes on");
}

fn hang_up(dir: &Path) {
    let pid = std::fs::read_to_string(dir.join("node1/pid")).unwrap().trim().parse().unwrap();
    consigner_node::dev::signal_pid(pid, rustix::process::Signal::HUP);
}

fn log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("node1/log")).unwrap()
}

async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !look().await {
        assert!(begun.elapsed() < Duration::from_secs(120), "{what}: not within two minutes");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
