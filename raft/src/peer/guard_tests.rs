#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::machine::Standing;
use crate::typ::{Entry, Proposal, StoredMembership, Vote};
use crate::types::Member;
use bytes::Bytes;
use consigner_rules::primitives::ClusterId;
use consigner_rules::{Command, CommandBatch, State};
use consigner_storage::{Boot, SimDisk};
use consigner_storage::log::WalOptions;
use http::{HeaderName, HeaderValue};
use openraft::{CommittedLeaderId, EntryPayload, LogId, Membership};
use std::collections::BTreeSet;
use std::path::Path;

const CLUSTER: ClusterId = ClusterId([7; 16]);

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
    let me = Me { node_id: 1, cluster_id: CLUSTER, boot: Boot { incarnation: [1; 16], counter: 1, nonce: [0xAA; 16] } };
    Guard::new(me, wal, Arc::new(Shared::new(State::default(), standing)))
}

fn headers(changes: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let cluster = CLUSTER.to_string();
    let usual = [
        (wire::HEADER_PROTOCOL, wire::PROTOCOL),
        (wire::HEADER_CLUSTER, cluster.as_str()),
        (wire::HEADER_FROM, "2"),
        (wire::HEADER_TO, "1"),
        (wire::HEADER_BOOT, "bb"),
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
    assert_eq!(guard.admit("node2", &headers(&[])), Ok(Admitted { node: 2, sequence: 5 }));
    let table = [
        (headers(&[(wire::HEADER_PROTOCOL, "1")]), "node2", "peer protocol 1 is not spoken here"),
        (headers(&[(wire::HEADER_CLUSTER, "0x00")]), "node2", "the caller to 0x00"),
        (headers(&[(wire::HEADER_TO, "3")]), "node2", "this is node 1, not node 3"),
        (headers(&[(wire::HEADER_FROM, "1")]), "node1", "two nodes have the id 1"),
        (headers(&[(wire::HEADER_FROM, "9")]), "node9", "node 9 is not a member"),
        (headers(&[]), "node3", "the certificate names node3, but node 2 is node2"),
        (headers(&[(wire::HEADER_SEQUENCE, "x")]), "node2", "x-consigner-sequence"),
        (HeaderMap::new(), "node2", "x-consigner-protocol"),
    ];
    for (headers, name, expected) in table {
        let refusal = guard.admit(name, &headers).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{refusal:?} does not say {expected:?}");
    }
}

#[test]
fn before_a_membership_is_known_any_peer_certificate_may_bring_it() {
    assert!(guard(&[], &[]).admit("whoever", &headers(&[])).is_ok());
}

#[test]
fn two_processes_of_one_id_do_not_both_get_in() {
    let guard = guard(&[], &[]);
    assert!(guard.admit("node2", &headers(&[])).is_ok());
    let other = headers(&[(wire::HEADER_BOOT, "cc")]);
    assert!(matches!(guard.admit("node2", &other), Err(Refusal::TwoProcesses { node: 2, .. })));
    assert!(guard.admit("node2", &headers(&[])).is_ok(), "the first stays");
}

#[test]
fn a_leader_that_lost_entries_of_its_own_term_is_not_followed() {
    let held = [entry(3, 2, 0, EntryPayload::Blank), entry(3, 2, 1, proposal(1))];
    let guard = guard(&[], &held);
    let from = guard.admit("node2", &headers(&[])).unwrap();
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
    let from = guard.admit("node2", &headers(&[])).unwrap();
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
    let newer = guard.admit("node2", &headers(&[(wire::HEADER_SEQUENCE, "9")])).unwrap();
    assert!(guard.check_append(newer, &append((3, 2), at(1), Vec::new())).unwrap().is_ok());
    let older = guard.admit("node2", &headers(&[(wire::HEADER_SEQUENCE, "8")])).unwrap();
    assert!(guard.check_append(older, &append((3, 2), at(0), Vec::new())).unwrap().is_ok());
    let newest = guard.admit("node2", &headers(&[(wire::HEADER_SEQUENCE, "10")])).unwrap();
    assert!(guard.check_append(newest, &append((3, 2), at(0), Vec::new())).unwrap().is_err());
}

#[test]
fn entries_survive_their_encoding() {
    let entry = entry(3, 2, 1, proposal(77));
    let bytes: Bytes = typ::encode_entry(&entry);
    assert_eq!(typ::decode_entry(&typ::position(&entry.log_id), &bytes).unwrap(), entry);
}
