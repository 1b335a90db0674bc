//! Starts: after a stop, after a crash, and after somebody was there.

use super::*;

#[test]
fn a_torn_end_is_kept_aside_and_the_chain_goes_on() {
    let disk = SimDisk::new(40);
    written(&disk, 5);
    let before = verified(&disk).last_seq;
    disk.corrupt(&path(1), |bytes| bytes.extend_from_slice(b"{\"seq\":9,\"prev\":\"00")).unwrap();
    let log = open(&disk).unwrap();
    assert_eq!((log.stats().torn, log.stats().breaks), (1, 0));
    durably(&log, entry(9)).unwrap();
    drop(log);
    let report = verified(&disk);
    assert_eq!(report.last_seq, before + 4, "torn, start, the line, stop");
    let notice = report.notices.iter().find(|notice| notice.what.contains("a crash tore")).unwrap();
    assert_eq!(notice.seq, Some(before + 1));
    let kept = format!("audit-00000001.jsonl.torn-{}", before + 1);
    assert_eq!(read_file(&disk, &dir().join(kept)).unwrap(), b"{\"seq\":9,\"prev\":\"00");
}

#[test]
fn a_file_that_was_only_begun_is_kept_aside() {
    let disk = SimDisk::new(41);
    written(&disk, 5);
    drop(disk.open(&path(2), crate::disk::OpenMode::Replace).unwrap());
    let log = open(&disk).unwrap();
    durably(&log, entry(9)).unwrap();
    drop(log);
    assert_eq!(numbers(&disk), [1]);
    assert!(verified(&disk).notices.iter().any(|notice| notice.what.contains("audit-00000002.jsonl.torn")));
}

/// Opens after a change: the log must go on, and say that something was wrong, for ever.
fn goes_on_after(seed: u64, change: impl FnOnce(&SimDisk), says: &str) {
    let disk = SimDisk::new(seed);
    written(&disk, 25);
    let last = verified(&disk).last_seq;
    change(&disk);
    let log = open(&disk).unwrap();
    assert_eq!(log.stats().breaks, 1, "{says}");
    let first = durably(&log, entry(1)).unwrap();
    assert!(first > last, "numbers are not used twice: {first} after {last}");
    drop(log);
    let newest = *numbers(&disk).last().unwrap();
    let line = &lines(&disk, newest)[0];
    assert_eq!(field(line, "why"), "break");
    assert!(field(line, "reason").as_str().unwrap().contains(says), "{line}");
    broken(&disk);
    // Further starts do not find it again, and from there on the log verifies.
    let log = open(&disk).unwrap();
    assert_eq!(log.stats().breaks, 0, "{says}");
    drop(log);
    broken(&disk);
    let report = check(&disk, &Expect { from: Some(seq(line)), ..Expect::default() }).unwrap();
    assert_eq!(report.first_seq, seq(line));
}

#[test]
fn a_broken_chain_does_not_stop_the_node_and_is_never_forgotten() {
    goes_on_after(42, |disk| rewrite(disk, 1, |lines| lines.truncate(20)), "the lines end at 20");
    goes_on_after(43, |disk| rewrite(disk, 1, |lines| drop(lines.remove(8))), "the lines end at 8");
    goes_on_after(44, |disk| disk.remove(&dir().join("head")).unwrap(), "the head file is gone");
    goes_on_after(
        45,
        |disk| disk.corrupt(&dir().join("head"), |bytes| bytes[40] ^= 1).unwrap(),
        "the head file cannot be used",
    );
    goes_on_after(46, |disk| disk.remove(&dir().join("key")).unwrap(), "the key file was gone");
    let other_key = |disk: &SimDisk| disk.corrupt(&dir().join("key"), |bytes| *bytes = b"11".repeat(32)).unwrap();
    goes_on_after(
        47,
        |disk| {
            other_key(disk);
            disk.corrupt(&dir().join("key"), |bytes| bytes.push(b'\n')).unwrap();
        },
        "another key",
    );
    goes_on_after(48, |disk| disk.remove(&path(1)).unwrap(), "the lines are gone");
}

#[test]
fn a_key_file_that_is_none_is_kept_aside_and_does_not_stop_the_start() {
    let broken = |disk: &SimDisk| disk.corrupt(&dir().join("key"), |bytes| bytes.truncate(10)).unwrap();
    goes_on_after(49, broken, "kept as key.damaged-1; a new key was made");
    let disk = SimDisk::new(49);
    written(&disk, 3);
    broken(&disk);
    let damaged = read_file(&disk, &dir().join("key")).unwrap();
    drop(open(&disk).unwrap());
    assert_eq!(read_file(&disk, &dir().join("key.damaged-1")).unwrap(), damaged);
}

#[test]
fn another_nodes_files_are_not_touched() {
    let disk = SimDisk::new(50);
    written(&disk, 3);
    let before = verified(&disk);
    for other in [AuditOptions { node_id: NODE + 1, ..small() }, AuditOptions { cluster_id: [8; 16], ..small() }] {
        let opened = AuditLog::open_on(Arc::new(disk.clone()), other);
        assert!(matches!(opened, Err(AuditError::Foreign { .. })));
    }
    assert_eq!(verified(&disk), before);
}

#[test]
fn an_owner_who_knows_of_more_lines_begins_a_new_segment_behind_them() {
    let disk = SimDisk::new(51);
    let log = open(&disk).unwrap();
    durably(&log, entry(1)).unwrap();
    let (answer, answered) = mpsc::channel();
    log.begin_segment(
        500,
        "the cluster knows line 500".to_owned(),
        Box::new(move |result| answer.send(result).unwrap()),
    );
    assert_eq!(answered.recv_timeout(DEADLINE).unwrap().unwrap(), 501);
    assert_eq!(durably(&log, entry(2)).unwrap(), 502);
    assert_eq!(log.stats().breaks, 1);
    assert_eq!(log.find(400).unwrap(), Lookup::Behind, "the break says that it is missing");
    drop(log);
    let failure = broken(&disk);
    assert!(matches!(&failure.fault, Fault::Recorded { reason, expected: 3 } if reason.contains("500")), "{failure}");
    check(&disk, &Expect { from: Some(501), ..Expect::default() }).unwrap();
    assert!(matches!(
        check(&disk, &Expect { from: Some(9000), ..Expect::default() }),
        Err(VerifyError::Audit(AuditError::Options(_)))
    ));
}
