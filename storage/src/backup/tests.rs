#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;

use bytes::Bytes;

use super::{Content, ContentError, Survivor, SurvivorError, decode, encode};
use crate::disk::RealDisk;
use crate::identity::{DataDir, NodeIdentity};
use crate::log::{LogPosition, Wal, WalOptions};

const IDENTITY: NodeIdentity = NodeIdentity { node_id: 3, cluster_id: [7; 16] };

fn content() -> (Vec<u8>, Content) {
    let records: Vec<_> = (0..5_u8).map(|byte| (vec![byte; 4], vec![byte; 40])).collect();
    let bytes = encode(b"description", records.clone());
    (bytes, Content { meta: b"description".to_vec(), records })
}

#[test]
fn what_was_written_is_read() {
    let (bytes, expected) = content();
    assert!(decode(&bytes).unwrap() == expected);
    let empty = decode(&encode(b"", [])).unwrap();
    assert!(empty.meta.is_empty() && empty.records.is_empty());
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let (bytes, _) = content();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let expected = match bit / 8 {
            0..8 => ContentError::NotABackup,
            8..12 => ContentError::Version { found: 1 ^ (1 << (bit - 64)) },
            _ => ContentError::Checksum,
        };
        assert!(decode(&damaged).err() == Some(expected), "bit {bit}");
    }
    for cut in 0..bytes.len() {
        assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn lengths_that_do_not_fit_are_refused_although_the_checksum_does() {
    let forge = |count: u64, tail: &[u8]| {
        let mut bytes = b"CNSGNbks".to_vec();
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(count.to_le_bytes());
        bytes.extend(tail);
        let sum = super::sum(&bytes);
        bytes.extend(sum);
        bytes
    };
    assert!(decode(&forge(0, &[])).is_ok());
    for (count, tail) in [(1, &[][..]), (u64::MAX, &[]), (0, &[1]), (1, &[0xff, 0xff, 0xff, 0xff, 1])] {
        assert!(matches!(decode(&forge(count, tail)).err(), Some(ContentError::Malformed { .. })), "{count} {tail:?}");
    }
}

fn append(wal: &Wal, index: u64, payload: &[u8]) {
    let (done, heard) = mpsc::channel();
    let entry = (LogPosition { term: 1, node: 3, index }, Bytes::copy_from_slice(payload));
    wal.append(vec![entry], Box::new(move |result| done.send(result).unwrap()));
    heard.recv().unwrap().unwrap();
}

/// Every file below a directory with its content, to compare before and after.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let content = std::fs::read(&path).unwrap();
            found.insert(path, content);
        }
    }
    found
}

#[test]
fn a_survivor_is_read_to_its_end_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let data = DataDir::open(Arc::new(RealDisk), dir.path(), IDENTITY).unwrap();
    let wal = data.open_wal(WalOptions::default()).unwrap();
    for index in 0..3 {
        append(&wal, index, &[index as u8; 100]);
    }
    let position = LogPosition { term: 1, node: 3, index: 1 };
    data.open_snapshots().unwrap().write(Some(position), b"meta", b"body").unwrap();
    assert!(matches!(Survivor::open(dir.path()), Err(SurvivorError::InUse(_))), "its node runs");
    drop((wal, data));
    // A tail that the last power cut tore: opening the log cuts it, here in memory only.
    let segment = files(dir.path()).into_keys().find(|path| path.extension().is_some_and(|end| end == "wal")).unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let torn = end.next_multiple_of(512);
    bytes[torn..torn + 40].fill(0xee);
    std::fs::write(&segment, bytes).unwrap();
    let before = files(dir.path());
    let survivor = Survivor::open(dir.path()).unwrap();
    assert_eq!(survivor.identity, IDENTITY);
    let entries = survivor.wal.read(.., usize::MAX).unwrap();
    assert_eq!(entries.iter().map(|(position, _)| position.index).collect::<Vec<_>>(), [0, 1, 2]);
    let snapshot = survivor.snapshots.latest().unwrap().unwrap();
    assert_eq!((snapshot.info.position, snapshot.body.as_slice()), (Some(position), b"body".as_slice()));
    drop(survivor);
    assert!(files(dir.path()) == before, "nothing was repaired");
    // The node itself still finds what it left.
    let data = DataDir::open(Arc::new(RealDisk), dir.path(), IDENTITY).unwrap();
    assert_eq!(data.open_wal(WalOptions::default()).unwrap().entries(), 3);
}

#[test]
fn what_is_no_data_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let refused = Survivor::open(dir.path()).unwrap_err();
    assert!(matches!(refused, SurvivorError::NotADataDir { .. }), "{refused}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was made");
    drop(DataDir::open(Arc::new(RealDisk), dir.path(), IDENTITY).unwrap());
    let marker = dir.path().join("initialized");
    let text = std::fs::read_to_string(&marker).unwrap();
    for (from, to, why) in [("node 3", "node 4", "checksum"), ("format 1", "format 9", "format 9")] {
        std::fs::write(&marker, text.replace(from, to)).unwrap();
        let refused = Survivor::open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
    std::fs::write(&marker, &text).unwrap();
    for entry in std::fs::read_dir(dir.path().join("log")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert!(matches!(Survivor::open(dir.path()), Err(SurvivorError::Log { .. })), "a log that is lost");
}
