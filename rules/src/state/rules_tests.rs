//! Rules are raised by a command alone, and what a binary does not know it does not apply.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::tests::*;
use super::*;
use crate::codec::{self, DecodeError};
use crate::command::{Command, CommandBatch, Floor, NodePosition, Rejection};

/// One of each command that came with rules version 2.
pub(super) fn commands_of_version_2() -> Vec<Command> {
    let token = JoinToken { id: [1; 8], node: 4, hash: [2; 32], created_ms: 3, expires_ms: 300 };
    let position = NodePosition { term: 1, leader: 2, index: 300 };
    vec![
        Command::AddJoinToken(token),
        Command::RevokeJoinToken { id: [1; 8] },
        Command::AdmitNode { node: 4, name: "node4".to_owned(), incarnation: [5; 16], token: [1; 8] },
        Command::RetireNode { node: 4 },
        Command::NotePositions([(1, position), (300, position)].into()),
        Command::Resume(Floor { slot: 300, source: 9, target: 10 }),
    ]
}

/// One of each command that came with rules version 3.
fn commands_of_version_3() -> Vec<Command> {
    let mark = crate::archive::ArchiveMark { index: 9, rows: 3, chain: A };
    vec![Command::AdvanceArchive { after: 0, mark }]
}

/// A cluster under rules version 2.
pub(super) fn raised() -> State {
    let mut state = ready();
    assert_eq!(one(&mut state, Command::RaiseRules { version: 2 }), Outcome::RulesRaised(2));
    state
}

#[test]
fn rules_rise_by_a_command_and_never_fall() {
    let mut state = ready();
    let applied = apply(&mut state, vec![Command::RaiseRules { version: 2 }]);
    assert_eq!((applied.outcomes, applied.changes), (vec![Outcome::RulesRaised(2)], vec![Change::RulesRaised(2)]));
    assert_eq!((applied.records.len(), state.rules_version()), (1, 2));
    // Sent again because its answer was lost.
    let again = apply(&mut state, vec![Command::RaiseRules { version: 2 }]);
    assert_eq!((again.outcomes, again.changes.len(), again.records.len()), (vec![Outcome::RulesRaised(2)], 0, 0));
    for version in [0, 1] {
        let outcome = one(&mut state, Command::RaiseRules { version });
        assert_eq!(outcome, Outcome::Rejected(Rejection::RulesWentBack { current: 2 }));
    }
    assert_eq!(state.rules_version(), 2);
    // Nothing else of the cluster moves with the rules.
    assert_eq!(Cluster { rules_version: 1, ..state.cluster().clone() }, *ready().cluster());
}

#[test]
fn rules_are_not_raised_before_there_is_a_cluster() {
    let mut state = State::default();
    let outcome = one(&mut state, Command::RaiseRules { version: 2 });
    assert_eq!(outcome, Outcome::Rejected(Rejection::NotInitialised));
    assert_eq!(state.digest(), State::default().digest());
}

#[test]
fn a_command_of_newer_rules_changes_nothing_under_older_ones() {
    let mut state = ready();
    let before = state.digest();
    let of = |needed: u32, commands: Vec<Command>| commands.into_iter().map(move |command| (needed, command));
    for (needed, command) in of(2, commands_of_version_2()).chain(of(3, commands_of_version_3())) {
        assert_eq!(command.rules_needed(), needed);
        let applied = apply(&mut state, vec![command]);
        assert_eq!(applied.outcomes, [Outcome::Rejected(Rejection::NeedsRules { needed })]);
        assert_eq!((applied.changes.len(), applied.records.len(), state.digest()), (0, 0, before));
    }
    // In one batch the order decides, on every node alike.
    let mut commands = commands_of_version_2();
    commands.insert(1, Command::RaiseRules { version: 2 });
    let outcomes = apply(&mut state, commands).outcomes;
    assert_eq!(outcomes[0], Outcome::Rejected(Rejection::NeedsRules { needed: 2 }));
    assert_eq!(outcomes[2], Outcome::JoinTokenRevoked { was_held: false });
}

#[test]
fn a_batch_of_unknown_rules_is_not_to_be_applied() {
    let batch = |commands| CommandBatch { proposed_at_ms: 1, checkpoint: None, commands };
    for version in 0..=RULES_VERSION {
        assert_eq!(State::knows(&batch(vec![Command::RaiseRules { version }])), Ok(()));
    }
    assert_eq!(State::knows(&batch([commands_of_version_2(), commands_of_version_3()].concat())), Ok(()));
    // Wherever in the batch it stands: what comes before it would have been applied alone otherwise.
    let newer = Command::RaiseRules { version: RULES_VERSION + 1 };
    let error = State::knows(&batch(vec![Command::RenewPolicy, newer, Command::RenewPolicy])).unwrap_err();
    assert_eq!(error, TooNew { found: RULES_VERSION + 1 });
    assert!(error.to_string().contains("run a newer binary"), "{error}");
}

#[test]
fn an_unknown_command_is_told_from_a_damaged_one() {
    // {"Levitate": [7]} in a batch of format 1.
    let unknown = [&[1, 0x93, 1, 0xc0, 0x91, 0x81, 0xa8][..], b"Levitate", &[0x91, 7]].concat();
    let error = codec::decode::<CommandBatch>(&unknown).unwrap_err();
    assert!(matches!(error, DecodeError::Unknown(_)) && error.is_newer(), "{error}");
    assert!(error.to_string().contains("run a newer binary") && error.to_string().contains("Levitate"), "{error}");
    for (damaged, newer) in [(&unknown[..9], false), (&[2, 7], true), (&[0, 7], false), (&[1, 0xc1], false)] {
        assert_eq!(codec::decode::<CommandBatch>(damaged).unwrap_err().is_newer(), newer, "{damaged:?}");
    }
}

#[test]
fn newer_rules_are_named_before_a_record_that_came_with_them() {
    let newer = Cluster { rules_version: RULES_VERSION + 1, ..ready().cluster().clone() };
    let cluster = records::cluster_record(&newer);
    // Records come in the order of their keys: one that this binary cannot know may come first.
    for unknown in [b"B".to_vec(), b"z".to_vec(), b"d-of-another-length".to_vec()] {
        let mut records = [(unknown, vec![1, 7]), (cluster.key.clone(), cluster.value.clone())];
        for _ in 0..2 {
            let error = State::from_records(records.iter().cloned()).unwrap_err();
            let found = RULES_VERSION + 1;
            assert!(matches!(error, CorruptRecord::NewerRules { found: is } if is == found), "{error}");
            records.reverse();
        }
    }
}
