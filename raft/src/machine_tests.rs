//! When a node stops rather than applies, and the bytes of entries that old logs hold.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use crate::cluster::OnFatal;
use crate::log_store::LogStore;
use crate::machine::{Machine, MachineParts, Shared, Standing};
use crate::recover::{OpenError, recover};
use crate::typ::{self, Entry, LogId, Proposal, TypeConfig};
use crate::types::Member;
use consigner_rules::command::{Checkpoint, ClusterIdentity};
use consigner_rules::primitives::ClusterId;
use consigner_rules::state::CorruptRecord;
use consigner_rules::{Command, CommandBatch, RULES_VERSION, Root, State, codec};
use consigner_storage::log::{Wal, WalOptions};
use consigner_storage::state::StateWrite;
use consigner_storage::{LogPosition, RealDisk, SnapshotStore, StateStore};
use openraft::storage::{RaftLogReader as _, RaftStateMachine as _};
use openraft::{CommittedLeaderId, EntryPayload, Membership};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::sync::watch;

const CLUSTER: ClusterId = ClusterId([7; 16]);

/// A state machine on a disk of its own, and what it said when it stopped.
struct Bench {
    dir: TempDir,
    shared: Arc<Shared>,
    store: Arc<StateStore>,
    machine: Machine,
    fatal: Arc<Mutex<Vec<String>>>,
}

impl Bench {
    /// A cluster that was initialised at index 1.
    async fn initialised() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["snapshots", "state"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let snapshots = SnapshotStore::open(Arc::new(RealDisk), &dir.path().join("snapshots")).unwrap();
        let (store, _) = StateStore::open(&dir.path().join("state")).unwrap();
        let store = Arc::new(store);
        let fatal: Arc<Mutex<Vec<String>>> = Arc::default();
        let said = Arc::clone(&fatal);
        let on_fatal: OnFatal = Arc::new(move |reason| said.lock().unwrap().push(reason.to_owned()));
        let parts = MachineParts {
            store: Arc::clone(&store),
            snapshots: Arc::new(snapshots),
            durable: watch::channel(None).0,
            writing: Mutex::default(),
            on_keys: Arc::new(|_| {}),
            on_policy: Arc::new(|_| {}),
            on_fatal,
        };
        let shared = Arc::new(Shared::new(State::default(), Standing::default()));
        let machine = Machine::new(Arc::clone(&shared), parts);
        let mut bench = Self { dir, shared, store, machine, fatal };
        let identity =
            ClusterIdentity { cluster_id: CLUSTER, network: "test".to_owned(), genesis_validators_root: Root([1; 32]) };
        assert!(bench.apply(1, None, vec![Command::Initialise(identity)]).await);
        bench
    }

    /// Whether the entry was applied.
    async fn apply(&mut self, index: u64, checkpoint: Option<Checkpoint>, commands: Vec<Command>) -> bool {
        let batch = CommandBatch { proposed_at_ms: 1, checkpoint, commands };
        let payload = EntryPayload::Normal(Proposal(Arc::new(batch)));
        self.machine.apply([Entry { log_id: at(index), payload }]).await.is_ok()
    }

    fn applied(&self) -> (Option<u64>, u32, u64, Root) {
        self.shared.read_standing(|state, standing| {
            let index = standing.applied.map(|applied| applied.index);
            (index, state.rules_version(), state.cluster().policy_version, state.digest())
        })
    }

    fn last_words(&self) -> Vec<String> {
        self.fatal.lock().unwrap().clone()
    }
}

fn at(index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(1, 1), index)
}

#[tokio::test]
async fn a_node_whose_digest_differs_from_the_proposers_stops() {
    let mut bench = Bench::initialised().await;
    let before = bench.applied();
    let same = Some(Checkpoint { index: 1, digest: before.3 });
    assert!(bench.apply(2, same, vec![Command::RenewPolicy]).await);
    // Of an index that is not known any more nothing can be said.
    assert!(bench.apply(3, Some(Checkpoint { index: 0, digest: Root([9; 32]) }), Vec::new()).await);
    assert_eq!(bench.last_words(), Vec::<String>::new());

    let before = bench.applied();
    let other = Some(Checkpoint { index: 2, digest: Root([9; 32]) });
    assert!(!bench.apply(4, other, vec![Command::RenewPolicy]).await, "built upon a state that the proposer has not");
    let words = bench.last_words();
    assert_eq!(words.len(), 1);
    for part in ["is not applied", "differs from the proposer's", "after index 2", &Root([9; 32]).to_string()] {
        assert!(words[0].contains(part), "{part} in {words:?}");
    }
    assert_eq!(bench.applied(), before, "nothing of it was applied");
}

#[tokio::test]
async fn a_node_stops_before_it_applies_rules_that_it_does_not_know() {
    let mut bench = Bench::initialised().await;
    assert!(bench.apply(2, None, vec![Command::RaiseRules { version: RULES_VERSION }]).await);
    let before = bench.applied();
    assert_eq!(before.1, RULES_VERSION);
    let newer = Command::RaiseRules { version: RULES_VERSION + 1 };
    assert!(!bench.apply(3, None, vec![Command::RenewPolicy, newer]).await);
    let words = bench.last_words();
    assert!(words.len() == 1 && words[0].contains("run a newer binary"), "{words:?}");
    assert_eq!(bench.applied(), before, "not even what stood before it in the entry");
    // Nor is it on the disk: a newer binary starts where this one stopped.
    let path = bench.dir.path().join("state");
    drop(bench.machine);
    Arc::try_unwrap(bench.store).ok().unwrap().close().unwrap();
    let (_, opened) = StateStore::open(&path).unwrap();
    let loaded = match opened {
        consigner_storage::Opened::Clean(loaded) => loaded,
        consigner_storage::Opened::Rebuild { reason, .. } => panic!("{reason}"),
    };
    assert_eq!(State::from_records(loaded.records).unwrap().digest(), before.3);
}

/// An entry of a normal proposal with one command that no binary knows yet.
fn unknown_entry() -> Vec<u8> {
    // {"Normal": [1, nil, [{"Levitate": [7]}]]}
    [&[1, 0x81, 0xa6][..], b"Normal", &[0x93, 1, 0xc0, 0x91, 0x81, 0xa8], b"Levitate", &[0x91, 7]].concat()
}

#[tokio::test]
async fn a_log_with_an_unknown_command_says_to_run_a_newer_binary_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let wal = Arc::new(Wal::open(Arc::new(RealDisk), dir.path(), WalOptions::default()).unwrap());
    let position = LogPosition { term: 1, node: 1, index: 0 };
    let (written, durable) = tokio::sync::oneshot::channel();
    let done =
        Box::new(move |result: Result<(), consigner_storage::log::WalError>| written.send(result.is_ok()).unwrap());
    wal.append(vec![(position, unknown_entry().into())], done);
    assert!(durable.await.unwrap());
    let mut log = LogStore::new(Arc::clone(&wal), None);
    let error = log.try_get_log_entries(0..1).await.unwrap_err();
    let said = crate::chain(&error);
    assert!(said.contains("run a newer binary") && said.contains("Levitate"), "{said}");
    assert_eq!(wal.read(0..1, usize::MAX).unwrap(), [(position, unknown_entry().into())]);
}

#[test]
fn a_state_of_newer_rules_is_refused_at_the_start_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node");
    let open = || recover(&path, 1, CLUSTER, WalOptions::default());
    let recovered = open().unwrap();
    let mut state = State::default();
    let identity =
        ClusterIdentity { cluster_id: CLUSTER, network: "test".to_owned(), genesis_validators_root: Root([1; 32]) };
    let commands = vec![Command::Initialise(identity), Command::RaiseRules { version: RULES_VERSION + 1 }];
    let applied = state.apply(&CommandBatch { proposed_at_ms: 1, checkpoint: None, commands });
    let write = StateWrite {
        puts: applied.records.into_iter().map(|record| (record.key, record.value)).collect(),
        meta: codec::encode(&Standing::default()),
        digest: state.digest().0,
        ..StateWrite::default()
    };
    recovered.store.commit(write).unwrap();
    drop(recovered.outbox);
    let store = Arc::try_unwrap(recovered.store).ok().unwrap();
    store.close().unwrap();
    drop((recovered.wal, recovered.dir));
    let names =
        || -> BTreeSet<_> { std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect() };
    let before = names();
    for _ in 0..2 {
        let Err(error) = open() else { panic!("a state of unknown rules was used") };
        let found = RULES_VERSION + 1;
        assert!(matches!(error, OpenError::Record(CorruptRecord::NewerRules { found: is }) if is == found), "{error}");
        assert!(crate::chain(&error).contains("run a newer binary"), "{}", crate::chain(&error));
    }
    assert_eq!(names(), before, "nothing was set aside or rebuilt");
}

/// Logs of format 1 hold these bytes: a rolling upgrade reads and replays them (docs/FORMATS.md).
#[test]
fn entries_of_format_1_are_pinned() {
    let text = |text: &str| format!("{:02x}{}", 0xa0 + text.len(), hex::encode(text));
    let member = |id: u64| Member {
        name: format!("n{id}"),
        peer_addr: "h:1".to_owned(),
        api_url: "u".to_owned(),
        incarnation: String::new(),
    };
    let members: BTreeMap<u64, Member> = (1..=2).map(|id| (id, member(id))).collect();
    let membership = Membership::new(vec![BTreeSet::from([1, 2])], members);
    let encoded = |id: u64| format!("93{}{}{}", text(&format!("n{id}")), text("h:1"), text("u"));
    let batch = CommandBatch { proposed_at_ms: 300, checkpoint: None, commands: vec![Command::RenewPolicy] };
    let cases: [(EntryPayload<TypeConfig>, String); 3] = [
        (EntryPayload::Blank, text("Blank")),
        (
            EntryPayload::Normal(Proposal(Arc::new(batch))),
            format!("81{}93cd012cc091{}", text("Normal"), text("RenewPolicy")),
        ),
        (
            EntryPayload::Membership(membership),
            format!("81{}929192010282{}{}{}{}", text("Membership"), "01", encoded(1), "02", encoded(2)),
        ),
    ];
    for (payload, expected) in cases {
        let entry = Entry { log_id: at(7), payload };
        let expected = format!("01{expected}");
        assert_eq!(hex::encode(typ::encode_entry(&entry)), expected);
        let read = typ::decode_entry(&typ::position(&at(7)), &hex::decode(expected).unwrap()).unwrap();
        assert_eq!(read, entry);
    }
    let standing = Standing { applied: Some(at(7)), ..Standing::default() };
    let expected = "019292920101079".to_owned() + "2c0929080";
    assert_eq!(hex::encode(codec::encode(&standing)), expected);
    assert_eq!(codec::decode::<Standing>(&hex::decode(expected).unwrap()).unwrap(), standing);
}
