//! Ids that are used once, leave to join that is used once, positions that only rise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::rules_tests::raised;
use super::tests::*;
use super::*;
use crate::command::{Command, Rejection};

fn token(number: u8, node: u64) -> JoinToken {
    JoinToken { id: [number; 8], node, hash: [number; 32], created_ms: 1, expires_ms: 2 }
}

fn add(token: &JoinToken) -> Command {
    Command::AddJoinToken(token.clone())
}

fn admit(node: u64, disk: u8, token: u8) -> Command {
    Command::AdmitNode { node, name: format!("node{node}"), incarnation: [disk; 16], token: [token; 8] }
}

fn note(positions: &[(u64, u64, u64)]) -> Command {
    let position =
        |(node, term, index): &(u64, u64, u64)| (*node, NodePosition { term: *term, leader: 1, index: *index });
    Command::NotePositions(positions.iter().map(position).collect())
}

fn rejected(rejection: Rejection) -> Outcome {
    Outcome::Rejected(rejection)
}

/// The state as another node would load it.
fn assert_reloads(state: &State) {
    let loaded = State::from_records(state.records().map(|record| (record.key, record.value))).unwrap();
    assert_eq!(loaded.digest(), state.digest());
    assert!(loaded.join_tokens().eq(state.join_tokens()) && loaded.nodes().eq(state.nodes()));
    assert_eq!(loaded.positions(), state.positions());
}

#[test]
fn a_join_token_is_held_until_it_is_revoked() {
    let mut state = raised();
    let before = state.digest();
    let applied = apply(&mut state, vec![add(&token(1, 4)), add(&token(1, 4))]);
    assert_eq!(applied.outcomes, [Outcome::JoinTokenHeld, Outcome::JoinTokenHeld]);
    assert_eq!(applied.changes, [Change::JoinTokenAdded { id: [1; 8], node: 4 }]);
    assert_eq!(state.join_token(&[1; 8]), Some(&token(1, 4)));
    assert_reloads(&state);
    let forged = JoinToken { hash: [9; 32], ..token(1, 4) };
    assert_eq!(one(&mut state, add(&forged)), rejected(Rejection::TokenConflict));
    let revoke = Command::RevokeJoinToken { id: [1; 8] };
    let applied = apply(&mut state, vec![revoke.clone(), revoke]);
    let revoked = |was_held| Outcome::JoinTokenRevoked { was_held };
    assert_eq!(applied.outcomes, [revoked(true), revoked(false)]);
    assert_eq!(applied.changes, [Change::JoinTokenRevoked { id: [1; 8], node: 4 }]);
    assert_eq!(state.digest(), before);
}

#[test]
fn join_tokens_are_bounded() {
    let mut state = raised();
    for number in 0..JOIN_TOKENS_MAX {
        let number = u8::try_from(number).unwrap();
        assert_eq!(one(&mut state, add(&token(number, 100 + u64::from(number)))), Outcome::JoinTokenHeld);
    }
    assert_eq!(one(&mut state, add(&token(200, 4))), rejected(Rejection::TooManyJoinTokens));
    // One that is held is no further one.
    assert_eq!(one(&mut state, add(&token(0, 100))), Outcome::JoinTokenHeld);
}

#[test]
fn a_token_admits_one_disk_under_one_id_once() {
    let mut state = raised();
    apply(&mut state, vec![add(&token(1, 4)), add(&token(2, 5)), add(&token(3, 4))]);
    assert_eq!(one(&mut state, admit(4, 7, 9)), rejected(Rejection::JoinTokenUnknown));
    assert_eq!(one(&mut state, admit(4, 7, 2)), rejected(Rejection::JoinTokenOfOtherNode { node: 5 }));
    assert_eq!(state.nodes().len(), 0);
    let applied = apply(&mut state, vec![admit(4, 7, 1)]);
    assert_eq!(applied.outcomes, [Outcome::NodeAdmitted]);
    let admitted = Change::NodeAdmitted { node: 4, name: "node4".to_owned(), incarnation: [7; 16] };
    assert_eq!(applied.changes, [admitted]);
    assert_eq!(state.node_record(4), Some(&NodeRecord { incarnation: Some([7; 16]), retired: false }));
    // Every token for that id is used up, the other one is not.
    assert_eq!(state.join_tokens().map(|held| held.id).collect::<Vec<_>>(), [[2; 8]]);
    assert_reloads(&state);
    // Sent again because its answer was lost.
    let again = apply(&mut state, vec![admit(4, 7, 1)]);
    assert_eq!((again.outcomes, again.changes.len(), again.records.len()), (vec![Outcome::NodeAdmitted], 0, 0));
    // A wiped disk comes with the same id, and may even have a new token.
    assert_eq!(one(&mut state, add(&token(6, 4))), rejected(Rejection::NodeIdUsed { node: 4 }));
    assert_eq!(one(&mut state, admit(4, 8, 2)), rejected(Rejection::NodeIdUsed { node: 4 }));
    assert_eq!(one(&mut state, admit(5, 8, 2)), Outcome::NodeAdmitted);
    assert_eq!(state.join_tokens().len(), 0);
}

#[test]
fn an_id_that_left_is_used_up_for_ever() {
    let mut state = raised();
    apply(&mut state, vec![add(&token(1, 4)), admit(4, 7, 1), note(&[(1, 1, 5), (4, 1, 5)])]);
    let applied = apply(&mut state, vec![Command::RetireNode { node: 4 }, Command::RetireNode { node: 4 }]);
    assert_eq!(applied.outcomes, [Outcome::NodeRetired, Outcome::NodeRetired]);
    assert_eq!(applied.changes, [Change::NodeRetired { node: 4 }]);
    assert_eq!(state.node_record(4), Some(&NodeRecord { incarnation: Some([7; 16]), retired: true }));
    assert_eq!((state.position_of(1).map(|position| position.index), state.position_of(4)), (Some(5), None));
    assert_reloads(&state);
    for command in [add(&token(2, 4)), admit(4, 7, 2), admit(4, 8, 2)] {
        assert_eq!(one(&mut state, command), rejected(Rejection::NodeIdUsed { node: 4 }));
    }
    // A member of the first hour has no record until it leaves; leave for its successor by that id goes with it.
    apply(&mut state, vec![add(&token(3, 2)), Command::RetireNode { node: 2 }]);
    assert_eq!(state.node_record(2), Some(&NodeRecord { incarnation: None, retired: true }));
    assert_eq!(state.join_tokens().len(), 0);
    assert_reloads(&state);
}

#[test]
fn positions_only_rise() {
    let mut state = raised();
    let applied = apply(&mut state, vec![note(&[(1, 1, 300), (2, 1, 200)])]);
    assert_eq!((applied.outcomes, applied.changes.len()), (vec![Outcome::PositionsNoted], 0));
    assert_eq!(applied.records.len(), 2);
    let older = apply(&mut state, vec![note(&[(1, 1, 299), (2, 1, 200)]), note(&[])]);
    assert_eq!((older.outcomes.len(), older.records.len()), (2, 0));
    // A later term has a higher position even at a lower index: what it replaced was never committed.
    apply(&mut state, vec![note(&[(1, 2, 250), (3, 2, 1)])]);
    let held: Vec<_> = state.positions().iter().map(|(node, held)| (*node, held.term, held.index)).collect();
    assert_eq!(held, [(1, 2, 250), (2, 1, 200), (3, 2, 1)]);
    assert_reloads(&state);
}

#[test]
fn a_late_note_does_not_bring_back_what_left() {
    let mut state = raised();
    let commands = vec![note(&[(4, 1, 5)]), Command::RetireNode { node: 4 }, note(&[(4, 9, 900), (1, 9, 900)])];
    apply(&mut state, commands);
    assert_eq!(state.positions().keys().copied().collect::<Vec<_>>(), [1]);
}

#[test]
fn nodes_and_positions_are_bounded() {
    let mut state = raised();
    let last = NODES_MAX as u64;
    let commands = (1..=last).map(|node| Command::RetireNode { node }).collect();
    assert!(apply(&mut state, commands).outcomes.iter().all(|outcome| *outcome == Outcome::NodeRetired));
    assert_eq!(one(&mut state, Command::RetireNode { node: last + 1 }), rejected(Rejection::TooManyNodes));
    one(&mut state, add(&token(1, last + 1)));
    assert_eq!(one(&mut state, admit(last + 1, 1, 1)), rejected(Rejection::TooManyNodes));
    assert_eq!(one(&mut state, Command::RetireNode { node: 1 }), Outcome::NodeRetired);
    let mut state = raised();
    let positions: Vec<_> = (1..=last + 1).map(|node| (node, 1, 1)).collect();
    one(&mut state, note(&positions));
    assert_eq!(state.positions().len(), NODES_MAX);
    one(&mut state, note(&[(1, 2, 2), (last + 1, 2, 2)]));
    assert_eq!((state.positions().len(), state.position_of(1).unwrap().index), (NODES_MAX, 2));
}

#[test]
fn a_position_under_another_length_of_name_is_refused() {
    let mut state = raised();
    one(&mut state, note(&[(1, 1, 1)]));
    let mut records: Vec<_> = state.records().map(|record| (record.key, record.value)).collect();
    let position = records.iter_mut().find(|(name, _)| name[0] == b'q').unwrap();
    position.0.pop();
    assert!(matches!(State::from_records(records), Err(CorruptRecord::UnknownKey(8))));
}
