//! The state store: exactly what was there at a clean stop, or a rebuild; never something in between (S3).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::path::Path;

use consigner_storage::{Loaded, Opened, StateStore, StateWrite};

fn record(key: u32) -> (Vec<u8>, Vec<u8>) {
    (format!("key {key:05}").into_bytes(), format!("watermark of {key}").repeat(3).into_bytes())
}

fn write(key: u32) -> StateWrite {
    let (name, value) = record(key);
    StateWrite {
        puts: vec![(name, Some(value))],
        meta: format!("applied {key}").into_bytes(),
        digest: [u8::try_from(key % 251).unwrap(); 32],
        outbox: Some((u64::from(key), format!("row {key}").into_bytes())),
    }
}

fn open(dir: &Path) -> (StateStore, Opened) {
    StateStore::open(dir).unwrap()
}

fn clean(opened: Opened) -> Loaded {
    match opened {
        Opened::Clean(loaded) => loaded,
        Opened::Rebuild { reason, .. } => panic!("rebuild: {reason}"),
    }
}

fn rebuild(opened: Opened) -> (String, u64) {
    match opened {
        Opened::Clean(_) => panic!("clean"),
        Opened::Rebuild { reason, outbox_rows } => (reason, outbox_rows),
    }
}

/// A store with keys 0..count, closed cleanly.
fn closed(dir: &Path, count: u32) {
    let (store, opened) = open(dir);
    assert_eq!(clean(opened), Loaded::default());
    for key in 0..count {
        store.commit(write(key)).unwrap();
    }
    store.close().unwrap();
}

fn expected(count: u32) -> Loaded {
    let last = write(count - 1);
    Loaded { records: (0..count).map(record).collect(), meta: last.meta, digest: last.digest }
}

#[test]
fn a_clean_stop_opens_with_everything() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path(), 300);
    let (store, opened) = open(dir.path());
    assert_eq!(clean(opened), expected(300));
    assert_eq!(store.outbox_len(), 300);
    let removal = StateWrite { puts: vec![(record(299).0, None)], outbox: None, ..write(298) };
    store.commit(removal).unwrap();
    store.close().unwrap();
    assert_eq!(clean(open(dir.path()).1), expected(299));
}

#[test]
fn an_unclean_stop_is_a_rebuild_that_keeps_the_outbox() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path(), 50);
    let (store, _) = open(dir.path());
    for key in 50..80 {
        store.commit(write(key)).unwrap();
    }
    store.flush_durable().unwrap();
    drop(store); // no close: what a kill leaves
    let (store, opened) = open(dir.path());
    let (reason, rows) = rebuild(opened);
    assert!(reason.contains("not clean"), "{reason}");
    assert_eq!((rows, store.outbox_len()), (80, 80));
    assert_eq!(store.outbox_read(0, 1000).unwrap().len(), 80);
    store.close().unwrap();
    assert_eq!(clean(open(dir.path()).1), Loaded::default(), "the records are the caller's to rebuild");
}

#[test]
fn the_marker_is_gone_as_soon_as_the_store_is_open() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path(), 5);
    assert!(dir.path().join("clean").exists());
    let (store, _) = open(dir.path());
    assert!(!dir.path().join("clean").exists());
    drop(store);
    rebuild(open(dir.path()).1);
}

#[test]
fn a_broken_database_is_set_aside_and_at_most_two_are_kept() {
    let breaks: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.clear(),
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.iter_mut().for_each(|byte| *byte = 0xA5),
        |bytes| bytes.iter_mut().skip(40).step_by(97).for_each(|byte| *byte ^= 0xFF),
    ];
    for (number, damage) in breaks.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        closed(dir.path(), 2000);
        let path = dir.path().join("sled/db");
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        let (store, opened) = open(dir.path());
        let (reason, _) = rebuild(opened);
        assert!(!reason.contains("not clean"), "damage {number} was not what made it rebuild: {reason}");
        assert!(dir.path().join("aside-1").exists());
        let records: Vec<_> = (0..10).map(record).collect();
        store.replace_all(records, b"meta".to_vec(), [1; 32], [(3, b"row".to_vec())]).unwrap();
        store.close().unwrap();
        assert_eq!(clean(open(dir.path()).1).records.len(), 10, "damage {number}");
    }
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path(), 3);
    for _ in 0..5 {
        drop(open(dir.path()));
    }
    let asides = fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("aside-"));
    assert_eq!(asides.count(), 2);
}

/// A kill between any two steps of a rebuild must not lose outbox rows: those of purged entries exist nowhere else.
#[test]
fn a_rebuild_that_was_cut_off_leaves_its_rows_to_the_next_start() {
    for half_copied in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = open(dir.path());
        for index in 0..20 {
            store.commit(write(index)).unwrap();
        }
        store.flush_durable().unwrap();
        let expected = store.outbox_read(0, 100).unwrap();
        assert!(!expected.is_empty());
        drop(store);
        fs::rename(dir.path().join("sled"), dir.path().join("rescue-1")).unwrap();
        if half_copied {
            // What the interrupted start had made: a new store with nothing in it yet.
            let made = tempfile::tempdir().unwrap();
            drop(open(made.path()));
            fs::rename(made.path().join("sled"), dir.path().join("sled")).unwrap();
        }
        let (store, opened) = open(dir.path());
        rebuild(opened);
        assert_eq!(store.outbox_read(0, 100).unwrap(), expected, "half copied: {half_copied}");
        assert!(!dir.path().join("rescue-1").exists());
    }
}

#[test]
fn a_database_that_went_back_in_time_is_noticed_in_spite_of_the_marker() {
    let dir = tempfile::tempdir().unwrap();
    let older = tempfile::tempdir().unwrap();
    closed(dir.path(), 10);
    for file in ["db", "conf"] {
        fs::copy(dir.path().join("sled").join(file), older.path().join(file)).unwrap();
    }
    let (store, _) = open(dir.path());
    store.commit(write(10)).unwrap();
    store.close().unwrap();
    for file in ["db", "conf"] {
        fs::copy(older.path().join(file), dir.path().join("sled").join(file)).unwrap();
    }
    for snapshot in fs::read_dir(dir.path().join("sled")).unwrap().map(Result::unwrap) {
        if snapshot.file_name().to_str().unwrap().starts_with("snap") {
            fs::remove_file(snapshot.path()).unwrap();
        }
    }
    rebuild(open(dir.path()).1);
}

#[test]
fn a_missing_database_beside_the_marker_is_a_rebuild() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path(), 10);
    fs::remove_dir_all(dir.path().join("sled")).unwrap();
    let (reason, _) = rebuild(open(dir.path()).1);
    assert!(reason.contains("gone"), "{reason}");
}

#[test]
fn a_wrong_digest_is_the_callers_to_notice_and_sets_the_store_aside() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path(), 10);
    let (store, opened) = open(dir.path());
    clean(opened);
    let (store, opened) = store.set_aside("digest mismatch".into()).unwrap();
    assert_eq!(rebuild(opened), ("digest mismatch".into(), 10));
    assert_eq!(store.outbox_len(), 10);
}

#[test]
fn replacing_all_leaves_no_old_record_and_keeps_the_outbox() {
    let dir = tempfile::tempdir().unwrap();
    closed(dir.path(), 9000);
    let (store, _) = open(dir.path());
    let records: Vec<_> = (5000..5003).map(record).collect();
    store.replace_all(records.clone(), b"installed".to_vec(), [9; 32], Vec::new()).unwrap();
    assert_eq!(store.outbox_len(), 9000);
    store.close().unwrap();
    let found = clean(open(dir.path()).1);
    assert_eq!(found, Loaded { records, meta: b"installed".to_vec(), digest: [9; 32] });
}

#[test]
fn outbox_rows_come_in_log_order_and_go_once_archived() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    for index in [3_u32, 300, 70_000, 1, 256] {
        store.commit(write(index)).unwrap();
    }
    let indexes = |rows: Vec<(u64, Vec<u8>)>| rows.into_iter().map(|row| row.0).collect::<Vec<_>>();
    assert_eq!(indexes(store.outbox_read(0, 10).unwrap()), [1, 3, 256, 300, 70_000]);
    assert_eq!(indexes(store.outbox_read(4, 2).unwrap()), [256, 300]);
    let bytes = store.outbox_bytes();
    store.commit(write(300)).unwrap(); // applied again after a restart: the same row
    assert_eq!((store.outbox_len(), store.outbox_bytes()), (5, bytes));
    store.outbox_purge(256).unwrap();
    assert_eq!(indexes(store.outbox_read(0, 10).unwrap()), [300, 70_000]);
    assert_eq!(store.outbox_len(), 2);
    store.outbox_purge(u64::MAX).unwrap();
    assert_eq!((store.outbox_len(), store.outbox_bytes()), (0, 0));
}
