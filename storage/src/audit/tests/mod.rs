//! Tests of the audit log on the simulated disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod behaviour;
mod crash;
mod failures;
mod restart;
mod tamper;

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::files::{self, name};
use super::verify::{Anchor, Expect, Fault, VerifyError, VerifyFailure, VerifyReport, verify, verify_on};
use super::{AuditEntry, AuditError, AuditLog, AuditOptions, Lookup};
use crate::disk::{Disk, SimDisk, read_file};

/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(60);

const NODE: u64 = 3;
const CLUSTER: [u8; 16] = [7; 16];

fn dir() -> &'static Path {
    Path::new("/audit")
}

/// Small files and few lines between checkpoints, so that a short test meets many of both.
fn small() -> AuditOptions {
    AuditOptions {
        rotate_bytes: 16 * 1024,
        checkpoint_lines: 10,
        // By count alone: the clock of a loaded machine decides nothing.
        checkpoint_every: Duration::from_secs(3600),
        retry_pause: Duration::from_millis(1),
        ..AuditOptions::new(dir().to_path_buf(), NODE, CLUSTER)
    }
}

fn open(disk: &SimDisk) -> Result<AuditLog, AuditError> {
    AuditLog::open_on(Arc::new(disk.clone()), small())
}

fn entry(number: u64) -> AuditEntry {
    AuditEntry {
        time_ms: 1_700_000_000_000 + number,
        door: Some("api".to_owned()),
        identity: format!("vc-{}", number % 3),
        proof: "certificate".to_owned(),
        address: Some("10.0.0.1:4711".to_owned()),
        operation: "BLOCK_V2".to_owned(),
        key: Some(format!("0x{:096x}", number % 5)),
        log_index: Some(number),
        outcome: if number.is_multiple_of(4) { "refused" } else { "done" }.to_owned(),
        reason: format!("reason {number}"),
    }
}

/// Writes a line and waits for it.
fn durably(log: &AuditLog, entry: AuditEntry) -> Result<u64, AuditError> {
    let (answer, answered) = mpsc::channel();
    log.append_durably(entry, Box::new(move |result| answer.send(result).unwrap()));
    answered.recv_timeout(DEADLINE).expect("no answer within the deadline")
}

/// So many lines, each waited for.
fn fill(log: &AuditLog, lines: u64) {
    for number in 0..lines {
        durably(log, entry(number)).unwrap();
    }
}

/// A closed log of so many lines.
fn written(disk: &SimDisk, lines: u64) {
    let log = open(disk).unwrap();
    fill(&log, lines);
}

fn check(disk: &SimDisk, expect: &Expect) -> Result<VerifyReport, VerifyError> {
    verify_on(disk, dir(), expect, &mut |_, _| {})
}

fn verified(disk: &SimDisk) -> VerifyReport {
    check(disk, &Expect::default()).unwrap()
}

fn broken_with(disk: &SimDisk, expect: &Expect) -> VerifyFailure {
    match check(disk, expect) {
        Err(VerifyError::Broken(failure)) => *failure,
        Err(VerifyError::Audit(error)) => panic!("could not be read: {}", error.full_text()),
        Ok(report) => panic!("must not hold: {report:?}"),
    }
}

fn broken(disk: &SimDisk) -> VerifyFailure {
    broken_with(disk, &Expect::default())
}

fn path(number: u64) -> PathBuf {
    dir().join(name(number))
}

fn numbers(disk: &SimDisk) -> Vec<u64> {
    files::list(disk, dir()).unwrap()
}

/// The lines of a file, each with its newline.
fn lines(disk: &SimDisk, number: u64) -> Vec<String> {
    let text = String::from_utf8(read_file(disk, &path(number)).unwrap()).unwrap();
    text.split_inclusive('\n').map(str::to_owned).collect()
}

/// Changes the lines of a file.
fn rewrite(disk: &SimDisk, number: u64, change: impl FnOnce(&mut Vec<String>)) {
    let mut changed = lines(disk, number);
    change(&mut changed);
    disk.corrupt(&path(number), |bytes| *bytes = changed.concat().into_bytes()).unwrap();
}

/// A field of a line.
fn field(line: &str, field: &str) -> serde_json::Value {
    serde_json::from_str::<serde_json::Value>(line).unwrap()[field].clone()
}

fn seq(line: &str) -> u64 {
    field(line, "seq").as_u64().unwrap()
}

/// The cluster's memory of where a log is.
fn anchor(log: &AuditLog) -> Anchor {
    let head = log.head();
    Anchor { node: NODE, public_key: head.public_key, sequence: head.sequence, hash: head.hash }
}

/// Waits until something holds.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    let (_never_sends, pause) = mpsc::channel::<()>();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "{what}");
        let _timeout = pause.recv_timeout(Duration::from_millis(2));
    }
}
