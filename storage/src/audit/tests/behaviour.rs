//! Lines, checkpoints, files, and what an outsider can check by the documented format alone.

use super::*;
use crate::audit::line::hash_of;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

#[test]
fn lines_are_numbered_and_verified_and_the_log_goes_on_after_a_restart() {
    let disk = SimDisk::new(1);
    let log = open(&disk).unwrap();
    let first = durably(&log, entry(0)).unwrap();
    assert_eq!(first, 2, "the first line is a checkpoint");
    (1..25).for_each(|number| assert!(durably(&log, entry(number)).unwrap() > first));
    let head = log.head();
    assert_eq!(log.find(head.sequence).unwrap(), Lookup::Here(head.hash));
    assert_eq!(log.find(head.sequence + 1).unwrap(), Lookup::Missing);
    drop(log);
    let report = verified(&disk);
    assert_eq!((report.node, report.first_seq, report.unsigned, report.notices.len()), (NODE, 1, 0, 0));
    assert_eq!(report.lines, report.last_seq);
    assert_eq!(report.public_key, hex::encode(head.public_key));

    let log = open(&disk).unwrap();
    assert_eq!(durably(&log, entry(25)).unwrap(), report.last_seq + 2, "a start is a checkpoint, then the line");
    assert_eq!(log.head().public_key, head.public_key);
    assert_eq!(log.stats().breaks, 0);
    drop(log);
    assert_eq!(verified(&disk).last_seq, report.last_seq + 3);
    assert_eq!(numbers(&disk), [1]);
}

/// What `docs/FORMATS.md` says, written down once more without the code under test.
#[test]
fn the_documented_format_is_enough_to_check_a_line_and_a_checkpoint() {
    let disk = SimDisk::new(2);
    written(&disk, 12);
    let lines = lines(&disk, 1);
    let mut prev = "0".repeat(64);
    let mut signed = 0;
    for (number, line) in (1u64..).zip(&lines) {
        let line = line.strip_suffix('\n').unwrap();
        let (head, tail) = line.split_at(line.len() - 75);
        assert_eq!(tail, format!(",\"hash\":\"{}\"}}", hex::encode(hash_of(head.as_bytes()))));
        assert_eq!((seq(line), field(line, "prev").as_str().unwrap()), (number, prev.as_str()));
        prev = field(line, "hash").as_str().unwrap().to_owned();
        if field(line, "kind") == "checkpoint" {
            let (text, _) = head.split_once(",\"signature\":\"").unwrap();
            let hex_field = |name| hex::decode(field(line, name).as_str().unwrap()).unwrap();
            let message = format!("consigner audit checkpoint 1\n{text}");
            let key = UnparsedPublicKey::new(&ED25519, hex_field("public_key"));
            key.verify(message.as_bytes(), &hex_field("signature")).unwrap();
            signed += 1;
        }
    }
    assert!(signed >= 3, "first, periodic, stop");
    let keys: Vec<String> = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&lines[1])
        .unwrap()
        .into_iter()
        .map(|(key, _)| key)
        .collect();
    let mut expected = [
        "seq",
        "prev",
        "time_ms",
        "time",
        "node",
        "kind",
        "door",
        "identity",
        "proof",
        "address",
        "operation",
        "key",
        "log_index",
        "outcome",
        "reason",
        "hash",
    ];
    expected.sort_unstable();
    assert_eq!(keys, expected);
}

/// A line written by this version: it must be readable for ever.
#[test]
fn format_1_is_pinned() {
    let disk = SimDisk::new(3);
    written(&disk, 1);
    let line = &lines(&disk, 1)[1];
    let (head, _) = line.split_once(",\"kind\"").unwrap();
    let (_, body) = line.split_once(",\"node\":3,").unwrap();
    assert!(head.starts_with("{\"seq\":2,\"prev\":\""), "{line}");
    let (body, _) = body.split_once(",\"hash\"").unwrap();
    assert_eq!(
        body,
        "\"kind\":\"event\",\"door\":\"api\",\"identity\":\"vc-0\",\"proof\":\"certificate\",\
         \"address\":\"10.0.0.1:4711\",\"operation\":\"BLOCK_V2\",\"key\":\"0x000000000000000000000000000000000000000\
         000000000000000000000000000000000000000000000000000000000\",\"log_index\":0,\"outcome\":\"refused\",\
         \"reason\":\"reason 0\""
    );
    assert!(line.contains("\"time_ms\":1700000000000,\"time\":\"2023-11-14T22:13:20.000Z\""), "{line}");
}

#[test]
fn the_chain_goes_on_across_files_and_each_begins_with_a_checkpoint() {
    let disk = SimDisk::new(4);
    written(&disk, 150);
    let numbers = numbers(&disk);
    assert!(numbers.len() > 3, "{numbers:?}");
    for number in &numbers[1..] {
        let (before, here) = (lines(&disk, number - 1), lines(&disk, *number));
        assert_eq!(field(before.last().unwrap(), "why"), "full");
        assert_eq!(field(&here[0], "why"), "file");
        assert_eq!(field(&here[0], "prev"), field(before.last().unwrap(), "hash"));
    }
    let report = verified(&disk);
    assert_eq!((report.files, report.notices.len()), (numbers.len() as u64, 0));
}

#[test]
fn the_oldest_files_are_deleted_on_request_and_the_chain_says_so() {
    let disk = SimDisk::new(5);
    let options = AuditOptions { files_max: 3, ..small() };
    let log = AuditLog::open_on(Arc::new(disk.clone()), options).unwrap();
    fill(&log, 250);
    assert_eq!(log.find(2).unwrap(), Lookup::Behind);
    drop(log);
    let kept = numbers(&disk);
    assert_eq!(kept.len(), 3);
    let report = verified(&disk);
    assert_eq!(report.first_seq, seq(&lines(&disk, kept[0])[0]));
    assert!(report.notices.iter().any(|notice| notice.what.contains("earlier files were deleted")), "{report:?}");

    // Whoever deletes one more leaves no such line.
    disk.remove(&path(kept[0])).unwrap();
    let failure = broken(&disk);
    assert_eq!((failure.file, failure.fault), (path(kept[0]), Fault::FileGone));
}

#[test]
fn a_hundred_thousand_lines_verify() {
    let disk = SimDisk::new(6);
    let options = AuditOptions { rotate_bytes: 8 * 1024 * 1024, checkpoint_lines: 1000, ..small() };
    let log = AuditLog::open_on(Arc::new(disk.clone()), options).unwrap();
    let (answer, answered) = mpsc::channel();
    for number in 0..100_000 {
        if number % 1000 == 999 {
            // Waits for the writer now and then: the queue takes 8,192.
            durably(&log, entry(number)).unwrap();
        } else {
            log.append(entry(number));
        }
    }
    log.append_durably(entry(100_000), Box::new(move |result| answer.send(result).unwrap()));
    answered.recv_timeout(DEADLINE).unwrap().unwrap();
    let (stats, anchor) = (log.stats(), anchor(&log));
    drop(log);
    let report = check(&disk, &Expect { anchors: Some(vec![anchor]), ..Expect::default() }).unwrap();
    assert_eq!(stats.left_out, 0);
    assert!(report.lines > 100_100 && report.files > 3, "{report:?}");
    assert_eq!(report.anchor, Some(anchor.sequence));
    assert!(stats.batches < 50_000, "lines share writes: {stats:?}");
}

#[test]
fn what_does_not_fit_in_the_queue_is_counted_and_the_count_is_a_line() {
    let disk = SimDisk::new(7);
    let log = open(&disk).unwrap();
    // Faster than any disk: by far the most cannot be queued.
    let mut sent = 0u64;
    while log.stats().left_out == 0 {
        (0..10_000).for_each(|number| log.append(entry(number)));
        sent += 10_000;
    }
    let left_out = log.stats().left_out;
    drop(log);
    let report = verified(&disk);
    let all: Vec<String> = numbers(&disk).into_iter().flat_map(|number| lines(&disk, number)).collect();
    let counted: u64 = all
        .iter()
        .filter(|line| field(line, "kind") == "left-out")
        .map(|line| field(line, "count").as_u64().unwrap())
        .sum();
    let written = all.iter().filter(|line| field(line, "kind") == "event").count() as u64;
    assert_eq!((counted, written + counted), (left_out, sent));
    assert!(report.notices.iter().any(|notice| notice.what.contains("left out: the queue was full")));
}

#[test]
fn a_line_stays_a_line_whatever_a_caller_calls_himself() {
    let disk = SimDisk::new(8);
    let log = open(&disk).unwrap();
    let identity = "\n\r\u{0}\"}\\,\"hash\":\"é".repeat(1000);
    durably(&log, AuditEntry { identity, reason: "\n{}\n".to_owned(), ..entry(1) }).unwrap();
    drop(log);
    assert_eq!(verified(&disk).lines, 3);
    let line = &lines(&disk, 1)[1];
    assert!(field(line, "identity").as_str().unwrap().len() < 2100);
}

#[test]
fn two_processes_never_write_one_log() {
    let disk = SimDisk::new(9);
    let _log = open(&disk).unwrap();
    assert!(matches!(open(&disk), Err(AuditError::InUse(_))));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let disk = SimDisk::new(10);
    for options in [
        AuditOptions { rotate_bytes: 1, ..small() },
        AuditOptions { files_max: 1, ..small() },
        AuditOptions { checkpoint_lines: 0, ..small() },
    ] {
        assert!(matches!(AuditLog::open_on(Arc::new(disk.clone()), options), Err(AuditError::Options(_))));
    }
}
