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
    let applied = apply(&mut state, vec![Command::DeleteKey(KEY)]);
    assert_eq!(applied.outcomes, [deleted(KEY, KeyDeletion::Deleted)]);
    assert_eq!(applied.changes, [Change::KeyRemoved(KEY)]);
    assert_eq!(applied.touched.keys, [KEY].into());
    let [record] = &applied.records[..] else { panic!("one record: {:?}", applied.records) };
    assert_eq!((record.key[0], &record.value), (b'k', &None));
    for (slot, root) in [(5, A), (5, B), (6, A)] {
        assert_eq!(rule(&mut state, block(KEY, slot, root)), Ruling::UnknownKey);
    }
    assert_eq!(state.keys().count(), 0);
    assert_eq!(state.validator(&KEY).map(|known| known.history), Some(before));
    // A second deletion changes nothing and finds the history again.
    let again = apply(&mut state, vec![Command::DeleteKey(KEY)]);
    assert_eq!(again.outcomes, [deleted(KEY, KeyDeletion::NotActive)]);
    assert_eq!((again.changes.len(), again.records.len(), again.touched), (0, 0, TouchedKeys::default()));
    assert_eq!(one(&mut state, Command::DeleteKey(OTHER)), deleted(OTHER, KeyDeletion::NotFound));
    assert!(state.validator(&OTHER).is_none());
}

#[test]
fn a_key_that_comes_back_finds_what_it_signed_whatever_history_it_brings() {
    for history in [None, Some(block_history(KEY, 3, Some(B))), Some(block_history(KEY, 5, Some(B)))] {
        let mut state = ready();
        rule(&mut state, block(KEY, 5, A));
        one(&mut state, Command::DeleteKey(KEY));
        let imported = one(&mut state, import_key(KEY, history));
        assert_eq!(imported, Outcome::KeyImported { public_key: KEY, duplicate: false });
        assert_eq!(rule(&mut state, block(KEY, 5, B)), DOUBLE);
        let below = Violation::BlockBelow { asked: 4, stored: 5 };
        assert_eq!(rule(&mut state, block(KEY, 4, A)), Ruling::Refused(below));
        assert_eq!(rule(&mut state, block(KEY, 6, A)), Ruling::Safe);
    }
    let mut state = ready();
    rule(&mut state, block(KEY, 5, A));
    one(&mut state, Command::DeleteKey(KEY));
    one(&mut state, import_key(KEY, Some(block_history(KEY, 9, None))));
    let below = Violation::BlockBelow { asked: 8, stored: 9 };
    assert_eq!(rule(&mut state, block(KEY, 8, A)), Ruling::Refused(below));
}

#[test]
fn in_one_batch_a_deletion_stands_between_what_comes_before_and_after() {
    let mut state = ready();
    let commands = vec![
        Command::Sign(block(KEY, 5, A)),
        Command::DeleteKey(KEY),
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
    let applied = apply(&mut state, vec![Command::Sign(block(KEY, 5, A)), Command::DeleteKey(KEY)]);
    let Outcome::Judged(verdict) = &applied.outcomes[0] else { panic!("not judged") };
    assert_eq!(verdict.ruling, Ruling::Safe);
    let exported: Vec<_> = state.histories_of(&[KEY].into()).collect();
    assert_eq!(exported, [block_history(KEY, 5, Some(A))]);
    // Imported and deleted: nothing is left, and the store is told of nothing but that.
    let mut state = ready();
    let before = state.digest();
    let applied = apply(&mut state, vec![import_key(OTHER, None), Command::DeleteKey(OTHER)]);
    assert_eq!(applied.changes, [Change::KeyAdded(OTHER), Change::KeyRemoved(OTHER)]);
    assert!(applied.records.iter().all(|record| record.value.is_none()), "{:?}", applied.records);
    assert_eq!(state.digest(), before);
}

#[test]
fn a_validator_without_key_and_history_is_forgotten_as_after_a_fresh_load() {
    let mut state = ready();
    one(&mut state, Command::DeleteKey(KEY));
    assert!(state.validator(&KEY).is_none());
    assert_eq!(state.validators().count(), 0);
    assert!(reloaded(&state).validators().eq(state.validators()));
    assert_eq!(one(&mut state, Command::DeleteKey(KEY)), deleted(KEY, KeyDeletion::NotFound));
}

#[test]
fn the_export_names_the_chosen_validators_only_held_or_not() {
    let mut state = ready();
    one(&mut state, import_key(OTHER, Some(block_history(OTHER, 7, None))));
    rule(&mut state, block(KEY, 5, A));
    one(&mut state, Command::DeleteKey(KEY));
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
    let applied = apply(&mut state, vec![Command::DeleteKey(KEY), resealed()]);
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
