//! Segments that are not what was written: a hole with a name, and never more lost than must be.

use super::*;

/// Five long rows in one segment of three blocks: 1 and 2, 3 and 4, 5.
fn long_bench() -> Bench {
    let bench = Bench::new(1);
    for index in 1..=5 {
        bench.store.commit(StateWrite { outbox: Some((index, long_row(index))), ..StateWrite::default() }).unwrap();
    }
    assert_eq!(bench.spill(5).rows, 5);
    bench.apply(6..=9);
    bench
}

fn found(bench: &Bench) -> Vec<u64> {
    bench.outbox.read_after(0, 100).unwrap().into_iter().map(|(index, _)| index).collect()
}

fn flip(bench: &Bench, at: impl FnOnce(usize) -> usize) {
    let path = bench.files().remove(0);
    bench
        .sim
        .corrupt(&path, |bytes| {
            let at = at(bytes.len());
            bytes[at] ^= 0x10;
        })
        .unwrap();
}

#[test]
fn a_damaged_block_costs_its_own_rows_and_is_filled_again() {
    let mut bench = long_bench();
    flip(&bench, |len| len / 2);
    assert_eq!(bench.since(), 0, "nobody has read it yet");
    assert_eq!(bench.outbox.read_whole(0, 100).unwrap().len(), 2, "only up to the damage, although it is just found");
    assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (4, vec![(2, 4)]));
    let hole = bench.outbox.read_whole(2, 100);
    assert!(matches!(hole, Err(OutboxError::Hole { after: 2, upto: 4 })), "{hole:?}");
    assert_eq!(found(&bench), [1, 2, 5, 6, 7, 8, 9]);
    let faults = bench.outbox.faults();
    assert!(faults.len() == 1 && (faults[0].after, faults[0].upto) == (2, 4), "{faults:?}");
    let report = bench.verify();
    assert!(!report.is_complete() && report.damaged.iter().any(|fault| fault.why.contains("SHA-256")), "{report:?}");
    assert_eq!(report.holes.as_slice(), [(2, 4)]);

    bench.outbox.fill(2, 4, vec![(3, long_row(3)), (4, long_row(4))]).unwrap();
    assert_eq!((bench.since(), found(&bench)), (0, (1..=9).collect()));
    bench.reopen();
    assert_eq!((bench.since(), found(&bench)), (0, (1..=9).collect()), "the damaged file is still read for the rest");
    assert_eq!(bench.files().len(), 2);
}

#[test]
fn a_damaged_end_is_read_without_its_directory() {
    for from_end in [10, 150, 200] {
        let mut bench = long_bench();
        flip(&bench, |len| len - from_end);
        bench.reopen();
        assert_eq!((bench.since(), found(&bench)), (0, (1..=9).collect()), "the blocks are good");
        assert_eq!(bench.outbox.faults().len(), 1);
        assert!(!bench.verify().damaged.is_empty());
        assert_eq!(bench.files().len(), 1);
    }
    let mut bench = long_bench();
    let path = bench.files().remove(0);
    bench.sim.corrupt(&path, |bytes| bytes.truncate(bytes.len() / 2)).unwrap();
    bench.reopen();
    assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (5, vec![(2, 5)]));
    assert_eq!(found(&bench), [1, 2, 6, 7, 8, 9]);
    bench.outbox.fill(0, 5, (1..=5).map(|index| (index, long_row(index))).collect()).unwrap();
    assert_eq!((bench.since(), found(&bench)), (0, (1..=9).collect()));
}

#[test]
fn a_damaged_head_is_a_hole_and_the_file_is_kept() {
    let mut bench = Bench::with(1..=9);
    bench.spill(6);
    bench.spill(9);
    let before = bench.files();
    flip(&bench, |_| 20);
    bench.reopen();
    assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (6, vec![(0, 6)]));
    let faults = bench.outbox.faults();
    assert!(faults.len() == 1 && (faults[0].after, faults[0].upto) == (0, 6), "{faults:?}");
    assert!(before[0].ends_with(&faults[0].name));
    let report = bench.verify();
    assert_eq!((report.holes.as_slice(), report.damaged.len()), (&[(0, 6)][..], 1), "{report:?}");
    // The range is written anew beside it.
    bench.outbox.fill(0, 6, (1..=6).map(|index| (index, row(index))).collect()).unwrap();
    assert_eq!((bench.since(), bench.indexes()), (0, (1..=9).collect()));
    assert_eq!(bench.files().len(), 3);
    bench.outbox.purge(&chain(begin(), 1..=9)).unwrap();
    assert_eq!(bench.files(), before[..1], "evidence is never removed");
    assert!(bench.outbox.faults().is_empty(), "but what the archive has is no loss");
}

#[test]
fn a_segment_of_another_cluster_is_named_and_left_alone() {
    let bench = Bench::with(1..=9);
    bench.spill(9);
    let other = Bench::with(1..=3);
    let foreign =
        Outbox::open_on(Arc::new(bench.sim.clone()), other.store, Path::new(DIR), ClusterId([8; 16])).unwrap();
    assert!(foreign.read_after(3, 100).unwrap().is_empty());
    let faults = foreign.faults();
    assert!(faults.len() == 1 && faults[0].why.contains("another cluster"), "{faults:?}");
    assert_eq!(foreign.holes().unwrap(), []);
    foreign.spill(EVERYTHING, 3).unwrap();
    foreign.purge(&ArchiveMark { index: 100, ..begin() }).unwrap();
    assert_eq!(bench.indexes().len(), 9);
}

#[test]
fn what_is_no_segment_at_all_is_named() {
    let mut bench = Bench::with(1..=9);
    bench.spill(9);
    for (name, content) in [("whatever.seg", vec![7; 900]), ("00000000000000000100-00000000000000000200.seg", vec![])] {
        crate::disk::write_file_durably(&bench.sim, &Path::new(DIR).join(name), &content).unwrap();
    }
    crate::disk::write_file_durably(&bench.sim, &Path::new(DIR).join("base"), b"no base").unwrap();
    bench.reopen();
    assert_eq!(bench.outbox.faults().len(), 3, "{:?}", bench.outbox.faults());
    assert_eq!((bench.since(), bench.indexes().len()), (0, 9));
}

#[test]
fn a_damaged_row_of_the_store_is_a_hole_that_can_be_filled() {
    let bench = Bench::with(1..=9);
    bench.store.damage_row(5);
    assert_eq!(bench.outbox.read_whole(0, 100).unwrap().len(), 4);
    assert_eq!((bench.since(), bench.outbox.holes().unwrap()), (5, vec![(4, 5)]));
    bench.spill(9);
    bench.spill(9);
    assert_eq!((bench.since(), bench.outbox.segments(), bench.store.outbox_len()), (5, 2, 1));
    bench.outbox.fill(4, 5, vec![(5, row(5))]).unwrap();
    assert_eq!((bench.since(), bench.indexes(), bench.store.outbox_len()), (0, (1..=9).collect(), 0));
    assert!(bench.outbox.faults().is_empty());
}

#[test]
fn damaged_rows_do_not_make_a_page_pass_over_good_ones() {
    let bench = Bench::with(1..=10);
    bench.store.outbox_misses(10, 20).unwrap();
    bench.outbox.fill(10, 20, (11..=20).map(|index| (index, row(index))).collect()).unwrap();
    (1..=2).for_each(|index| bench.store.damage_row(index));
    let page = |max| bench.outbox.read_after(0, max).unwrap().iter().map(|(index, _)| *index).collect::<Vec<_>>();
    assert_eq!(page(1), [3]);
    assert_eq!(page(5), [3, 4, 5, 6, 7]);
    assert_eq!(page(100), (3..=20).collect::<Vec<_>>());
}
