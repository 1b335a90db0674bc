//! A disk that fails: nobody is told that a line is there which may not be, and the log goes on in a fresh file.

use super::*;
use crate::disk::Fault as DiskFault;

#[test]
fn after_a_failed_write_or_fsync_a_fresh_file_says_what_is_missing() {
    for (seed, fault) in (60..).zip([DiskFault::Write, DiskFault::ShortWrite, DiskFault::Sync]) {
        let disk = SimDisk::new(seed);
        let log = open(&disk).unwrap();
        let last = durably(&log, entry(1)).unwrap();
        disk.inject(fault, 0);
        let error = durably(&log, entry(2)).unwrap_err();
        assert!(matches!(error, AuditError::Io { .. }), "{error}");
        eventually("a fresh file", || !log.stats().failing);
        let next = durably(&log, entry(3)).unwrap();
        assert!(next > last + 2, "{next} after {last}: the number of the lost line is not used again");
        let stats = log.stats();
        assert!(stats.write_errors >= 1 && stats.left_out >= 1 && stats.breaks == 0, "{stats:?}");
        drop(log);
        disk.power_cut();
        assert_eq!(numbers(&disk), [1, 2], "{fault:?}");
        let report = verified(&disk);
        let says = |what: &str| report.notices.iter().any(|notice| notice.what.contains(what));
        assert!(says(&format!("the disk failed after line {last}")) && says("left out: the disk failed"), "{report:?}");
        let log = open(&disk).unwrap();
        assert_eq!((log.stats().breaks, log.stats().torn), (0, 0));
    }
}

#[test]
fn a_full_disk_is_asked_again_until_there_is_room() {
    let disk = SimDisk::new(70);
    let log = open(&disk).unwrap();
    durably(&log, entry(1)).unwrap();
    disk.set_capacity(Some(disk.used() + 100));
    assert!(durably(&log, entry(2)).is_err());
    // Refused at once while it fails, and what nobody waits for stays queued.
    eventually("several tries", || log.stats().write_errors > 3);
    assert!(matches!(durably(&log, entry(3)), Err(AuditError::Failing(_))));
    log.append(entry(4));
    disk.set_capacity(None);
    eventually("room", || !log.stats().failing);
    durably(&log, entry(5)).unwrap();
    drop(log);
    let report = verified(&disk);
    assert!(report.notices.iter().any(|notice| notice.what.contains("left out")), "{report:?}");
    let kept: Vec<String> = numbers(&disk).into_iter().flat_map(|number| lines(&disk, number)).collect();
    for (reason, there) in [("reason 4", true), ("reason 5", true)] {
        assert_eq!(kept.iter().any(|line| line.contains(reason)), there, "{reason}");
    }
}

#[test]
fn a_rotation_that_fails_goes_on_in_a_fresh_file() {
    for (seed, fault) in (80..).zip([DiskFault::SyncDir, DiskFault::Rename]) {
        let disk = SimDisk::new(seed);
        let log = open(&disk).unwrap();
        let mut number = 0;
        for round in 0..8 {
            disk.inject(fault, round);
            for _ in 0..30 {
                number += 1;
                if durably(&log, entry(number)).is_err() {
                    eventually("a fresh file", || !log.stats().failing);
                }
            }
        }
        assert!(log.stats().write_errors > 0);
        drop(log);
        verified(&disk);
    }
}

#[test]
fn a_disk_that_is_gone_does_not_hang_the_stop() {
    let disk = SimDisk::new(90);
    let log = open(&disk).unwrap();
    durably(&log, entry(1)).unwrap();
    disk.die_after(0);
    log.append(entry(2));
    assert!(durably(&log, entry(3)).is_err());
    log.close();
    assert!(matches!(durably(&log, entry(4)), Err(AuditError::Closed)));
    drop(log);
    disk.power_cut();
    drop(open(&disk).unwrap());
    verified(&disk);
}
