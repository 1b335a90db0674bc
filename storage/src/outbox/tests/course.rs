//! The ordinary course: rows are spilled, read in pages, filled in after a snapshot.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

#[test]
fn rows_come_in_log_order_each_once_wherever_they_lie() {
    let bench = Bench::with((1..=90).filter(|index| index % 3 != 0));
    let all: Vec<u64> = (1..=90).filter(|index| index % 3 != 0).collect();
    assert_eq!(bench.spill(40).rows, 27);
    assert_eq!(bench.spill(70).rows, 20);
    assert_eq!((bench.outbox.segments(), bench.store.outbox_len(), bench.outbox.rows()), (2, 13, 60));
    assert_eq!(bench.indexes(), all);
    for size in [1, 7, 26, 27, 28, 47, 60, 100] {
        let (mut after, mut paged) = (0, Vec::new());
        loop {
            let page = bench.outbox.read_whole(after, size).unwrap();
            assert!(page.len() <= size);
            let Some((last, _)) = page.last() else { break };
            after = *last;
            paged.extend(page.into_iter().map(|(index, _)| index));
        }
        assert_eq!(paged, all, "in pages of {size}");
    }
    assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (0, vec![]));
    assert_eq!(bench.outbox.oldest().unwrap(), Some((1, 1000)));
    let report = bench.verify();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.mark, chain(begin(), (1..=70).filter(|index| index % 3 != 0)), "the chain of the archive");
    assert_eq!((report.entries, report.rows, report.first, report.last), (47, 94, Some(1), Some(70)));
}

#[test]
fn nothing_is_spilled_below_the_limits_and_half_of_them_stays() {
    let bench = Bench::with(1..=100);
    let limits = SpillLimits { rows: 100, bytes: u64::MAX };
    assert_eq!(bench.outbox.spill(limits, 100).unwrap(), Spilled::default());
    bench.apply([101]);
    let spilled = bench.outbox.spill(limits, 101).unwrap();
    assert_eq!((spilled.rows, bench.store.outbox_len(), spilled.is_more), (51, 50, false));
    let bytes = SpillLimits { rows: u64::MAX, bytes: bench.store.outbox_bytes() / 2 };
    assert!(bench.outbox.spill(bytes, 101).unwrap().rows > 25);
    assert!(bench.store.outbox_bytes() <= bytes.bytes / 2);
    assert_eq!(bench.indexes(), (1..=101).collect::<Vec<_>>());
}

#[test]
fn entries_beyond_what_is_applied_stay_in_the_store() {
    let bench = Bench::with(1..=10);
    assert_eq!(bench.spill(4).rows, 4);
    assert_eq!(bench.store.outbox_coverage().unwrap().as_slice(), [(4, u64::MAX)]);
    assert_eq!(bench.spill(4), Spilled::default());
}

#[test]
fn it_goes_on_after_an_orderly_restart() {
    let mut bench = Bench::with(1..=20);
    bench.spill(15);
    bench.reopen();
    bench.apply(21..=30);
    bench.spill(30);
    assert_eq!(bench.indexes(), (1..=30).collect::<Vec<_>>());
    assert_eq!(bench.verify().mark, chain(begin(), 1..=30));
}

#[test]
fn a_reader_beside_a_spill_misses_nothing() {
    let bench = Bench::with(1..=2000);
    let (done, all) = (AtomicBool::new(false), (1..=2000).collect::<Vec<u64>>());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for upto in (100..=2000).step_by(100) {
                bench.spill(upto);
            }
            done.store(true, Ordering::SeqCst);
        });
        let mut is_last = false;
        while !is_last {
            is_last = done.load(Ordering::SeqCst);
            assert_eq!(bench.indexes(), all);
            assert_eq!(bench.outbox.read_whole(0, 5000).unwrap().len(), 2000);
            assert_eq!(bench.since(), 0);
        }
    });
}

/// A node that installed a snapshot at 60 after it had applied 20: what others have closes the hole, in any order.
#[test]
fn a_hole_behind_a_snapshot_is_filled_in_parts() {
    let mut bench = Bench::with(1..=20);
    bench.spill(10);
    bench.store.outbox_misses(20, 60).unwrap();
    bench.apply(61..=70);
    assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (60, vec![(20, 60)]));
    let hole = bench.outbox.read_whole(20, 9);
    assert!(matches!(hole, Err(OutboxError::Hole { after: 20, upto: 60 })), "{hole:?}");
    assert_eq!(bench.outbox.read_whole(15, 100).unwrap().len(), 5, "up to the hole");
    // The island before the hole and what follows it are spilled as two segments; the chain names the gap.
    while bench.spill(70).rows > 0 {}
    assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (60, vec![(20, 60)]));
    let mut gap = chain(begin(), 1..=20);
    gap.skip(60);
    assert_eq!(bench.verify().mark, chain(gap, 61..=70));

    let theirs = |from: u64, to: u64| (from..=to).map(|index| (index, row(index))).collect::<Vec<_>>();
    bench.outbox.fill(10, 30, theirs(11, 30)).unwrap();
    assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (60, vec![(30, 60)]));
    bench.outbox.fill(50, 65, theirs(51, 65)).unwrap();
    assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (50, vec![(30, 50)]));
    bench.reopen();
    bench.outbox.fill(30, 50, theirs(31, 50)).unwrap();
    assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (0, vec![]));
    assert_eq!(bench.indexes(), (1..=70).collect::<Vec<_>>());
    let report = bench.verify();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.mark, chain(begin(), 1..=70), "as if there had been no hole");
    // What comes later goes on in peace.
    bench.apply(71..=80);
    bench.spill(80);
    assert!(bench.verify().is_complete());
}

#[test]
fn a_hole_without_any_row_is_filled_too() {
    let bench = Bench::with(1..=5);
    bench.store.outbox_misses(5, 9).unwrap();
    bench.outbox.fill(5, 9, Vec::new()).unwrap();
    assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (0, vec![]));
    bench.spill(9);
    let report = bench.verify();
    assert_eq!((report.segments, report.entries, report.is_complete()), (2, 5, true), "{report:?}");
}

#[test]
fn a_node_that_contradicts_is_not_believed() {
    let bench = Bench::with(1..=20);
    bench.spill(10);
    bench.store.outbox_misses(20, 60).unwrap();
    let conflict = |rows: Vec<Row>| match bench.outbox.fill(0, 60, rows) {
        Err(OutboxError::Segment(SegmentError::Conflict(index))) => index,
        other => panic!("{other:?}"),
    };
    let theirs: Vec<Row> = (1..=60).map(|index| (index, row(index))).collect();
    let changed = |at: u64| {
        theirs.iter().map(move |(index, row)| (*index, if *index == at { self::row(99) } else { row.clone() }))
    };
    assert_eq!(conflict(changed(7).collect()), 7, "a row in a segment");
    assert_eq!(conflict(changed(15).collect()), 15, "a row in the store");
    assert_eq!(conflict(theirs.iter().filter(|(index, _)| *index != 12).cloned().collect()), 12, "one less");
    let bench = Bench::with((1..=20).filter(|index| *index != 9));
    bench.store.outbox_misses(20, 60).unwrap();
    let more = bench.outbox.fill(0, 60, theirs);
    assert!(matches!(more, Err(OutboxError::Segment(SegmentError::Conflict(9)))), "one more: {more:?}");
    assert_eq!((bench.since(), bench.outbox.segments()), (60, 0), "nothing of it is used");
}

#[test]
fn rows_that_do_not_belong_are_refused() {
    let bench = Bench::with(1..=5);
    bench.store.outbox_misses(5, 20).unwrap();
    for rows in [vec![(7, row(7)), (7, row(7))], vec![(5, row(5))], vec![(21, row(21))], vec![(9, row(9)), (8, row(8))]]
    {
        let refused = bench.outbox.fill(5, 20, rows);
        assert!(matches!(refused, Err(OutboxError::Segment(SegmentError::Misplaced { .. }))), "{refused:?}");
    }
    let refused = bench.outbox.fill(5, 20, vec![(7, b"no row".to_vec())]);
    assert!(matches!(refused, Err(OutboxError::Segment(SegmentError::Row { index: 7, .. }))), "{refused:?}");
    assert_eq!((bench.since(), bench.files().len()), (20, 0));
}
