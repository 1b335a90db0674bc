//! Three nodes over real sockets and disks: agreement, forwarding, refusal, failover, restart, snapshots.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod support;

use consigner_raft::{AuthorizeError, Cluster, Leadership, Routing, Timing};
use consigner_rules::message::SignPath;
use consigner_rules::permit::UnslashableType;
use consigner_rules::{Command, Outcome, PublicKey, Root, SigningType};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use support::{DEADLINE, GENESIS, KEY, Lab, attestation, block, copy_dir, request, sign, try_sign, until};

fn refused(result: &Result<Root, AuthorizeError>) -> bool {
    matches!(result, Err(AuthorizeError::Refused { .. }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_signs_repeats_and_refuses_alike() {
    let lab = Lab::up(3, 1_000).await;
    let mut target = 10;
    for first in 1..=3 {
        target += 1;
        assert_eq!(sign(lab.cluster(first), &attestation(5, target, 1)).await, Ok(Root([1; 32])));
        for other in 1..=3 {
            assert_eq!(sign(lab.cluster(other), &attestation(5, target, 1)).await, Ok(Root([1; 32])), "repeat");
            assert!(refused(&sign(lab.cluster(other), &attestation(5, target, 2)).await), "double vote");
            assert!(refused(&sign(lab.cluster(other), &attestation(4, target + 1, 1)).await), "surround");
        }
    }
    assert_eq!(sign(lab.cluster(2), &block(100, 7)).await, Ok(Root([7; 32])));
    assert!(refused(&sign(lab.cluster(3), &block(100, 8)).await), "double proposal");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_conflicting_requests_at_once_to_all_nodes_one_wins() {
    let lab = Lab::up(3, 1_000).await;
    for target in 1..=20 {
        let mut tries = tokio::task::JoinSet::new();
        for root in 1..=9_u8 {
            let cluster = lab.cluster(u64::from(root % 3) + 1).clone();
            tries.spawn(async move { sign(&cluster, &attestation(0, target, root)).await });
        }
        let results = tries.join_all().await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "target {target}: {results:?}");
        assert!(results.iter().all(|result| result.is_ok() || refused(result)), "target {target}: {results:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_leader_is_replaced_and_forgets_nothing() {
    let mut lab = Lab::up(3, 1_000).await;
    for round in 1..=3_u64 {
        let leader = lab.leader().await;
        assert!(sign(lab.cluster(leader), &attestation(round, round * 10, 1)).await.is_ok());
        lab.stop(leader).await;
        let began = Instant::now();
        let survivor = *lab.nodes.keys().next().unwrap();
        assert!(refused(&sign(lab.cluster(survivor), &attestation(round, round * 10, 2)).await), "round {round}");
        assert!(sign(lab.cluster(survivor), &attestation(round, round * 10 + 1, 1)).await.is_ok());
        println!("round {round}: signing again after {:?}", began.elapsed());
        lab.start(leader).await;
        assert!(refused(&sign(lab.cluster(leader), &attestation(round, round * 10 + 1, 3)).await), "restarted node");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_nothing_slashable_is_signed() {
    let mut lab = Lab::up(3, 1_000).await;
    let leader = lab.leader().await;
    assert!(sign(lab.cluster(leader), &attestation(1, 2, 1)).await.is_ok());
    for id in [1, 2, 3].into_iter().filter(|id| *id != leader) {
        lab.stop(id).await;
    }
    let result = try_sign(lab.cluster(leader), &attestation(2, 3, 1)).await;
    assert!(matches!(result, Err(AuthorizeError::Unavailable { .. })), "{result:?}");
    until("the lease to run out", || lab.cluster(leader).ready().is_err()).await;
    let randao = request(SignPath::Local(UnslashableType::RandaoReveal), SigningType::RandaoReveal, 1);
    let result = try_sign(lab.cluster(leader), &randao).await;
    assert!(matches!(result, Err(AuthorizeError::Unavailable { .. })), "unslashable needs a lease: {result:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_of_all_the_newest_root_repeats_and_others_are_refused() {
    let mut lab = Lab::up(3, 1_000).await;
    assert!(sign(lab.cluster(1), &attestation(1, 50, 1)).await.is_ok());
    assert!(sign(lab.cluster(2), &block(1_600, 2)).await.is_ok());
    for id in 1..=3 {
        lab.stop(id).await;
    }
    for id in 1..=3 {
        lab.start(id).await;
    }
    assert!(refused(&sign(lab.cluster(3), &attestation(1, 50, 9)).await));
    assert_eq!(sign(lab.cluster(1), &attestation(1, 50, 1)).await, Ok(Root([1; 32])));
    assert!(refused(&sign(lab.cluster(2), &block(1_600, 3)).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_behind_the_purged_log_catches_up_by_snapshot() {
    let mut lab = Lab::steady(3, 200).await;
    let leader = lab.leader().await;
    let behind = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
    lab.stop(behind).await;
    // A disk that is warned of is no reason to go without the rows.
    lab.disks.insert(behind, support::disk_at(Arc::new(AtomicU64::new(90))));
    // Far enough that the log behind the snapshot (1,000 entries are kept) is purged.
    for target in 1..=1_800 {
        assert!(sign(lab.cluster(leader), &attestation(0, target, 1)).await.is_ok());
    }
    let covered = || lab.cluster(leader).status().snapshot_index.is_some_and(|index| index > 1_400);
    until("a snapshot of most of it", covered).await;
    lab.start(behind).await;
    lab.cluster(behind).barrier(DEADLINE).await.unwrap();
    // The leader may apply one thing more between two looks: positions are noted, rules raised.
    let standing = |id: u64| {
        let status = lab.cluster(id).status();
        (status.applied_index, status.digest)
    };
    until("one applied index and one digest", || standing(behind) == standing(leader)).await;
    assert!(refused(&sign(lab.cluster(behind), &attestation(0, 1_800, 2)).await));
    // What the snapshot stands for left no rows there: they come from the members.
    assert_eq!(lab.cluster(leader).recorded_since().unwrap(), 0);
    until("its rows", || lab.cluster(behind).recorded_since().unwrap() == 0).await;
    let rows = |id: u64| lab.cluster(id).recorded_after(0, 10_000).unwrap();
    assert!(rows(leader).len() >= 1_800);
    assert_eq!(rows(behind), rows(leader), "each once, in order");
    assert!(lab.nodes.values().all(|node| node.fatal.lock().unwrap().is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_redirects_only_to_a_leader_that_lives() {
    let mut lab = Lab::up(3, 1_000).await;
    let (leader, follower) = until_redirected(&lab).await;
    lab.stop(leader).await;
    // From here on nobody vouches for it: half a lease has passed since it answered last.
    tokio::time::sleep(Timing::default().lease / 2 + Duration::from_millis(25)).await;
    // The election is on: never a redirect to the dead, but an answer by the new leader.
    let began = Instant::now();
    loop {
        match ask_for_the_leader(lab.cluster(follower), 1_000_000).await {
            // Agreed by the new leader: here, or there while this node does not vouch for it yet.
            Ok(()) => {
                let follows = lab.cluster(follower).leadership();
                return assert!(!matches!(follows, Leadership::Other { id, .. } if id == leader));
            }
            Err(AuthorizeError::Redirect { api_url }) => return assert_ne!(api_url, api_url_of(leader)),
            Err(AuthorizeError::Unavailable { .. }) if began.elapsed() < DEADLINE => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn api_url_of(id: u64) -> String {
    format!("https://127.0.0.1:{id}")
}

async fn ask_for_the_leader(cluster: &Cluster, target: u64) -> Result<(), AuthorizeError> {
    cluster.authorize(&attestation(1, target, 1), "client", Routing::Redirect, &|_| Ok(())).await.map(drop)
}

/// The leader, and a follower that redirected to it just now. One that does not vouch for the leader at the moment asks it
/// instead of redirecting.
async fn until_redirected(lab: &Lab) -> (u64, u64) {
    let (began, mut target) = (Instant::now(), 1);
    loop {
        target += 1;
        assert!(began.elapsed() < DEADLINE, "never redirected");
        let leader = lab.leader().await;
        let follower = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
        match ask_for_the_leader(lab.cluster(follower), target).await {
            Err(AuthorizeError::Redirect { api_url }) if api_url == api_url_of(leader) => return (leader, follower),
            Err(AuthorizeError::Redirect { api_url }) => assert_ne!(api_url, api_url_of(follower), "to itself"),
            Ok(()) | Err(AuthorizeError::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_keys_and_other_chains_are_told_apart() {
    let lab = Lab::up(3, 1_000).await;
    for id in 1..=3 {
        let mut unknown = attestation(1, 2, 1);
        unknown.public_key = PublicKey([2; 48]);
        assert_eq!(sign(lab.cluster(id), &unknown).await, Err(AuthorizeError::UnknownKey(PublicKey([2; 48]))));
        let mut foreign = attestation(1, 2, 1);
        foreign.genesis_validators_root = Some(Root([8; 32]));
        let expected = AuthorizeError::OtherChain { expected: GENESIS, got: Root([8; 32]) };
        assert_eq!(sign(lab.cluster(id), &foreign).await, Err(expected));
    }
    assert_eq!(lab.cluster(1).read(|state| state.validator(&KEY).unwrap().history.attestation), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_data_directory_is_refused_twice_and_under_another_id() {
    let mut lab = Lab::up(3, 1_000).await;
    let Err(error) = lab.try_start(1).await else { panic!("a second process on one directory") };
    assert!(format!("{error:?}").contains("InUse"), "{error:?}");
    lab.stop(1).await;
    lab.stop(2).await;
    std::fs::rename(lab.data_dir(1), lab.data_dir(2).with_extension("kept")).unwrap();
    std::fs::rename(lab.data_dir(2), lab.data_dir(1)).unwrap();
    let Err(error) = lab.try_start(1).await else { panic!("node 2's directory under id 1") };
    assert!(format!("{error:?}").contains("OtherNode"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_stop_of_the_leader_hands_over_and_closes_cleanly() {
    let mut lab = Lab::up(3, 1_000).await;
    let leader = lab.leader().await;
    let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    assert!(sign(lab.cluster(others[0]), &attestation(1, 2, 1)).await.is_ok());
    let stopping = lab.nodes.remove(&leader).unwrap();
    let survivor = lab.cluster(others[0]).clone();
    let signing = tokio::spawn(async move {
        let mut failed = Vec::new();
        for target in 3..=200 {
            if let Err(error) = sign(&survivor, &attestation(1, target, 1)).await {
                failed.push(error);
            }
        }
        failed
    });
    let began = Instant::now();
    stopping.cluster.shutdown(DEADLINE).await;
    assert!(began.elapsed() < DEADLINE, "took {:?}", began.elapsed());
    assert_eq!(signing.await.unwrap(), Vec::new(), "no request fails while the leadership moves");
    drop(stopping);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_leader_leads_only_after_an_election() {
    let mut lab = Lab::up(3, 1_000).await;
    let leader = lab.leader().await;
    let term = lab.cluster(leader).status().term;
    for id in 1..=3 {
        lab.stop(id).await;
    }
    lab.start(leader).await;
    // Before its first report, Raft says term 0.
    until("raft's first report", || lab.cluster(leader).status().term > 0).await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1_500) {
        let status = lab.cluster(leader).status();
        assert_ne!(status.role, consigner_raft::Role::Leader, "leads without having asked anybody");
        assert!(status.term > term, "still in the term that it led");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// DESIGN 7a: a leader whose disk went back in time and that starts before anybody stood for election.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_on_a_rolled_back_disk_signs_nothing_twice() {
    let mut lab = Lab::up(3, 1_000).await;
    let leader = lab.leader().await;
    assert!(sign(lab.cluster(leader), &attestation(0, 10, 1)).await.is_ok());
    let (data, older) = (lab.data_dir(leader), lab.dir.path().join("older"));
    copy_dir(&data, &older);
    for target in 11..=30 {
        assert!(sign(lab.cluster(leader), &attestation(0, target, 1)).await.is_ok());
    }
    lab.stop(leader).await;
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&older, &data).unwrap();
    lab.start(leader).await;
    for target in 11..=30 {
        for id in 1..=3 {
            let rival = attestation(0, target, 2);
            // The rolled-back node may not be let in again ever: it is not asked until it serves.
            let conflicting = if id == leader {
                try_sign(lab.cluster(id), &rival).await
            } else {
                sign(lab.cluster(id), &rival).await
            };
            assert!(conflicting.is_err(), "node {id} signed a second vote for target {target}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_log_was_emptied_beside_its_state_does_not_start() {
    let mut lab = Lab::up(3, 1_000).await;
    assert!(sign(lab.cluster(1), &attestation(0, 10, 1)).await.is_ok());
    lab.stop(3).await;
    let (log, fresh) = (lab.data_dir(3).join("log"), lab.dir.path().join("fresh"));
    let disk = std::sync::Arc::new(consigner_storage::RealDisk);
    std::fs::create_dir(&fresh).unwrap();
    drop(consigner_storage::Wal::open(disk, &fresh, consigner_storage::WalOptions::default()).unwrap());
    std::fs::remove_dir_all(&log).unwrap();
    std::fs::rename(&fresh, &log).unwrap();
    let Err(error) = lab.try_start(3).await else { panic!("started without its log") };
    assert!(
        format!("{error:?}").contains("VoteMissing") || format!("{error:?}").contains("StateAheadOfLog"),
        "{error:?}"
    );
}

/// Commands that are not idempotent show whether anything is applied twice: each raises the policy version by one. An
/// answer may be lost and its command agreed once more; what counts is that a restart changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_applied_twice_after_a_restart() {
    let mut lab = Lab::steady(3, 1_000).await;
    let mut least = 1;
    for round in 1..=3_u64 {
        for _ in 0..5 {
            let outcomes = lab.cluster(1).propose(vec![Command::RenewPolicy], DEADLINE).await.unwrap();
            assert!(matches!(outcomes[..], [Outcome::PolicyRenewed(_)]), "{outcomes:?}");
        }
        let before = policy_version(&lab, 1).await;
        assert!(before >= least + 5, "round {round}: {before} after {least}");
        for id in 1..=3 {
            lab.stop(id).await;
            if round == 2 {
                // As after a crash: the marker of a clean stop is missing, the state is rebuilt from the log.
                std::fs::remove_file(lab.data_dir(id).join("state/clean")).ok();
            }
            lab.start(id).await;
        }
        for id in 1..=3 {
            assert_eq!(policy_version(&lab, id).await, before, "node {id}, round {round}");
        }
        least = before;
    }
}

async fn policy_version(lab: &Lab, id: u64) -> u64 {
    lab.cluster(id).barrier(DEADLINE).await.unwrap();
    lab.cluster(id).read(|state| state.cluster().policy_version)
}

/// An intent that was admitted under an older policy is judged by nobody: it is stale, and admitted anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_change_on_the_way_makes_an_intent_stale_not_lost() {
    let lab = Lab::up(3, 1_000).await;
    let renewing = lab.cluster(1).clone();
    let renew = tokio::spawn(async move {
        for _ in 0..30 {
            renewing.propose(vec![Command::RenewPolicy], DEADLINE).await.unwrap();
        }
    });
    for target in 1..=30 {
        let signed = sign(lab.cluster(target % 3 + 1), &attestation(0, target, 1)).await;
        assert!(signed.is_ok(), "{signed:?}");
    }
    renew.await.unwrap();
    assert!(sign(lab.cluster(2), &attestation(0, 31, 1)).await.is_ok());
}
