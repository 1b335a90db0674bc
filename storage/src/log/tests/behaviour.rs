//! What the log does when nothing fails.

use super::*;
use crate::log::IndexRule;

#[test]
fn everything_is_there_again_after_a_power_cut() {
    let disk = disk(21);
    let wal = open(&disk).unwrap();
    assert_eq!((wal.vote(), wal.last(), wal.purged(), wal.committed()), (None, None, None, None));
    vote(&wal, "first").unwrap();
    append(&wal, entries(1, 0..100)).unwrap();
    truncate(&wal, 60).unwrap();
    append(&wal, entries(2, 60..80)).unwrap();
    purge(&wal, at(1, 19)).unwrap();
    wal.save_committed(Some(at(2, 70)));
    vote(&wal, "second").unwrap();
    drop(wal);
    disk.power_cut();
    let wal = open(&disk).unwrap();
    assert_eq!(wal.vote().unwrap(), "second");
    assert_eq!(wal.committed(), Some(at(2, 70)));
    assert_eq!((wal.purged(), wal.first(), wal.last()), (Some(at(1, 19)), Some(at(1, 20)), Some(at(2, 79))));
    let expected: Vec<_> = entries(1, 20..60).into_iter().chain(entries(2, 60..80)).collect();
    assert_eq!(all(&wal), expected);
}

#[test]
fn entries_can_be_read_before_they_are_durable() {
    let wal = open(&disk(22)).unwrap();
    let (release, held) = mpsc::channel::<()>();
    wal.append(entries(1, 0..1), Box::new(move |_| held.recv().unwrap()));
    let (answer, answered) = mpsc::channel();
    wal.append(entries(1, 1..4), Box::new(move |result| answer.send(result).unwrap()));
    assert_eq!(all(&wal), entries(1, 0..4));
    assert_eq!(wal.last(), Some(at(1, 3)));
    assert!(answered.try_recv().is_err(), "the writer is held");
    release.send(()).unwrap();
    answered.recv_timeout(DEADLINE).unwrap().unwrap();
}

#[test]
fn calls_that_wait_together_share_one_fsync() {
    let wal = open(&disk(23)).unwrap();
    let (release, held) = mpsc::channel::<()>();
    wal.append(entries(1, 0..1), Box::new(move |_| held.recv().unwrap()));
    let (answer, answers) = mpsc::channel();
    for index in 1..65 {
        let answer = answer.clone();
        wal.append(entries(1, index..index + 1), Box::new(move |result| answer.send((index, result)).unwrap()));
    }
    // The held call was taken alone, or together with some of the others; either way two frames at most.
    release.send(()).unwrap();
    for expected in 1..65 {
        let (index, result) = answers.recv_timeout(DEADLINE).unwrap();
        result.unwrap();
        assert_eq!(index, expected, "answers come in the order of the calls");
    }
    let stats = wal.stats();
    assert!(stats.fsyncs <= 2 && stats.frames == stats.fsyncs, "{stats:?}");
    assert_eq!(stats.entries, 65);
    assert_eq!(stats.fsync_buckets.iter().sum::<u64>(), stats.fsyncs);
}

#[test]
fn one_call_at_a_time_costs_one_fsync_each() {
    let wal = open(&disk(23)).unwrap();
    for index in 0..10_u64 {
        wal.save_committed(index.checked_sub(1).map(|index| at(1, index)));
        append(&wal, vec![entry(1, index)]).unwrap();
    }
    assert_eq!(wal.stats().fsyncs, 10, "the committed position rides along");
}

#[test]
fn the_committed_position_alone_writes_nothing() {
    let disk = disk(24);
    let wal = open(&disk).unwrap();
    append(&wal, entries(1, 0..3)).unwrap();
    let before = disk.operations();
    wal.save_committed(Some(at(1, 2)));
    append(&wal, Vec::new()).unwrap(); // nothing to write: an answer, no frame
    assert_eq!(disk.operations(), before);
    assert_eq!(wal.committed(), Some(at(1, 2)));
    vote(&wal, "vote").unwrap();
    drop(wal);
    assert_eq!(open(&disk).unwrap().committed(), Some(at(1, 2)));
}

#[test]
fn reads_stop_at_the_byte_limit_but_give_at_least_one() {
    let wal = open(&disk(25)).unwrap();
    let entries: Vec<_> = (0..10).map(|index| (at(1, index), Bytes::from(vec![1; 100]))).collect();
    append(&wal, entries.clone()).unwrap();
    assert_eq!(wal.read(2..8, 350).unwrap(), entries[2..5]);
    assert_eq!(wal.read(2..8, 1).unwrap(), entries[2..3]);
    assert_eq!(wal.read(2..=3, usize::MAX).unwrap(), entries[2..4]);
    assert_eq!(wal.read(8..100, usize::MAX).unwrap(), entries[8..]);
    #[expect(clippy::reversed_empty_ranges, reason = "a caller may ask it")]
    let reversed = wal.read(8..2, usize::MAX).unwrap();
    assert!(reversed.is_empty());
    assert!(wal.read(10.., 5).unwrap().is_empty());
}

#[test]
fn evicted_entries_are_read_back_from_their_segments() {
    let disk = disk(26);
    let wal = Wal::open(Arc::new(disk.clone()), dir(), WalOptions { cache_bytes: 50, ..small() }).unwrap();
    for index in 0..60 {
        append(&wal, vec![entry(1, index)]).unwrap();
    }
    assert_eq!(all(&wal), entries(1, 0..60));
    truncate(&wal, 30).unwrap();
    append(&wal, entries(2, 30..50)).unwrap();
    purge(&wal, at(1, 9)).unwrap();
    let expected: Vec<_> = entries(1, 10..30).into_iter().chain(entries(2, 30..50)).collect();
    assert_eq!(all(&wal), expected);
    drop(wal);
    let wal = Wal::open(Arc::new(disk), dir(), WalOptions { cache_bytes: 50, ..small() }).unwrap();
    assert_eq!(all(&wal), expected);
}

#[test]
fn an_entry_larger_than_a_segment_gets_a_larger_segment() {
    let disk = disk(27);
    let wal = open(&disk).unwrap();
    let large = (at(1, 0), Bytes::from(vec![0; 100_000]));
    append(&wal, vec![large.clone()]).unwrap();
    append(&wal, vec![entry(1, 1)]).unwrap();
    drop(wal);
    disk.power_cut();
    assert_eq!(all(&open(&disk).unwrap()), vec![large, entry(1, 1)]);
}

#[test]
fn senseless_calls_are_refused_and_harm_nothing() {
    let disk = disk(28);
    let wal = open(&disk).unwrap();
    let refused = |result| matches!(result, Err(WalError::Misuse(_)));
    assert!(refused(append(&wal, entries(1, 1..2))), "a log begins at 0");
    append(&wal, entries(1, 0..5)).unwrap();
    assert!(refused(append(&wal, entries(1, 6..7))), "a gap");
    assert!(refused(append(&wal, entries(1, 4..6))), "an overlap");
    assert!(refused(append(&wal, vec![(at(1, 5), Bytes::from(vec![0; crate::log::options::MAX_PAYLOAD_BYTES + 1]))])));
    purge(&wal, at(1, 2)).unwrap();
    assert!(refused(truncate(&wal, 2)), "purged");
    purge(&wal, at(1, 1)).unwrap();
    truncate(&wal, 77).unwrap();
    assert_eq!((wal.poisoned(), wal.last()), (None, Some(at(1, 4))));
    drop(wal);
    assert_eq!(all(&open(&disk).unwrap()), entries(1, 3..5));
}

#[test]
fn rising_indexes_survive_a_restart() {
    let disk = disk(29);
    let options = WalOptions { indexes: IndexRule::Rising, ..small() };
    let wal = Wal::open(Arc::new(disk.clone()), dir(), options.clone()).unwrap();
    append(&wal, vec![entry(1, 2), entry(1, 5)]).unwrap();
    purge(&wal, at(1, 1)).unwrap();
    append(&wal, vec![entry(1, 9)]).unwrap();
    drop(wal);
    let wal = Wal::open(Arc::new(disk), dir(), options).unwrap();
    assert_eq!(all(&wal), vec![entry(1, 2), entry(1, 5), entry(1, 9)]);
}

#[test]
fn dropping_the_log_writes_what_is_queued() {
    let disk = disk(30);
    let wal = open(&disk).unwrap();
    for index in 0..50 {
        wal.append(entries(1, index..index + 1), Box::new(|result| result.unwrap()));
    }
    drop(wal);
    disk.power_cut();
    assert_eq!(all(&open(&disk).unwrap()), entries(1, 0..50));
}

#[test]
fn purging_frees_segments_and_votes_live_on_without_them() {
    let disk = disk(31);
    let wal = open(&disk).unwrap();
    vote(&wal, "the vote").unwrap();
    for index in 0..200 {
        append(&wal, vec![entry(1, index)]).unwrap();
        if index % 50 == 49 {
            purge(&wal, at(1, index)).unwrap();
        }
    }
    assert!(segment::list(&disk, dir()).unwrap().len() <= 2);
    drop(wal);
    let wal = open(&disk).unwrap();
    assert_eq!(wal.vote().unwrap(), "the vote");
    assert_eq!((wal.purged(), wal.last(), wal.entries()), (Some(at(1, 199)), Some(at(1, 199)), 0));
    append(&wal, entries(1, 200..201)).unwrap();
    assert_eq!(all(&wal), entries(1, 200..201));
}
