//! The archive's mark moves on from where it is, and nothing else moves it; and rows say through which node they came.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::rules_tests::raised;
use super::tests::*;
use super::*;
use crate::archive::ArchiveMark;
use crate::command::{Command, RefusedRecord, Rejection, SignIntent, SignedRecord};
use crate::primitives::RequestId;
use crate::slashing::{AgreedDuty, Violation};

/// A cluster under rules version 3.
fn archiving() -> State {
    let mut state = ready();
    assert_eq!(one(&mut state, Command::RaiseRules { version: 3 }), Outcome::RulesRaised(3));
    state
}

fn mark(index: u64, rows: u64) -> ArchiveMark {
    ArchiveMark { index, rows, chain: Root([5; 32]) }
}

fn advance(state: &mut State, after: u64, mark: ArchiveMark) -> Outcome {
    let applied = apply(state, vec![Command::AdvanceArchive { after, mark }]);
    assert_eq!(applied.changes, [], "the archive would archive itself for ever");
    assert_eq!(applied.records.len(), usize::from(state.archive_mark() == Some(&mark) && !applied.records.is_empty()));
    applied.outcomes.into_iter().next().unwrap()
}

const fn moved(index: u64) -> Outcome {
    Outcome::Rejected(Rejection::ArchiveMoved { index })
}

#[test]
fn the_mark_moves_on_from_where_it_is() {
    let mut state = archiving();
    assert_eq!(state.archive_mark(), None);
    assert_eq!(advance(&mut state, 0, mark(4, 7)), Outcome::ArchiveAdvanced);
    // Entries without a change archive no row.
    assert_eq!(advance(&mut state, 4, mark(5, 7)), Outcome::ArchiveAdvanced);
    assert_eq!(state.archive_mark(), Some(&mark(5, 7)));
    let loaded = State::from_records(state.records().map(|record| (record.key, record.value))).unwrap();
    assert_eq!((loaded.archive_mark(), loaded.digest()), (state.archive_mark(), state.digest()));
}

#[test]
fn a_mark_that_does_not_continue_the_one_held_is_rejected() {
    let mut state = archiving();
    assert_eq!(advance(&mut state, 1, mark(4, 7)), moved(0), "nothing is archived yet");
    assert_eq!(advance(&mut state, 0, mark(0, 0)), moved(0), "it must move");
    assert_eq!(state.archive_mark(), None);
    assert_eq!(advance(&mut state, 0, mark(4, 7)), Outcome::ArchiveAdvanced);
    let before = state.digest();
    for (after, back) in
        [(0, mark(9, 9)), (3, mark(9, 9)), (5, mark(9, 9)), (4, mark(3, 9)), (4, mark(4, 9)), (4, mark(0, 0))]
    {
        assert_eq!(advance(&mut state, after, back), moved(4), "{after} {back:?}");
    }
    assert_eq!((state.archive_mark(), state.digest()), (Some(&mark(4, 7)), before));
}

#[test]
fn an_archive_that_was_lost_and_begun_anew_counts_from_its_own_begin() {
    let mut state = archiving();
    assert_eq!(advance(&mut state, 0, mark(4, 7)), Outcome::ArchiveAdvanced);
    assert_eq!(advance(&mut state, 4, mark(9, 2)), Outcome::ArchiveAdvanced);
    assert_eq!(state.archive_mark(), Some(&mark(9, 2)));
}

#[test]
fn a_proposal_that_was_sent_twice_or_late_moves_nothing() {
    let mut state = archiving();
    assert_eq!(advance(&mut state, 0, mark(4, 7)), Outcome::ArchiveAdvanced);
    let before = state.digest();
    assert_eq!(advance(&mut state, 0, mark(4, 7)), Outcome::ArchiveAdvanced, "its answer was lost");
    assert_eq!(state.digest(), before);
    // The same place with another chain is another archive.
    let other = ArchiveMark { chain: Root([6; 32]), ..mark(4, 7) };
    assert_eq!(advance(&mut state, 0, other), moved(4));
    assert_eq!(advance(&mut state, 4, mark(6, 9)), Outcome::ArchiveAdvanced);
    assert_eq!(advance(&mut state, 0, mark(4, 7)), moved(6), "long ago");
    assert_eq!(state.archive_mark(), Some(&mark(6, 9)));
}

#[test]
fn older_rules_know_no_mark() {
    for mut state in [ready(), raised()] {
        let before = state.digest();
        let rejected = Outcome::Rejected(Rejection::NeedsRules { needed: 3 });
        assert_eq!(advance(&mut state, 0, mark(4, 7)), rejected);
        assert_eq!((state.archive_mark(), state.digest()), (None, before));
    }
}

#[test]
fn a_restored_cluster_is_another_lineage_and_has_archived_nothing() {
    let mut state = archiving();
    advance(&mut state, 0, mark(4, 7));
    let identity =
        ClusterIdentity { cluster_id: crate::primitives::ClusterId([9; 16]), ..state.identity().unwrap().clone() };
    let reborn = state.reborn(Rebirth { identity, data_keys: vec![data_key(1)], keys: vec![sealed(KEY, 2)] });
    assert_eq!(reborn.archive_mark(), None);
    assert_eq!(reborn.digest(), reborn.recomputed_digest());
}

#[test]
fn what_was_judged_says_through_which_node_it_came() {
    let (duty, peer) = (AgreedDuty::Block { slot: 5 }, "vc-1");
    let intent = |root| SignIntent { request_id: RequestId::new(300, [4; 8]), ..block(KEY, 5, root) };
    let violation = Violation::DoubleBlock { slot: 5 };
    for (mut state, node) in [(ready(), None), (raised(), None), (archiving(), Some(300))] {
        let changes = apply(&mut state, vec![Command::Sign(intent(A)), Command::Sign(intent(B))]).changes;
        let signed = SignedRecord { public_key: KEY, duty, signing_root: A, peer, node };
        let refused = RefusedRecord { public_key: KEY, duty, signing_root: B, peer, violation, node };
        assert_eq!((changes[0].signed(), changes[0].refused()), (Some(signed), None));
        assert_eq!((changes[1].signed(), changes[1].refused()), (None, Some(refused)));
        let old_form = matches!(changes[0], Change::Signed { .. }) && matches!(changes[1], Change::Refused { .. });
        assert_eq!((changes.len(), old_form), (2, node.is_none()));
    }
    assert_eq!((Change::KeyAdded(KEY).signed(), Change::KeyAdded(KEY).refused()), (None, None));
}
