//! Commands over a small state: who may do what, in which order, and what is recorded of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::command::{Command, CommandBatch, Rejection, SignIntent, Verdict};
use crate::permit::SignPermit;
use crate::primitives::{ClusterId, RequestId};
use crate::slashing::{AgreedDuty, Ruling, Violation};

pub(super) const KEY: PublicKey = PublicKey([1; 48]);
pub(super) const OTHER: PublicKey = PublicKey([2; 48]);
pub(super) const A: Root = Root([0xaa; 32]);
pub(super) const B: Root = Root([0xbb; 32]);

fn identity(number: u8) -> ClusterIdentity {
    ClusterIdentity { cluster_id: ClusterId([number; 16]), network: "mainnet".to_owned(), genesis_validators_root: A }
}

pub(super) fn data_key(number: u8) -> DataKey {
    DataKey { id: [number; 16], sealer: "local".to_owned(), wrapped: vec![number; 40] }
}

pub(super) fn sealed(public_key: PublicKey, nonce: u8) -> SealedKey {
    SealedKey { format: 1, public_key, data_key: [1; 16], nonce: [nonce; 12], ciphertext: vec![9; 48] }
}

pub(super) fn import_key(public_key: PublicKey, history: Option<HistoryImport>) -> Command {
    Command::ImportKey { sealed: sealed(public_key, 1), history, deletions_seen: u64::MAX }
}

/// By somebody who has seen all that happened before.
pub(super) fn delete_key(public_key: PublicKey) -> Command {
    Command::DeleteKey { public_key, deletions_seen: u64::MAX }
}

pub(super) fn block_history(public_key: PublicKey, slot: u64, signing_root: Option<Root>) -> HistoryImport {
    HistoryImport { public_key, block: Some(ImportedBlock { slot, signing_root }), attestation: None }
}

pub(super) fn block(public_key: PublicKey, slot: u64, signing_root: Root) -> SignIntent {
    SignIntent {
        request_id: RequestId([3; 16]),
        public_key,
        duty: AgreedDuty::Block { slot },
        signing_root,
        peer: "vc-1".to_owned(),
        policy_version: 1,
    }
}

pub(super) fn apply(state: &mut State, commands: Vec<Command>) -> Applied {
    let applied = state.apply(&CommandBatch { proposed_at_ms: 1, checkpoint: None, commands });
    assert_eq!(state.digest(), state.recomputed_digest());
    applied
}

pub(super) fn one(state: &mut State, command: Command) -> Outcome {
    apply(state, vec![command]).outcomes.remove(0)
}

pub(super) fn rule(state: &mut State, intent: SignIntent) -> Ruling {
    let Outcome::Judged(verdict) = one(state, Command::Sign(intent)) else { panic!("not judged") };
    verdict.ruling
}

pub(super) fn ready() -> State {
    let mut state = State::default();
    let commands = vec![Command::Initialise(identity(7)), Command::AddDataKey(data_key(1)), import_key(KEY, None)];
    let outcomes = apply(&mut state, commands).outcomes;
    let imported = Outcome::KeyImported { public_key: KEY, duplicate: false };
    assert_eq!(outcomes, [Outcome::Initialised, Outcome::DataKeyHeld, imported]);
    state
}

#[test]
fn nothing_happens_before_the_cluster_has_an_identity() {
    let mut state = State::default();
    let commands = vec![
        Command::Sign(block(KEY, 1, A)),
        Command::AddDataKey(data_key(1)),
        import_key(KEY, None),
        Command::ImportHistory(block_history(KEY, 1, None)),
        Command::SetHighWatermark(None),
        Command::RenewPolicy,
        delete_key(KEY),
        Command::Reseal(Vec::new()),
        Command::RemoveDataKey([1; 16]),
    ];
    let applied = apply(&mut state, commands);
    assert!(applied.outcomes.iter().all(|outcome| *outcome == Outcome::Rejected(Rejection::NotInitialised)));
    assert_eq!((applied.changes.len(), applied.records.len()), (0, 0));
    assert_eq!(state.digest(), State::default().digest());
    assert_eq!(state.digest(), Root([0; 32]));
}

#[test]
fn the_identity_is_given_once() {
    let mut state = State::default();
    let applied = apply(&mut state, vec![Command::Initialise(identity(7)), Command::Initialise(identity(8))]);
    let refused = Outcome::Rejected(Rejection::AlreadyInitialised(ClusterId([7; 16])));
    assert_eq!(applied.outcomes, [Outcome::Initialised, refused.clone()]);
    assert_eq!(applied.changes, [Change::ClusterInitialised(identity(7))]);
    assert_eq!(one(&mut state, Command::Initialise(identity(7))), refused);
    assert_eq!(state.identity(), Some(&identity(7)));
}

#[test]
fn an_unknown_key_signs_nothing_and_leaves_nothing() {
    let mut state = ready();
    let before = state.digest();
    let applied = apply(&mut state, vec![Command::Sign(block(OTHER, 1, A))]);
    let Outcome::Judged(verdict) = &applied.outcomes[0] else { panic!("not judged") };
    assert_eq!(verdict.ruling, Ruling::UnknownKey);
    assert_eq!((applied.changes.len(), applied.records.len()), (0, 0));
    assert!(state.validator(&OTHER).is_none());
    assert_eq!(state.digest(), before);
}

#[test]
fn history_alone_enables_no_key() {
    let mut state = ready();
    one(&mut state, Command::ImportHistory(block_history(OTHER, 5, Some(A))));
    assert_eq!(rule(&mut state, block(OTHER, 6, A)), Ruling::UnknownKey);
    assert_eq!(state.keys().count(), 1);
    // The key comes later and finds the history waiting.
    assert_eq!(one(&mut state, import_key(OTHER, None)), Outcome::KeyImported { public_key: OTHER, duplicate: false });
    assert_eq!(rule(&mut state, block(OTHER, 5, A)), Ruling::Refused(Violation::DoubleBlock { slot: 5 }));
    assert_eq!(rule(&mut state, block(OTHER, 6, A)), Ruling::Safe);
}

#[test]
fn an_intent_admitted_under_another_policy_is_stale_and_recorded_nowhere() {
    let mut state = ready();
    let renewed = apply(&mut state, vec![Command::RenewPolicy]);
    assert_eq!(renewed.outcomes, [Outcome::PolicyRenewed(2)]);
    assert_eq!(renewed.changes, [Change::PolicyRenewed(2)]);
    let before = state.digest();
    for policy_version in [0, 1, 3] {
        let intent = SignIntent { policy_version, ..block(KEY, 1, A) };
        assert_eq!(rule(&mut state, intent), Ruling::Stale { policy_version: 2 });
    }
    assert_eq!(state.digest(), before);
    assert_eq!(rule(&mut state, SignIntent { policy_version: 2, ..block(KEY, 1, A) }), Ruling::Safe);
    // Even a repeat needs a current admission: the client may have lost its right.
    assert_eq!(rule(&mut state, block(KEY, 1, A)), Ruling::Stale { policy_version: 2 });
}

#[test]
fn a_policy_renewed_in_the_same_batch_makes_later_intents_stale() {
    let mut state = ready();
    let commands = vec![Command::Sign(block(KEY, 1, A)), Command::RenewPolicy, Command::Sign(block(KEY, 2, A))];
    let outcomes = apply(&mut state, commands).outcomes;
    let rulings: Vec<_> = outcomes.into_iter().filter_map(ruling).collect();
    assert_eq!(rulings, [Ruling::Safe, Ruling::Stale { policy_version: 2 }]);
}

pub(super) fn ruling(outcome: Outcome) -> Option<Ruling> {
    if let Outcome::Judged(verdict) = outcome { Some(verdict.ruling) } else { None }
}

#[test]
fn the_same_key_twice_in_a_batch_is_judged_in_order() {
    let mut state = ready();
    let commands =
        [(5, A), (5, B), (5, A), (4, A), (6, B)].map(|(slot, root)| Command::Sign(block(KEY, slot, root))).to_vec();
    let applied = apply(&mut state, commands);
    let rulings: Vec<_> = applied.outcomes.into_iter().filter_map(ruling).collect();
    let expected = [
        Ruling::Safe,
        Ruling::Refused(Violation::DoubleBlock { slot: 5 }),
        Ruling::Repeat,
        Ruling::Refused(Violation::BlockBelow { asked: 4, stored: 5 }),
        Ruling::Safe,
    ];
    assert_eq!(rulings, expected);
    assert_eq!(applied.records.len(), 1, "each record once, with its last content");
    let signed = applied.changes.iter().filter(|change| change.signed().is_some()).count();
    assert_eq!((signed, applied.changes.len()), (2, 4));
}

#[test]
fn the_verdict_echoes_the_committed_record_and_mints_a_permit_only_if_it_allows() {
    let mut state = ready();
    for (intent, allowed) in [(block(KEY, 5, A), true), (block(KEY, 5, B), false), (block(KEY, 5, A), true)] {
        let Outcome::Judged(verdict) = one(&mut state, Command::Sign(intent.clone())) else { panic!("not judged") };
        let Verdict { request_id, public_key, duty, signing_root, .. } = &verdict;
        assert_eq!((request_id, public_key), (&intent.request_id, &intent.public_key));
        assert_eq!((duty, signing_root), (&intent.duty, &intent.signing_root));
        #[allow(clippy::disallowed_methods, reason = "the one test of the mint")]
        let permit = SignPermit::from_verdict(&verdict);
        assert_eq!(permit.is_some(), allowed);
        assert!(permit.is_none_or(|permit| *permit.public_key() == KEY && *permit.signing_root() == A));
    }
    for ruling in [Ruling::UnknownKey, Ruling::Stale { policy_version: 1 }] {
        let Outcome::Judged(verdict) = one(&mut state, Command::Sign(block(KEY, 5, A))) else { panic!("not judged") };
        #[allow(clippy::disallowed_methods, reason = "the one test of the mint")]
        let permit = SignPermit::from_verdict(&Verdict { ruling, ..verdict });
        assert!(permit.is_none());
    }
}

#[test]
fn an_imported_key_finds_its_history_in_the_same_step() {
    let mut state = ready();
    let history = block_history(OTHER, 5, Some(A));
    let commands = vec![import_key(OTHER, Some(history.clone())), Command::Sign(block(OTHER, 5, A))];
    let applied = apply(&mut state, commands);
    let double = Ruling::Refused(Violation::DoubleBlock { slot: 5 });
    assert_eq!(applied.outcomes[0], Outcome::KeyImported { public_key: OTHER, duplicate: false });
    assert_eq!(ruling(applied.outcomes[1].clone()), Some(double));
    // History first: whoever stops between the two changes holds no key without its history.
    assert_eq!(applied.changes[..2], [Change::HistoryMerged(history), Change::KeyAdded(OTHER)]);
}

#[test]
fn a_duplicate_import_keeps_the_key_and_merges_the_history() {
    let mut state = ready();
    let other_sealing =
        Command::ImportKey { sealed: sealed(KEY, 2), history: Some(block_history(KEY, 9, None)), deletions_seen: 0 };
    let applied = apply(&mut state, vec![other_sealing]);
    assert_eq!(applied.outcomes, [Outcome::KeyImported { public_key: KEY, duplicate: true }]);
    assert_eq!(applied.changes, [Change::HistoryMerged(block_history(KEY, 9, None))]);
    assert_eq!(state.validator(&KEY).unwrap().key.as_deref(), Some(&sealed(KEY, 1)));
    assert_eq!(rule(&mut state, block(KEY, 9, A)), Ruling::Refused(Violation::DoubleBlock { slot: 9 }));
}

#[test]
fn a_rejected_import_changes_nothing() {
    let mut state = ready();
    let before = state.digest();
    let foreign = import_key(OTHER, Some(block_history(KEY, 9, None)));
    let rejection = Rejection::ForeignHistory { key: OTHER, history: KEY };
    assert_eq!(one(&mut state, foreign), Outcome::Rejected(rejection));
    let unknown = Command::ImportKey {
        sealed: SealedKey { data_key: [9; 16], ..sealed(OTHER, 1) },
        history: Some(block_history(OTHER, 9, None)),
        deletions_seen: 0,
    };
    assert_eq!(one(&mut state, unknown), Outcome::Rejected(Rejection::UnknownDataKey));
    assert_eq!(state.digest(), before);
    assert!(state.validator(&OTHER).is_none());
}

#[test]
fn a_forged_import_never_grants_a_repeat() {
    let mut state = ready();
    for history in [block_history(KEY, 5, Some(B)), block_history(KEY, 5, Some(A))] {
        one(&mut state, Command::ImportHistory(history));
        assert_eq!(rule(&mut state, block(KEY, 5, B)), Ruling::Refused(Violation::DoubleBlock { slot: 5 }));
        assert_eq!(rule(&mut state, block(KEY, 5, A)), Ruling::Refused(Violation::DoubleBlock { slot: 5 }));
    }
    assert_eq!(rule(&mut state, block(KEY, 6, A)), Ruling::Safe);
    let outcome = one(&mut state, Command::ImportHistory(block_history(KEY, 6, Some(B))));
    assert_eq!(outcome, Outcome::HistoryMerged { public_key: KEY, raised: true });
    assert_eq!(rule(&mut state, block(KEY, 6, A)), Ruling::Refused(Violation::DoubleBlock { slot: 6 }));
}

#[test]
fn history_that_is_known_is_merged_without_a_change() {
    let mut state = ready();
    rule(&mut state, block(KEY, 5, A));
    for known in [block_history(KEY, 4, Some(B)), block_history(KEY, 5, Some(A))] {
        let applied = apply(&mut state, vec![Command::ImportHistory(known)]);
        assert_eq!(applied.outcomes, [Outcome::HistoryMerged { public_key: KEY, raised: false }]);
        assert_eq!((applied.changes.len(), applied.records.len()), (0, 0));
    }
    assert_eq!(rule(&mut state, block(KEY, 5, A)), Ruling::Repeat);
}

#[test]
fn another_data_key_of_the_same_id_is_refused() {
    let mut state = ready();
    assert_eq!(one(&mut state, Command::AddDataKey(data_key(1))), Outcome::DataKeyHeld);
    let before = state.digest();
    let forged = DataKey { wrapped: vec![0; 40], ..data_key(1) };
    assert_eq!(one(&mut state, Command::AddDataKey(forged)), Outcome::Rejected(Rejection::DataKeyConflict));
    assert_eq!(state.digest(), before);
    assert_eq!(state.data_key(&[1; 16]), Some(&data_key(1)));
}

#[test]
fn the_high_watermark_must_lie_above_everything_signed() {
    let mut state = ready();
    rule(&mut state, block(KEY, 20, A));
    let votes = ImportedAttestation { max_source_epoch: 9, max_target_epoch: 10, at_max_target: None };
    let history = HistoryImport { public_key: OTHER, block: None, attestation: Some(votes) };
    one(&mut state, Command::ImportHistory(history));
    let cases = [
        (11, 21, Outcome::HighWatermarkSet),
        (11, 20, Outcome::Rejected(Rejection::HighWatermarkBelowHistory(KEY))),
        (10, 21, Outcome::Rejected(Rejection::HighWatermarkBelowHistory(OTHER))),
        (0, 0, Outcome::Rejected(Rejection::HighWatermarkBelowHistory(KEY))),
    ];
    for (epoch, slot, expected) in cases {
        let outcome = one(&mut state, Command::SetHighWatermark(Some(HighWatermark { epoch, slot })));
        assert_eq!(outcome, expected, "{epoch} {slot}");
    }
    assert_eq!(state.cluster().high_watermark, Some(HighWatermark { epoch: 11, slot: 21 }));
    let limited = Violation::HighWatermarkSlot { asked: 21, limit: 21 };
    assert_eq!(rule(&mut state, block(KEY, 21, A)), Ruling::Refused(limited));
    assert_eq!(rule(&mut state, block(KEY, 20, A)), Ruling::Repeat);
    assert_eq!(one(&mut state, Command::SetHighWatermark(None)), Outcome::HighWatermarkSet);
    assert_eq!(rule(&mut state, block(KEY, 21, A)), Ruling::Safe);
}

#[test]
fn a_source_alone_holds_the_high_watermark_up() {
    // A file may hold an attestation whose source lies after its target.
    let mut state = ready();
    let votes = ImportedAttestation { max_source_epoch: 30, max_target_epoch: 10, at_max_target: None };
    let history = HistoryImport { public_key: KEY, block: None, attestation: Some(votes) };
    one(&mut state, Command::ImportHistory(history));
    let outcome = one(&mut state, Command::SetHighWatermark(Some(HighWatermark { epoch: 30, slot: 1 })));
    assert_eq!(outcome, Outcome::Rejected(Rejection::HighWatermarkBelowHistory(KEY)));
}

#[test]
fn records_of_another_shape_are_refused() {
    let state = ready();
    let records: Vec<(Vec<u8>, Vec<u8>)> = state.records().map(|record| (record.key, record.value)).collect();
    assert_eq!(records.len(), 3);
    assert_eq!(State::from_records(records.iter().rev().cloned()).unwrap().digest(), state.digest());
    for index in 0..records.len() {
        let mut cut = records.clone();
        cut[index].1.pop();
        assert!(matches!(State::from_records(cut), Err(CorruptRecord::Value { .. })));
        let mut unknown = records.clone();
        unknown[index].0.push(0);
        assert!(matches!(State::from_records(unknown), Err(CorruptRecord::UnknownKey(_))));
    }
    assert!(matches!(State::from_records([(vec![], vec![])]), Err(CorruptRecord::UnknownKey(0))));
    assert!(matches!(State::from_records([(b"z".to_vec(), vec![1])]), Err(CorruptRecord::UnknownKey(1))));
    // A key under another key's name would sign for the wrong validator.
    let mut moved = records;
    let key = moved.iter_mut().find(|(name, _)| name[0] == b'k').unwrap();
    key.0[1] ^= 1;
    assert!(matches!(State::from_records(moved), Err(CorruptRecord::Misplaced('k'))));
}

#[test]
fn the_digest_tells_states_apart() {
    let mut one_block = ready();
    let mut other_block = ready();
    assert_eq!(one_block.digest(), other_block.digest());
    rule(&mut one_block, block(KEY, 5, A));
    rule(&mut other_block, block(KEY, 5, B));
    assert_ne!(one_block.digest(), other_block.digest());
    assert_ne!(one_block.digest(), ready().digest());
}

#[test]
fn a_cluster_is_born_under_the_first_rules_whatever_the_binary_knows() {
    let mut state = State::default();
    one(&mut state, Command::Initialise(identity(7)));
    assert_eq!(state.cluster().rules_version, 1);
}

#[test]
fn a_state_of_newer_rules_is_not_opened() {
    let cluster = Cluster { rules_version: RULES_VERSION + 1, ..ready().cluster().clone() };
    let record = records::cluster_record(&cluster);
    let error = State::from_records([(record.key, record.value)]).unwrap_err();
    assert!(matches!(error, CorruptRecord::NewerRules { found } if found == RULES_VERSION + 1), "{error}");
}
