//! A restored cluster signs nothing until all histories were raised, and nothing below the floor after that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::floor::HeldFloor;
use super::rules_tests::raised;
use super::tests::*;
use super::*;
use crate::command::{Command, Floor, Rejection, SignIntent};
use crate::primitives::ClusterId;
use crate::slashing::{AgreedDuty, Ruling, Violation};

const FLOOR: Floor = Floor { slot: 319, source: 9, target: 9 };

fn identity(number: u8) -> ClusterIdentity {
    ClusterIdentity { cluster_id: ClusterId([number; 16]), network: "mainnet".to_owned(), genesis_validators_root: A }
}

/// By a client that the restored cluster admitted.
fn intent(duty: AgreedDuty, state: &State) -> SignIntent {
    SignIntent { duty, policy_version: state.cluster().policy_version, ..block(KEY, 0, A) }
}

fn vote(source_epoch: u64, target_epoch: u64) -> AgreedDuty {
    AgreedDuty::Attestation { source_epoch, target_epoch }
}

/// Slot 20 and the vote 3 -> 4 are signed, OTHER was deleted; there is more that a restore must not keep.
fn old_cluster() -> State {
    let mut state = raised();
    rule(&mut state, block(KEY, 20, A));
    rule(&mut state, SignIntent { duty: vote(3, 4), ..block(KEY, 0, A) });
    let token = JoinToken { id: [1; 8], node: 4, hash: [1; 32], created_ms: 1, expires_ms: 2 };
    let anchor = AuditAnchor { node: 1, public_key: [1; 32], sequence: 1, hash: [1; 32] };
    let position = NodePosition { term: 1, leader: 1, index: 1 };
    let commands = vec![
        import_key(OTHER, Some(block_history(OTHER, 7, None))),
        delete_key(OTHER),
        Command::AddJoinToken(token),
        Command::RetireNode { node: 9 },
        Command::NotePositions([(1, position)].into()),
        Command::AnchorAudit(anchor),
        Command::SetHighWatermark(Some(HighWatermark { epoch: 1_000, slot: 32_000 })),
    ];
    apply(&mut state, commands);
    state
}

fn restored() -> State {
    let keys = vec![SealedKey { data_key: [2; 16], ..sealed(KEY, 5) }];
    old_cluster().reborn(Rebirth { identity: identity(8), data_keys: vec![data_key(2)], keys })
}

#[test]
fn a_restored_cluster_is_another_one_that_knows_what_was_signed() {
    let (old, new) = (old_cluster(), restored());
    assert_eq!(new.identity(), Some(&identity(8)));
    assert_eq!((new.rules_version(), new.awaiting_floor(), new.floor()), (RULES_VERSION, true, None));
    assert!(new.cluster().policy_version > old.cluster().policy_version, "whoever was admitted there is not here");
    assert_eq!(new.cluster().high_watermark, old.cluster().high_watermark);
    assert!(new.histories().eq(old.histories()));
    assert_eq!((new.deletions(&OTHER), new.holds(&OTHER)), (1, false));
    // The keys are those that were sealed anew, and no other.
    assert!(new.keys().map(|key| (**key).clone()).eq([SealedKey { data_key: [2; 16], ..sealed(KEY, 5) }]));
    assert!(new.data_keys().eq([&data_key(2)]));
    assert_eq!((new.tokens().len(), new.join_tokens().len(), new.nodes().len()), (0, 0, 0));
    assert_eq!((new.positions().len(), new.audit_anchors().len()), (0, 0));
    assert_eq!(new.digest(), new.recomputed_digest());
    let loaded = State::from_records(new.records().map(|record| (record.key, record.value))).unwrap();
    assert_eq!((loaded.digest(), loaded.awaiting_floor()), (new.digest(), true));
    assert!(loaded.validators().eq(new.validators()));
}

#[test]
fn a_key_that_is_not_sealed_anew_is_not_held() {
    let new = old_cluster().reborn(Rebirth { identity: identity(8), data_keys: Vec::new(), keys: Vec::new() });
    assert_eq!((new.keys().count(), new.data_keys().count()), (0, 0));
    assert!(new.histories().eq(old_cluster().histories()));
    assert_eq!(new.digest(), new.recomputed_digest());
}

#[test]
fn nothing_is_signed_before_the_floor() {
    let mut state = restored();
    let before = state.digest();
    let exit = AgreedDuty::VoluntaryExit { epoch: 1, validator_index: 1 };
    // Not even what was signed before: the record of a later one may be among what was lost.
    for duty in [AgreedDuty::Block { slot: 20 }, AgreedDuty::Block { slot: 30_000 }, vote(900, 901), exit] {
        let intent = intent(duty, &state);
        let applied = apply(&mut state, vec![Command::Sign(intent)]);
        assert_eq!(applied.outcomes.into_iter().find_map(ruling), Some(Ruling::AwaitingFloor), "{duty:?}");
        assert_eq!((applied.changes.len(), applied.records.len(), state.digest()), (0, 0, before));
    }
    // Keys and histories may come all the while.
    let outcome = one(&mut state, Command::ImportHistory(block_history(KEY, 25, None)));
    assert_eq!(outcome, Outcome::HistoryMerged { public_key: KEY, raised: true });
}

#[test]
fn a_floor_below_anything_that_was_signed_is_refused_whole() {
    let mut state = restored();
    let before = state.digest();
    let floors = [
        (Floor { slot: 19, ..FLOOR }, KEY),
        (Floor { source: 2, ..FLOOR }, KEY),
        (Floor { target: 3, ..FLOOR }, KEY),
        (Floor { slot: 6, ..FLOOR }, KEY),
        (Floor { slot: 0, source: 0, target: 0 }, KEY),
    ];
    for (floor, key) in floors {
        let outcome = one(&mut state, Command::Resume(floor));
        assert_eq!(outcome, Outcome::Rejected(Rejection::FloorBelowHistory(key)), "{floor:?}");
    }
    assert_eq!((state.digest(), state.awaiting_floor()), (before, true));
    // A validator whose key is not held counts as well.
    one(&mut state, Command::ImportHistory(block_history(OTHER, 400, None)));
    let outcome = one(&mut state, Command::Resume(FLOOR));
    assert_eq!(outcome, Outcome::Rejected(Rejection::FloorBelowHistory(OTHER)));
    // Equal is not below.
    let exact = Floor { slot: 400, source: 3, target: 4 };
    assert_eq!(one(&mut state, Command::Resume(exact)), Outcome::Resumed { raised: 2 });
}

#[test]
fn the_floor_raises_every_history_and_lets_the_keys_sign() {
    let mut state = restored();
    let applied = apply(&mut state, vec![Command::Resume(FLOOR)]);
    assert_eq!(applied.outcomes, [Outcome::Resumed { raised: 2 }]);
    assert_eq!(applied.changes, [Change::Resumed(FLOOR)]);
    assert_eq!((state.awaiting_floor(), state.floor()), (false, Some(FLOOR)));
    for history in state.histories() {
        assert_eq!(history.block.unwrap(), ImportedBlock { slot: 319, signing_root: None });
        let votes = history.attestation.unwrap();
        assert_eq!((votes.max_source_epoch, votes.max_target_epoch, votes.at_max_target), (9, 9, None));
    }
    let asked = |duty| intent(duty, &state);
    let cases = [
        (asked(AgreedDuty::Block { slot: 20 }), Ruling::Refused(Violation::BlockBelow { asked: 20, stored: 319 })),
        (asked(AgreedDuty::Block { slot: 319 }), Ruling::Refused(Violation::DoubleBlock { slot: 319 })),
        (asked(AgreedDuty::Block { slot: 320 }), Ruling::Safe),
        (asked(vote(9, 10)), Ruling::Safe),
        (asked(vote(8, 11)), Ruling::Refused(Violation::SourceBelow { asked: 8, target_epoch: 11, stored: 9 })),
    ];
    for (intent, expected) in cases {
        assert_eq!(rule(&mut state, intent), expected);
    }
}

#[test]
fn a_key_that_comes_after_the_floor_signs_nothing_below_it() {
    // It may have signed in the old cluster after the backup was made.
    let mut state = restored();
    apply(&mut state, vec![Command::AddDataKey(data_key(1)), Command::Resume(FLOOR)]);
    let late = PublicKey([3; 48]);
    assert_eq!(one(&mut state, import_key(late, None)), Outcome::KeyImported { public_key: late, duplicate: false });
    let late_block = |slot, state: &State| SignIntent { public_key: late, ..intent(AgreedDuty::Block { slot }, state) };
    let below = late_block(300, &state);
    assert_eq!(rule(&mut state, below), Ruling::Refused(Violation::BlockBelow { asked: 300, stored: 319 }));
    let above = late_block(320, &state);
    assert_eq!(rule(&mut state, above), Ruling::Safe);
    // Its own history counts where it lies higher.
    let known = PublicKey([4; 48]);
    one(&mut state, import_key(known, Some(block_history(known, 500, None))));
    assert_eq!(state.validator(&known).unwrap().history.block.unwrap().max_slot, 500);
}

#[test]
fn the_floor_is_set_once() {
    let mut state = restored();
    assert_eq!(one(&mut state, Command::Resume(FLOOR)), Outcome::Resumed { raised: 2 });
    // Sent again because its answer was lost.
    let again = apply(&mut state, vec![Command::Resume(FLOOR)]);
    assert_eq!((again.outcomes, again.records.len()), (vec![Outcome::Resumed { raised: 0 }], 0));
    let higher = Floor { slot: 640, source: 19, target: 19 };
    assert_eq!(one(&mut state, Command::Resume(higher)), Outcome::Rejected(Rejection::NotAwaitingFloor));
    // And a cluster that was never restored has none.
    assert_eq!(one(&mut raised(), Command::Resume(FLOOR)), Outcome::Rejected(Rejection::NotAwaitingFloor));
    let record = state.records().find(|record| record.key == b"f").unwrap();
    assert_eq!(crate::codec::decode::<HeldFloor>(&record.value).unwrap(), HeldFloor::Raised(FLOOR));
}
