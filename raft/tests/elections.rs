//! Leadership moves, on purpose and without it; a leader that is alone serves nobody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_raft::{AuthorizeError, Election, HandOverError, Leadership, Role, Timing};
use consigner_rules::Root;
use std::time::Duration;
use support::{DEADLINE, Lab, attestation, sign, try_sign, until};

/// Moves leadership to `to`. On a busy machine a successor may be late, and the third node be elected meanwhile: then it
/// is asked, too.
async fn moved(lab: &Lab, to: u64) -> bool {
    for _ in 0..20 {
        let from = lab.leader().await;
        if from == to {
            return true;
        }
        match lab.cluster(from).hand_over(Some(to), DEADLINE).await {
            Ok(_) | Err(HandOverError::NotLeader | HandOverError::InProgress) => {}
            // The connection between the two has just dropped.
            Err(HandOverError::Refused) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(error @ (HandOverError::NotAVoter(_) | HandOverError::NobodyElse | HandOverError::Late)) => {
                panic!("{error:?}")
            }
        }
    }
    false
}

/// What whoever leads answers to this wish.
async fn refused(lab: &Lab, to: impl Fn(u64) -> Option<u64>) -> (u64, HandOverError) {
    loop {
        let leader = lab.leader().await;
        let refusal = lab.cluster(leader).hand_over(to(leader), DEADLINE).await.unwrap_err();
        if refusal != HandOverError::NotLeader {
            return (leader, refusal);
        }
    }
}

/// A request waits for a leader as long as a loaded machine may take to elect one: that it is answered is asserted here,
/// not how soon.
fn patient(election: Election) -> Timing {
    Timing { leader_wait: DEADLINE, election, ..Timing::default() }
}

async fn patient_lab(nodes: u64, election: Election) -> Lab {
    let mut lab = Lab::new(nodes, 1_000);
    lab.timing = patient(election);
    lab.found().await;
    lab
}

async fn moves_without_a_failed_request(lab: &Lab) {
    let term = lab.cluster(1).status().term;
    let from = lab.leader().await;
    let to = *lab.nodes.keys().find(|id| **id != from).unwrap();
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
    assert!(moved(lab, to).await, "node {to} leads after a few tries");
    assert_eq!(signing.await.unwrap(), Vec::<AuthorizeError>::new(), "no request fails while the leadership moves");
    assert!(lab.cluster(to).status().term > term);
    // Who handed over takes part as before, and may lead again.
    assert_eq!(sign(lab.cluster(from), &attestation(1, 151, 1)).await, Ok(Root([1; 32])));
    assert!(moved(lab, from).await, "node {from} leads after a few tries");
    assert_eq!(sign(lab.cluster(to), &attestation(1, 152, 1)).await, Ok(Root([1; 32])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_to_the_wanted_node_and_back() {
    let lab = patient_lab(3, Election::Driver).await;
    moves_without_a_failed_request(&lab).await;
    assert_eq!(refused(&lab, |_| Some(9)).await.1, HandOverError::NotAVoter(9));
    let (leader, refusal) = refused(&lab, Some).await;
    assert_eq!(refusal, HandOverError::NotAVoter(leader));
    // Whoever can hand over was elected meanwhile.
    let mut answers = Vec::new();
    while !answers.contains(&Err(HandOverError::NotLeader)) {
        assert!(answers.len() < 20, "{answers:?}");
        let follower = lab.follower().await;
        answers.push(lab.cluster(follower).hand_over(None, DEADLINE).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_five_nodes_a_third_voter_agrees_in_time() {
    let lab = patient_lab(5, Election::Driver).await;
    moves_without_a_failed_request(&lab).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_own_timers_do_it_too() {
    let mut lab = patient_lab(3, Election::Builtin).await;
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

/// Stops all but the leader. If another one was elected before that, everybody comes back and it is tried again.
async fn cut_off_the_leader(lab: &mut Lab) -> (u64, Vec<u64>) {
    for _ in 0..10 {
        let leader = lab.leader().await;
        assert!(sign(lab.cluster(leader), &attestation(1, 2, 1)).await.is_ok());
        let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
        for id in &others {
            lab.stop(*id).await;
        }
        if lab.cluster(leader).status().role == Role::Leader {
            return (leader, others);
        }
        for id in &others {
            lab.start(*id).await;
        }
    }
    panic!("no leader stays one until the others are stopped");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_a_quorum_is_not_ready_and_leads_on_when_it_is_back() {
    let mut lab = Lab::up(3, 1_000).await;
    let (leader, others) = cut_off_the_leader(&mut lab).await;
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
