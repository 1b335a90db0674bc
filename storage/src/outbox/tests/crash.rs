//! Cuts and failures at every step of a spill: no row is lost, and none comes twice.

use super::*;
use crate::disk::Fault;
use proptest::prelude::*;

/// The store survives whole, the segment only as far as it was made durable: rows that left the store too early are gone.
#[test]
fn rows_leave_the_store_only_after_their_segment_is_durable() {
    for seed in 0..6 {
        let mut bench = Bench::new(seed);
        let mut applied = 0;
        let mut was_cut = true;
        let mut operations = 0;
        while was_cut {
            bench.apply(applied + 1..=applied + 5);
            applied += 5;
            bench.sim.die_after(operations);
            was_cut = bench.outbox.spill(EVERYTHING, applied).is_err();
            bench.sim.power_cut();
            bench.reopen();
            let all: Vec<u64> = (1..=applied).collect();
            assert_eq!(bench.indexes(), all, "seed {seed}, cut after {operations} operations");
            assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (0, vec![]));
            assert!(bench.outbox.faults().is_empty(), "{:?}", bench.outbox.faults());
            operations += 1;
        }
        assert!(operations > 6, "the cuts came in between");
        bench.spill(applied);
        assert_eq!(bench.store.outbox_len(), 0);
        assert_eq!(bench.verify().mark, chain(begin(), 1..=applied));
    }
}

#[test]
fn a_failed_step_leaves_the_rows_where_they_are() {
    for fault in [Fault::Write, Fault::ShortWrite, Fault::Sync, Fault::SyncDir, Fault::Rename] {
        let mut bench = Bench::with(1..=10);
        bench.sim.inject(fault, 0);
        assert!(bench.outbox.spill(EVERYTHING, 10).is_err(), "{fault:?}");
        assert!(!bench.sim.is_armed(fault));
        assert_eq!((bench.store.outbox_len(), bench.outbox.segments()), (10, 0), "{fault:?}");
        bench.spill(10);
        bench.sim.power_cut();
        bench.reopen();
        assert_eq!(bench.indexes(), (1..=10).collect::<Vec<_>>(), "{fault:?}");
        assert!(bench.verify().is_complete());
    }
}

#[test]
fn a_full_disk_loses_nothing() {
    let mut bench = Bench::with(1..=10);
    for room in [0, 100, 200, 300] {
        bench.sim.set_capacity(Some(bench.sim.used() + room));
        assert!(bench.outbox.spill(EVERYTHING, 10).is_err(), "{room} bytes");
        assert_eq!(bench.store.outbox_len(), 10);
        assert_eq!(bench.indexes().len(), 10);
    }
    bench.sim.set_capacity(None);
    bench.reopen();
    assert!(bench.sim.list(Path::new(DIR)).unwrap().is_empty(), "what was half written is removed");
    bench.spill(10);
    assert_eq!(bench.indexes().len(), 10);
}

/// After an unclean stop the store applies old entries again: their rows are in segments already.
#[test]
fn rows_that_come_again_leave_the_store_once_they_are_seen_to_be_the_same() {
    let mut bench = Bench::with(1..=30);
    bench.spill(20);
    bench.apply(11..=20);
    bench.reopen();
    assert_eq!(bench.store.outbox_len(), 20);
    assert_eq!(bench.indexes(), (1..=30).collect::<Vec<_>>(), "each once");
    let limits = SpillLimits { rows: 1000, bytes: u64::MAX };
    assert_eq!(bench.outbox.spill(limits, 30).unwrap(), Spilled::default());
    assert_eq!((bench.store.outbox_len(), bench.outbox.rows()), (10, 30));
    assert_eq!((bench.since(), bench.indexes().len()), (0, 30));
    assert!(bench.outbox.faults().is_empty());
}

#[test]
fn another_row_of_the_same_index_is_named_and_nothing_behind_it_is_given() {
    let bench = Bench::with(1..=20);
    bench.spill(10);
    bench.store.commit(StateWrite { outbox: Some((7, row(70))), ..StateWrite::default() }).unwrap();
    assert_eq!(bench.outbox.read_whole(0, 100).unwrap().len(), 6);
    let conflict = bench.outbox.read_whole(6, 100);
    assert!(matches!(conflict, Err(OutboxError::Segment(SegmentError::Conflict(7)))), "{conflict:?}");
    bench.spill(20);
    assert_eq!(bench.store.outbox_len(), 1, "it is kept, and the rest goes on");
    let faults = bench.outbox.faults();
    assert!(faults.len() == 1 && (faults[0].after, faults[0].upto) == (6, 7), "{faults:?}");
    bench.outbox.purge(&chain(begin(), 1..=8)).unwrap();
    assert!(bench.outbox.faults().is_empty());
}

/// A store that was set aside comes back empty of what only segments hold; the note of the old one speaks for the rest.
#[test]
fn a_rebuilt_store_and_its_segments_still_have_everything() {
    let home = tempfile::tempdir().unwrap();
    let sim = SimDisk::new(3);
    let commit = |store: &StateStore, index: u64| {
        let write = StateWrite { outbox: Some((index, row(index))), ..StateWrite::default() };
        store.commit(write).unwrap();
    };
    {
        let store = Arc::new(StateStore::open(home.path()).unwrap().0);
        store.outbox_begins(0).unwrap();
        (1..=20).for_each(|index| commit(&store, index));
        store.flush_durable().unwrap();
        let outbox = open(&sim, &store).unwrap();
        outbox.spill(EVERYTHING, 15).unwrap();
        store.flush_durable().unwrap();
    }
    let store = Arc::new(StateStore::open(home.path()).unwrap().0);
    // From a snapshot at 10 on everything is applied again.
    store.outbox_begins(10).unwrap();
    (11..=25).for_each(|index| commit(&store, index));
    let outbox = open(&sim, &store).unwrap();
    assert_eq!((outbox.since().unwrap(), outbox.holes().unwrap()), (0, vec![]), "nothing is asked for again");
    let indexes =
        |outbox: &Outbox| outbox.read_whole(0, 100).unwrap().iter().map(|(index, _)| *index).collect::<Vec<_>>();
    assert_eq!(indexes(&outbox), (1..=25).collect::<Vec<_>>());
    outbox.spill(EVERYTHING, 25).unwrap();
    assert_eq!((indexes(&outbox), store.outbox_len()), ((1..=25).collect(), 0));
}

#[derive(Debug, Clone)]
enum Step {
    Apply(u64),
    Again(u64),
    Spill(u64),
    Cut(u64),
    Snapshot(u64),
    Purge(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u64..12).prop_map(Step::Apply),
        1 => (1_u64..12).prop_map(Step::Again),
        3 => (0_u64..8).prop_map(Step::Spill),
        2 => (0_u64..12).prop_map(Step::Cut),
        1 => (1_u64..9).prop_map(Step::Snapshot),
        1 => (0_u64..30).prop_map(Step::Purge),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever comes: every row behind the mark that no snapshot jumped over is there, once, and since and holes say so.
    #[test]
    fn nothing_is_lost_and_nothing_is_claimed(steps in prop::collection::vec(step(), 1..25), seed in any::<u64>()) {
        let mut bench = Bench::new(seed);
        let (mut applied, mut mark) = (0, begin());
        let (mut written, mut jumps) = (std::collections::BTreeSet::new(), Ranges::default());
        for step in steps {
            match step {
                Step::Apply(count) => {
                    // Every third entry changes nothing.
                    let indexes = (applied + 1..=applied + count).filter(|index| index % 3 != 0);
                    bench.apply(indexes.clone());
                    written.extend(indexes);
                    applied += count;
                }
                Step::Again(count) => {
                    let from = applied.saturating_sub(count).max(mark.index);
                    bench.apply(written.range(from + 1..).copied().collect::<Vec<_>>());
                }
                Step::Spill(kept) => {
                    bench.outbox.spill(SpillLimits { rows: kept, bytes: u64::MAX }, applied).unwrap();
                }
                Step::Cut(operations) => {
                    bench.sim.die_after(operations);
                    let _may_fail = bench.outbox.spill(EVERYTHING, applied);
                    bench.sim.power_cut();
                    bench.reopen();
                    bench.outbox.purge(&mark).unwrap();
                }
                Step::Snapshot(count) => {
                    bench.store.outbox_misses(applied, applied + count).unwrap();
                    jumps.add(applied, applied + count);
                    applied += count;
                }
                Step::Purge(count) => {
                    mark.pass((mark.index + count).min(applied));
                    bench.outbox.purge(&mark).unwrap();
                }
            }
            let expected: Vec<u64> = written.range(mark.index + 1..).copied().collect();
            let found: Vec<u64> = bench.indexes().into_iter().filter(|index| *index > mark.index).collect();
            prop_assert_eq!(found, expected);
            let holes = jumps.within(mark.index, u64::MAX);
            prop_assert_eq!(bench.outbox.holes().unwrap(), holes.as_slice());
            let since = holes.as_slice().last().map_or(mark.index, |(_, upto)| *upto);
            prop_assert!(bench.since() <= since.max(mark.index), "{} {since}", bench.since());
            prop_assert!(holes.is_empty() || bench.since() == since);
            prop_assert!(bench.outbox.faults().is_empty());
        }
        prop_assert!(bench.verify().damaged.is_empty(), "{:?}", bench.verify());
    }
}
