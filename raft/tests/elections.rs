//! Leadership moves, on purpose and without it; a leader that is alone serves nobody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_raft::{AuthorizeError, Election, HandOverError, Leadership, Timing};
use consigner_rules::Root;
use support::{DEADLINE, Lab, attestation, sign, try_sign, until};

/// Moves leadership to `to`. On a busy machine a successor may be late, and the third node be elected meanwhile: then it
/// is asked, too.
async fn moved(lab: &Lab, to: u64) -> bool {
    for _ in 0..5 {
        let from = lab.leader().await;
        if from == to {
            return true;
        }
        match lab.cluster(from).hand_over(Some(to), DEADLINE).await {
            Ok(leader) if leader == to => return true,
            Ok(_) | Err(HandOverError::NotLeader) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    false
}

async fn moves_without_a_failed_request(lab: &Lab) {
    let from = lab.leader().await;
    let to = lab.follower().await;
    let term = lab.cluster(from).status().term;
    let other = lab.cluster(*lab.nodes.keys().find(|id| **id != from && **id != to).unwrap()).clone();
    let signing = tokio::spawn(async move {
        let mut failed = Vec::new();
        for target in 3..=150 {
            if let Err(error) = try_sign(&other, &attestation(1, target, 1)).await {
                failed.push(error);
            }
        }
        failed
    });
    assert!(moved(lab, to).await, "node {to} leads after a try or two");
    assert_eq!(signing.await.unwrap(), Vec::<AuthorizeError>::new(), "no request fails while the leadership moves");
    until("the successor to serve", || lab.cluster(to).leadership() == Leadership::This).await;
    assert!(lab.cluster(to).status().term > term);
    // Who handed over takes part as before, and may lead again.
    assert_eq!(sign(lab.cluster(from), &attestation(1, 151, 1)).await, Ok(Root([1; 32])));
    assert!(moved(lab, from).await, "node {from} leads after a try or two");
    assert_eq!(sign(lab.cluster(to), &attestation(1, 152, 1)).await, Ok(Root([1; 32])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_to_the_wanted_node_and_back() {
    let lab = Lab::up(3, 1_000).await;
    moves_without_a_failed_request(&lab).await;
    let (leader, follower) = (lab.leader().await, lab.follower().await);
    assert_eq!(lab.cluster(leader).hand_over(Some(9), DEADLINE).await, Err(HandOverError::NotAVoter(9)));
    assert_eq!(lab.cluster(leader).hand_over(Some(leader), DEADLINE).await, Err(HandOverError::NotAVoter(leader)));
    assert_eq!(lab.cluster(follower).hand_over(None, DEADLINE).await, Err(HandOverError::NotLeader));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_five_nodes_a_third_voter_agrees_in_time() {
    let lab = Lab::up(5, 1_000).await;
    moves_without_a_failed_request(&lab).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_own_timers_do_it_too() {
    let timing = Timing { election: Election::Builtin, ..Timing::default() };
    let mut lab = Lab::new(3, 1_000);
    lab.timing = timing;
    lab.found().await;
    moves_without_a_failed_request(&lab).await;
    let leader = lab.leader().await;
    lab.stop(leader).await;
    let survivor = *lab.nodes.keys().next().unwrap();
    assert_eq!(sign(lab.cluster(survivor), &attestation(1, 200, 1)).await, Ok(Root([1; 32])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_voter_has_nobody_to_hand_over_to() {
    let lab = Lab::up(1, 1_000).await;
    assert_eq!(lab.cluster(1).hand_over(None, DEADLINE).await, Err(HandOverError::NobodyElse));
    assert_eq!(sign(lab.cluster(1), &attestation(1, 2, 1)).await, Ok(Root([1; 32])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_quorum_is_not_ready_and_leads_on_when_it_is_back() {
    let mut lab = Lab::up(3, 1_000).await;
    let leader = lab.leader().await;
    assert!(sign(lab.cluster(leader), &attestation(1, 2, 1)).await.is_ok());
    let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    for id in &others {
        lab.stop(*id).await;
    }
    let alone = lab.cluster(leader).clone();
    until("the leader to notice that it is alone", || {
        alone.leadership() == Leadership::Unknown
            && alone.ready().is_err_and(|error| error.reason.contains("no quorum has answered"))
    })
    .await;
    assert!(matches!(try_sign(&alone, &attestation(1, 3, 1)).await, Err(AuthorizeError::Unavailable { .. })));
    lab.start(others[0]).await;
    assert_eq!(sign(&alone, &attestation(1, 4, 1)).await, Ok(Root([1; 32])));
    until("the leader, whoever it is, to have a quorum", || {
        lab.nodes.values().all(|node| node.cluster.ready().is_ok())
    })
    .await;
}
