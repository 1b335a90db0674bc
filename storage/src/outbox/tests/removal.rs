//! What leaves for good: behind the archive's mark, or by the operator's retention.

use super::*;
use std::time::Duration;

#[test]
fn a_purge_takes_rows_and_whole_segments_and_the_chain_goes_on() {
    let mut bench = Bench::with(1..=40);
    bench.spill(10);
    bench.spill(20);
    bench.spill(30);
    // In the middle of the second segment.
    let removed = bench.outbox.purge(&chain(begin(), 1..=15)).unwrap();
    assert_eq!((removed.segments, removed.rows), (1, 10));
    assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (10, vec![]));
    assert_eq!(bench.outbox.oldest().unwrap(), Some((16, 16_000)), "the oldest that is not archived");
    assert_eq!(bench.indexes(), (11..=40).collect::<Vec<_>>());
    bench.reopen();
    assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (10, vec![]));
    // Beyond the segments, into the store.
    bench.outbox.purge(&chain(begin(), 1..=35)).unwrap();
    assert_eq!((bench.outbox.segments(), bench.store.outbox_len(), bench.since()), (0, 5, 35));
    assert_eq!(bench.outbox.oldest().unwrap(), Some((36, 36_000)));
    bench.reopen();
    bench.outbox.purge(&chain(begin(), 1..=35)).unwrap();
    bench.spill(40);
    assert_eq!(bench.verify().mark, chain(begin(), 1..=40), "the same chain as in the archive");
    assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (35, vec![]));
}

/// As on a node whose archive is always there: the store alone was ever purged.
#[test]
fn the_first_segment_begins_behind_the_mark() {
    let mut bench = Bench::with(1..=30);
    bench.outbox.purge(&chain(begin(), 1..=20)).unwrap();
    assert_eq!(bench.sim.list(Path::new(DIR)).unwrap().len(), 0, "no file for each move of the mark");
    bench.spill(30);
    bench.reopen();
    assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (20, vec![]));
    let report = bench.verify();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.floor, report.mark), (20, chain(begin(), 1..=30)));
}

#[test]
fn a_mark_that_is_known_already_changes_nothing() {
    let bench = Bench::with(1..=20);
    bench.spill(10);
    let mark = chain(begin(), 1..=12);
    bench.outbox.purge(&mark).unwrap();
    let operations = bench.sim.operations();
    assert_eq!(bench.outbox.purge(&mark).unwrap(), Removed::default());
    assert_eq!(bench.outbox.purge(&chain(begin(), 1..=5)).unwrap(), Removed::default());
    assert_eq!((bench.sim.operations(), bench.since()), (operations, 12));
}

#[test]
fn rows_of_a_member_that_lie_behind_the_mark_are_not_taken_back() {
    let bench = Bench::with(1..=20);
    bench.outbox.purge(&chain(begin(), 1..=20)).unwrap();
    bench.store.outbox_misses(20, 40).unwrap();
    bench.outbox.fill(0, 30, (1..=30).map(|index| (index, row(index))).collect()).unwrap();
    assert_eq!(bench.indexes(), (21..=30).collect::<Vec<_>>());
    assert_eq!(bench.outbox.holes().unwrap(), [(30, 40)]);
}

#[test]
fn retention_by_age_keeps_what_is_young_and_the_chain() {
    let mut bench = Bench::with(1..=100);
    for upto in [20, 40, 60, 80] {
        bench.spill(upto);
    }
    let age = |seconds| Retention { age: Some(Duration::from_secs(seconds)), bytes: None };
    // The newest row was proposed at 100 s; a clock that is years ahead does not count.
    let far_ahead = u64::MAX / 2;
    assert_eq!(bench.outbox.retain(age(80), far_ahead).unwrap(), Removed::default(), "20 s is just young enough");
    assert_eq!(bench.outbox.retain(age(50), far_ahead).unwrap().segments, 2);
    assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (40, vec![]));
    assert_eq!(
        bench.outbox.retain(age(50), 5_000).unwrap(),
        Removed::default(),
        "a clock that is behind removes nothing"
    );
    bench.reopen();
    assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (40, vec![]), "removed on purpose is not missing");
    let report = bench.verify();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.floor, report.mark), (40, chain(begin(), 1..=80)));
    bench.spill(100);
    assert_eq!(bench.outbox.retain(age(0), far_ahead).unwrap().segments, 2);
    assert_eq!((bench.outbox.segments(), bench.since()), (1, 80), "the newest stays");
}

#[test]
fn retention_by_bytes_takes_the_oldest() {
    let bench = Bench::with(1..=90);
    for upto in [30, 60, 90] {
        bench.spill(upto);
    }
    let bytes = |bytes| Retention { age: None, bytes: Some(bytes) };
    let all = bench.outbox.bytes();
    assert_eq!(bench.outbox.retain(bytes(all), 0).unwrap(), Removed::default());
    assert_eq!(bench.outbox.retain(bytes(all - 1), 0).unwrap().segments, 1);
    assert_eq!((bench.since(), bench.outbox.bytes() < all), (30, true));
    assert_eq!(bench.outbox.retain(bytes(0), 0).unwrap().segments, 1);
    assert_eq!((bench.since(), bench.indexes()), (60, (61..=90).collect()), "the newest stays");
    assert_eq!(bench.outbox.retain(Retention::default(), u64::MAX).unwrap(), Removed::default());
}

#[test]
fn a_cut_while_segments_are_removed_leaves_no_hole() {
    for operations in 0..10 {
        let mut bench = Bench::with(1..=60);
        for upto in [20, 40] {
            bench.spill(upto);
        }
        bench.sim.die_after(operations);
        let _may_fail = bench.outbox.retain(Retention { age: None, bytes: Some(0) }, 0);
        bench.sim.power_cut();
        bench.reopen();
        assert_eq!(bench.outbox.holes().unwrap(), [], "cut after {operations}");
        let since = bench.since();
        assert!([0, 20, 40].contains(&since), "{since}");
        assert_eq!(bench.indexes(), (since + 1..=60).collect::<Vec<_>>());
    }
}

#[test]
fn a_full_disk_does_not_keep_what_the_archive_has() {
    let mut bench = Bench::with(1..=30);
    bench.spill(10);
    bench.spill(20);
    bench.sim.set_capacity(Some(bench.sim.used()));
    let retention = Retention { age: None, bytes: Some(0) };
    assert!(bench.outbox.retain(retention, 0).is_err(), "nobody else knows where that ended");
    let removed = bench.outbox.purge(&chain(begin(), 1..=25)).unwrap();
    assert_eq!((removed.segments, bench.store.outbox_len()), (2, 5));
    bench.reopen();
    assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (25, vec![]), "the base came behind");
    assert_eq!((bench.files().len(), bench.indexes()), (0, (26..=30).collect()));
}

#[test]
fn a_segment_that_cannot_be_removed_stays() {
    let bench = Bench::with(1..=30);
    bench.spill(10);
    bench.spill(20);
    bench.sim.inject(crate::disk::Fault::Remove, 0);
    let mark = chain(begin(), 1..=20);
    assert!(bench.outbox.purge(&mark).is_err());
    assert_eq!((bench.outbox.segments(), bench.files().len()), (1, 1));
    assert_eq!(bench.outbox.purge(&mark).unwrap().segments, 1);
    assert_eq!((bench.files().len(), bench.indexes()), (0, (21..=30).collect()));
}
