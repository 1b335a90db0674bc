#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::electorate::Electorate;
use super::floors::{Behind, Floors, noted};
use super::*;
use crate::typ::{self, Entry, StoredMembership};
use crate::types::Member;
use consigner_storage::log::{Wal, WalOptions};
use consigner_storage::{Disk as _, LogPosition, SimDisk};
use openraft::{CommittedLeaderId, EntryPayload, LogId, Membership};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

fn at(term: u64, index: u64) -> Option<LogPosition> {
    Some(LogPosition { term, node: 1, index })
}

fn electorate(me: u64, configs: &[&[u64]], learners: &[u64]) -> Electorate {
    Electorate::from_membership(me, &membership(configs, learners))
}

fn membership(configs: &[&[u64]], learners: &[u64]) -> Membership<u64, Member> {
    let configs: Vec<BTreeSet<u64>> = configs.iter().map(|voters| voters.iter().copied().collect()).collect();
    let voters = configs.iter().flatten().copied();
    let nodes: BTreeMap<u64, Member> =
        voters.chain(learners.iter().copied()).map(|id| (id, Member::default())).collect();
    Membership::new(configs, nodes)
}

fn lets_in(electorate: &Electorate, welcomed: &[u64]) -> bool {
    electorate.is_enough(&welcomed.iter().copied().collect())
}

#[test]
fn one_of_three_and_two_of_five_must_vouch_and_learners_do_not_count() {
    let three = electorate(1, &[&[1, 2, 3]], &[4, 5]);
    assert!(!lets_in(&three, &[]) && !lets_in(&three, &[4, 5]) && lets_in(&three, &[3]));
    let five = electorate(1, &[&[1, 2, 3, 4, 5]], &[6]);
    assert!(!lets_in(&five, &[2]) && !lets_in(&five, &[2, 6]) && lets_in(&five, &[2, 5]));
    let even = electorate(1, &[&[1, 2, 3, 4]], &[]);
    assert!(!lets_in(&even, &[2]) && lets_in(&even, &[2, 3]));
}

#[test]
fn a_learner_needs_a_quorum_of_voters_without_itself() {
    let learner = electorate(4, &[&[1, 2, 3]], &[4]);
    assert!(!lets_in(&learner, &[1]) && lets_in(&learner, &[1, 3]));
    assert!(lets_in(&electorate(2, &[&[1]], &[2]), &[1]));
    assert!(!lets_in(&electorate(2, &[&[1]], &[2]), &[]));
}

#[test]
fn while_the_membership_changes_both_sets_must_vouch() {
    let joint = electorate(1, &[&[1, 2, 3], &[1, 4, 5]], &[]);
    assert!(!lets_in(&joint, &[2, 3]) && !lets_in(&joint, &[4]) && lets_in(&joint, &[2, 5]));
    let leaves = electorate(1, &[&[1, 2, 3], &[3, 4, 5]], &[]);
    assert!(!lets_in(&leaves, &[3]) && lets_in(&leaves, &[3, 4]));
}

#[test]
fn nobody_is_asked_before_a_first_membership_and_by_a_single_voter() {
    assert!(Electorate::default().is_empty() && lets_in(&Electorate::default(), &[]));
    let alone = electorate(1, &[&[1]], &[2]);
    assert!(!alone.is_empty() && lets_in(&alone, &[]));
}

#[test]
fn a_membership_and_positions_that_are_not_applied_yet_count() {
    let disk = Arc::new(SimDisk::new(1));
    disk.create_dir(Path::new("/log")).unwrap();
    let wal = Wal::open(disk, Path::new("/log"), WalOptions::default()).unwrap();
    let (done, written) = std::sync::mpsc::channel();
    let entry = |index, payload| Entry { log_id: LogId::new(CommittedLeaderId::new(1, 1), index), payload };
    let grown = EntryPayload::Membership(membership(&[&[1, 2, 3]], &[]));
    let positions = BTreeMap::from([(2, noted(at(1, 1).unwrap()))]);
    let commands = vec![consigner_rules::Command::NotePositions(positions.clone())];
    let batch = consigner_rules::CommandBatch { proposed_at_ms: 0, checkpoint: None, commands };
    let note = EntryPayload::Normal(typ::Proposal(Arc::new(batch)));
    let entries = [entry(0, EntryPayload::Blank), entry(1, grown), entry(2, note)];
    let bytes = entries.iter().map(|entry| (typ::position(&entry.log_id), typ::encode_entry(entry))).collect();
    wal.append(bytes, Box::new(move |result| done.send(result.is_ok()).unwrap()));
    assert!(written.recv().unwrap());
    let applied = StoredMembership::new(Some(entries[0].log_id), membership(&[&[1]], &[]));
    let electorate = Electorate::of(1, &applied, &wal).unwrap();
    assert!(!lets_in(&electorate, &[]) && lets_in(&electorate, &[2]));
    assert_eq!(electorate.noted(), &positions);
    let floors = Floors::new(electorate.noted().clone());
    assert!(floors.behind(2, None, 1).holds(at(1, 0), 1) && !floors.behind(2, None, 1).holds(at(1, 1), 1));
}

#[test]
fn a_floor_is_what_was_acknowledged_as_far_as_it_was_committed() {
    let floors = Floors::default();
    assert_eq!(floors.behind(2, None, 0), Behind { floor: None, term: 0 });
    floors.acknowledged(2, 3, at(3, 20), at(3, 10));
    assert_eq!(floors.committed(2), at(3, 10), "the rest may lawfully vanish");
    floors.acknowledged(2, 3, at(3, 20), at(3, 30));
    assert_eq!(floors.committed(2), at(3, 20), "more was agreed, but not with it");
    floors.acknowledged(2, 3, at(3, 15), at(3, 40));
    assert_eq!(floors.committed(2), at(3, 20), "an answer that was overtaken lowers nothing");
}

#[test]
fn what_a_deposed_leader_matched_is_no_floor() {
    let floors = Floors::default();
    // Entry 20 of term 3 was matched; meanwhile a leader of term 4 has agreed on another one.
    floors.acknowledged(2, 3, at(3, 20), at(4, 25));
    assert_eq!(floors.committed(2), None);
    // A vote of term 4: what followed term 3 may have been truncated.
    assert_eq!(floors.behind(2, None, 4).floor, None);
}

#[test]
fn in_the_term_in_which_it_followed_not_an_entry_may_be_missing() {
    let floors = Floors::default();
    floors.acknowledged(2, 3, at(3, 20), at(3, 10));
    assert!(floors.behind(2, None, 3).holds(at(3, 19), 3), "uncommitted, but nobody else can have taken it");
    assert!(!floors.behind(2, None, 3).holds(at(3, 20), 3));
    assert!(!floors.behind(2, None, 4).holds(at(3, 10), 4), "a later leader may have");
    assert!(floors.behind(2, None, 4).holds(at(3, 9), 4), "but not below what was agreed");
}

#[test]
fn a_vote_that_was_given_must_still_be_there() {
    let floors = Floors::default();
    floors.acknowledged(2, 3, at(3, 20), at(3, 20));
    floors.voted(2, 7);
    assert!(floors.behind(2, None, 6).holds(at(3, 20), 6));
    assert!(floors.behind(2, None, 3).holds(at(3, 20), 3));
    assert!(!floors.behind(2, None, 7).holds(at(3, 20), 7));
}

#[test]
fn what_was_noted_in_the_state_is_a_floor_too() {
    let floors = Floors::default();
    let behind = floors.behind(2, at(3, 20).map(noted), 5);
    assert!(behind.holds(at(3, 19), 5) && behind.holds(None, 5) && !behind.holds(at(3, 20), 5));
    floors.acknowledged(2, 5, at(5, 25), at(5, 25));
    assert_eq!(floors.behind(2, at(3, 20).map(noted), 5).floor, at(5, 25), "the higher one");
}

#[test]
fn the_operator_overrides_silence_but_no_refusal() {
    let gate = EntryGate::new(false);
    assert!(!gate.is_open() && gate.waits_for().is_some());
    gate.wait("node 3 objects".to_owned(), BTreeSet::from([2]), true);
    assert_eq!(gate.accept(), Err(AcceptRestartError::Refused("node 3 objects".to_owned())));
    gate.wait("nobody answers".to_owned(), BTreeSet::from([2, 3]), false);
    assert_eq!(gate.accept(), Ok(BTreeSet::from([2, 3])));
    assert!(gate.is_open() && gate.waits_for().is_none());
    assert_eq!(gate.accept(), Err(AcceptRestartError::NotWaiting));
}

#[test]
fn a_gate_that_was_shut_for_good_never_opens() {
    let gate = EntryGate::new(true);
    gate.expel("the disk went back");
    gate.open();
    assert!(!gate.is_open() && gate.is_expelled());
    assert_eq!(gate.waits_for().as_deref(), Some("the disk went back"));
    assert_eq!(gate.accept(), Err(AcceptRestartError::Refused("the disk went back".to_owned())));
}
