//! Disk use of a node that signs for 1,000 validators, fast-forwarded: what a node writes, without waiting for the chain.
//!
//! `cargo run -p consigner-storage --example simulated_year -- DIR DAYS archive|none [SECONDS]`
//!
//! Per slot a 32nd of the validators attests, in [`ENTRIES_PER_SLOT`] entries, each an append to the log with an fsync of
//! its own, a batch of the state store with its row of the outbox, and every [`SNAPSHOT_EVERY`] entries a snapshot and a
//! purge: the calls and sizes of a real node. `archive`: rows are purged as soon as an archive would have them; `none`:
//! nobody takes them. It ends after so many days, or after so many seconds, and prints a line per simulated half day.
//! What it measured is extrapolated to a year in a line of its own, which says so.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "an example: what it prints is what it is for, and it ends where something fails"
)]

use consigner_storage::log::{Wal, WalOptions};
use consigner_storage::state::{StateStore, StateWrite};
use consigner_storage::{LogPosition, RealDisk, SnapshotStore, data_use};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const VALIDATORS: u64 = 1_000;
const SLOTS_PER_EPOCH: u64 = 32;
const SLOTS_PER_DAY: u64 = 7_200;
const DAYS_PER_YEAR: u64 = 365;
/// Validator clients of such an operator ask within some tens of milliseconds; two entries are on their way at once.
const ENTRIES_PER_SLOT: u64 = 4;
/// As `raft.snapshot-every`, and what openraft keeps behind one.
const SNAPSHOT_EVERY: u64 = 10_000;
const KEPT_BEHIND: u64 = 1_000;
/// An archive that keeps up.
const ARCHIVED_EVERY: u64 = 100;
/// A history record: key, and slot, epochs and two roots.
const RECORD_KEY: usize = 49;
const RECORD_VALUE: usize = 96;
/// A sealed key, which is written once.
const SEALED_KEY: usize = 230;
/// An intent in an entry, a change in a row of the outbox, and what is around them.
const INTENT: usize = 150;
const CHANGE: usize = 140;
const AROUND: usize = 64;
/// Where the state stands: applied entry and membership.
const META: usize = 300;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, days, archive, rest @ ..] = arguments.as_slice() else {
        println!("simulated_year DIR DAYS archive|none [SECONDS]");
        return;
    };
    let seconds = rest.first().map_or(u64::MAX, |seconds| seconds.parse().expect("SECONDS is a number"));
    let days: u64 = days.parse().expect("DAYS is a number");
    let mut node = Node::open(Path::new(dir), archive == "archive");
    let (begun, half) = (Instant::now(), SLOTS_PER_DAY / 2);
    println!("| day | entries | log MiB | state MiB | of it outbox rows | MiB in rows | snapshots MiB | seconds |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut samples = Vec::new();
    for slot in 0..days * SLOTS_PER_DAY {
        node.slot(slot);
        if (slot + 1) % half == 0 {
            samples.push(node.sample(slot + 1, begun.elapsed()));
        }
        if begun.elapsed() > Duration::from_secs(seconds) {
            break;
        }
    }
    extrapolate(&samples);
    node.close();
}

/// What lay there after so many slots.
struct Sample {
    slots: u64,
    state: u64,
    rest: u64,
}

/// The second half of what was measured, continued in a straight line.
fn extrapolate(samples: &[Sample]) {
    let (Some(middle), Some(last)) = (samples.get(samples.len() / 2), samples.last()) else { return };
    let year = DAYS_PER_YEAR * SLOTS_PER_DAY;
    let grown = last.state.saturating_sub(middle.state) as f64;
    let per_slot = grown / (last.slots.saturating_sub(middle.slots)).max(1) as f64;
    let (days, state) = (last.slots as f64 / SLOTS_PER_DAY as f64, last.state as f64);
    let at_end = state + per_slot * (year - last.slots) as f64;
    println!("measured: {days:.1} days, {:.0} MiB in all", mib(last.state + last.rest));
    println!("extrapolated from there to a year: {:.0} MiB in all", (at_end + last.rest as f64) / 1_048_576.0);
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

struct Node {
    dir: std::path::PathBuf,
    wal: Wal,
    store: StateStore,
    snapshots: SnapshotStore,
    archive: bool,
    index: u64,
    noise: u64,
}

impl Node {
    fn open(dir: &Path, archive: bool) -> Self {
        for part in ["log", "state", "snapshots"] {
            std::fs::create_dir_all(dir.join(part)).expect("a directory");
        }
        let disk = Arc::new(RealDisk);
        let wal = Wal::open(disk.clone(), &dir.join("log"), WalOptions::default()).expect("a log");
        let (store, _) = StateStore::open(&dir.join("state")).expect("a store");
        let snapshots = SnapshotStore::open(disk, &dir.join("snapshots")).expect("snapshots");
        let mut node = Self { dir: dir.to_owned(), wal, store, snapshots, archive, index: 0, noise: 1 };
        let puts = (0..VALIDATORS).map(|validator| (key(b'k', validator), Some(node.bytes(SEALED_KEY)))).collect();
        node.entry(puts, 0);
        node
    }

    /// The duties of one slot.
    fn slot(&mut self, slot: u64) {
        let attesting = (0..VALIDATORS).filter(|validator| validator % SLOTS_PER_EPOCH == slot % SLOTS_PER_EPOCH);
        let attesting: Vec<u64> = attesting.collect();
        let size = attesting.len().div_ceil(usize::try_from(ENTRIES_PER_SLOT).unwrap());
        for duties in attesting.chunks(size.max(1)) {
            let record = |validator: &u64| (key(b'h', *validator), Some(self.bytes(RECORD_VALUE)));
            let puts = duties.iter().map(record).collect();
            self.entry(puts, duties.len());
        }
    }

    /// One entry, agreed and applied.
    fn entry(&mut self, puts: Vec<(Vec<u8>, Option<Vec<u8>>)>, changes: usize) {
        let position = LogPosition { term: 1, node: 1, index: self.index };
        let entry = self.bytes(AROUND + puts.len() * INTENT);
        let (done, written) = mpsc::channel();
        self.wal.append(vec![(position, entry.into())], Box::new(move |result| drop(done.send(result))));
        let outbox = (changes > 0).then(|| (self.index, self.bytes(AROUND + changes * CHANGE)));
        let write = StateWrite { puts, meta: vec![7; META], digest: [0; 32], outbox };
        written.recv().expect("the log answers").expect("the log is written");
        self.wal.save_committed(Some(position));
        self.store.commit(write).expect("the store is written");
        if self.archive && self.index.is_multiple_of(ARCHIVED_EVERY) {
            self.store.outbox_purge(self.index).expect("the store is written");
        }
        if self.index > 0 && self.index.is_multiple_of(SNAPSHOT_EVERY) {
            self.snapshot(position);
        }
        self.index += 1;
    }

    fn snapshot(&self, position: LogPosition) {
        self.store.flush_durable().expect("the store is flushed");
        let records = usize::try_from(VALIDATORS).unwrap();
        let body = self.bytes(records * (2 * RECORD_KEY + RECORD_VALUE + SEALED_KEY));
        self.snapshots.write(Some(position), &[1; META], &body).expect("a snapshot");
        let upto = LogPosition { index: position.index - KEPT_BEHIND, ..position };
        let (done, purged) = mpsc::channel();
        self.wal.purge(upto, Box::new(move |result| drop(done.send(result))));
        purged.recv().expect("the log answers").expect("the log is purged");
    }

    /// Bytes that do not compress, different each time.
    fn bytes(&self, len: usize) -> Vec<u8> {
        let mut state = self.noise ^ self.index.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        std::iter::repeat_with(next).flatten().take(len).collect()
    }

    fn sample(&self, slots: u64, elapsed: Duration) -> Sample {
        let found = data_use(&self.dir).expect("the directory is read");
        println!(
            "| {:.1} | {} | {:.1} | {:.1} | {} | {:.1} | {:.1} | {} |",
            slots as f64 / SLOTS_PER_DAY as f64,
            self.index,
            mib(found.log),
            mib(found.state),
            self.store.outbox_len(),
            mib(self.store.outbox_bytes()),
            mib(found.snapshots),
            elapsed.as_secs()
        );
        Sample { slots, state: found.state, rest: found.log + found.snapshots }
    }

    fn close(self) {
        drop(self.wal);
        let dir = self.dir;
        self.store.close().expect("the store is closed");
        let (store, _) = StateStore::open(&dir.join("state")).expect("the store opens again");
        let found = data_use(&dir).expect("the directory is read");
        println!("closed and opened again: state {:.1} MiB, {} rows", mib(found.state), store.outbox_len());
    }
}

fn key(kind: u8, validator: u64) -> Vec<u8> {
    let mut key = vec![0; RECORD_KEY];
    key[0] = kind;
    key[1..9].copy_from_slice(&validator.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    key
}
