#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::entry_gate::boots::Known;
use crate::machine::Standing;
use crate::typ::{Entry, Proposal, StoredMembership, Vote};
use crate::types::Member;
use bytes::Bytes;
use consigner_rules::primitives::ClusterId;
use consigner_rules::{Command, CommandBatch, State};
use consigner_storage::log::WalOptions;
use consigner_storage::{DataDir, NodeIdentity, SimDisk};
use http::{HeaderName, HeaderValue};
use openraft::{CommittedLeaderId, EntryPayload, LogId, Membership};
use std::collections::BTreeSet;
use std::path::Path;

const CLUSTER: ClusterId = ClusterId([7; 16]);
/// The usual caller's disk and start: `boot(2, 3, 0xBB)`.
const INCARNATION: &str = "02020202020202020202020202020202";
const BOOT: &str = "3-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn guard(members: &[(u64, &str)], entries: &[Entry]) -> Guard {
    let disk = Arc::new(SimDisk::new(1));
    let dir = Path::new("/log");
    consigner_storage::Disk::create_dir(&*disk, dir).unwrap();
    let wal = Arc::new(Wal::open(disk, dir, WalOptions::default()).unwrap());
    let (done, written) = std::sync::mpsc::channel();
    let bytes = entries.iter().map(|entry| (typ::position(&entry.log_id), typ::encode_entry(entry))).collect();
    wal.append(bytes, Box::new(move |result| done.send(result.is_ok()).unwrap()));
    assert!(written.recv().unwrap());
    let nodes: BTreeMap<u64, Member> =
        members.iter().map(|(id, name)| (*id, Member { name: (*name).to_owned(), ..Member::default() })).collect();
    let membership = if nodes.is_empty() {
        StoredMembership::default()
    } else {
        let voters: BTreeSet<u64> = nodes.keys().copied().collect();
        StoredMembership::new(None, Membership::new(vec![voters], nodes))
    };
    let standing = Standing { applied: None, membership };
    let me = Me { node_id: 1, cluster_id: CLUSTER, boot: boot(1, 1, 0xAA) };
    Guard::new(me, wal, Arc::new(Shared::new(State::default(), standing)), Arc::new(boots()))
}

/// Of a fresh directory.
fn boots() -> Boots {
    let identity = NodeIdentity { node_id: 1, cluster_id: CLUSTER.0 };
    let dir = DataDir::open(Arc::new(SimDisk::new(2)), Path::new("/data"), identity).unwrap();
    Boots::new(dir.peers().unwrap())
}

fn boot(incarnation: u8, counter: u64, nonce: u8) -> Boot {
    Boot { incarnation: [incarnation; 16], counter, nonce: [nonce; 16] }
}

fn headers_of(boot: Boot, changes: &[(&'static str, &str)]) -> HeaderMap {
    let (incarnation, tag) = (boot.incarnation_hex(), boot.tag());
    let mut all = vec![(wire::HEADER_INCARNATION, incarnation.as_str()), (wire::HEADER_BOOT, tag.as_str())];
    all.extend(changes);
    headers(&all)
}

fn headers(changes: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let cluster = CLUSTER.to_string();
    let usual = [
        (wire::HEADER_PROTOCOL, wire::PROTOCOL),
        (wire::HEADER_CLUSTER, cluster.as_str()),
        (wire::HEADER_FROM, "2"),
        (wire::HEADER_TO, "1"),
        (wire::HEADER_INCARNATION, INCARNATION),
        (wire::HEADER_BOOT, BOOT),
        (wire::HEADER_SEQUENCE, "5"),
    ];
    for (name, value) in usual.iter().chain(changes) {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn entry(term: u64, node: u64, index: u64, payload: EntryPayload<crate::typ::TypeConfig>) -> Entry {
    Entry { log_id: LogId::new(CommittedLeaderId::new(term, node), index), payload }
}

fn proposal(at: u64) -> EntryPayload<crate::typ::TypeConfig> {
    let batch = CommandBatch { proposed_at_ms: at, checkpoint: None, commands: vec![Command::RenewPolicy] };
    EntryPayload::Normal(Proposal(Arc::new(batch)))
}

fn append(leader: (u64, u64), leader_last: Option<LogPosition>, entries: Vec<Entry>) -> wire::Append {
    let vote = Vote::new_committed(leader.0, leader.1);
    let request = AppendRequest { vote, prev_log_id: None, entries, leader_commit: None };
    wire::Append { leader_last, request }
}

#[test]
fn foreign_callers_are_told_why() {
    let guard = guard(&[(1, "node1"), (2, "node2")], &[]);
    let admitted = guard.admit("node2", &headers(&[]), wire::VOTE).unwrap();
    assert_eq!(admitted, Admitted { node: 2, boot: boot(2, 3, 0xBB), sequence: 5 });
    let table = [
        (headers(&[(wire::HEADER_PROTOCOL, "1")]), "node2", "peer protocol 1 is not spoken here"),
        (headers(&[(wire::HEADER_CLUSTER, "0x00")]), "node2", "the caller to 0x00"),
        (headers(&[(wire::HEADER_TO, "3")]), "node2", "this is node 1, not node 3"),
        (headers(&[(wire::HEADER_FROM, "1")]), "node1", "two nodes have the id 1"),
        (headers(&[(wire::HEADER_FROM, "9")]), "node9", "node 9 is not a member"),
        (headers(&[]), "node3", "the certificate names node3, but node 2 is node2"),
        (headers(&[(wire::HEADER_SEQUENCE, "x")]), "node2", "x-consigner-sequence"),
        (headers(&[(wire::HEADER_BOOT, "bb")]), "node2", "x-consigner-boot"),
        (headers(&[(wire::HEADER_INCARNATION, "02")]), "node2", "x-consigner-boot"),
        (HeaderMap::new(), "node2", "x-consigner-protocol"),
    ];
    for (headers, name, expected) in table {
        let refusal = guard.admit(name, &headers, wire::VOTE).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{refusal:?} does not say {expected:?}");
    }
}

#[test]
fn before_a_membership_is_known_any_peer_certificate_may_bring_it() {
    assert!(guard(&[], &[]).admit("whoever", &headers(&[]), wire::APPEND).is_ok());
}

/// Two of a membership; node 2 was admitted with the disk of the usual caller.
fn guard_of_two() -> Guard {
    let guard = guard(&[(1, "node1"), (2, "node2")], &[]);
    guard.admit("node2", &headers(&[]), wire::VOTE).unwrap();
    guard
}

#[test]
fn another_disk_an_older_start_and_a_copy_are_refused_on_every_path_for_good() {
    let guard = guard_of_two();
    let table = [
        (boot(9, 3, 0xBB), "another disk", "wiped or exchanged"),
        (boot(9, 4, 0xCC), "another disk, whatever it counts", "wiped or exchanged"),
        (boot(2, 2, 0xAA), "an older start", "start 2 of node 2 comes after start 3"),
        (boot(2, 2, 0xBB), "an older start", "start 2 of node 2 comes after start 3"),
        (boot(2, 3, 0xBC), "a second nonce for one counter", "two starts of node 2 have the number 3"),
    ];
    for (boot, what, says) in table {
        for path in [wire::APPEND, wire::VOTE, wire::SNAPSHOT, wire::PRE_VOTE, wire::PING, wire::HELLO, wire::WHO] {
            let refusal = guard.admit("node2", &headers_of(boot, &[]), path).unwrap_err();
            assert!(refusal.to_string().contains(says), "{what}: {refusal}");
            assert!(refusal.to_string().contains("consigner cluster replace --id 2"), "{what}: {refusal}");
            assert_eq!(refusal.status(), StatusCode::GONE, "{what} on {path}");
            assert!(!refusal.is_our_end());
        }
    }
    assert!(guard.admit("node2", &headers(&[]), wire::APPEND).is_ok(), "the one that was let in stays");
}

#[test]
fn a_later_start_only_says_hello_until_it_was_let_in() {
    let guard = guard_of_two();
    let later = headers_of(boot(2, 4, 0xCC), &[]);
    for path in [wire::APPEND, wire::VOTE, wire::SNAPSHOT, wire::PRE_VOTE, wire::ELECT, wire::PING, wire::PROPOSE] {
        let refusal = guard.admit("node2", &later, path).unwrap_err();
        assert_eq!(refusal.status(), StatusCode::TOO_EARLY, "{path}: {refusal}");
    }
    for path in [wire::HELLO, wire::WHO, wire::STATUS, wire::IDENTIFY] {
        assert!(guard.admit("node2", &later, path).is_ok(), "{path}");
    }
    assert!(guard.admit("node2", &headers(&[]), wire::APPEND).is_ok(), "nothing has taken its place yet");
    guard.boots.let_in(2, &boot(2, 4, 0xCC), "").unwrap();
    assert!(guard.admit("node2", &later, wire::APPEND).is_ok());
    let thawed = guard.admit("node2", &headers(&[]), wire::APPEND).unwrap_err();
    assert_eq!(thawed.status(), StatusCode::GONE, "a process that slept: {thawed}");
}

#[test]
fn the_membership_says_which_disk_counts() {
    let boots = boots();
    let (here, there) = (boot(2, 1, 1), boot(3, 1, 1));
    let admitted = here.incarnation_hex();
    assert!(
        matches!(boots.check(2, &there, &admitted), Err(BootRefusal::Wiped { node: 2, .. })),
        "before any was seen"
    );
    boots.check(2, &here, &admitted).unwrap();
    assert_eq!(boots.judge(2, &here, &admitted).unwrap(), Known::Same);
    assert!(matches!(boots.check(2, &there, &admitted), Err(BootRefusal::Wiped { .. })));
    // A membership from before there were incarnations takes the first that comes, and then no other.
    assert!(matches!(boots.check(2, &there, ""), Err(BootRefusal::Wiped { .. })));
}

#[test]
fn of_two_copies_that_start_together_one_is_let_in() {
    let boots = boots();
    boots.check(2, &boot(2, 1, 1), "").unwrap();
    let (one, other) = (boot(2, 2, 7), boot(2, 2, 8));
    assert_eq!((boots.judge(2, &one, "").unwrap(), boots.judge(2, &other, "").unwrap()), (Known::Newer, Known::Newer));
    boots.let_in(2, &one, "").unwrap();
    assert!(matches!(boots.let_in(2, &other, ""), Err(BootRefusal::Copied { node: 2, counter: 2 })));
    boots.let_in(2, &one, "").unwrap();
}

#[test]
fn what_others_know_is_learned_where_it_is_newer() {
    let boots = boots();
    boots.check(2, &boot(2, 5, 1), "").unwrap();
    boots.learn([(2, boot(2, 4, 9)), (3, boot(3, 1, 1))]).unwrap();
    assert_eq!(boots.judge(2, &boot(2, 5, 1), "").unwrap(), Known::Same, "older news");
    assert_eq!(boots.judge(3, &boot(3, 1, 1), "").unwrap(), Known::Same);
    boots.learn([(2, boot(2, 5, 9)), (2, boot(8, 9, 9))]).unwrap();
    assert_eq!(boots.judge(2, &boot(2, 5, 1), "").unwrap(), Known::Same, "a copy and another disk are no news");
    boots.learn([(2, boot(2, 6, 1))]).unwrap();
    assert!(matches!(boots.judge(2, &boot(2, 5, 1), ""), Err(BootRefusal::Older { told: 5, known: 6, .. })));
}

#[test]
fn a_node_that_is_meant_by_another_disk_stops() {
    let fresh = guard(&[], &[]);
    let other = headers(&[(wire::HEADER_TO_INCARNATION, INCARNATION)]);
    let refusal = fresh.admit("node2", &other, wire::APPEND).unwrap_err();
    assert!(refusal.is_our_end() && refusal.to_string().contains("consigner cluster replace --id 1"), "{refusal}");
    let mine = boot(1, 1, 0xAA).incarnation_hex();
    assert!(fresh.admit("node2", &headers(&[(wire::HEADER_TO_INCARNATION, &mine)]), wire::APPEND).is_ok());
}

#[test]
fn a_voter_that_knows_only_itself_stops_when_a_leader_calls() {
    let alone = guard(&[(1, "node1")], &[]);
    for path in [wire::VOTE, wire::PRE_VOTE, wire::HELLO, wire::PING] {
        let refusal = alone.admit("node2", &headers(&[]), path).unwrap_err();
        assert!(matches!(refusal, Refusal::NotMember(2)), "a removed member may not know it yet: {path}: {refusal}");
    }
    for path in [wire::APPEND, wire::SNAPSHOT] {
        let refusal = alone.admit("node2", &headers(&[]), path).unwrap_err();
        assert!(refusal.is_our_end() && refusal.to_string().contains("before the cluster grew"), "{refusal}");
    }
    let three = guard(&[(1, "node1"), (3, "node3")], &[]);
    assert!(!three.admit("node2", &headers(&[]), wire::APPEND).unwrap_err().is_our_end());
}

#[test]
fn whom_a_member_names_may_call_under_its_own_name() {
    let three = guard(&[(1, "node1"), (3, "node3")], &[]);
    assert!(matches!(three.admit("node2", &headers(&[]), wire::APPEND), Err(Refusal::NotMember(2))));
    let member = Member { name: "node2".to_owned(), ..Member::default() };
    three.learn_members(3, BTreeMap::from([(2, member)]));
    assert!(three.admit("node2", &headers(&[]), wire::APPEND).is_ok());
    assert!(matches!(three.admit("node9", &headers(&[]), wire::APPEND), Err(Refusal::Certificate { .. })));
    three.learn_members(3, BTreeMap::new());
    assert!(three.admit("node2", &headers(&[]), wire::APPEND).is_err(), "its last word counts");
}

#[test]
fn a_leader_that_lost_entries_of_its_own_term_is_not_followed() {
    let held = [entry(3, 2, 0, EntryPayload::Blank), entry(3, 2, 1, proposal(1))];
    let guard = guard(&[], &held);
    let from = guard.admit("node2", &headers(&[]), wire::APPEND).unwrap();
    let at = |index| Some(LogPosition { term: 3, node: 2, index });
    for (leader_last, followed) in [(at(1), true), (at(2), true), (at(0), false), (None, false)] {
        let checked = guard.check_append(from, &append((3, 2), leader_last, Vec::new())).unwrap();
        assert_eq!(checked.is_ok(), followed, "leader's log ends at {leader_last:?}");
    }
    // A leader of another term may lawfully have a shorter log; openraft compares.
    assert!(guard.check_append(from, &append((4, 2), None, Vec::new())).unwrap().is_ok());
}

#[test]
fn an_entry_that_would_be_skipped_must_have_the_same_content() {
    let guard = guard(&[], &[entry(3, 2, 0, EntryPayload::Blank), entry(3, 2, 1, proposal(1))]);
    let from = guard.admit("node2", &headers(&[]), wire::APPEND).unwrap();
    let last = Some(LogPosition { term: 3, node: 2, index: 1 });
    let same = append((3, 2), last, vec![entry(3, 2, 1, proposal(1))]);
    assert!(guard.check_append(from, &same).unwrap().is_ok());
    let other = append((3, 2), last, vec![entry(3, 2, 1, proposal(2))]);
    assert!(matches!(guard.check_append(from, &other), Err(Danger::DifferentEntry(position)) if position.index == 1));
    // Another log id at the same index is a lawful conflict: openraft truncates.
    let conflict = append((4, 2), last, vec![entry(4, 2, 1, proposal(2))]);
    assert!(guard.check_append(from, &conflict).unwrap().is_ok());
}

#[test]
fn an_overtaken_append_is_not_judged_by_where_the_log_ended_then() {
    let guard = guard(&[], &[entry(3, 2, 0, EntryPayload::Blank), entry(3, 2, 1, proposal(1))]);
    let at = |index| Some(LogPosition { term: 3, node: 2, index });
    let newer = guard.admit("node2", &headers(&[(wire::HEADER_SEQUENCE, "9")]), wire::APPEND).unwrap();
    assert!(guard.check_append(newer, &append((3, 2), at(1), Vec::new())).unwrap().is_ok());
    let older = guard.admit("node2", &headers(&[(wire::HEADER_SEQUENCE, "8")]), wire::APPEND).unwrap();
    assert!(guard.check_append(older, &append((3, 2), at(0), Vec::new())).unwrap().is_ok());
    let newest = guard.admit("node2", &headers(&[(wire::HEADER_SEQUENCE, "10")]), wire::APPEND).unwrap();
    assert!(guard.check_append(newest, &append((3, 2), at(0), Vec::new())).unwrap().is_err());
}

#[test]
fn entries_survive_their_encoding() {
    let entry = entry(3, 2, 1, proposal(77));
    let bytes: Bytes = typ::encode_entry(&entry);
    assert_eq!(typ::decode_entry(&typ::position(&entry.log_id), &bytes).unwrap(), entry);
}
