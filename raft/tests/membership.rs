//! Who belongs to a cluster, changed while it signs, over real sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_raft::{
    AddMember, AuthorizeError, Cluster, MembershipChange, MembershipError, MembershipRefusal, join_token_hash,
};
use consigner_rules::Command;
use consigner_rules::command::JoinToken;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{DEADLINE, Lab, attestation, sign, until};

fn refusal<T: std::fmt::Debug>(answer: Result<T, MembershipError>) -> MembershipRefusal {
    match answer {
        Err(MembershipError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// Voters and learners by the word of a node.
fn members(lab: &Lab, node: u64) -> (Vec<u64>, Vec<u64>) {
    let status = lab.cluster(node).status();
    (status.voters, status.learners)
}

async fn equal_digests(lab: &Lab, nodes: &[u64]) {
    until("one applied index and one digest", || {
        let standings: Vec<_> = nodes.iter().map(|node| lab.cluster(*node).status()).collect();
        standings
            .iter()
            .all(|one| (one.applied_index, &one.digest) == (standings[0].applied_index, &standings[0].digest))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_grows_to_five_and_shrinks_to_three_while_it_signs() {
    let mut lab = Lab::steady(1, 20).await;
    let made = {
        let new = lab.newcomer(2, true).await;
        lab.cluster(1).add_member(new).await.unwrap()
    };
    assert_eq!((made.voters, made.leader), (vec![1, 2], 1));
    assert!(made.warnings.iter().any(|warning| warning.starts_with("2 voters")), "{:?}", made.warnings);
    let new = lab.newcomer(3, true).await;
    // A follower passes it on.
    let made = lab.cluster(2).add_member(new).await.unwrap();
    assert_eq!(made.voters, [1, 2, 3]);
    assert!(!made.warnings.iter().any(|warning| warning.contains("voters")), "{:?}", made.warnings);

    let (stop, signer) = (Arc::new(AtomicBool::new(false)), lab.cluster(3).clone());
    let stopped = Arc::clone(&stop);
    let signing = tokio::spawn(async move {
        let mut target = 0;
        while !stopped.load(Ordering::Relaxed) {
            target += 1;
            sign(&signer, &attestation(0, target, 1)).await.unwrap();
        }
        target
    });
    for id in [4, 5] {
        let new = lab.newcomer(id, true).await;
        lab.cluster(1).add_member(new).await.unwrap();
    }
    let first = lab.leader().await;
    // The leader goes, whoever it is, by its own word if it is not the one that signs.
    let asked = if first == 3 { 4 } else { first };
    let gone = if first == 3 { 1 } else { first };
    assert!(!lab.cluster(asked).remove_member(gone).await.unwrap().voters.contains(&gone));
    lab.stop(gone).await;
    let next = *lab.nodes.keys().find(|id| **id != 3).unwrap();
    assert_eq!(lab.cluster(3).remove_member(next).await.unwrap().voters.len(), 3);
    lab.stop(next).await;
    stop.store(true, Ordering::Relaxed);
    let target = signing.await.unwrap();
    assert!(target > 0);

    let left: Vec<u64> = lab.nodes.keys().copied().collect();
    until("node 3 to know who is left", || members(&lab, 3) == (left.clone(), vec![])).await;
    for id in &left {
        assert_eq!(lab.nodes[id].fatal(), "", "node {id}");
        let double = sign(lab.cluster(*id), &attestation(0, target, 2)).await;
        assert!(matches!(double, Err(AuthorizeError::Refused { .. })), "node {id}: {double:?}");
    }
    equal_digests(&lab, &left).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_fresh_node_of_that_id_with_its_own_token_is_taken_in() {
    let mut lab = Lab::steady(1, 10_000).await;
    let one = lab.cluster(1).clone();
    let duplicate = AddMember { node: 1, ..lab.stranger(2, None).await };
    assert!(matches!(refusal(one.add_member(duplicate.clone()).await), MembershipRefusal::IsMember { node: 1, .. }));
    let zero = AddMember { node: 0, ..duplicate.clone() };
    assert_eq!(refusal(one.add_member(zero).await), MembershipRefusal::IdZero);
    let other = AddMember { node: 7, ..duplicate.clone() };
    let refused = refusal(one.add_member(other).await);
    assert!(matches!(refused, MembershipRefusal::OtherIdentity { node: 7, .. }), "{refused}");
    assert!(refused.to_string().contains("node 2"), "who it is, is told: {refused}");
    let nobody = AddMember { node: 7, peer_addr: "127.0.0.1:9".to_owned(), ..duplicate.clone() };
    assert!(matches!(one.add_member(nobody).await, Err(MembershipError::Silent { node: 7, .. })));
    let elsewhere = AddMember { node: 2, api_url: "https://127.0.0.1:99".to_owned(), ..duplicate };
    assert!(matches!(refusal(one.add_member(elsewhere).await), MembershipRefusal::Configured { node: 2, .. }));

    let plain = |id: u64| AddMember { node: id, ..lab_member(id) };
    let new = lab.stranger(2, None).await;
    assert_eq!(refusal(one.add_member(new).await), MembershipRefusal::NoToken { node: 2 });
    let new = lab.stranger(2, Some(join_token_hash("cjt_made_up"))).await;
    assert_eq!(refusal(one.add_member(new).await), MembershipRefusal::TokenUnknown { node: 2 });
    let of_three = one.join_token_create(3, Duration::from_secs(600)).await.unwrap();
    let new = lab.stranger(2, Some(join_token_hash(&of_three.text))).await;
    assert_eq!(refusal(one.add_member(new).await), MembershipRefusal::TokenOfOther { node: 2, owner: 3 });
    let hash = join_token_hash("cjt_old");
    let old = JoinToken { id: [9; 8], node: 2, hash, created_ms: 1, expires_ms: 2 };
    one.propose(vec![Command::AddJoinToken(old)], DEADLINE).await.unwrap();
    let new = lab.stranger(2, Some(hash)).await;
    assert_eq!(refusal(one.add_member(new).await), MembershipRefusal::TokenExpired { node: 2 });
    let taken_back = one.join_token_create(2, Duration::from_secs(600)).await.unwrap();
    assert!(one.join_token_revoke(taken_back.id).await.unwrap());
    assert!(!one.join_token_revoke(taken_back.id).await.unwrap(), "only once");
    let new = lab.stranger(2, Some(join_token_hash(&taken_back.text))).await;
    assert_eq!(refusal(one.add_member(new).await), MembershipRefusal::TokenUnknown { node: 2 });
    for lifetime in [1, 8 * 24 * 3600] {
        let made = one.join_token_create(2, Duration::from_secs(lifetime)).await.map(|_| ());
        assert!(matches!(refusal(made), MembershipRefusal::TokenLifetime { .. }));
    }
    assert_eq!(members(&lab, 1), (vec![1], vec![]), "nothing of it changed anything");
    assert!(one.read(|state| state.node_record(2).is_none()));

    let made = one.join_token_create(2, Duration::from_secs(600)).await.unwrap();
    let used = join_token_hash(&made.text);
    let new = lab.stranger(2, Some(used)).await;
    assert_eq!(one.add_member(new).await.unwrap().voters, [1, 2]);
    let new = lab.stranger(4, Some(used)).await;
    assert_eq!(refusal(one.add_member(new).await), MembershipRefusal::TokenUnknown { node: 4 }, "used");
    one.remove_member(2).await.unwrap();
    let again = one.join_token_create(2, Duration::from_secs(600)).await.map(|_| ());
    assert_eq!(refusal(again), MembershipRefusal::IdUsed { node: 2 });
    assert_eq!(refusal(one.add_member(plain(2)).await), MembershipRefusal::IdUsed { node: 2 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_certificate_bears_another_name_is_not_taken_in() {
    let mut lab = Lab::steady(1, 10_000).await;
    let one = lab.cluster(1).clone();
    let _right = lab.newcomer(2, true).await;
    let token = join_token_hash(&one.join_token_create(2, Duration::from_secs(600)).await.unwrap().text);
    lab.issue_as(2, "somebody");
    let new = lab.stranger(2, Some(token)).await;
    let refused = refusal(one.add_member(new).await);
    assert!(matches!(refused, MembershipRefusal::OtherIdentity { node: 2, .. }), "{refused}");
    assert!(refused.to_string().contains("names somebody, but its node.name is node2"), "{refused}");
    assert_eq!(members(&lab, 1), (vec![1], vec![]), "nothing changed");
    assert!(one.read(|state| state.node_record(2).is_none()), "nor is its token or its id used up");

    lab.issue_as(2, "node2");
    let new = lab.stranger(2, Some(token)).await;
    assert_eq!(one.add_member(new).await.unwrap().voters, [1, 2]);
}

fn lab_member(node: u64) -> AddMember {
    let peer_addr = "127.0.0.1:9".to_owned();
    AddMember { node, peer_addr, api_url: String::new(), catch_up: DEADLINE, promote: true }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_that_never_catches_up_goes_again_and_meanwhile_nothing_else_changes() {
    let mut lab = Lab::steady(1, 10_000).await;
    let new = AddMember { catch_up: Duration::from_secs(8), ..lab.newcomer(2, true).await };
    let one = lab.cluster(1).clone();
    let adding = tokio::spawn({
        let one = one.clone();
        async move { one.add_member(new).await }
    });
    // As soon as it has said who it is: before two looks, a second apart, can find it level.
    until("its admission", || one.read(|state| state.node_record(2).is_some())).await;
    lab.deafen(2).await;
    until("the learner", || members(&lab, 1).1 == [2]).await;
    assert_eq!(one.remove_member(2).await, Err(MembershipError::Busy));
    let ended = adding.await.unwrap();
    let Err(MembershipError::NotLevel { node: 2, committed, ref then, .. }) = ended else { panic!("{ended:?}") };
    assert!(committed > 0 && then.contains("removed again"), "{then}");
    assert_eq!(members(&lab, 1), (vec![1], vec![]));
    assert!(one.read(|state| state.node_record(2).unwrap().retired));
    assert!(sign(&one, &attestation(0, 1, 1)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_lose_the_quorum_is_refused() {
    let mut lab = Lab::steady(3, 10_000).await;
    let leader = lab.leader().await;
    let [alive, dead]: [u64; 2] =
        lab.nodes.keys().copied().filter(|id| *id != leader).collect::<Vec<_>>().try_into().unwrap();
    lab.stop(dead).await;
    let at_leader = lab.cluster(leader).clone();
    let refused = refusal(lab.cluster(alive).remove_member(alive).await);
    assert!(matches!(refused, MembershipRefusal::QuorumLost { needed: 2, .. }), "{refused}");
    assert!(refused.to_string().contains(&format!("node {dead} is down")), "{refused}");
    let refused = refusal(at_leader.remove_member(leader).await);
    assert!(matches!(refused, MembershipRefusal::QuorumLost { .. }), "the leader asks before it hands over: {refused}");
    assert_eq!(lab.leader().await, leader);
    assert_eq!(refusal(at_leader.remove_member(9).await).to_string(), "node 9 is not a member; members are 1, 2, 3");

    let made: MembershipChange = at_leader.remove_member(dead).await.unwrap();
    assert_eq!(made.voters.len(), 2);
    assert!(made.warnings.iter().any(|warning| warning.starts_with("2 voters")), "{:?}", made.warnings);
    assert_eq!(at_leader.remove_member(alive).await.unwrap().voters, [leader]);
    assert_eq!(refusal(at_leader.remove_member(leader).await), MembershipRefusal::LastVoter { node: leader });
    assert!(sign(&at_leader, &attestation(0, 1, 1)).await.is_ok());
}

/// Moves the leadership. A loaded machine may need longer than an operator is made to wait: then it is asked again.
async fn transferred(asked: &Cluster, to: Option<u64>, is_right: impl Fn(u64) -> bool) {
    let mut answers = Vec::new();
    while answers.len() < 10 {
        match asked.transfer_leadership(to).await {
            Ok(made) if is_right(made.leader) => return,
            answer @ (Ok(_) | Err(MembershipError::HandOver(_))) => answers.push(answer),
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("{answers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_node_is_replaced_and_leadership_is_moved() {
    let mut lab = Lab::steady(3, 10_000).await;
    // They rise while every member is there; under the first rules there are no join tokens.
    until("the rules", || lab.cluster(1).read(|state| state.rules_version()) >= 2).await;
    let dead = lab.follower().await;
    lab.stop(dead).await;
    let new = lab.newcomer(4, true).await;
    let follower = lab.nodes.keys().copied().find(|id| *id != 4).unwrap();
    let unknown = refusal(lab.cluster(follower).replace_member(9, new.clone()).await);
    assert!(matches!(unknown, MembershipRefusal::NotMember { node: 9, .. }));
    let made = lab.cluster(follower).replace_member(dead, new).await.unwrap();
    assert!(made.voters.contains(&4) && !made.voters.contains(&dead), "{made:?}");
    assert_eq!(made.voters.len(), 3, "never an even number: {made:?}");
    let retired = || lab.cluster(4).read(|state| state.node_record(dead).is_some_and(|record| record.retired));
    until("the id is used up on every node", retired).await;

    let learner = lab.newcomer(5, false).await;
    let made = lab.cluster(4).add_member(learner).await.unwrap();
    assert_eq!(made.learners, [5]);
    assert_eq!(refusal(lab.cluster(4).transfer_leadership(Some(5)).await), MembershipRefusal::NotVoter { node: 5 });
    let from = lab.leader().await;
    let to = *lab.nodes.keys().find(|id| **id != from && **id != 5).unwrap();
    transferred(lab.cluster(4), Some(to), |leader| leader == to).await;
    until("the new leader", || lab.cluster(4).status().leader == Some(to)).await;
    assert_eq!(lab.cluster(to).transfer_leadership(Some(to)).await.unwrap().leader, to, "it leads already");
    transferred(lab.cluster(to), None, |leader| leader != to).await;
    let made = lab.cluster(4).promote(5, DEADLINE).await.unwrap();
    assert_eq!((made.voters.len(), made.learners.len()), (4, 0));
    assert!(matches!(refusal(lab.cluster(4).promote(5, DEADLINE).await), MembershipRefusal::IsMember { node: 5, .. }));
    assert!(sign(lab.cluster(4), &attestation(0, 1, 1)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_away_follows_a_leader_that_joined_meanwhile() {
    let mut lab = Lab::steady(3, 10_000).await;
    until("the rules", || lab.cluster(1).read(|state| state.rules_version()) >= 2).await;
    let away = lab.follower().await;
    lab.stop(away).await;
    let new = lab.newcomer(4, true).await;
    let leader = lab.leader().await;
    assert_eq!(lab.cluster(leader).add_member(new).await.unwrap().voters, [1, 2, 3, 4]);
    transferred(lab.cluster(leader), Some(4), |leader| leader == 4).await;
    assert!(sign(lab.cluster(4), &attestation(0, 1, 1)).await.is_ok());
    // It knows of node 4 only what the others tell.
    lab.start(away).await;
    until("it follows", || members(&lab, away).0 == [1, 2, 3, 4] && lab.cluster(away).status().leader == Some(4)).await;
    let nodes: Vec<u64> = lab.nodes.keys().copied().collect();
    equal_digests(&lab, &nodes).await;
}
