//! Whatever somebody with the disk changes is found, and its place is named.

use super::*;
use crate::audit::key::{AuditKey, KEY, PUBLIC_KEY};
use crate::audit::line::{Body, NO_HASH, compose, hash_of};
use proptest::prelude::*;
use proptest::sample::Index;

/// Some files of lines, whole.
fn whole(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    written(&disk, 100);
    assert!(numbers(&disk).len() >= 3);
    verified(&disk);
    disk
}

/// File, line and number of the line that is named.
fn place(failure: &VerifyFailure) -> (PathBuf, u64, Option<u64>) {
    (failure.file.clone(), failure.line, failure.seq)
}

#[test]
fn a_removed_line_is_named() {
    let disk = whole(20);
    let gone = seq(&lines(&disk, 2)[7]);
    rewrite(&disk, 2, |lines| drop(lines.remove(7)));
    let failure = broken(&disk);
    assert_eq!(place(&failure), (path(2), 8, Some(gone + 1)));
    assert_eq!(failure.fault, Fault::Missing { expected: gone, upto: gone });
}

#[test]
fn the_first_and_the_last_line_of_a_file_are_missed_too() {
    let disk = whole(21);
    let (first, last) = (seq(&lines(&disk, 2)[0]), seq(lines(&disk, 1).last().unwrap()));
    let other = disk.fork();
    rewrite(&disk, 2, |lines| drop(lines.remove(0)));
    assert_eq!(broken(&disk).fault, Fault::Missing { expected: first, upto: first });
    rewrite(&other, 1, |lines| drop(lines.pop()));
    let failure = broken(&other);
    assert_eq!(place(&failure), (path(2), 1, Some(first)));
    assert_eq!(failure.fault, Fault::Missing { expected: last, upto: last });
    rewrite(&other, 1, |lines| drop(lines.remove(0)));
    assert_eq!(broken(&other).fault, Fault::Missing { expected: 1, upto: 1 });
}

#[test]
fn an_altered_line_is_named() {
    let disk = whole(22);
    let altered = seq(&lines(&disk, 1)[12]);
    rewrite(&disk, 1, |lines| lines[12] = lines[12].replace("reason", "season"));
    let failure = broken(&disk);
    assert_eq!((place(&failure), failure.fault.clone()), ((path(1), 13, Some(altered)), Fault::Altered));
    assert!(
        failure.to_string().contains(&format!("audit-00000001.jsonl line 13 (seq {altered}): altered")),
        "{failure}"
    );
}

/// The hash of a line that somebody wrote by hand.
fn rehash(line: &str) -> String {
    let head = &line[..line.len() - 76];
    format!("{head},\"hash\":\"{}\"}}\n", hex::encode(hash_of(head.as_bytes())))
}

#[test]
fn a_line_that_was_altered_with_its_hash_is_named() {
    let disk = whole(23);
    let at = lines(&disk, 1).iter().position(|line| field(line, "kind") == "event").unwrap() + 3;
    rewrite(&disk, 1, |lines| lines[at] = rehash(&lines[at].replace("vc-", "xx-")));
    let failure = broken(&disk);
    assert_eq!((failure.line, failure.fault), (at as u64 + 1, Fault::Replaced));
}

#[test]
fn a_line_that_was_altered_with_all_hashes_after_it_is_found_at_the_next_checkpoint() {
    let disk = whole(24);
    let at = 3;
    let mut checkpoint = 0;
    rewrite(&disk, 1, |lines| {
        lines[at] = rehash(&lines[at].replace("vc-", "xx-"));
        for next in at + 1..lines.len() {
            let (old, new) = (field(&lines[next], "prev"), field(&lines[next - 1], "hash"));
            lines[next] = rehash(&lines[next].replacen(old.as_str().unwrap(), new.as_str().unwrap(), 1));
        }
        checkpoint = lines.iter().skip(at).position(|line| field(line, "kind") == "checkpoint").unwrap() + at;
    });
    let failure = broken(&disk);
    assert_eq!((failure.line, failure.fault), (checkpoint as u64 + 1, Fault::Forged { since: "line 1".to_owned() }));
}

#[test]
fn swapped_and_repeated_lines_are_named() {
    let disk = whole(25);
    let other = disk.fork();
    let expected = seq(&lines(&disk, 1)[4]);
    rewrite(&disk, 1, |lines| lines.swap(4, 5));
    let failure = broken(&disk);
    assert_eq!((place(&failure), failure.fault), ((path(1), 5, Some(expected + 1)), Fault::Swapped { expected }));
    rewrite(&other, 1, |lines| lines.insert(5, lines[4].clone()));
    let failure = broken(&other);
    assert_eq!(
        (place(&failure), failure.fault),
        ((path(1), 6, Some(expected)), Fault::Repeated { expected: expected + 1 })
    );
}

#[test]
fn a_file_cut_at_a_line_end_or_in_a_line_is_named() {
    let disk = whole(26);
    let last = *numbers(&disk).last().unwrap();
    let (at_end, inside) = (disk.fork(), disk.fork());
    let count = lines(&disk, last).len();
    let upto = seq(&lines(&disk, last)[count - 1]);
    rewrite(&at_end, last, |lines| lines.truncate(count - 2));
    let failure = broken(&at_end);
    assert_eq!(place(&failure), (path(last), count as u64 - 1, Some(upto - 1)));
    assert_eq!(failure.fault, Fault::CutOff { from: upto - 1, upto, witness: "the head file" });
    inside.corrupt(&path(last), |bytes| bytes.truncate(bytes.len() - 5)).unwrap();
    let failure = broken(&inside);
    assert_eq!((place(&failure), failure.fault), ((path(last), count as u64, Some(upto)), Fault::Unfinished));
    // Not the last file, too.
    disk.corrupt(&path(1), |bytes| bytes.truncate(bytes.len() - 5)).unwrap();
    let failure = broken(&disk);
    assert_eq!((failure.file, failure.fault), (path(1), Fault::Unfinished));
}

/// A key that is not the node's.
fn foreign_key() -> AuditKey {
    let disk = SimDisk::new(0);
    disk.create_dir(Path::new("/other")).unwrap();
    AuditKey::open(&disk, Path::new("/other")).unwrap().0
}

/// All lines from `from` (an index) on, signed and chained by somebody else.
fn forge(lines: &mut [String], key: &AuditKey, from: usize) {
    for at in from..lines.len() {
        let line: serde_json::Value = serde_json::from_str(&lines[at]).unwrap();
        let prev = if at == 0 { "0".repeat(64) } else { field(&lines[at - 1], "hash").as_str().unwrap().to_owned() };
        if line["kind"] == "checkpoint" {
            let (head, _) = lines[at].split_once(",\"signature\":\"").unwrap();
            let head = head.replacen(line["prev"].as_str().unwrap(), &prev, 1);
            let head = head.replace(line["public_key"].as_str().unwrap(), &hex::encode(key.public()));
            let signature = hex::encode(key.sign("consigner audit checkpoint 1", &head));
            let head = format!("{head},\"signature\":\"{signature}\"");
            lines[at] = format!("{head},\"hash\":\"{}\"}}\n", hex::encode(hash_of(head.as_bytes())));
        } else {
            lines[at] = rehash(&lines[at].replacen(line["prev"].as_str().unwrap(), &prev, 1));
        }
    }
}

#[test]
fn a_checkpoint_signed_by_another_key_is_named() {
    let disk = whole(27);
    let key = foreign_key();
    let at = lines(&disk, 1).iter().skip(1).position(|line| field(line, "kind") == "checkpoint").unwrap() + 1;
    rewrite(&disk, 1, |lines| forge(lines, &key, at));
    let failure = broken(&disk);
    assert_eq!((failure.file.clone(), failure.line), (path(1), at as u64 + 1));
    assert!(
        matches!(&failure.fault, Fault::ForeignKey { found, .. } if *found == hex::encode(key.public())),
        "{failure}"
    );
}

#[test]
fn a_whole_file_that_is_gone_is_named() {
    for number in [1, 2] {
        let disk = whole(28);
        disk.remove(&path(number)).unwrap();
        let failure = broken(&disk);
        assert_eq!((failure.file, failure.fault), (path(number), Fault::FileGone));
    }
    let disk = whole(28);
    let last = *numbers(&disk).last().unwrap();
    let first_gone = seq(&lines(&disk, last)[0]);
    disk.remove(&path(last)).unwrap();
    let failure = broken(&disk);
    assert_eq!((failure.file, failure.seq), (path(last - 1), Some(first_gone)));
    assert!(matches!(failure.fault, Fault::CutOff { from, .. } if from == first_gone));
}

#[test]
fn a_replaced_key_file_or_head_is_named() {
    let whole = whole(29);
    let key = foreign_key();
    for file in [KEY, PUBLIC_KEY] {
        let disk = whole.fork();
        let text = if file == KEY { "11".repeat(32) } else { hex::encode(key.public()) };
        disk.corrupt(&dir().join(file), |bytes| *bytes = format!("{text}\n").into_bytes()).unwrap();
        let failure = broken(&disk);
        assert_eq!((failure.file.clone(), failure.seq), (dir().join(file), Some(1)));
        assert!(matches!(failure.fault, Fault::KeyReplaced { .. }), "{failure}");
    }
    let disk = whole.fork();
    disk.remove(&dir().join("head")).unwrap();
    assert_eq!(broken(&disk).fault, Fault::HeadGone);
    // A copy of the lines without the secret verifies, and says what was not compared.
    let disk = whole.fork();
    disk.remove(&dir().join(KEY)).unwrap();
    assert!(verified(&disk).notices.iter().any(|notice| notice.what.contains("key file was not compared")));
}

/// Somebody with the key can write a log that is whole; the cluster remembers the one that was.
#[test]
fn a_log_rewritten_with_the_nodes_own_key_is_found_by_the_clusters_anchor() {
    let disk = SimDisk::new(30);
    let log = open(&disk).unwrap();
    fill(&log, 20);
    let anchor = anchor(&log);
    drop(log);
    let expect = Expect { anchors: Some(vec![Anchor { node: 99, ..anchor }, anchor]), ..Expect::default() };
    assert_eq!(check(&disk, &expect).unwrap().anchor, Some(anchor.sequence));

    let key = AuditKey::read(&disk, dir()).unwrap();
    let rewritten = disk.fork();
    rewrite(&rewritten, 1, |lines| {
        lines[5] = lines[5].replace("vc-", "xx-");
        forge(lines, &key, 5);
    });
    let last = lines(&rewritten, 1).last().unwrap().clone();
    let hash = hex::decode(field(&last, "hash").as_str().unwrap()).unwrap().try_into().unwrap();
    crate::audit::head::write(&rewritten, dir(), &key, (CLUSTER, NODE), (seq(&last), &hash)).unwrap();
    verified(&rewritten);
    let failure = broken_with(&rewritten, &expect);
    assert_eq!(failure.seq, Some(anchor.sequence));
    assert!(matches!(failure.fault, Fault::Rewritten { witness: "the cluster", .. }), "{failure}");

    // Or begins anew, with fewer lines.
    let emptied = SimDisk::new(31);
    written(&emptied, 2);
    emptied.corrupt(&dir().join(KEY), |bytes| *bytes = read_file(&disk, &dir().join(KEY)).unwrap()).unwrap();
    let failure = broken_with(&emptied, &expect);
    assert!(matches!(failure.fault, Fault::ForeignKey { .. }), "{failure}");
    let cut = disk.fork();
    rewrite(&cut, 1, |lines| lines.truncate(11));
    let at = lines(&cut, 1).last().unwrap().clone();
    let hash = hex::decode(field(&at, "hash").as_str().unwrap()).unwrap().try_into().unwrap();
    crate::audit::head::write(&cut, dir(), &key, (CLUSTER, NODE), (seq(&at), &hash)).unwrap();
    verified(&cut);
    let failure = broken_with(&cut, &expect);
    assert_eq!(failure.fault, Fault::CutOff { from: 12, upto: anchor.sequence, witness: "the cluster" });
}

#[test]
fn a_line_of_another_node_does_not_fit() {
    let disk = SimDisk::new(32);
    written(&disk, 5);
    let key = AuditKey::read(&disk, dir()).unwrap();
    rewrite(&disk, 1, |lines| {
        let body = Body::LeftOut { count: 1, reason: String::new() };
        let prev =
            hex::decode(field(lines.last().unwrap(), "hash").as_str().unwrap()).unwrap().try_into().unwrap_or(NO_HASH);
        lines.push(compose(&key, NODE + 1, (seq(lines.last().unwrap()) + 1, &prev), 0, &body).unwrap().0);
    });
    assert!(matches!(broken(&disk).fault, Fault::Foreign { .. }));
}

/// Whoever owns the disk names another node in every line, and signs with a key of his own.
#[test]
fn a_log_rewritten_for_another_node_is_foreign() {
    let disk = SimDisk::new(34);
    let log = open(&disk).unwrap();
    fill(&log, 20);
    let anchor = anchor(&log);
    drop(log);
    let options = AuditOptions { node_id: 99, ..small() };
    let forged = SimDisk::new(35);
    drop(AuditLog::open_on(Arc::new(forged.clone()), options).unwrap());
    verified(&forged);

    let anchored = Expect { anchors: Some(vec![anchor]), ..Expect::default() };
    let failure = broken_with(&forged, &anchored);
    assert_eq!(failure.fault, Fault::NotAnchored { node: 99, known: format!("node {NODE}") });
    let failure = broken_with(&forged, &Expect { node: Some(NODE), ..Expect::default() });
    assert_eq!((failure.line, failure.seq), (1, Some(1)));
    let (found, expected) = ("node 99".to_owned(), format!("node {NODE}"));
    assert_eq!(failure.fault, Fault::NotExpected { found, expected });
    let failure = broken_with(&disk, &Expect { cluster: Some([8; 16]), ..Expect::default() });
    assert!(matches!(failure.fault, Fault::NotExpected { .. }), "{failure}");
    check(&disk, &Expect { node: Some(NODE), cluster: Some(CLUSTER), ..anchored }).unwrap();
    // A young cluster remembers nobody yet.
    check(&disk, &Expect { anchors: Some(Vec::new()), ..Expect::default() }).unwrap();
}

#[test]
fn a_record_that_is_gone_is_missed_by_whoever_remembers_it() {
    let disk = SimDisk::new(36);
    let log = open(&disk).unwrap();
    fill(&log, 5);
    let anchor = anchor(&log);
    drop(log);
    let expect = Expect { anchors: Some(vec![anchor]), node: Some(NODE), ..Expect::default() };
    disk.remove(&path(1)).unwrap();
    let at_head = Expect { anchors: None, ..expect.clone() };
    assert!(matches!(broken_with(&disk, &at_head).fault, Fault::CutOff { from: 1, witness: "the head file", .. }));
    disk.remove(&dir().join("head")).unwrap();
    let gone = Fault::CutOff { from: 1, upto: anchor.sequence, witness: "the cluster" };
    assert_eq!(broken_with(&disk, &expect).fault, gone);
    match verify(&dir().join("not-there"), &expect, &mut |_, _| {}) {
        Err(VerifyError::Broken(failure)) => assert_eq!(failure.fault, gone),
        other => panic!("must not hold: {other:?}"),
    }
    // Nobody remembers node 4.
    let other = Expect { node: Some(NODE + 1), ..expect };
    assert!(matches!(check(&disk, &other), Err(VerifyError::Audit(AuditError::Nothing(_)))));
}

/// A line behind the last one, chained and not signed, as anybody with the disk can write it.
fn append(disk: &SimDisk, number: u64, body: &Body) {
    let key = foreign_key();
    rewrite(disk, number, |lines| {
        let last = lines.last().unwrap();
        let prev = hex::decode(field(last, "hash").as_str().unwrap()).unwrap().try_into().unwrap();
        let composed = compose(&key, NODE, (seq(last) + 1, &prev), 0, body);
        lines.push(composed.unwrap().0);
    });
}

#[test]
fn a_deletion_that_nobody_signed_hides_no_file() {
    let disk = whole(37);
    let last = *numbers(&disk).last().unwrap();
    let upto = seq(&lines(&disk, 2)[0]) - 1;
    append(&disk, last, &Body::Deleted { file: name(1), upto });
    let at = lines(&disk, last).len() as u64;
    disk.remove(&path(1)).unwrap();
    let failure = broken(&disk);
    assert_eq!(place(&failure), (path(last), at, Some(seq(lines(&disk, last).last().unwrap()))));
    assert_eq!(failure.fault, Fault::UnsignedDeletion);
    // With a line behind it, too.
    let other = disk.fork();
    append(&other, last, &Body::LeftOut { count: 1, reason: String::new() });
    let failure = broken(&other);
    assert_eq!((failure.line, failure.fault), (at, Fault::UnsignedDeletion));
    // The node's next start does not sign it.
    for disk in [disk, other] {
        let log = open(&disk).unwrap();
        assert_eq!(log.stats().torn, 1);
        drop(log);
        let failure = broken(&disk);
        assert_eq!((failure.file, failure.fault), (path(1), Fault::FileGone));
    }
}

#[test]
fn a_deletion_is_signed_at_once_and_none_is_believed_where_all_files_are_kept() {
    let disk = SimDisk::new(38);
    let log = AuditLog::open_on(Arc::new(disk.clone()), AuditOptions { files_max: 2, ..small() }).unwrap();
    fill(&log, 150);
    drop(log);
    let all: Vec<String> = numbers(&disk).into_iter().flat_map(|number| lines(&disk, number)).collect();
    let at = all.iter().position(|line| field(line, "kind") == "deleted").unwrap();
    assert_eq!(field(&all[at + 1], "why"), "deleted");
    check(&disk, &Expect { files_max: Some(2), ..Expect::default() }).unwrap();
    let failure = broken_with(&disk, &Expect { files_max: Some(0), ..Expect::default() });
    assert_eq!((failure.seq, failure.fault), (Some(seq(&all[at])), Fault::NeverDeletes));
}

#[test]
fn lines_that_a_start_adopts_unsigned_are_counted_in_its_checkpoint() {
    let disk = SimDisk::new(39);
    written(&disk, 5);
    let last = verified(&disk).last_seq;
    for _ in 0..2 {
        append(&disk, 1, &Body::LeftOut { count: 1, reason: String::new() });
    }
    drop(open(&disk).unwrap());
    let all = lines(&disk, 1);
    let start = all.iter().rfind(|line| field(line, "why") == "start").unwrap();
    let says =
        format!("2 lines that no checkpoint had signed were adopted, from line {} to line {}", last + 1, last + 2);
    assert_eq!(field(start, "reason"), says);
    assert!(verified(&disk).notices.iter().any(|notice| notice.what == says));
}

#[test]
fn numbers_that_no_log_reaches_are_refused() {
    let disk = SimDisk::new(40);
    written(&disk, 5);
    let key = AuditKey::read(&disk, dir()).unwrap();
    for far in [u64::MAX, (1 << 53) + 1] {
        let disk = disk.fork();
        rewrite(&disk, 1, |lines| {
            let body = Body::LeftOut { count: 1, reason: String::new() };
            lines.push(compose(&key, NODE, (far, &NO_HASH), 0, &body).unwrap().0);
        });
        assert!(matches!(broken(&disk).fault, Fault::NotALine(_)));
        drop(open(&disk).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any byte of any file, changed to any other.
    #[test]
    fn any_single_byte_change_is_detected(file in any::<Index>(), at in any::<Index>(), by in 1u8..) {
        let disk = template().fork();
        let files: Vec<String> = disk.list(dir()).unwrap().into_iter().filter(|name| name != "lock").collect();
        let path = dir().join(file.get(&files));
        disk.corrupt(&path, |bytes| {
            let at = at.index(bytes.len());
            bytes[at] ^= by;
        }).unwrap();
        prop_assert!(check(&disk, &Expect::default()).is_err());
    }

    /// Any line of any file removed, or moved to any other place.
    #[test]
    fn any_removed_or_moved_line_is_detected(
        file in any::<Index>(), from in any::<Index>(), to in any::<Index>(), stays in any::<bool>(),
    ) {
        let disk = template().fork();
        let number = *file.get(&numbers(&disk));
        let mut changed = false;
        rewrite(&disk, number, |lines| {
            let (from, to) = (from.index(lines.len()), to.index(lines.len()));
            let line = lines.remove(from);
            changed = !stays || from != to;
            if stays {
                lines.insert(to, line);
            }
        });
        prop_assert_eq!(check(&disk, &Expect::default()).is_err(), changed);
    }
}

fn template() -> &'static SimDisk {
    static TEMPLATE: std::sync::OnceLock<SimDisk> = std::sync::OnceLock::new();
    TEMPLATE.get_or_init(|| whole(33))
}
