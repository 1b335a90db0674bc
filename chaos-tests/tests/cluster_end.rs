//! A cluster ends with the test that started it, also when the test panics and a node is frozen.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use consigner_chaos::binary;
use consigner_chaos::cluster::ports::Turn;
use consigner_chaos::cluster::{Cluster, process};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// SIGKILL takes effect at once; the rest is scheduling.
const GONE_MAX: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_leaves_no_process_behind() {
    let binary = binary::up_to_date().await.unwrap();
    let _turn = Turn::wait().await.unwrap();
    let cluster = Cluster::start(&binary, 1).await.unwrap();
    let dir = cluster.dir().to_owned();
    let pids: Vec<u32> = (1..=3).map(|node| cluster.pid(node).unwrap()).collect();
    assert!(pids.iter().all(|pid| process::is_of(*pid, &dir)));
    cluster.signal(pids[0], Signal::STOP).unwrap();
    let panicked = tokio::spawn(async move {
        let _held = cluster;
        panic!("as a failing test would");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    let until = Instant::now() + GONE_MAX;
    while pids.iter().any(|pid| process::is_of(*pid, &dir)) {
        assert!(Instant::now() < until, "processes {pids:?} of {} still run", dir.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!dir.exists(), "{} was left behind", dir.display());
}
