//! The writer: log entries and votes without pause, now and then a flushed state, a snapshot and a purge; notes each
//! thing once it was acknowledged. Runs until it is killed.

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use consigner_storage::{
    DataDir, Disk, LogPosition, NodeIdentity, RealDisk, StateStore, StateWrite, Wal, WalError, WalOptions,
};

use crate::acks::AckFile;
use crate::barrier::NoBarrier;

pub const ME: NodeIdentity = NodeIdentity { node_id: 1, cluster_id: [7; 16] };
/// Small, so that a run of half a second meets many new segments.
const SEGMENT_BYTES: u64 = 256 * 1024;
/// Entries in flight together.
const GROUP: u64 = 5;

pub fn run(dir: &Path, acks: &Path, barrier: bool) -> ExitCode {
    let data = DataDir::open(Arc::new(RealDisk), dir, ME).unwrap();
    let disk: Arc<dyn Disk> = if barrier { Arc::new(RealDisk) } else { Arc::new(NoBarrier) };
    let options = WalOptions { segment_bytes: SEGMENT_BYTES, ..WalOptions::default() };
    let wal = Wal::open(disk, &dir.join("log"), options).unwrap();
    let (state, _) = StateStore::open(&data.state_dir()).unwrap();
    let snapshots = data.open_snapshots().unwrap();
    let acks = Arc::new(AckFile::open(acks));
    for round in 0.. {
        append(&wal, round * GROUP, &acks);
        let index = round * GROUP + GROUP - 1;
        wal.save_committed(Some(position(index)));
        for index in round * GROUP..=index {
            state.commit(applied(index)).unwrap();
        }
        if round % 7 == 0 {
            wait(|done| wal.save_vote(Bytes::from(format!("vote {round}")), done));
            acks.note("vote", round);
        }
        if round % 20 == 10 {
            state.flush_durable().unwrap();
            acks.note("state", index);
        }
        if round % 60 == 40 {
            state.flush_durable().unwrap();
            snapshots.write(Some(position(index)), b"meta", &snapshot_body(index)).unwrap();
            acks.note("snapshot", index);
            wait(|done| wal.purge(position(index), done));
            acks.note("purged", index);
        }
    }
    ExitCode::SUCCESS
}

/// Appends a group as separate calls; each is noted by the writer thread when it is acknowledged.
fn append(wal: &Wal, first: u64, acks: &Arc<AckFile>) {
    let (answer, answers) = mpsc::channel();
    for index in first..first + GROUP {
        let (answer, acks) = (answer.clone(), Arc::clone(acks));
        let note = move |result: Result<(), WalError>| {
            result.unwrap();
            acks.note("log", index);
            answer.send(()).unwrap();
        };
        wal.append(vec![(position(index), payload(index))], Box::new(note));
    }
    for _ in 0..GROUP {
        answers.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}

fn wait(call: impl FnOnce(consigner_storage::Done)) {
    let (answer, answered) = mpsc::channel();
    call(Box::new(move |result| answer.send(result).unwrap()));
    answered.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
}

pub fn position(index: u64) -> LogPosition {
    LogPosition { term: 1 + index / 1000, node: 1, index }
}

/// From some bytes to some kilobytes, a third of them mostly zeros.
pub fn payload(index: u64) -> Bytes {
    let len = usize::try_from(10 + index * 7919 % 3000).unwrap();
    let fill = if index.is_multiple_of(3) { 0 } else { u8::try_from(index % 251).unwrap() };
    let mut bytes = vec![fill; len];
    bytes[..8].copy_from_slice(&index.to_le_bytes());
    bytes.into()
}

pub fn row(index: u64) -> Vec<u8> {
    format!("archive row {index}").into_bytes()
}

pub fn snapshot_body(index: u64) -> Vec<u8> {
    format!("state at {index};").repeat(2000).into_bytes()
}

fn applied(index: u64) -> StateWrite {
    let key = format!("validator {}", index % 500).into_bytes();
    let value = format!("watermark {index}").repeat(5).into_bytes();
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&index.to_le_bytes());
    StateWrite {
        puts: vec![(key, Some(value))],
        meta: index.to_le_bytes().to_vec(),
        digest,
        outbox: Some((index, row(index))),
    }
}
