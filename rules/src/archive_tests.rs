//! The chain differs as soon as anything about the rows differs, and its bytes are those of format 1.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::primitives::PublicKey;
use proptest::prelude::*;

const LINEAGE: ClusterId = ClusterId([7; 16]);

fn row(index: u64, ordinal: u32, proposed_at_ms: u64, version: u64) -> ArchiveRow {
    ArchiveRow { index, ordinal, proposed_at_ms, change: Change::PolicyRenewed(version) }
}

fn mark_of(rows: &[ArchiveRow]) -> ArchiveMark {
    let mut mark = ArchiveMark::begin(&LINEAGE);
    rows.iter().for_each(|row| mark.add(row));
    mark
}

/// The values were computed by another program (Python's hashlib), from the description in the module alone.
#[test]
fn the_chain_is_pinned() {
    let mut mark = ArchiveMark::begin(&LINEAGE);
    assert_eq!(hex::encode(mark.chain.0), CHAIN_AT_BEGIN);
    mark.add(&row(3, 1, 300, 7));
    assert_eq!((mark.index, mark.rows, hex::encode(mark.chain.0)), (3, 1, CHAIN_AFTER_ROW.to_owned()));
    mark.skip(9);
    assert_eq!((mark.index, mark.rows, hex::encode(mark.chain.0)), (9, 1, CHAIN_AFTER_GAP.to_owned()));
}

const CHAIN_AT_BEGIN: &str = "fdd4383a1a8de98a58e805b163b914b3ef9b75954d44ef21d4415bd9c699c135";
const CHAIN_AFTER_ROW: &str = "7fcae70763b7ffa4413acc17810b0ea72167a20230e88ff93963f623469383ac";
const CHAIN_AFTER_GAP: &str = "cd5c5c94a064ea39f0429ca6b9cad60b5bb4304fff39441610f54ed03c331e01";

#[test]
fn the_mark_never_falls() {
    let mut mark = mark_of(&[row(5, 0, 1, 1)]);
    let before = mark;
    mark.pass(4);
    mark.skip(5);
    mark.skip(2);
    assert_eq!(mark, before);
    mark.pass(8);
    assert_eq!(mark, ArchiveMark { index: 8, ..before });
    // A row of an entry that was passed does not take the mark back; the chain tells that it came late.
    mark.add(&row(6, 0, 1, 1));
    assert_eq!((mark.index, mark.rows), (8, 2));
}

#[test]
fn another_lineage_has_another_chain() {
    assert_ne!(ArchiveMark::begin(&LINEAGE), ArchiveMark::begin(&ClusterId([8; 16])));
}

#[test]
fn a_gap_is_no_row_and_no_silence() {
    let rows = [row(1, 0, 1, 1), row(9, 0, 1, 2)];
    let (mut silent, mut gap, mut longer) = (mark_of(&rows[..1]), mark_of(&rows[..1]), mark_of(&rows[..1]));
    silent.pass(8);
    gap.skip(8);
    longer.skip(7);
    let mut marks = [silent, gap, longer];
    marks.iter_mut().for_each(|mark| mark.add(&rows[1]));
    assert!(marks.iter().all(|mark| (mark.index, mark.rows) == (9, 2)));
    assert!(marks[0].chain != marks[1].chain && marks[1].chain != marks[2].chain && marks[0].chain != marks[2].chain);
}

#[test]
fn the_rows_of_an_entry_are_numbered_in_their_order() {
    let changes = vec![Change::PolicyRenewed(2), Change::KeyAdded(PublicKey([1; 48]))];
    let rows: Vec<_> = archive_rows(4, 300, changes.clone()).collect();
    let expected =
        (0..).zip(changes).map(|(ordinal, change)| ArchiveRow { index: 4, ordinal, proposed_at_ms: 300, change });
    assert_eq!(rows, expected.collect::<Vec<_>>());
}

/// Rows in log order: entries with one to three changes each.
fn histories() -> impl Strategy<Value = Vec<ArchiveRow>> {
    prop::collection::vec((1_u64..4, 0_u64..3, prop::collection::vec(0_u64..4, 1..4)), 1..12).prop_map(|entries| {
        let mut index = 0;
        let mut rows = Vec::new();
        for (step, proposed_at_ms, versions) in entries {
            index += step;
            rows.extend(archive_rows(index, proposed_at_ms, versions.into_iter().map(Change::PolicyRenewed).collect()));
        }
        rows
    })
}

/// What may happen to rows on the way or at rest.
#[derive(Debug, Clone)]
enum Damage {
    Dropped(usize),
    Doubled(usize),
    Swapped(usize, usize),
    OtherIndex(usize, u64),
    OtherOrdinal(usize, u32),
    OtherTime(usize, u64),
    OtherChange(usize, u64),
}

impl Damage {
    fn to(&self, mut rows: Vec<ArchiveRow>) -> Vec<ArchiveRow> {
        let count = rows.len();
        match *self {
            Self::Dropped(at) => drop(rows.remove(at % count)),
            Self::Doubled(at) => rows.insert(at % count, rows[at % count].clone()),
            Self::Swapped(left, right) => rows.swap(left % count, right % count),
            Self::OtherIndex(at, index) => rows[at % count].index = index,
            Self::OtherOrdinal(at, ordinal) => rows[at % count].ordinal = ordinal,
            Self::OtherTime(at, time) => rows[at % count].proposed_at_ms = time,
            Self::OtherChange(at, version) => rows[at % count].change = Change::PolicyRenewed(version),
        }
        rows
    }
}

fn damages() -> impl Strategy<Value = Damage> {
    let at = || 0_usize..64;
    prop_oneof![
        at().prop_map(Damage::Dropped),
        at().prop_map(Damage::Doubled),
        (at(), at()).prop_map(|(left, right)| Damage::Swapped(left, right)),
        (at(), 0_u64..40).prop_map(|(at, index)| Damage::OtherIndex(at, index)),
        (at(), 0_u32..4).prop_map(|(at, ordinal)| Damage::OtherOrdinal(at, ordinal)),
        (at(), 0_u64..4).prop_map(|(at, time)| Damage::OtherTime(at, time)),
        (at(), 0_u64..5).prop_map(|(at, version)| Damage::OtherChange(at, version)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn an_altered_reordered_doubled_or_dropped_row_changes_the_chain(rows in histories(), damage in damages()) {
        let damaged = damage.to(rows.clone());
        prop_assert_eq!(mark_of(&rows).chain == mark_of(&damaged).chain, rows == damaged);
    }

    /// The mark of a whole is the mark of its parts, wherever it is cut: an exporter may stop after any row.
    #[test]
    fn a_chain_goes_on_where_it_stopped(rows in histories(), cut in 0_usize..64) {
        let (before, after) = rows.split_at(cut % rows.len());
        let mut mark = mark_of(before);
        after.iter().for_each(|row| mark.add(row));
        prop_assert_eq!(mark, mark_of(&rows));
        prop_assert_eq!(mark.rows, rows.len() as u64);
    }
}
