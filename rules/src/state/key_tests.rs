//! Keys that are deleted, sealed anew and left without a data key, over a small state.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::tests::*;
use super::*;
use crate::command::{Command, KeyDeletion, Rejection, ResealedKey};
use crate::interchange::Interchange;
use crate::slashing::{Ruling, Violation};

const DOUBLE: Ruling = Ruling::Refused(Violation::DoubleBlock { slot: 5 });

fn deleted(public_key: PublicKey, status: KeyDeletion) -> Outcome {
    Outcome::KeyDeleted { public_key, status }
}

fn moved_to(data_key: u8, nonce: u8) -> SealedKey {
    SealedKey { data_key: [data_key; 16], ..sealed(KEY, nonce) }
}

fn reloaded(state: &State) -> State {
    State::from_records(state.records().map(|record| (record.key, record.value))).unwrap()
}

#[test]
fn a_deleted_key_signs_nothing_and_keeps_its_history_for_ever() {
    let mut state = ready();
    assert_eq!(rule(&mut state, block(KEY, 5, A)), Ruling::Safe);
    let before = state.validator(&KEY).unwrap().history;
    let applied = apply(&mut state, vec![delete_key(KEY)]);
    assert_eq!(applied.outcomes, [deleted(KEY, KeyDeletion::Deleted)]);
    assert_eq!(applied.changes, [Change::KeyRemoved(KEY)]);
    assert_eq!(applied.touched.keys, [KEY].into());
    let [key, deletions] = &applied.records[..] else { panic!("two records: {:?}", applied.records) };
    assert_eq!((key.key[0], &key.value), (b'k', &None));
    assert_eq!((deletions.key[0], deletions.value.is_some()), (b'x', true));
    for (slot, root) in [(5, A), (5, B), (6, A)] {
        assert_eq!(rule(&mut state, block(KEY, slot, root)), Ruling::UnknownKey);
    }
    assert_eq!(state.keys().count(), 0);
    assert_eq!(state.validator(&KEY).map(|known| known.history), Some(before));
    // A second deletion changes nothing and finds the history again.
    let again = apply(&mut state, vec![delete_key(KEY)]);
    assert_eq!(again.outcomes, [deleted(KEY, KeyDeletion::NotActive)]);
    assert_eq!((again.changes.len(), again.records.len(), again.touched), (0, 0, TouchedKeys::default()));
    assert_eq!(one(&mut state, delete_key(OTHER)), deleted(OTHER, KeyDeletion::NotFound));
    assert!(state.validator(&OTHER).is_none());
}

#[test]
fn a_key_that_comes_back_finds_what_it_signed_whatever_history_it_brings() {
    for history in [None, Some(block_history(KEY, 3, Some(B))), Some(block_history(KEY, 5, Some(B)))] {
        let mut state = ready();
        rule(&mut state, block(KEY, 5, A));
        one(&mut state, delete_key(KEY));
        let imported = one(&mut state, import_key(KEY, history));
        assert_eq!(imported, Outcome::KeyImported { public_key: KEY, duplicate: false });
        assert_eq!(rule(&mut state, block(KEY, 5, B)), DOUBLE);
        let below = Violation::BlockBelow { asked: 4, stored: 5 };
        assert_eq!(rule(&mut state, block(KEY, 4, A)), Ruling::Refused(below));
        assert_eq!(rule(&mut state, block(KEY, 6, A)), Ruling::Safe);
    }
    let mut state = ready();
    rule(&mut state, block(KEY, 5, A));
    one(&mut state, delete_key(KEY));
    one(&mut state, import_key(KEY, Some(block_history(KEY, 9, None))));
    let below = Violation::BlockBelow { asked: 8, stored: 9 };
    assert_eq!(rule(&mut state, block(KEY, 8, A)), Ruling::Refused(below));
}

#[test]
fn in_one_batch_a_deletion_stands_between_what_comes_before_and_after() {
    let mut state = ready();
    let commands = vec![
        Command::Sign(block(KEY, 5, A)),
        delete_key(KEY),
        Command::Sign(block(KEY, 6, A)),
        import_key(KEY, None),
        Command::Sign(block(KEY, 5, B)),
        Command::Sign(block(KEY, 5, A)),
        Command::Sign(block(KEY, 6, A)),
    ];
    let applied = apply(&mut state, commands);
    let rulings: Vec<_> = applied.outcomes.into_iter().filter_map(ruling).collect();
    assert_eq!(rulings, [Ruling::Safe, Ruling::UnknownKey, DOUBLE, Ruling::Repeat, Ruling::Safe]);
    assert_eq!(applied.touched.keys, [KEY].into());
    // Signed, deleted: recorded, and covered by the export.
    let mut state = ready();
    let applied = apply(&mut state, vec![Command::Sign(block(KEY, 5, A)), delete_key(KEY)]);
    let Outcome::Judged(verdict) = &applied.outcomes[0] else { panic!("not judged") };
    assert_eq!(verdict.ruling, Ruling::Safe);
    let exported: Vec<_> = state.histories_of(&[KEY].into()).collect();
    assert_eq!(exported, [block_history(KEY, 5, Some(A))]);
    // Imported and deleted: only that is left.
    let mut state = ready();
    let applied = apply(&mut state, vec![import_key(OTHER, None), delete_key(OTHER)]);
    assert_eq!(applied.changes, [Change::KeyAdded(OTHER), Change::KeyRemoved(OTHER)]);
    assert_eq!(applied.records.iter().filter(|record| record.value.is_some()).count(), 1, "{:?}", applied.records);
    assert_eq!((state.deletions(&OTHER), state.digest()), (1, state.recomputed_digest()));
}

#[test]
fn a_deletion_is_remembered_for_ever_also_without_any_history() {
    let mut state = ready();
    one(&mut state, delete_key(KEY));
    let state = reloaded(&state);
    assert_eq!(state.deletions(&KEY), 1);
    assert!(reloaded(&state).validators().eq(state.validators()));
    let mut state = state;
    assert_eq!(one(&mut state, delete_key(KEY)), deleted(KEY, KeyDeletion::NotFound));
    assert_eq!(state.deletions(&KEY), 1, "nothing was deleted");
}

#[test]
fn who_does_not_know_of_a_deletion_neither_brings_the_key_back_nor_deletes_it_again() {
    let import = |deletions_seen| {
        let history = Some(block_history(KEY, 9, None));
        Command::ImportKey { sealed: sealed(KEY, 2), history, deletions_seen }
    };
    let mut state = ready();
    // The same import, sent twice, with a deletion in between.
    assert_eq!(one(&mut state, import(0)), Outcome::KeyImported { public_key: KEY, duplicate: true });
    one(&mut state, Command::DeleteKey { public_key: KEY, deletions_seen: 0 });
    let (late, before) = (Outcome::Rejected(Rejection::DeletedMeanwhile { deletions: 1 }), state.digest());
    assert_eq!(one(&mut state, import(0)), late);
    assert_eq!(state.digest(), before);
    assert_eq!(rule(&mut state, block(KEY, 10, A)), Ruling::UnknownKey);
    // Somebody who knows of it imports the key; the same deletion, sent twice, does not take it away.
    assert_eq!(one(&mut state, import(1)), Outcome::KeyImported { public_key: KEY, duplicate: false });
    assert_eq!(one(&mut state, Command::DeleteKey { public_key: KEY, deletions_seen: 0 }), late);
    assert_eq!(rule(&mut state, block(KEY, 10, A)), Ruling::Safe);
    let second = one(&mut state, Command::DeleteKey { public_key: KEY, deletions_seen: 1 });
    assert_eq!(second, deleted(KEY, KeyDeletion::Deleted));
    assert_eq!(state.deletions(&KEY), 2);
}

#[test]
fn the_export_names_the_chosen_validators_only_held_or_not() {
    let mut state = ready();
    one(&mut state, import_key(OTHER, Some(block_history(OTHER, 7, None))));
    rule(&mut state, block(KEY, 5, A));
    one(&mut state, delete_key(KEY));
    let unknown = PublicKey([9; 48]);
    let file = |chosen: &[PublicKey]| {
        let chosen = chosen.iter().copied().collect();
        Interchange::minimal(A, state.histories_of(&chosen)).validators().keys().copied().collect::<Vec<_>>()
    };
    assert_eq!(file(&[KEY, KEY]), [KEY]);
    assert_eq!(file(&[unknown, OTHER]), [OTHER]);
    assert_eq!(file(&[OTHER, KEY]), [KEY, OTHER]);
    assert_eq!(file(&[]), []);
    assert_eq!(state.histories().count(), 2);
}

#[test]
fn a_key_moves_only_from_the_data_key_that_was_expected_to_one_that_is_held() {
    let mut state = ready();
    one(&mut state, Command::AddDataKey(data_key(2)));
    let before = state.digest();
    let other = SealedKey { public_key: OTHER, ..moved_to(2, 4) };
    let skipped = [([9; 16], moved_to(2, 4)), ([1; 16], moved_to(3, 4)), ([1; 16], other)];
    let skipped = skipped.map(|(from, sealed)| ResealedKey { from, sealed }).to_vec();
    let applied = apply(&mut state, vec![Command::Reseal(skipped)]);
    assert_eq!(applied.outcomes, [Outcome::Resealed { replaced: 0, skipped: 3 }]);
    assert_eq!((applied.changes.len(), applied.records.len()), (0, 0));
    assert_eq!(state.digest(), before);
    assert!(state.validator(&OTHER).is_none());
    // The second of the two finds the key moved already.
    let twice = [4, 5].map(|nonce| ResealedKey { from: [1; 16], sealed: moved_to(2, nonce) }).to_vec();
    let applied = apply(&mut state, vec![Command::Reseal(twice)]);
    assert_eq!(applied.outcomes, [Outcome::Resealed { replaced: 1, skipped: 1 }]);
    assert_eq!(applied.changes, [Change::KeysResealed { data_key: [2; 16], keys: 1 }]);
    assert_eq!((applied.records.len(), &applied.touched.keys), (1, &[KEY].into()));
    assert_eq!(state.validator(&KEY).unwrap().key.as_deref(), Some(&moved_to(2, 4)));
    assert_eq!(reloaded(&state).digest(), state.digest());
    assert_eq!(rule(&mut state, block(KEY, 5, A)), Ruling::Safe);
}

#[test]
fn a_resealing_does_not_bring_a_deleted_key_back() {
    let mut state = ready();
    rule(&mut state, block(KEY, 5, A));
    let resealed = || Command::Reseal(vec![ResealedKey { from: [1; 16], sealed: moved_to(1, 4) }]);
    let applied = apply(&mut state, vec![delete_key(KEY), resealed()]);
    assert_eq!(applied.outcomes[1], Outcome::Resealed { replaced: 0, skipped: 1 });
    assert_eq!(rule(&mut state, block(KEY, 6, A)), Ruling::UnknownKey);
}

#[test]
fn a_data_key_goes_only_when_nothing_lies_under_it() {
    let mut state = ready();
    one(&mut state, Command::AddDataKey(data_key(2)));
    assert_eq!(state.keys_by_data_key(), [([1; 16], 1), ([2; 16], 0)].into());
    let in_use = Outcome::Rejected(Rejection::DataKeyInUse { keys: 1 });
    assert_eq!(one(&mut state, Command::RemoveDataKey([1; 16])), in_use);
    let commands = vec![
        Command::Reseal(vec![ResealedKey { from: [1; 16], sealed: moved_to(2, 4) }]),
        Command::RemoveDataKey([1; 16]),
        Command::RemoveDataKey([1; 16]),
        import_key(OTHER, None),
    ];
    let applied = apply(&mut state, commands);
    assert_eq!(applied.outcomes[1], Outcome::DataKeyRemoved { was_held: true });
    assert_eq!(applied.outcomes[2], Outcome::DataKeyRemoved { was_held: false });
    assert_eq!(applied.outcomes[3], Outcome::Rejected(Rejection::UnknownDataKey));
    assert_eq!(applied.changes[1..], [Change::DataKeyRemoved([1; 16])]);
    assert_eq!(applied.touched.data_keys, [[1; 16]].into());
    assert!(state.data_key(&[1; 16]).is_none());
    assert_eq!(reloaded(&state).digest(), state.digest());
    assert_eq!(one(&mut state, Command::RemoveDataKey([2; 16])), in_use);
}
