//! Damage to a closed log: refused, or harmless; never wrong data (trap 2, trap 5).

use super::*;
use crate::log::frame::SECTOR;

/// A small log with all kinds of records in one segment, and what it says.
fn sample() -> SimDisk {
    let disk = disk(11);
    let wal = open(&disk).unwrap();
    vote(&wal, "vote").unwrap();
    append(&wal, entries(1, 0..4)).unwrap();
    truncate(&wal, 3).unwrap();
    wal.save_committed(Some(at(1, 2)));
    append(&wal, vec![(at(2, 3), Bytes::from(vec![0; 1300])), entry(2, 4)]).unwrap();
    purge(&wal, at(1, 0)).unwrap();
    append(&wal, entries(2, 5..6)).unwrap();
    drop(wal);
    assert_eq!(segment::list(&disk, dir()).unwrap().len(), 1);
    disk
}

type Content = (Option<Bytes>, Option<LogPosition>, Option<LogPosition>, Vec<(LogPosition, Bytes)>);

fn content(wal: &Wal) -> Content {
    (wal.vote(), wal.purged(), wal.committed(), all(wal))
}

#[test]
fn trap_2_every_flipped_bit_is_refused_or_harmless() {
    let disk = sample();
    let path = last_segment(&disk);
    let whole = content(&open(&disk).unwrap());
    let end = used(&disk, &path);
    for place in 0..usize::try_from(MIN_SEGMENT_BYTES).unwrap() {
        // Every bit where something was written, one bit of each byte where nothing was.
        for bit in if place < end { 0..8 } else { 3..4 } {
            let copy = disk.fork();
            copy.corrupt(&path, |bytes| bytes[place] ^= 1 << bit).unwrap();
            match open(&copy) {
                Ok(wal) => {
                    assert!(place >= end, "byte {place} bit {bit} opens although it was acknowledged");
                    assert_eq!(content(&wal), whole, "byte {place} bit {bit}");
                }
                Err(WalError::Corrupt(_) | WalError::Format { .. }) => assert!(place < end, "byte {place} bit {bit}"),
                Err(other) => panic!("byte {place} bit {bit}: {other}"),
            }
        }
    }
}

#[test]
fn trap_2_a_flipped_bit_in_an_older_segment_is_refused() {
    let disk = disk(12);
    let wal = open(&disk).unwrap();
    for index in 0..40 {
        append(&wal, vec![entry(1, index)]).unwrap();
    }
    drop(wal);
    let path = segment::path(dir(), 1);
    for place in (0..used(&disk, &path)).step_by(7) {
        let copy = disk.fork();
        copy.corrupt(&path, |bytes| bytes[place] ^= 0x40).unwrap();
        match open(&copy) {
            // The one harmless case: the seal's very last byte becomes zero, which is an interrupted seal.
            Ok(wal) => assert_eq!((place, all(&wal)), (2 * SECTOR - 1, entries(1, 0..40))),
            Err(refused) => assert!(matches!(refused, WalError::Corrupt(_)), "byte {place}: {refused}"),
        }
    }
}

#[test]
fn trap_2_a_bit_that_flips_while_the_log_runs_is_found_on_reading() {
    let disk = disk(13);
    let wal = Wal::open(Arc::new(disk.clone()), dir(), WalOptions { cache_bytes: 0, ..small() }).unwrap();
    append(&wal, entries(1, 0..3)).unwrap();
    assert_eq!(all(&wal), entries(1, 0..3));
    let path = last_segment(&disk);
    let end = used(&disk, &path);
    disk.corrupt(&path, |bytes| bytes[end - SECTOR + 64 + 36] ^= 1).unwrap();
    assert!(matches!(wal.read(0..1, 1000), Err(WalError::Corrupt(_))));
    assert!(wal.poisoned().is_some(), "a checksum mismatch stops the node");
}

/// Three segments, entries 0..40, nothing purged.
fn long() -> SimDisk {
    let disk = disk(14);
    let wal = open(&disk).unwrap();
    for index in 0..40 {
        append(&wal, vec![entry(1, index)]).unwrap();
    }
    drop(wal);
    assert!(segment::list(&disk, dir()).unwrap().len() >= 3);
    disk
}

#[test]
fn trap_5_a_missing_segment_is_refused_wherever_it_was() {
    let numbers = segment::list(&long(), dir()).unwrap();
    for number in numbers {
        let disk = long();
        disk.remove(&segment::path(dir(), number)).unwrap();
        let refused = open(&disk).unwrap_err();
        assert!(matches!(refused, WalError::Incomplete(_)), "segment {number}: {refused}");
    }
}

#[test]
fn trap_5_an_emptied_log_is_refused_when_it_must_exist() {
    let disk = long();
    for number in segment::list(&disk, dir()).unwrap() {
        disk.remove(&segment::path(dir(), number)).unwrap();
    }
    let options = WalOptions { create: false, ..small() };
    let refused = Wal::open(Arc::new(disk), dir(), options).unwrap_err();
    assert!(matches!(refused, WalError::Incomplete(_)), "{refused}");
}

#[test]
fn trap_5_a_shortened_segment_is_refused() {
    let size = usize::try_from(MIN_SEGMENT_BYTES).unwrap();
    for number in segment::list(&long(), dir()).unwrap() {
        for len in [0, 1, 511, 512, 1500, size / 2, size - 1] {
            let disk = long();
            disk.corrupt(&segment::path(dir(), number), |bytes| bytes.truncate(len)).unwrap();
            let refused = open(&disk).unwrap_err();
            assert!(matches!(refused, WalError::Incomplete(_)), "segment {number}, {len} bytes: {refused}");
        }
    }
}

#[test]
fn a_segment_of_another_log_is_refused() {
    let (disk, other) = (long(), long());
    let foreign = read_file(&other, &segment::path(dir(), 2)).unwrap();
    disk.corrupt(&segment::path(dir(), 2), |bytes| *bytes = foreign).unwrap();
    assert!(matches!(open(&disk), Err(WalError::Corrupt(_))));
}

#[test]
fn another_format_version_is_refused_with_both_versions() {
    let disk = sample();
    disk.corrupt(&last_segment(&disk), |bytes| {
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..SECTOR - 4]);
        bytes[SECTOR - 4..SECTOR].copy_from_slice(&crc.to_le_bytes());
    })
    .unwrap();
    let refused = open(&disk).unwrap_err();
    assert!(matches!(refused, WalError::Format { found: 2, supported: 1 }), "{refused}");
}
