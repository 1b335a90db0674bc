#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::backup::{BackupSummary, Maxima, ReadBackupError, read_backup};
use crate::types::Member;
use consigner_rules::command::{
    ClusterIdentity, DataKey, HistoryImport, ImportedAttestation, ImportedBlock, SignIntent,
};
use consigner_rules::primitives::{ClusterId, RequestId};
use consigner_rules::slashing::{AgreedDuty, Ruling};
use consigner_rules::state::Rebirth;
use consigner_rules::{Command, CommandBatch, Network, Outcome, PublicKey, Root, SealedKey, State, codec};
use consigner_storage::LogPosition;
use consigner_storage::backup::encode;
use proptest::prelude::*;
use std::collections::BTreeMap;

const OLD: ClusterId = ClusterId([1; 16]);
const NEW: ClusterId = ClusterId([2; 16]);
const CHAIN: Root = Root([9; 32]);

fn identity(cluster_id: ClusterId) -> ClusterIdentity {
    ClusterIdentity { cluster_id, network: "test".to_owned(), genesis_validators_root: CHAIN }
}

fn apply(state: &mut State, commands: Vec<Command>) -> Vec<Outcome> {
    state.apply(&CommandBatch { proposed_at_ms: 0, checkpoint: None, commands }).outcomes
}

fn key(number: u8) -> PublicKey {
    PublicKey([number; 48])
}

fn sealed(number: u8) -> SealedKey {
    SealedKey { format: 1, public_key: key(number), data_key: [3; 16], nonce: [0; 12], ciphertext: vec![number; 48] }
}

fn data_key() -> DataKey {
    DataKey { id: [3; 16], sealer: "test".to_owned(), wrapped: vec![1] }
}

/// A cluster with four keys.
fn born() -> State {
    let mut state = State::default();
    let import = |number| Command::ImportKey { sealed: sealed(number), history: None, deletions_seen: 0 };
    let mut commands = vec![Command::Initialise(identity(OLD)), Command::AddDataKey(data_key())];
    commands.extend((0..4).map(import));
    apply(&mut state, commands);
    state
}

fn sign(state: &mut State, number: u8, duty: AgreedDuty, root: u8) -> Ruling {
    let intent = SignIntent {
        request_id: RequestId([7; 16]),
        public_key: key(number),
        duty,
        signing_root: Root([root; 32]),
        peer: "vc".to_owned(),
        policy_version: state.cluster().policy_version,
    };
    let outcome = apply(state, vec![Command::Sign(intent)]).remove(0);
    let Outcome::Judged(verdict) = outcome else { panic!("{outcome:?}") };
    verdict.ruling
}

fn source(name: &str, term: u64, index: u64, state: State) -> Source {
    let position = Some(LogPosition { term, node: 1, index });
    let identity = state.identity().unwrap().clone();
    Source { name: name.to_owned(), kind: SourceKind::Backup, identity, position, uncommitted: 0, state }
}

fn summary(state: &State) -> BackupSummary {
    BackupSummary {
        identity: state.identity().unwrap().clone(),
        position: None,
        digest: state.digest(),
        rules_version: state.rules_version(),
        members: BTreeMap::new(),
        node: 1,
        taken_at_ms: 7,
        version: "0.1.0".to_owned(),
        records: state.records().count() as u64,
        keys: state.keys().count() as u64,
        maxima: Maxima::of(state),
    }
}

fn content(summary: &BackupSummary, state: &State) -> Vec<u8> {
    encode(&codec::encode(summary), state.records().map(|record| (record.key, record.value)))
}

#[test]
fn a_backup_that_is_not_what_it_says_is_refused() {
    let mut state = born();
    assert_eq!(sign(&mut state, 1, AgreedDuty::Block { slot: 10 }, 1), Ruling::Safe);
    let good = summary(&state);
    let (read, found) = read_backup(&content(&good, &state)).unwrap();
    assert_eq!((read, found.digest()), (good.clone(), state.digest()));
    let refused = |summary: BackupSummary, state: &State| match read_backup(&content(&summary, state)) {
        Err(ReadBackupError::Mismatch(why)) => why,
        other => panic!("{other:?}"),
    };
    // The newest records are missing: the count and the checksum of the file fit, the state does not.
    let older = born();
    let count = older.records().count() as u64;
    assert!(refused(good.clone(), &older).contains("records instead of"));
    assert!(refused(BackupSummary { records: count, ..good.clone() }, &older).contains("digest"));
    let other = BackupSummary { identity: identity(NEW), ..good.clone() };
    assert!(refused(other, &state).contains("another cluster"));
    let maxima = Maxima { slot: Some(9), ..good.maxima };
    assert!(refused(BackupSummary { maxima, ..good }, &state).contains("slots and epochs"));
}

#[test]
fn the_most_advanced_source_is_the_base_and_a_deleted_key_stays_deleted() {
    let mut newer = born();
    apply(&mut newer, vec![Command::DeleteKey { public_key: key(2), deletions_seen: 0 }]);
    let mut older = born();
    assert_eq!(sign(&mut older, 2, AgreedDuty::Block { slot: 77 }, 1), Ruling::Safe);
    let sources = vec![source("old", 2, 900, older), source("new", 3, 5, newer)];
    let combined = combine(sources, Vec::new()).unwrap();
    assert_eq!((combined.reports[0].name.as_str(), combined.reports[0].base), ("new", true));
    let validator = combined.state.validator(&key(2)).unwrap();
    assert!(validator.key.is_none(), "the newest source says that it was deleted");
    assert_eq!(validator.history.block.unwrap().max_slot, 77, "and the older one what it signed");
    assert_eq!((combined.reports[1].name.as_str(), combined.reports[1].raised), ("old", 1));
    assert_eq!(combined.maxima.slot, Some(77));
}

#[test]
fn the_archive_raises_and_is_named_as_what_it_is() {
    let mut state = born();
    assert_eq!(sign(&mut state, 1, AgreedDuty::Block { slot: 10 }, 1), Ruling::Safe);
    let block = |number, slot| HistoryImport {
        public_key: key(number),
        block: Some(ImportedBlock { slot, signing_root: None }),
        attestation: None,
    };
    let histories = vec![block(1, 9), block(2, 50), block(3, 60)];
    let archive = Records { name: "db/consigner".to_owned(), kind: RecordsKind::Archive, histories };
    let combined = combine(vec![source("backup", 1, 1, state)], vec![archive]).unwrap();
    let report = &combined.reports[1];
    assert_eq!((report.kind, report.base, report.raised, report.maxima.slot), ("archive", false, 2, Some(60)));
    let slot = |number| combined.state.validator(&key(number)).unwrap().history.block.unwrap().max_slot;
    assert_eq!((slot(1), slot(2), slot(3)), (10, 50, 60));
}

#[test]
fn what_two_sources_know_differently_cannot_be_repeated() {
    let (mut one, mut two) = (born(), born());
    let duty = AgreedDuty::Attestation { source_epoch: 4, target_epoch: 5 };
    assert_eq!(sign(&mut one, 1, duty, 1), Ruling::Safe);
    assert_eq!(sign(&mut two, 1, duty, 2), Ruling::Safe);
    let mut combined = combine(vec![source("a", 1, 1, one), source("b", 2, 1, two)], Vec::new()).unwrap().state;
    for root in [1, 2] {
        assert!(matches!(sign(&mut combined, 1, duty, root), Ruling::Refused(_)), "root {root}");
    }
}

#[test]
fn sources_of_another_cluster_or_chain_are_refused() {
    let mut other = State::default();
    apply(&mut other, vec![Command::Initialise(identity(NEW))]);
    let refused = combine(vec![source("a", 1, 1, born()), source("b", 1, 1, other)], Vec::new());
    assert!(matches!(refused, Err(MergeError::OtherCluster { .. })), "{refused:?}");
    let mut other = State::default();
    let identity = ClusterIdentity { genesis_validators_root: Root([8; 32]), ..identity(OLD) };
    apply(&mut other, vec![Command::Initialise(identity)]);
    let refused = combine(vec![source("a", 1, 1, born()), source("b", 1, 1, other)], Vec::new());
    assert!(matches!(refused, Err(MergeError::OtherChain { .. })), "{refused:?}");
    assert!(matches!(combine(Vec::new(), Vec::new()), Err(MergeError::NoSource)));
}

#[test]
fn a_floor_lies_above_the_clock_and_every_source() {
    let network = Network::by_name("mainnet").unwrap().with_genesis_time(1_000);
    let epoch_ms = 32 * 12_000;
    let now = 1_000_000 + 500 * epoch_ms + 1;
    assert_eq!(current_epoch(&network, now), Some(500));
    assert_eq!(current_epoch(&network, 5), Some(0), "before genesis");
    let none = Maxima::default();
    let floor = |at, known: &Maxima| resume_floor(&network, at, now, known);
    let (epoch, least) = floor(ResumeAt::Now, &none).unwrap();
    assert_eq!((epoch, least.slot, least.source, least.target), (502, 502 * 32 - 1, 501, 501));
    assert_eq!(
        floor(ResumeAt::Epoch(501), &none).unwrap_err(),
        FloorError::TooEarly { asked: 501, current: 500, least: 502 }
    );
    for known in [
        Maxima { slot: Some(600 * 32), ..none },
        Maxima { target: Some(600), ..none },
        Maxima { source: Some(600), ..none },
    ] {
        let error = floor(ResumeAt::Now, &known).unwrap_err();
        assert_eq!(error, FloorError::BelowSource { asked: 502, known: 600, least: 601 });
        assert_eq!(
            floor(ResumeAt::Epoch(600), &known).unwrap_err(),
            FloorError::BelowSource { asked: 600, known: 600, least: 601 }
        );
        assert_eq!(floor(ResumeAt::Epoch(601), &known).unwrap().1.slot, 601 * 32 - 1);
    }
    assert_eq!(
        floor(ResumeAt::Epoch(5_020), &none).unwrap_err(),
        FloorError::TooLate { asked: 5_020, least: 502 },
        "a slip of a digit"
    );
    let unknown = Network::by_name("minimal").unwrap();
    assert_eq!(resume_floor(&unknown, ResumeAt::Now, now, &none).unwrap_err(), FloorError::NoGenesisTime);
    assert_eq!("now".parse::<ResumeAt>().unwrap(), ResumeAt::Now);
    assert!("later".parse::<ResumeAt>().is_err());
}

#[test]
fn only_an_empty_place_is_written_to() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let rebirth = Rebirth { identity: identity(NEW), data_keys: vec![data_key()], keys: vec![sealed(1)] };
    let state = born().reborn(rebirth);
    let node = NewNode { node_id: 1, cluster_id: NEW, member: Member::default(), data_dir: data_dir.clone() };
    std::fs::create_dir(&data_dir).unwrap();
    std::fs::write(data_dir.join("notes"), "mine").unwrap();
    assert!(matches!(write(&node, &state), Err(WriteError::NotEmpty { .. })));
    assert_eq!(std::fs::read_dir(&data_dir).unwrap().count(), 1, "nothing was written");
    std::fs::remove_file(data_dir.join("notes")).unwrap();
    std::fs::create_dir(data_dir.join("lost+found")).unwrap();
    write(&node, &state).unwrap();
    let again = write(&node, &state);
    assert!(matches!(again, Err(WriteError::NotEmpty { .. })), "{again:?}");
    let lock = consigner_storage::Disk::lock(&consigner_storage::RealDisk, &data_dir.join("lock")).unwrap();
    assert!(lock.is_some());
    assert!(matches!(check_vacant(&data_dir), Err(WriteError::InUse(_))));
    drop(lock);
    // What was written is what a later restore would read from this node's disk.
    let read = Source::from_survivor(&data_dir).unwrap();
    assert_eq!((read.identity.cluster_id, read.state.digest()), (NEW, state.digest()));
    assert!(read.state.awaiting_floor());
}

/// What one source knows of one validator: block slot, source and target epoch.
type Mark = (Option<u64>, Option<(u64, u64)>);

fn mark() -> impl Strategy<Value = Mark> {
    let votes = (0_u64..12, 0_u64..12).prop_map(|(one, two)| (one.min(two), one.max(two)));
    (proptest::option::of(0_u64..20), proptest::option::of(votes))
}

fn marks() -> impl Strategy<Value = Vec<Mark>> {
    proptest::collection::vec(mark(), 4)
}

/// A source in which half of the marks were signed here and half imported.
fn knowing(marks: &[Mark], term: u64) -> Source {
    let mut state = born();
    for (number, (slot, vote)) in (0_u8..).zip(marks) {
        if number % 2 == 0 {
            if let Some(slot) = *slot {
                sign(&mut state, number, AgreedDuty::Block { slot }, term as u8);
            }
            if let Some((source_epoch, target_epoch)) = *vote {
                sign(&mut state, number, AgreedDuty::Attestation { source_epoch, target_epoch }, term as u8);
            }
        } else {
            apply(&mut state, vec![Command::ImportHistory(import(number, slot, vote))]);
        }
    }
    source(&format!("source {term}"), term, 1, state)
}

fn import(number: u8, slot: &Option<u64>, vote: &Option<(u64, u64)>) -> HistoryImport {
    HistoryImport {
        public_key: key(number),
        block: slot.map(|slot| ImportedBlock { slot, signing_root: None }),
        attestation: vote.map(|(source, target)| ImportedAttestation {
            max_source_epoch: source,
            max_target_epoch: target,
            at_max_target: None,
        }),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// S3: no watermark of the new cluster lies below that of any source, and none is invented.
    #[test]
    fn every_watermark_is_the_greatest_of_all_sources(
        known in proptest::collection::vec(marks(), 1..4),
        foreign in proptest::option::of(marks()),
        order in any::<prop::sample::Index>(),
    ) {
        let mut sources: Vec<Source> = (1..).zip(&known).map(|(term, marks)| knowing(marks, term)).collect();
        let turn = order.index(sources.len());
        sources.rotate_left(turn);
        let interchange = foreign.iter().map(|marks| {
            let histories = (0..).zip(marks).map(|(number, (slot, vote))| import(number, slot, vote)).collect();
            let kind = if turn == 0 { RecordsKind::Interchange } else { RecordsKind::Archive };
            Records { name: "elsewhere".to_owned(), kind, histories }
        });
        let combined = combine(sources, interchange.collect()).unwrap();
        let rebirth = Rebirth { identity: identity(NEW), data_keys: vec![data_key()], keys: (0..4).map(sealed).collect() };
        let state = combined.state.reborn(rebirth);
        for number in 0..4_u8 {
            let all = || known.iter().chain(&foreign).map(|marks| marks[usize::from(number)]);
            let history = state.validator(&key(number)).unwrap().history;
            prop_assert_eq!(history.block.map(|block| block.max_slot), all().filter_map(|(slot, _)| slot).max());
            let votes = history.attestation;
            let (source, target) = (votes.map(|vote| vote.max_source), votes.map(|vote| vote.max_target));
            prop_assert_eq!(source, all().filter_map(|(_, vote)| Some(vote?.0)).max());
            prop_assert_eq!(target, all().filter_map(|(_, vote)| Some(vote?.1)).max());
        }
        prop_assert!(state.awaiting_floor());
        prop_assert_eq!(combined.maxima, Maxima::of(&state));
        let digest = state.recomputed_digest();
        prop_assert_eq!(state.digest(), digest);
    }
}
