//! The data directory: fresh, ours, or refused (S5; DESIGN 8, trap 5 and 6).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use consigner_storage::{DataDir, DataDirError, Disk, LogPosition, NodeIdentity, RealDisk, SimDisk, Wal, WalOptions};

const ME: NodeIdentity = NodeIdentity { node_id: 2, cluster_id: [0xC1; 16] };

fn data() -> &'static Path {
    Path::new("/var/data")
}

fn open(disk: &SimDisk, identity: NodeIdentity) -> Result<DataDir, DataDirError> {
    DataDir::open(Arc::new(disk.clone()), data(), identity)
}

fn write(wal: &Wal) {
    let (answer, answered) = mpsc::channel();
    let entry = (LogPosition { term: 1, node: 2, index: 0 }, Bytes::from_static(b"entry"));
    wal.append(vec![entry], Box::new(move |result| answer.send(result).unwrap()));
    answered.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
}

#[test]
fn a_fresh_directory_is_initialized_and_opens_again() {
    let disk = SimDisk::new(1);
    let dir = open(&disk, ME).unwrap();
    assert!(dir.is_fresh());
    write(&dir.open_wal(WalOptions::default()).unwrap());
    drop(dir);
    disk.power_cut();
    let dir = open(&disk, ME).unwrap();
    assert!(!dir.is_fresh());
    assert_eq!(dir.open_wal(WalOptions::default()).unwrap().last().unwrap().index, 0);
    assert!(dir.open_snapshots().unwrap().latest().unwrap().is_none());
}

#[test]
fn trap_6_a_crash_at_any_step_of_initializing_is_a_fresh_start_or_done() {
    let mut step = 0;
    loop {
        let disk = SimDisk::new(step);
        disk.die_after(step);
        let first = open(&disk, ME).map(drop);
        disk.power_cut();
        let dir = open(&disk, ME).unwrap_or_else(|error| panic!("step {step}: {error}"));
        assert!(first.is_err() || !dir.is_fresh(), "step {step}: initialized, then forgotten");
        dir.open_wal(WalOptions::default()).unwrap();
        if first.is_ok() {
            break;
        }
        step += 1;
    }
    assert!(step > 20, "only {step} steps");
}

#[test]
fn a_second_process_is_refused() {
    let disk = SimDisk::new(2);
    let first = open(&disk, ME).unwrap();
    let refused = open(&disk, ME).unwrap_err();
    assert!(matches!(refused, DataDirError::InUse(_)) && refused.to_string().contains("another process"), "{refused}");
    drop(first);
    open(&disk, ME).unwrap();
}

#[test]
fn the_lock_of_the_real_disk_is_exclusive_too() {
    let dir = tempfile::tempdir().unwrap();
    let open = || DataDir::open(Arc::new(RealDisk), dir.path(), ME);
    let first = open().unwrap();
    assert!(matches!(open(), Err(DataDirError::InUse(_))));
    drop(first);
    assert!(!open().unwrap().is_fresh());
}

#[test]
fn another_nodes_or_clusters_data_is_refused() {
    let disk = SimDisk::new(3);
    drop(open(&disk, ME).unwrap());
    let refused = open(&disk, NodeIdentity { node_id: 3, ..ME }).unwrap_err();
    assert!(refused.to_string().contains("another node's data: node 2, configured 3"), "{refused}");
    let refused = open(&disk, NodeIdentity { cluster_id: [7; 16], ..ME }).unwrap_err();
    assert!(refused.to_string().contains("another cluster's data"), "{refused}");
}

#[test]
fn another_format_is_refused_with_both_versions() {
    let disk = SimDisk::new(4);
    drop(open(&disk, ME).unwrap());
    for version in ["0", "2"] {
        let text = format!("consigner-data\nformat {version}\nwhatever that version says\n");
        disk.corrupt(&data().join("initialized"), |bytes| *bytes = text.into_bytes()).unwrap();
        let refused = open(&disk, ME).unwrap_err().to_string();
        assert!(refused.contains(&format!("format {version}; this program reads format 1")), "{refused}");
    }
}

#[test]
fn a_damaged_marker_is_refused_at_every_byte() {
    let disk = SimDisk::new(5);
    drop(open(&disk, ME).unwrap());
    let marker = data().join("initialized");
    let mut len = 0;
    disk.corrupt(&marker, |bytes| len = bytes.len()).unwrap();
    for place in 0..len {
        disk.corrupt(&marker, |bytes| bytes[place] ^= 1).unwrap();
        assert!(open(&disk, ME).is_err(), "byte {place}");
        disk.corrupt(&marker, |bytes| bytes[place] ^= 1).unwrap();
    }
    disk.corrupt(&marker, Vec::clear).unwrap();
    assert!(matches!(open(&disk, ME), Err(DataDirError::Marker { .. })));
}

#[test]
fn trap_5_a_missing_log_beside_the_marker_is_refused() {
    let disk = SimDisk::new(6);
    write(&open(&disk, ME).unwrap().open_wal(WalOptions::default()).unwrap());
    disk.remove(&data().join("log").join(format!("{:020}.wal", 1))).unwrap();
    let refused = open(&disk, ME).unwrap_err();
    assert!(matches!(refused, DataDirError::LogMissing(_)), "{refused}");
    assert!(refused.to_string().contains("replace this node"), "{refused}");
}

#[test]
fn trap_5_a_log_without_a_marker_is_refused() {
    let disk = SimDisk::new(7);
    write(&open(&disk, ME).unwrap().open_wal(WalOptions::default()).unwrap());
    disk.remove(&data().join("initialized")).unwrap();
    assert!(matches!(open(&disk, ME), Err(DataDirError::MarkerMissing(_))));
}

#[test]
fn a_state_or_snapshot_without_marker_and_log_is_no_fresh_start() {
    for left in ["state", "snapshots"] {
        let dir = tempfile::tempdir().unwrap();
        let real = || DataDir::open(Arc::new(RealDisk), dir.path(), ME);
        drop(real().unwrap());
        std::fs::write(dir.path().join(left).join("something"), b"of a past").unwrap();
        std::fs::remove_file(dir.path().join("initialized")).unwrap();
        std::fs::remove_dir_all(dir.path().join("log")).unwrap();
        assert!(matches!(real(), Err(DataDirError::MarkerMissing(_))), "{left}");
    }
}
