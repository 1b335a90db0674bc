//! Tests of the log on the simulated disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod behaviour;
mod crash;
mod damage;
mod garbage;
mod traps;

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use super::options::MIN_SEGMENT_BYTES;
use super::{Done, LogPosition, Wal, WalError, WalOptions, segment};
use crate::disk::{Disk, SimDisk, create_dir_durably, read_file};

/// How long a test waits for a callback that must come.
const DEADLINE: Duration = Duration::from_secs(60);

fn dir() -> &'static Path {
    Path::new("/log")
}

/// A disk with the log's directory on it.
fn disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    create_dir_durably(&disk, dir()).unwrap();
    disk
}

/// Small segments, so that a short test meets many of them.
fn small() -> WalOptions {
    WalOptions { segment_bytes: MIN_SEGMENT_BYTES, ..WalOptions::default() }
}

fn open(disk: &SimDisk) -> Result<Wal, WalError> {
    Wal::open(Arc::new(disk.clone()), dir(), small())
}

fn at(term: u64, index: u64) -> LogPosition {
    LogPosition { term, node: 1, index }
}

fn entry(term: u64, index: u64) -> (LogPosition, Bytes) {
    (at(term, index), Bytes::from(format!("entry {term}/{index}")))
}

fn entries(term: u64, range: std::ops::Range<u64>) -> Vec<(LogPosition, Bytes)> {
    range.map(|index| entry(term, index)).collect()
}

/// Makes a call and waits for its answer.
fn wait(call: impl FnOnce(Done)) -> Result<(), WalError> {
    let (answer, answered) = mpsc::channel();
    call(Box::new(move |result| answer.send(result).unwrap()));
    answered.recv_timeout(DEADLINE).expect("no answer within the deadline")
}

fn append(wal: &Wal, entries: Vec<(LogPosition, Bytes)>) -> Result<(), WalError> {
    wait(|done| wal.append(entries, done))
}

fn vote(wal: &Wal, vote: &'static str) -> Result<(), WalError> {
    wait(|done| wal.save_vote(Bytes::from_static(vote.as_bytes()), done))
}

fn purge(wal: &Wal, upto: LogPosition) -> Result<(), WalError> {
    wait(|done| wal.purge(upto, done))
}

fn truncate(wal: &Wal, from: u64) -> Result<(), WalError> {
    wait(|done| wal.truncate_from(from, done))
}

fn all(wal: &Wal) -> Vec<(LogPosition, Bytes)> {
    wal.read(.., usize::MAX).unwrap()
}

/// Path of the newest segment.
fn last_segment(disk: &SimDisk) -> PathBuf {
    segment::path(dir(), *segment::list(disk, dir()).unwrap().last().unwrap())
}

/// Where the frames of a segment end: behind the last sector that is not zero (frames end in one).
fn used(disk: &SimDisk, path: &Path) -> usize {
    let bytes = read_file(disk, path).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    (last + 1).next_multiple_of(super::frame::SECTOR)
}

/// Collects what the fatal hook was told.
fn hooked() -> (WalOptions, Arc<Mutex<Vec<String>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&told);
    let options = WalOptions { on_fatal: Arc::new(move |why| hook.lock().unwrap().push(why.into())), ..small() };
    (options, told)
}

fn exists(disk: &SimDisk, name: &str) -> bool {
    disk.exists(&dir().join(name)).unwrap()
}
