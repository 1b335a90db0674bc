//! Snapshots survive, damaged ones are never served (DESIGN 8, trap 6).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use consigner_storage::disk::Fault;
use consigner_storage::{Disk, LogPosition, RealDisk, SimDisk, SnapshotStore};

fn dir() -> &'static Path {
    Path::new("/snapshots")
}

fn disk(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    disk.create_dir(dir()).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn open(disk: &SimDisk) -> SnapshotStore {
    SnapshotStore::open(Arc::new(disk.clone()), dir()).unwrap()
}

fn at(index: u64) -> Option<LogPosition> {
    Some(LogPosition { term: 1, node: 3, index })
}

fn body(index: u64) -> Vec<u8> {
    format!("state at {index}").repeat(100).into_bytes()
}

fn write(store: &SnapshotStore, index: u64) {
    store.write(at(index), b"meta", &body(index)).unwrap();
}

fn newest(disk: &SimDisk) -> u64 {
    let snapshot = open(disk).latest().unwrap().unwrap();
    let index = snapshot.info.position.unwrap().index;
    assert_eq!((snapshot.meta, snapshot.body), (b"meta".to_vec(), body(index)));
    index
}

fn file(number: u64) -> std::path::PathBuf {
    dir().join(format!("{number:020}.snapshot"))
}

#[test]
fn the_newest_two_are_kept_and_survive() {
    let disk = disk(1);
    let store = open(&disk);
    assert!(store.latest().unwrap().is_none());
    for index in [10, 20, 30] {
        write(&store, index);
    }
    let kept: Vec<_> = store.list().iter().map(|info| info.position).collect();
    assert_eq!(kept, [at(20), at(30)]);
    disk.power_cut();
    assert_eq!(newest(&disk), 30);
    assert_eq!(open(&disk).list().len(), 2);
}

#[test]
fn an_empty_snapshot_before_any_entry_is_one_too() {
    let disk = disk(2);
    let store = open(&disk);
    let info = store.write(None, b"", b"").unwrap();
    assert_eq!(store.latest_info(), Some(info));
    let found = open(&disk).latest().unwrap().unwrap();
    assert_eq!((found.info, found.meta.len(), found.body.len()), (info, 0, 0));
}

#[test]
fn trap_6_a_crash_at_any_step_of_writing_leaves_the_old_or_the_new() {
    for seed in 0..20 {
        let mut step = 0;
        loop {
            let disk = disk(seed * 100 + step);
            let store = open(&disk);
            write(&store, 10);
            write(&store, 20);
            disk.die_after(step);
            let written = store.write(at(30), b"meta", &body(30));
            disk.power_cut();
            let found = newest(&disk);
            assert!(found == 30 || (found == 20 && written.is_err()), "seed {seed}, step {step}: {found}");
            assert!(open(&disk).damaged().is_empty());
            if written.is_ok() {
                break;
            }
            step += 1;
        }
        assert!(step > 4);
    }
}

#[test]
fn trap_4_a_failed_fsync_is_an_error_and_the_old_one_stays() {
    for fault in [Fault::Write, Fault::ShortWrite, Fault::Sync, Fault::Rename, Fault::SyncDir] {
        let disk = disk(3);
        let store = open(&disk);
        write(&store, 10);
        disk.inject(fault, 0);
        store.write(at(20), b"meta", &body(20)).unwrap_err();
        assert_eq!(store.latest_info().unwrap().position, at(10), "{fault:?}");
        disk.power_cut();
        assert!([10, 20].contains(&newest(&disk)), "{fault:?}");
    }
}

#[test]
fn trap_7_a_full_disk_keeps_the_old_one() {
    let disk = disk(4);
    let store = open(&disk);
    write(&store, 10);
    disk.set_capacity(Some(disk.used() + 100));
    store.write(at(20), b"meta", &body(20)).unwrap_err();
    disk.process_restart();
    assert_eq!(newest(&disk), 10);
    assert_eq!(disk.list(dir()).unwrap().len(), 1, "the half-written file is gone");
}

#[test]
fn every_damaged_byte_is_noticed_and_the_older_one_answers() {
    let disk = disk(5);
    let store = open(&disk);
    write(&store, 10);
    write(&store, 20);
    let mut len = 0;
    disk.corrupt(&file(2), |bytes| len = bytes.len()).unwrap();
    for place in 0..len {
        disk.corrupt(&file(2), |bytes| bytes[place] ^= 0x20).unwrap();
        let reopened = open(&disk);
        assert_eq!(reopened.damaged().len(), 1, "byte {place}");
        assert_eq!(reopened.latest_info().unwrap().position, at(10));
        assert!(store.latest().is_err(), "byte {place}: a running node notices");
        disk.corrupt(&file(2), |bytes| bytes[place] ^= 0x20).unwrap();
    }
    disk.corrupt(&file(2), |bytes| bytes.truncate(len - 1)).unwrap();
    assert_eq!(newest(&disk), 10);
    let store = open(&disk);
    write(&store, 30);
    assert_eq!(newest(&disk), 30, "the damaged file's number is not used again");
}

#[test]
fn the_real_disk_does_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let open = || SnapshotStore::open(Arc::new(RealDisk), dir.path()).unwrap();
    let store = open();
    for index in [1, 2, 3] {
        write(&store, index);
    }
    std::fs::write(dir.path().join("half.tmp"), b"half").unwrap();
    let found = open().latest().unwrap().unwrap();
    assert_eq!((found.info.position, found.body), (at(3), body(3)));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}
