//! A complete file holds every record once, and a floor speaks for everybody.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::command::ClusterIdentity;
use crate::primitives::ClusterId;
use crate::slashing::Violation;

const KEY: PublicKey = PublicKey([1; 48]);
const OTHER: PublicKey = PublicKey([2; 48]);
const IDLE: PublicKey = PublicKey([3; 48]);
const GENESIS: Root = Root([9; 32]);
const A: Root = Root([0xaa; 32]);
const FLOOR: Floor = Floor { slot: 50, source: 6, target: 7 };

fn signed(public_key: PublicKey, duty: AgreedDuty) -> Change {
    Change::Signed { public_key, duty, signing_root: A, peer: "vc".to_owned() }
}

fn signed_via(public_key: PublicKey, duty: AgreedDuty) -> Change {
    Change::SignedVia { public_key, duty, signing_root: A, peer: "vc".to_owned(), node: 3 }
}

const fn block(slot: u64) -> AgreedDuty {
    AgreedDuty::Block { slot }
}

const fn vote(source_epoch: u64, target_epoch: u64) -> AgreedDuty {
    AgreedDuty::Attestation { source_epoch, target_epoch }
}

fn blocks(file: &Interchange, public_key: PublicKey) -> Vec<(u64, Option<Root>)> {
    file.validators()[&public_key].blocks.iter().map(|block| (block.slot, block.signing_root)).collect()
}

fn votes(file: &Interchange, public_key: PublicKey) -> Vec<(u64, u64, Option<Root>)> {
    let votes = file.validators()[&public_key].attestations.iter();
    votes.map(|vote| (vote.source_epoch, vote.target_epoch, vote.signing_root)).collect()
}

#[test]
fn every_record_is_there_in_either_form() {
    let mut complete = Complete::new(GENESIS);
    let changes =
        [signed(KEY, block(5)), signed_via(KEY, block(6)), signed(KEY, vote(1, 2)), signed_via(KEY, vote(2, 3))];
    assert_eq!(changes.iter().map(|change| complete.add(change)).sum::<usize>(), 4);
    let file = complete.finish(None);
    assert_eq!(blocks(&file, KEY), [(5, Some(A)), (6, Some(A))]);
    assert_eq!(votes(&file, KEY), [(1, 2, Some(A)), (2, 3, Some(A))]);
    assert_eq!(file.genesis_validators_root(), &GENESIS);
}

#[test]
fn what_is_no_signature_is_no_record() {
    let identity =
        ClusterIdentity { cluster_id: ClusterId([7; 16]), network: "net".to_owned(), genesis_validators_root: GENESIS };
    let (duty, violation) = (block(5), Violation::DoubleBlock { slot: 5 });
    let (public_key, signing_root, peer) = (KEY, A, "vc".to_owned());
    let exit = AgreedDuty::VoluntaryExit { epoch: 1, validator_index: 2 };
    let changes = [
        Change::ClusterInitialised(identity),
        Change::Refused { public_key, duty, signing_root, peer: peer.clone(), violation },
        Change::RefusedVia { public_key, duty, signing_root, peer, violation, node: 3 },
        Change::KeyAdded(KEY),
        Change::KeyRemoved(KEY),
        Change::PolicyRenewed(2),
        signed(KEY, exit),
        signed_via(KEY, exit),
    ];
    let mut complete = Complete::new(GENESIS);
    assert_eq!(changes.iter().map(|change| complete.add(change)).sum::<usize>(), 0);
    assert!(complete.finish(None).validators().is_empty());
}

#[test]
fn imports_and_baselines_are_their_maxima() {
    let block = Some(ImportedBlock { slot: 9, signing_root: Some(A) });
    let import = HistoryImport { public_key: KEY, block, attestation: None };
    let maxima = ImportedAttestation { max_source_epoch: 3, max_target_epoch: 4, at_max_target: None };
    let baseline = HistoryImport { public_key: OTHER, block: None, attestation: Some(maxima) };
    let mut complete = Complete::new(GENESIS);
    assert_eq!((complete.add(&Change::HistoryMerged(import)), complete.add_history(&baseline)), (1, 1));
    let file = complete.finish(None);
    assert_eq!((blocks(&file, KEY), votes(&file, OTHER)), (vec![(9, Some(A))], vec![(3, 4, None)]));
}

#[test]
fn a_floor_speaks_for_whoever_was_named_before_it_or_after_it() {
    let mut complete = Complete::new(GENESIS);
    for change in [signed(KEY, block(5)), Change::KeyAdded(IDLE), Change::Resumed(FLOOR), signed_via(OTHER, block(60))]
    {
        complete.add(&change);
    }
    let file = complete.finish(None);
    assert_eq!(blocks(&file, KEY), [(5, Some(A)), (50, None)]);
    assert_eq!(blocks(&file, OTHER), [(60, Some(A)), (50, None)]);
    for public_key in [KEY, OTHER, IDLE] {
        assert_eq!(votes(&file, public_key), [(6, 7, None)]);
    }
    assert_eq!(blocks(&file, IDLE), [(50, None)]);
}

/// A cluster that was restored twice has two floors; what either covers must stay covered.
#[test]
fn of_several_floors_the_maxima_hold() {
    let mut complete = Complete::new(GENESIS);
    for floor in [FLOOR, Floor { slot: 40, source: 8, target: 9 }] {
        complete.add(&Change::Resumed(floor));
    }
    complete.add(&signed(KEY, block(5)));
    let file = complete.finish(None);
    assert_eq!((blocks(&file, KEY)[1], votes(&file, KEY)), ((50, None), vec![(8, 9, None)]));
}

#[test]
fn only_the_chosen_validators_are_in_the_file() {
    let mut complete = Complete::new(GENESIS);
    for change in [signed(KEY, block(5)), signed(OTHER, block(6)), Change::Resumed(FLOOR)] {
        complete.add(&change);
    }
    let file = complete.finish(Some(&[OTHER, IDLE].into()));
    assert_eq!(file.validators().keys().collect::<Vec<_>>(), [&OTHER]);
}
