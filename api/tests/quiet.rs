//! A client cannot fill a disk with log lines, and what is not written is counted. In a binary of its own: the log is
//! captured per process.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_keys::development::interop_secret;
use futures::future::join_all;
use http::header::HOST;
use metrics_exporter_prometheus::PrometheusBuilder;
use std::io;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use support::messages::{EPOCH, attestation, mainnet};
use support::{LONG, Node, get, post, sign_path};

/// Requests of each kind: far more than the lines of a second.
const FLOOD: usize = 200;
const AT_ONCE: usize = 50;

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Lines of one kind that were written, and the number that the lines about the others tell.
fn lines(written: &str, further: &str) -> (usize, usize) {
    let log = String::from_utf8(LOG.lock().unwrap().clone()).unwrap();
    // Of the log `count=7 ..`, of the audit `reason="7 further lines: .."`.
    let number = |text: &str| text.split(' ').next()?.parse::<usize>().ok();
    let told = |line: &str| {
        line.split_once("count=").or_else(|| line.split_once("reason=\"")).and_then(|(_, text)| number(text))
    };
    let single = log.lines().filter(|line| line.contains(written)).count();
    (single, log.lines().filter(|line| line.contains(further)).filter_map(told).sum())
}

async fn all_told(written: &str, further: &str, expected: usize) {
    let deadline = Instant::now() + LONG;
    loop {
        let (single, told) = lines(written, further);
        if single + told == expected {
            assert!(single > 0 && told > 0, "{single} {written:?}, {told} not written");
            return;
        }
        assert!(Instant::now() < deadline, "{single} + {told} of {expected} {written:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_write_few_lines_and_count_the_rest() {
    tracing_subscriber::fmt().with_ansi(false).with_writer(|| Writer).init();
    let (network, root) = mainnet();
    let secret = interop_secret(0);
    let path = sign_path(&secret.public_key());
    let node = Node::with_keys(network, root, &[secret]).await;
    let vote = |block| post(&path, attestation(EPOCH, EPOCH + 1, block).to_string());
    assert_eq!(vote(9).of(&node).await.status, 200);
    let recorder = PrometheusBuilder::new().build_recorder();
    let exported = recorder.handle();
    let guard = metrics::set_default_local_recorder(&recorder);
    let one = async || {
        assert_eq!(vote(8).of(&node).await.status, 412);
        assert_eq!(post(&path, "{}").of(&node).await.status, 400);
        assert_eq!(get("/admin/v1/cluster/status").of(&node).await.status, 403);
        assert_eq!(get("/upcheck").header(HOST, "evil.example").of(&node).await.status, 403);
    };
    // Many at once: one after the other, on a slow disk, they may come no faster than lines are written.
    for _ in 0..FLOOD / AT_ONCE {
        join_all((0..AT_ONCE).map(|_| one())).await;
    }
    drop(guard);
    all_told("refused to sign", "requests refused by slashing protection", FLOOD).await;
    all_told("not signed key=", "requests not signed", FLOOD).await;
    all_told("operation=\"host\"", "further lines: requests to a foreign host", FLOOD).await;
    all_told("operation=\"admin_access\"", "further lines: denied calls", FLOOD).await;
    let counted = format!("eth2_slashingprotection_prevented_signings_total {FLOOD}");
    let text = exported.render();
    assert!(text.lines().any(|line| line == counted), "every refusal is counted:\n{text}");
}
