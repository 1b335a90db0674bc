#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::disk::Disk as _;
use crate::{DataDir, DataDirError, NodeIdentity, SimDisk, WalOptions};
use std::collections::{BTreeMap, HashSet};
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

const ME: NodeIdentity = NodeIdentity { node_id: 2, cluster_id: [0xC1; 16] };

fn data() -> &'static Path {
    Path::new("/var/data")
}

fn open(disk: &SimDisk) -> Result<DataDir, DataDirError> {
    DataDir::open(Arc::new(disk.clone()), data(), ME)
}

fn causes(error: &dyn Error) -> String {
    let inner = error.source().map(|inner| format!(": {}", causes(inner)));
    format!("{error}{}", inner.unwrap_or_default())
}

fn boot(counter: u64, nonce: u8) -> Boot {
    Boot { incarnation: [7; 16], counter, nonce: [nonce; 16] }
}

#[test]
fn a_directory_keeps_its_incarnation_and_counts_its_starts() {
    let disk = SimDisk::new(1);
    let mut boots = Vec::new();
    for _ in 0..4 {
        let dir = open(&disk).unwrap();
        boots.push(dir.next_boot().unwrap());
        drop(dir);
        disk.power_cut();
    }
    assert!(boots.iter().all(|boot| boot.incarnation == boots[0].incarnation));
    assert_eq!(boots.iter().map(|boot| boot.counter).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(boots.iter().map(|boot| boot.nonce).collect::<HashSet<_>>().len(), 4);
}

#[test]
fn a_wiped_directory_comes_back_as_another_incarnation() {
    let first = open(&SimDisk::new(1)).unwrap().next_boot().unwrap();
    let second = open(&SimDisk::new(1)).unwrap().next_boot().unwrap();
    assert_ne!(first.incarnation, second.incarnation);
    assert_eq!((first.counter, second.counter), (1, 1));
}

#[test]
fn copies_of_one_directory_get_one_counter_and_two_nonces() {
    let disk = SimDisk::new(1);
    open(&disk).unwrap().next_boot().unwrap();
    let copy = disk.fork();
    let (here, there) = (open(&disk).unwrap().next_boot().unwrap(), open(&copy).unwrap().next_boot().unwrap());
    assert_eq!((here.incarnation, here.counter), (there.incarnation, there.counter));
    assert_ne!(here.nonce, there.nonce);
}

#[test]
fn a_start_that_was_told_is_never_told_again_whenever_the_power_goes() {
    let mut step = 0;
    loop {
        let disk = SimDisk::new(step);
        let first = open(&disk).unwrap().next_boot().unwrap();
        disk.die_after(step);
        let second = open(&disk).and_then(|dir| dir.next_boot());
        disk.power_cut();
        let third = open(&disk).and_then(|dir| dir.next_boot()).unwrap_or_else(|error| panic!("step {step}: {error}"));
        assert_eq!(third.incarnation, first.incarnation, "step {step}");
        assert!(third.counter > first.counter, "step {step}");
        if let Ok(second) = second {
            assert!(third.counter > second.counter, "step {step}");
            break;
        }
        step += 1;
    }
    assert!(step > 3, "only {step} steps");
}

#[test]
fn a_directory_from_before_gets_an_incarnation_once_whenever_the_power_goes() {
    let mut step = 0;
    loop {
        let disk = SimDisk::new(step);
        drop(open(&disk).unwrap());
        for file in [INCARNATION, BOOT, PEERS] {
            disk.remove(&data().join(file)).unwrap();
        }
        disk.sync_dir(data()).unwrap();
        disk.die_after(step);
        let adopted = open(&disk).and_then(|dir| dir.next_boot());
        disk.power_cut();
        let again = open(&disk).and_then(|dir| dir.next_boot()).unwrap_or_else(|error| panic!("step {step}: {error}"));
        if let Ok(adopted) = adopted {
            assert_eq!((again.incarnation, again.counter), (adopted.incarnation, 2));
            break;
        }
        step += 1;
    }
    assert!(step > 10, "only {step} steps");
}

#[test]
fn a_file_that_is_lost_is_no_directory_from_before() {
    for file in [INCARNATION, BOOT, PEERS] {
        let disk = SimDisk::new(3);
        open(&disk).unwrap().next_boot().unwrap();
        disk.remove(&data().join(file)).unwrap();
        let refused = causes(&open(&disk).unwrap_err());
        assert!(refused.contains(&format!("`{file}`")) && refused.contains("missing"), "{refused}");
        assert!(refused.contains("consigner cluster replace"), "{refused}");
    }
}

#[test]
fn a_marker_that_was_removed_makes_no_fresh_directory() {
    let disk = SimDisk::new(4);
    open(&disk).unwrap().next_boot().unwrap();
    disk.remove(&data().join("initialized")).unwrap();
    assert!(matches!(open(&disk), Err(DataDirError::MarkerMissing(_))));
}

#[test]
fn any_changed_byte_is_noticed() {
    let disk = SimDisk::new(5);
    let dir = open(&disk).unwrap();
    dir.next_boot().unwrap();
    dir.peers().unwrap().record([(3, boot(9, 1))]).unwrap();
    drop(dir);
    let try_all = || open(&disk).and_then(|dir| dir.peers().and(dir.next_boot()));
    for file in [INCARNATION, BOOT, PEERS] {
        let path = data().join(file);
        let mut len = 0;
        disk.corrupt(&path, |bytes| len = bytes.len()).unwrap();
        for place in 0..len {
            disk.corrupt(&path, |bytes| bytes[place] ^= 1).unwrap();
            assert!(try_all().is_err(), "{file}, byte {place}");
            disk.corrupt(&path, |bytes| bytes[place] ^= 1).unwrap();
        }
    }
    try_all().unwrap();
}

#[test]
fn another_format_is_named() {
    for file in [INCARNATION, BOOT, PEERS] {
        let disk = SimDisk::new(6);
        drop(open(&disk).unwrap());
        let change = |bytes: &mut Vec<u8>| {
            let text = String::from_utf8(bytes.clone()).unwrap().replace("format 1", "format 2");
            *bytes = text.into_bytes();
        };
        disk.corrupt(&data().join(file), change).unwrap();
        let refused = open(&disk).and_then(|dir| dir.peers().and(dir.next_boot())).unwrap_err();
        let refused = causes(&refused);
        assert!(refused.contains("format 2") && refused.contains("reads format 1"), "{refused}");
    }
}

#[test]
fn the_book_of_peers_survives_any_crash_whole() {
    let mut step = 0;
    loop {
        let disk = SimDisk::new(step);
        let dir = open(&disk).unwrap();
        let mut book = dir.peers().unwrap();
        book.record([(1, boot(4, 1)), (3, boot(7, 2))]).unwrap();
        disk.die_after(step);
        let changed = book.record([(1, boot(5, 3)), (9, boot(1, 4))]);
        drop((book, dir));
        disk.power_cut();
        let dir = open(&disk).unwrap();
        let boots = dir.peers().unwrap().boots().clone();
        let old = BTreeMap::from([(1, boot(4, 1)), (3, boot(7, 2))]);
        let new = BTreeMap::from([(1, boot(5, 3)), (3, boot(7, 2)), (9, boot(1, 4))]);
        if changed.is_ok() {
            assert_eq!(boots, new, "step {step}");
            break;
        }
        assert!(boots == old || boots == new, "step {step}: {boots:?}");
        step += 1;
    }
    assert!(step > 3, "only {step} steps");
}

#[test]
fn a_boot_in_headers_is_read_back_exactly_or_not_at_all() {
    let told = boot(12, 0xAB);
    assert_eq!(Boot::parse(&told.incarnation_hex(), &told.tag()), Some(told));
    let (incarnation, nonce) = (told.incarnation_hex(), "ab".repeat(16));
    for tag in ["", "12", "12-", "-1", "+12-", "012-", "12-xyz", " 12-"] {
        assert_eq!(Boot::parse(&incarnation, &format!("{tag}{}", &nonce[..nonce.len() - 1])), None, "{tag}");
    }
    for tag in [format!("+1-{nonce}"), format!("01-{nonce}"), format!("1-{}", nonce.to_uppercase())] {
        assert_eq!(Boot::parse(&incarnation, &tag), None, "{tag}");
    }
    assert_eq!(Boot::parse("7", &told.tag()), None);
}

#[test]
fn an_open_log_does_not_matter_to_the_files() {
    let disk = SimDisk::new(8);
    let dir = open(&disk).unwrap();
    let _wal = dir.open_wal(WalOptions::default()).unwrap();
    assert_eq!(dir.next_boot().unwrap().incarnation, dir.incarnation());
}
