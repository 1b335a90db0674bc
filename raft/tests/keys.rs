//! Keys on three nodes: deleted everywhere at once, sealed anew on a live cluster, and never without their history.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod support;

use consigner_raft::{AuthorizeError, Release, Timing};
use consigner_rules::command::{DataKey, HistoryImport, ImportedBlock, KeyDeletion, ResealedKey};
use consigner_rules::message::SignPath;
use consigner_rules::permit::UnslashableType;
use consigner_rules::{Command, Outcome, PublicKey, Root, SignRequest, SigningType};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::mirror::Held;
use support::{DEADLINE, KEY, Lab, attestation, block, import, request, sealed, sign};

const OTHER: PublicKey = PublicKey([2; 48]);

async fn propose(lab: &Lab, id: u64, command: Command) -> Outcome {
    lab.cluster(id).propose(vec![command], DEADLINE).await.unwrap().remove(0)
}

async fn delete(lab: &Lab, id: u64, public_key: PublicKey) {
    let deleted = Outcome::KeyDeleted { public_key, status: KeyDeletion::Deleted };
    let outcome = propose(lab, id, Command::DeleteKey { public_key, deletions_seen: u64::MAX }).await;
    // An answer may be lost and the command agreed twice.
    let again = Outcome::KeyDeleted { public_key, status: KeyDeletion::NotActive };
    assert!(outcome == deleted || outcome == again, "{outcome:?}");
}

fn randao() -> SignRequest {
    request(SignPath::Local(UnslashableType::RandaoReveal), SigningType::RandaoReveal, 1)
}

fn unknown<T>(public_key: PublicKey) -> Result<T, AuthorizeError> {
    Err(AuthorizeError::UnknownKey(public_key))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_deleted_through_a_follower_is_unknown_to_every_node() {
    let lab = Lab::steady(3, 1_000).await;
    assert!(sign(lab.cluster(1), &block(100, 1)).await.is_ok());
    lab.all_settled(1, &[1, 2, 3]).await;
    for id in 1..=3 {
        assert!(lab.mirror(id).holds(&KEY), "node {id}");
        assert_eq!(lab.cluster(id).may_release(&KEY, DEADLINE, &|_| Ok(())).await.unwrap(), Release::Yes, "node {id}");
    }
    let follower = lab.follower().await;
    delete(&lab, follower, KEY).await;
    for id in 1..=3 {
        // A node that has not applied it yet asks the leader, whose answer is the same.
        assert_eq!(sign(lab.cluster(id), &block(101, 1)).await, unknown(KEY), "node {id}");
    }
    let settlement = lab.cluster(follower).settle_strictly(DEADLINE).await.unwrap();
    assert_eq!((settlement.settled, settlement.unreached), (vec![1, 2, 3], vec![]));
    for id in 1..=3 {
        assert!(!lab.mirror(id).holds(&KEY), "node {id}");
        assert_eq!(sign(lab.cluster(id), &randao()).await, unknown(KEY), "node {id}");
        assert_eq!(
            lab.cluster(id).may_release(&KEY, DEADLINE, &|_| Ok(())).await.unwrap(),
            Release::KeyGone,
            "node {id}"
        );
        assert_eq!(
            lab.cluster(id).status().applied_index.max(settlement.index),
            lab.cluster(id).status().applied_index
        );
    }
}

/// S6: clients sign through all nodes while the key is deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_left_before_a_deletion_is_exported_and_nothing_leaves_after_it() {
    let lab = Lab::up(3, 1_000).await;
    let gone = Arc::new(AtomicBool::new(false));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..12_u64 {
        let (cluster, gone) = (lab.cluster(client % 3 + 1).clone(), Arc::clone(&gone));
        clients.spawn(async move {
            let mut newest = 0;
            for target in (1..).map(|step| step * 12 + client) {
                let after = gone.load(Ordering::SeqCst);
                match sign(&cluster, &attestation(0, target, 1)).await {
                    Ok(_) => {
                        assert!(!after, "signed after the acknowledgement");
                        newest = target;
                    }
                    Err(AuthorizeError::UnknownKey(_)) if after => return newest,
                    Err(AuthorizeError::UnknownKey(_) | AuthorizeError::Refused { .. }) => {}
                    Err(error) => println!("{error}"),
                }
            }
            newest
        });
    }
    let signed = || lab.cluster(1).read(|state| state.validator(&KEY).and_then(|known| known.history.attestation));
    support::until("some signatures", || signed().is_some_and(|mark| mark.max_target > 100)).await;
    delete(&lab, 1, KEY).await;
    lab.cluster(1).settle_strictly(DEADLINE).await.unwrap();
    let exported = lab.cluster(1).read(|state| state.histories_of(&[KEY].into()).next()).unwrap();
    gone.store(true, Ordering::SeqCst);
    let newest = clients.join_all().await.into_iter().max().unwrap();
    assert!(newest > 0 && newest <= exported.attestation.unwrap().max_target_epoch, "{newest} {exported:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_down_is_named_and_waited_for_until_its_lease_has_run_out() {
    let mut lab = Lab::up(3, 1_000).await;
    let down = lab.follower().await;
    lab.stop(down).await;
    let up: Vec<u64> = lab.nodes.keys().copied().collect();
    let imported = propose(&lab, up[0], import(OTHER)).await;
    assert!(matches!(imported, Outcome::KeyImported { public_key: OTHER, .. }), "{imported:?}");
    let began = Instant::now();
    // Who is late with an answer, as on a loaded machine, is named as unreached, too: then it is asked again.
    loop {
        let settlement = lab.cluster(up[0]).settle(DEADLINE).await.unwrap();
        assert!(settlement.unreached.contains(&down), "{settlement:?}");
        if settlement.settled == up {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{settlement:?}");
    }
    delete(&lab, up[1], KEY).await;
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        let settlement = lab.cluster(up[1]).settle_strictly(DEADLINE).await.unwrap();
        assert!(asked.elapsed() >= Timing::default().lease * 2, "took {:?}", asked.elapsed());
        assert!(settlement.unreached.contains(&down), "{settlement:?}");
        if settlement.settled == up {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{settlement:?}");
    }
    lab.start(down).await;
    // It may take a while until it is let in.
    lab.all_settled(up[0], &[1, 2, 3]).await;
    assert!(!lab.mirror(down).holds(&KEY) && lab.mirror(down).holds(&OTHER));
    assert_eq!(sign(lab.cluster(down), &randao()).await, unknown(KEY));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_answers_but_does_not_settle_is_named() {
    let lab = Lab::up(3, 1_000).await;
    lab.all_settled(1, &[1, 2, 3]).await;
    lab.mirror(2).hold();
    delete(&lab, 1, KEY).await;
    for strictly in [false, true] {
        // Long against two leases, after which a member that gives no answer would be left out.
        let reason = unsettled(&lab, 1, strictly, 2, Duration::from_secs(4)).await;
        assert!(!reason.contains("node1"), "{reason}");
    }
    lab.mirror(2).release();
    lab.all_settled(3, &[1, 2, 3]).await;
    // The node that asks must settle, too.
    lab.mirror(3).hold();
    unsettled(&lab, 3, false, 3, Duration::from_secs(2)).await;
}

/// Why the cluster does not settle: one node does not, and no other is named. On a loaded machine an answer may be so late
/// that a member counts as unreached, or none be asked in time: then it is asked again. It is never said to have settled.
async fn unsettled(lab: &Lab, asked: u64, strictly: bool, who: u64, deadline: Duration) -> String {
    let began = Instant::now();
    loop {
        let cluster = lab.cluster(asked);
        let settled = if strictly { cluster.settle_strictly(deadline).await } else { cluster.settle(deadline).await };
        let said = format!("{settled:?}");
        match settled {
            Ok(settlement) => assert!(!settlement.settled.contains(&who), "{said}"),
            Err(unavailable) => {
                let names = |id: u64| unavailable.reason.contains(&format!("node {id} (node{id})"));
                if names(who) && (1..=3).all(|id| id == who || !names(id)) {
                    return unavailable.reason;
                }
            }
        }
        assert!(began.elapsed() < DEADLINE, "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_callers_than_a_member_lets_wait_all_settle_in_the_end() {
    let lab = Lab::steady(3, 1_000).await;
    lab.mirror(2).hold();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let cluster = lab.cluster(1).clone();
        callers.spawn(async move { cluster.settle(DEADLINE).await });
    }
    tokio::task::yield_now().await;
    assert!(callers.try_join_next().is_none());
    lab.mirror(2).release();
    for settlement in callers.join_all().await {
        assert_eq!(settlement.unwrap().settled, [1, 2, 3]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_installed_over_a_deletion_takes_the_key_away() {
    let mut lab = Lab::steady(3, 200).await;
    propose(&lab, 1, import(OTHER)).await;
    lab.all_settled(1, &[1, 2, 3]).await;
    let behind = lab.follower().await;
    assert!(lab.mirror(behind).holds(&OTHER));
    lab.stop(behind).await;
    let leader = lab.leader().await;
    delete(&lab, leader, OTHER).await;
    // Far enough that the log behind the snapshot (1,000 entries are kept) is purged.
    for target in 1..=1_800 {
        assert!(sign(lab.cluster(leader), &attestation(0, target, 1)).await.is_ok());
    }
    let covered = || lab.cluster(leader).status().snapshot_index.is_some_and(|index| index > 1_400);
    support::until("a snapshot of most of it", covered).await;
    lab.start(behind).await;
    lab.cluster(behind).barrier(DEADLINE).await.unwrap();
    let held = lab.mirror(behind).held();
    assert_eq!(held.keys.keys().collect::<Vec<_>>(), [&KEY]);
    assert!(held.replaced >= 2, "once at the start, and by the snapshot: {}", held.replaced);
    assert!(lab.nodes.values().all(|node| node.fatal.lock().unwrap().is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_sealed_anew_on_a_live_cluster_stay_so_after_a_restart_of_all() {
    let mut lab = Lab::steady(3, 1_000).await;
    propose(&lab, 1, import(OTHER)).await;
    let data_key = DataKey { id: [4; 16], sealer: "other".to_owned(), wrapped: vec![4; 40] };
    assert_eq!(propose(&lab, 2, Command::AddDataKey(data_key)).await, Outcome::DataKeyHeld);
    let resealed = |key| ResealedKey { from: [3; 16], sealed: sealed(key, 4) };
    let in_use = propose(&lab, 2, Command::RemoveDataKey([3; 16])).await;
    assert!(matches!(in_use, Outcome::Rejected(_)), "{in_use:?}");
    propose(&lab, 3, Command::Reseal(vec![resealed(KEY), resealed(OTHER)])).await;
    propose(&lab, 2, Command::RemoveDataKey([3; 16])).await;
    delete(&lab, 1, OTHER).await;
    assert!(sign(lab.cluster(3), &block(100, 1)).await.is_ok());
    lab.all_settled(1, &[1, 2, 3]).await;
    let expected = |replaced| Held { keys: [(KEY, [4; 16])].into(), data_keys: [[4; 16]].into(), replaced };
    for id in 1..=3 {
        assert_eq!(lab.mirror(id).held(), expected(1), "node {id}");
    }
    for id in 1..=3 {
        lab.stop(id).await;
    }
    // As after a crash: the marker of a clean stop is missing (a stop in a hurry may leave none), the state is rebuilt
    // from the log.
    std::fs::remove_file(lab.data_dir(2).join("state/clean")).ok();
    for id in 1..=3 {
        lab.start(id).await;
    }
    lab.all_settled(1, &[1, 2, 3]).await;
    for id in 1..=3 {
        assert_eq!(lab.mirror(id).held(), expected(1), "node {id}");
        assert_eq!(sign(lab.cluster(id), &block(100, 1)).await, Ok(Root([1; 32])));
    }
    // Each pair from one look: something may be applied between two.
    let standings: BTreeSet<_> =
        (1..=3).map(|id| lab.cluster(id).status()).map(|status| (status.applied_index, status.digest)).collect();
    let indexes: BTreeSet<_> = standings.iter().map(|(applied, _)| applied).collect();
    assert_eq!(indexes.len(), standings.len(), "{standings:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_key_that_comes_back_with_an_older_history_signs_nothing_below_its_watermark() {
    let lab = Lab::up(3, 1_000).await;
    assert!(sign(lab.cluster(1), &block(100, 1)).await.is_ok());
    delete(&lab, 2, KEY).await;
    let again = Outcome::KeyDeleted { public_key: KEY, status: KeyDeletion::NotActive };
    assert_eq!(propose(&lab, 3, Command::DeleteKey { public_key: KEY, deletions_seen: u64::MAX }).await, again);
    let history = |slot, root| HistoryImport {
        public_key: KEY,
        block: Some(ImportedBlock { slot, signing_root: Some(Root([root; 32])) }),
        attestation: None,
    };
    for id in 1..=3 {
        lab.cluster(id).barrier(DEADLINE).await.unwrap();
        let exported: Vec<_> = lab.cluster(id).read(|state| state.histories_of(&[KEY].into()).collect());
        assert_eq!(exported, [history(100, 1)], "node {id}");
    }
    let back = Command::ImportKey { sealed: sealed(KEY, 3), history: Some(history(50, 9)), deletions_seen: u64::MAX };
    let imported = propose(&lab, 1, back).await;
    assert!(matches!(imported, Outcome::KeyImported { public_key: KEY, .. }), "{imported:?}");
    for id in 1..=3 {
        for (slot, root) in [(50, 9), (99, 1), (100, 2)] {
            let asked = sign(lab.cluster(id), &block(slot, root)).await;
            assert!(matches!(asked, Err(AuthorizeError::Refused { .. })), "node {id}, slot {slot}: {asked:?}");
        }
        assert!(sign(lab.cluster(id), &block(100 + id, 1)).await.is_ok());
    }
}

/// S6: a deletion that could not reach this node counts on this.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_leaves_a_node_that_is_cut_off_once_its_lease_has_run_out() {
    let mut lab = Lab::up(3, 1_000).await;
    let alone = lab.follower().await;
    lab.cluster(alone).barrier(DEADLINE).await.unwrap();
    assert_eq!(lab.cluster(alone).may_release(&KEY, DEADLINE, &|_| Ok(())).await.unwrap(), Release::Yes);
    for id in (1..=3).filter(|id| *id != alone) {
        lab.stop(id).await;
    }
    support::until("the lease to run out", || lab.cluster(alone).ready().is_err()).await;
    assert!(lab.cluster(alone).read(|state| state.validator(&KEY).is_some()), "it still holds the key");
    let asked = lab.cluster(alone).may_release(&KEY, Duration::from_millis(50), &|_| Ok(())).await;
    assert!(asked.is_err(), "{asked:?}");
    assert!(lab.cluster(alone).settle_strictly(Duration::from_millis(50)).await.is_err(), "no quorum, no barrier");
}
