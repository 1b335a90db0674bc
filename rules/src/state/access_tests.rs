//! Policies that replace each other, tokens that come and go, audit logs that only move on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::tests::*;
use super::*;
use crate::command::{Command, Rejection, SignIntent};
use crate::policy::{BadToken, POLICY_BYTES_MAX, Policy, Role, TOKENS_MAX};
use crate::slashing::{Ruling, Violation};

fn policy(hosts: &[&str]) -> Policy {
    let text = format!(
        "version: 1\nroles: {{a: {{operations: [\"admin.*\"]}}, b: {{keys: all, operations: [duties]}}}}\nhosts: [{}]",
        hosts.join(", ")
    );
    Policy::parse(&text).unwrap()
}

fn set(policy: &Policy, replaces: u64) -> Command {
    Command::SetPolicy { policy: Box::new(policy.clone()), replaces }
}

fn token(number: u8) -> TokenRecord {
    TokenRecord {
        id: [number; 8],
        name: format!("token-{number}"),
        hash: [number; 32],
        roles: ["a".to_owned()].into(),
        created_ms: 1,
        expires_ms: None,
    }
}

fn add(token: &TokenRecord, policy_version: u64) -> Command {
    Command::AddToken { token: token.clone(), policy_version }
}

fn changed_meanwhile(version: u64) -> Outcome {
    Outcome::Rejected(Rejection::PolicyChangedMeanwhile { version })
}

fn anchor(node: u64, key: u8, sequence: u64, hash: u8) -> AuditAnchor {
    AuditAnchor { node, public_key: [key; 32], sequence, hash: [hash; 32] }
}

/// A cluster with a policy, which is its version 2.
fn governed() -> State {
    let mut state = ready();
    assert_eq!(one(&mut state, set(&policy(&["one"]), 1)), Outcome::PolicyRenewed(2));
    state
}

/// The state as another node would load it.
fn assert_reloads(state: &State) {
    let loaded = State::from_records(state.records().map(|record| (record.key, record.value))).unwrap();
    assert_eq!(loaded.digest(), state.digest());
    assert_eq!((loaded.policy(), loaded.policy_since()), (state.policy(), state.policy_since()));
    assert!(loaded.tokens().eq(state.tokens()) && loaded.audit_anchors().eq(state.audit_anchors()));
}

#[test]
fn of_two_policies_decided_on_at_once_the_second_is_rejected() {
    let mut state = ready();
    let applied = apply(&mut state, vec![set(&policy(&["one"]), 1), set(&policy(&["two"]), 1)]);
    assert_eq!(applied.outcomes, [Outcome::PolicyRenewed(2), changed_meanwhile(2)]);
    assert_eq!(applied.changes, [Change::PolicyRenewed(2)]);
    assert!(applied.admission_changed);
    assert_eq!(state.policy().map(|held| &**held), Some(&policy(&["one"])));
    assert_eq!((state.cluster().policy_version, state.policy_since()), (2, Some(2)));
    let before = state.digest();
    for replaces in [0, 1, 3, u64::MAX] {
        let applied = apply(&mut state, vec![set(&policy(&["two"]), replaces)]);
        assert_eq!((applied.outcomes, applied.admission_changed), (vec![changed_meanwhile(2)], false), "{replaces}");
    }
    assert_eq!(state.digest(), before);
    assert_eq!(one(&mut state, set(&policy(&["two"]), 2)), Outcome::PolicyRenewed(3));
    assert_reloads(&state);
}

#[test]
fn a_policy_that_was_proposed_twice_is_set_once() {
    let mut state = governed();
    let before = state.digest();
    let applied = apply(&mut state, vec![set(&policy(&["one"]), 1)]);
    assert_eq!((applied.outcomes, applied.changes.len()), (vec![Outcome::PolicyRenewed(2)], 0));
    assert_eq!(state.digest(), before);
    // Asked for anew, the same document is a new version: admissions under the old one end.
    assert_eq!(one(&mut state, set(&policy(&["one"]), 2)), Outcome::PolicyRenewed(3));
    // And the late first proposal does not bring an older policy back.
    assert_eq!(one(&mut state, set(&policy(&["two"]), 3)), Outcome::PolicyRenewed(4));
    assert_eq!(one(&mut state, set(&policy(&["one"]), 2)), changed_meanwhile(4));
    assert_eq!(state.policy().unwrap().hosts.as_ref().unwrap(), &["two"]);
}

#[test]
fn a_policy_makes_older_admissions_stale_and_changes_no_verdict() {
    let mut state = ready();
    assert_eq!(rule(&mut state, block(KEY, 5, A)), Ruling::Safe);
    // The least policy denies everything; the verdicts are those of the slashing rule all the same.
    assert_eq!(one(&mut state, set(&Policy::default(), 1)), Outcome::PolicyRenewed(2));
    assert_eq!(rule(&mut state, block(KEY, 6, A)), Ruling::Stale { policy_version: 2 });
    let current = |intent: SignIntent| SignIntent { policy_version: 2, ..intent };
    assert_eq!(rule(&mut state, current(block(KEY, 5, A))), Ruling::Repeat);
    assert_eq!(rule(&mut state, current(block(KEY, 5, B))), Ruling::Refused(Violation::DoubleBlock { slot: 5 }));
    assert_eq!(rule(&mut state, current(block(KEY, 6, A))), Ruling::Safe);
}

#[test]
fn a_policy_that_fits_no_record_is_rejected() {
    let mut state = ready();
    let role = || Role { keys: None, operations: Default::default(), fee_recipients: None };
    let roles = (0..4_000).map(|number| (format!("{number:060}"), role())).collect();
    let large = Policy { roles, ..Policy::default() };
    let Outcome::Rejected(Rejection::PolicyTooLarge { bytes }) = one(&mut state, set(&large, 1)) else {
        panic!("not rejected")
    };
    assert!(bytes > POLICY_BYTES_MAX as u64);
    assert!(state.policy().is_none());
}

#[test]
fn tokens_are_held_until_they_are_revoked() {
    let mut state = governed();
    let applied = apply(&mut state, vec![add(&token(1), 2), add(&token(2), 2)]);
    assert_eq!(applied.outcomes, [Outcome::TokenHeld, Outcome::TokenHeld]);
    assert!(applied.admission_changed);
    let added = |number: u8| Change::TokenAdded { id: [number; 8], name: format!("token-{number}") };
    assert_eq!(applied.changes, [added(1), added(2)]);
    assert_eq!(state.cluster().policy_version, 2, "nobody loses a right by a token");
    assert_reloads(&state);
    assert_eq!(one(&mut state, add(&token(1), 2)), Outcome::TokenHeld);
    let forged = TokenRecord { hash: [9; 32], ..token(1) };
    assert_eq!(one(&mut state, add(&forged, 2)), Outcome::Rejected(Rejection::TokenConflict));
    let applied = apply(&mut state, vec![Command::RevokeToken { id: [1; 8] }]);
    assert_eq!(applied.outcomes, [Outcome::TokenRevoked { was_held: true, version: 3 }]);
    let revoked = Change::TokenRevoked { id: [1; 8], name: "token-1".to_owned() };
    assert_eq!(applied.changes, [revoked, Change::PolicyRenewed(3)]);
    assert!(applied.admission_changed && state.token(&[1; 8]).is_none() && state.token(&[2; 8]).is_some());
    assert_reloads(&state);
    let again = apply(&mut state, vec![Command::RevokeToken { id: [1; 8] }]);
    assert_eq!(again.outcomes, [Outcome::TokenRevoked { was_held: false, version: 3 }]);
    assert_eq!((again.records.len(), again.changes.len(), again.admission_changed), (0, 0, false));
}

#[test]
fn a_late_proposal_brings_no_revoked_token_back() {
    let mut state = governed();
    one(&mut state, add(&token(1), 2));
    one(&mut state, Command::RevokeToken { id: [1; 8] });
    assert_eq!(one(&mut state, add(&token(1), 2)), changed_meanwhile(3));
    assert!(state.tokens().len() == 0);
    // A revocation leaves the policy; what was decided on it before must be looked at again.
    assert_eq!(state.policy_since(), Some(2));
    assert_eq!(one(&mut state, set(&policy(&["two"]), 2)), changed_meanwhile(3));
    assert_eq!(one(&mut state, set(&policy(&["one"]), 1)), Outcome::PolicyRenewed(2), "a repeat is still one");
}

#[test]
fn tokens_that_mean_nothing_are_rejected() {
    let rejected = |state: &mut State, token: TokenRecord| {
        let version = state.cluster().policy_version;
        let Outcome::Rejected(rejection) = one(state, add(&token, version)) else { panic!("held") };
        rejection
    };
    let mut without = ready();
    assert_eq!(rejected(&mut without, token(1)), Rejection::UnknownRole("a".to_owned()));
    let mut state = governed();
    let roles = |roles: &[String]| TokenRecord { roles: roles.iter().cloned().collect(), ..token(1) };
    assert_eq!(rejected(&mut state, roles(&["a".to_owned(), "c".to_owned()])), Rejection::UnknownRole("c".to_owned()));
    assert_eq!(rejected(&mut state, roles(&[])), Rejection::BadToken(BadToken::Roles(0)));
    let many: Vec<String> = (0..65).map(|number| format!("r{number}")).collect();
    assert_eq!(rejected(&mut state, roles(&many)), Rejection::BadToken(BadToken::Roles(65)));
    for name in ["", "a b", "a:b", "a\n", &"x".repeat(65)] {
        let named = TokenRecord { name: name.to_owned(), ..token(1) };
        assert!(matches!(rejected(&mut state, named), Rejection::BadToken(BadToken::Name(_))), "{name:?}");
    }
    assert_eq!(state.tokens().len(), 0);
}

#[test]
fn a_cluster_holds_so_many_tokens() {
    let mut state = governed();
    let numbered = |number: usize| TokenRecord { id: (number as u64).to_le_bytes(), ..token(1) };
    let commands = (0..TOKENS_MAX).map(|number| add(&numbered(number), 2)).collect();
    assert!(apply(&mut state, commands).outcomes.iter().all(|outcome| *outcome == Outcome::TokenHeld));
    let one_more = add(&numbered(TOKENS_MAX), 2);
    assert_eq!(one(&mut state, one_more), Outcome::Rejected(Rejection::TooManyTokens));
    assert_eq!(one(&mut state, add(&numbered(3), 2)), Outcome::TokenHeld, "one that is held needs no place");
    one(&mut state, Command::RevokeToken { id: 0_u64.to_le_bytes() });
    assert_eq!(one(&mut state, add(&numbered(TOKENS_MAX), 3)), Outcome::TokenHeld);
}

#[test]
fn an_audit_anchor_only_moves_on() {
    let mut state = ready();
    let anchored = |state: &mut State, anchor: AuditAnchor| one(state, Command::AnchorAudit(anchor));
    let back = |sequence| Outcome::Rejected(Rejection::AuditWentBack { sequence });
    assert_eq!(anchored(&mut state, anchor(1, 1, 10, 1)), Outcome::AuditAnchored);
    let before = state.digest();
    assert_eq!(anchored(&mut state, anchor(1, 1, 10, 1)), Outcome::AuditAnchored);
    assert_eq!(anchored(&mut state, anchor(1, 1, 10, 2)), back(10));
    assert_eq!(anchored(&mut state, anchor(1, 1, 9, 1)), back(10));
    assert_eq!(anchored(&mut state, anchor(1, 1, 0, 1)), back(10));
    let stolen = Outcome::Rejected(Rejection::AuditKeyOfAnother { node: 1 });
    assert_eq!(anchored(&mut state, anchor(2, 1, 11, 1)), stolen);
    assert_eq!(state.digest(), before);
    assert_eq!(anchored(&mut state, anchor(1, 1, 11, 2)), Outcome::AuditAnchored);
    // A node that lost its disk has a new key; how far the old log came is not forgotten.
    assert_eq!(anchored(&mut state, anchor(1, 2, 1, 3)), Outcome::AuditAnchored);
    let held: Vec<_> = state.audit_anchors().cloned().collect();
    assert_eq!(held, [anchor(1, 1, 11, 2), anchor(1, 2, 1, 3)]);
    assert!(!apply(&mut state, vec![Command::AnchorAudit(anchor(1, 2, 2, 3))]).admission_changed);
    assert_reloads(&state);
}

#[test]
fn a_cluster_holds_so_many_anchors() {
    let mut state = ready();
    let numbered = |number: usize| {
        let mut public_key = [0; 32];
        public_key[..8].copy_from_slice(&(number as u64).to_le_bytes());
        Command::AnchorAudit(AuditAnchor { public_key, ..anchor(1, 0, 1, 1) })
    };
    apply(&mut state, (0..AUDIT_ANCHORS_MAX).map(numbered).collect());
    assert_eq!(state.audit_anchors().len(), AUDIT_ANCHORS_MAX);
    let too_many = Outcome::Rejected(Rejection::TooManyAudits);
    assert_eq!(one(&mut state, numbered(AUDIT_ANCHORS_MAX)), too_many);
}

#[test]
fn nothing_of_it_happens_before_the_cluster_has_an_identity() {
    let mut state = State::default();
    let commands = vec![
        set(&Policy::default(), 1),
        add(&token(1), 1),
        Command::RevokeToken { id: [1; 8] },
        Command::AnchorAudit(anchor(1, 1, 1, 1)),
    ];
    let applied = apply(&mut state, commands);
    assert!(applied.outcomes.iter().all(|outcome| *outcome == Outcome::Rejected(Rejection::NotInitialised)));
    assert_eq!((applied.records.len(), applied.changes.len(), applied.admission_changed), (0, 0, false));
}
