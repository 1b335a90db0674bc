//! Measures how long a node takes from its start to `ready` with many sealed keys, and what a validator costs in memory.
//!
//! `cargo run --release -p consigner-node --example startup_scale -- 1000 10000 100000`
//!
//! For each number of keys: a cluster of one is made and filled by `consigner dev`, stopped, and its node started three
//! times by itself. Told are the times from the start of the process to `/ready` and its resident memory then, against
//! that of a node without keys. The binary beside the example is measured, so build it with the same profile first.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a tool for developers that ends with the reason"
)]

use consigner_node::client::{ClusterClient, Deployment};
use consigner_node::dev::signal_pid;
use http::StatusCode;
use rustix::process::Signal;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Starts per number of keys.
const STARTS: usize = 3;

/// Between two looks at `/ready`; the resolution of the times.
const POLL: Duration = Duration::from_millis(2);

/// Far longer than any start; a node that never gets there ends the measurement.
const PATIENCE: Duration = Duration::from_secs(1800);

fn main() {
    let counts: Vec<u64> = std::env::args().skip(1).map(|count| count.parse().expect("a number of keys")).collect();
    let counts = if counts.is_empty() { vec![1_000, 10_000] } else { counts };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_, empty) = runtime.block_on(measure(0));
    println!("{:>8} keys  {empty:>8} KiB resident", 0);
    for count in counts {
        let begun = Instant::now();
        let (times, resident) = runtime.block_on(measure(count));
        let times: Vec<String> = times.iter().map(|time| format!("{:.0}", time.as_secs_f64() * 1e3)).collect();
        let each = (resident.saturating_sub(empty) * 1024).checked_div(count).unwrap_or(0);
        let (times, whole) = (times.join(" "), begun.elapsed().as_secs_f64());
        println!(
            "{count:>8} keys  {resident:>8} KiB resident, {each} bytes each; ms to ready: {times} (all: {whole:.0} s)"
        );
    }
}

/// Times to ready, and the greatest resident memory at that moment in KiB.
async fn measure(keys: u64) -> (Vec<Duration>, u64) {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), keys);
    let deployment = Deployment::read(dir.path()).unwrap();
    let config = dir.path().join("node1/config.yaml");
    let (mut times, mut resident) = (Vec::new(), 0);
    for _ in 0..STARTS {
        let client = deployment.signer(1).unwrap();
        let begun = Instant::now();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let mut node = Command::new(binary()).args(["run", "--config"]).arg(&config).stderr(log).spawn().unwrap();
        until_ready(&client, &mut node, &dir.path().join("log")).await;
        times.push(begun.elapsed());
        resident = resident.max(resident_kib(node.id()));
        stop(&mut node);
    }
    (times, resident)
}

/// Makes a cluster of one with so many keys, and stops it.
fn fill(dir: &Path, keys: u64) {
    // Of its own, so that measurements can follow each other; below the range of outgoing connections.
    let port = 20_000 + u16::try_from(std::process::id() % 1_000).unwrap() * 10;
    let mut dev = Command::new(binary())
        .args(["dev", "--nodes", "1", "--base-port", &port.to_string(), "--validators", &keys.to_string(), "--dir"])
        .arg(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(dev.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("ready")), "the cluster of one never became ready");
    stop(&mut dev);
}

async fn until_ready(client: &ClusterClient, node: &mut Child, log: &Path) {
    let until = Instant::now() + PATIENCE;
    while client.probe("/ready", Duration::from_secs(5)).await != Some(StatusCode::OK) {
        let said = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(node.try_wait().unwrap().is_none(), "the node ended: {}", said());
        assert!(Instant::now() < until, "not ready: {}", said());
        tokio::time::sleep(POLL).await;
    }
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn stop(process: &mut Child) {
    signal_pid(process.id(), Signal::TERM);
    process.wait().unwrap();
}

/// `target/PROFILE/consigner`, beside `target/PROFILE/examples`.
fn binary() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().join("consigner")
}
