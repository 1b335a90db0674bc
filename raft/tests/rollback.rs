//! Disks that were wiped, rolled back or copied, over real sockets: who started with one takes no part (S5, DESIGN 9).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_raft::{AcceptRestartError, AuthorizeError, Leadership, OpenError, Role};
use consigner_storage::{DataDir, NodeIdentity, RealDisk};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::{CLUSTER, DEADLINE, Lab, Node, attestation, copy_dir, sign, try_sign, until};

/// Signs attestations with these targets at a node.
async fn sign_targets(lab: &Lab, at: u64, targets: std::ops::RangeInclusive<u64>) {
    for target in targets {
        assert!(sign(lab.cluster(at), &attestation(0, target, 1)).await.is_ok(), "target {target}");
    }
}

/// A copy of a node's directory as it is now, beside it. The node may run: a copy of a running disk is what the
/// unlucky make.
fn image(lab: &Lab, id: u64, name: &str) -> PathBuf {
    let copy = lab.dir.path().join(name);
    copy_dir(&lab.data_dir(id), &copy);
    copy
}

fn put_back(lab: &Lab, id: u64, image: &Path) {
    std::fs::remove_dir_all(lab.data_dir(id)).unwrap();
    copy_dir(image, &lab.data_dir(id));
}

/// The node stops and says how to go on; the others do not notice, and do not count it.
async fn is_expelled(lab: &Lab, id: u64, says: &str) {
    until("the node to be told", || !lab.nodes[&id].fatal().is_empty()).await;
    let fatal = lab.nodes[&id].fatal();
    assert!(fatal.contains(says), "{fatal:?} does not say {says:?}");
    assert!(fatal.contains(&format!("consigner cluster replace --id {id}")), "{fatal}");
    assert!(lab.cluster(id).entry_waits_for().is_some() && lab.cluster(id).ready().is_err());
    assert!(matches!(lab.cluster(id).accept_restart(), Err(AcceptRestartError::Refused(_))), "no override");
    for (other, node) in lab.nodes.iter().filter(|(other, _)| **other != id) {
        assert_eq!(node.fatal(), "", "node {other}");
    }
}

/// With one more node down, the expelled one makes no quorum.
async fn makes_no_quorum(lab: &mut Lab, id: u64, target: u64) {
    let down = *lab.nodes.keys().find(|other| **other != id).unwrap();
    lab.stop(down).await;
    let left = *lab.nodes.keys().find(|other| **other != id).unwrap();
    let signed = try_sign(lab.cluster(left), &attestation(0, target, 1)).await;
    assert!(matches!(signed, Err(AuthorizeError::Unavailable { .. })), "{signed:?}");
    assert_ne!(lab.cluster(id).status().role, Role::Leader);
}

async fn is_open(lab: &Lab, id: u64) {
    until("the node to be let in", || lab.cluster(id).entry_waits_for().is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_disk_under_the_old_id_takes_no_part() {
    let mut lab = Lab::steady(3, 1_000).await;
    let (leader, wiped) = (lab.leader().await, lab.follower().await);
    sign_targets(&lab, leader, 1..=5).await;
    lab.stop(wiped).await;
    std::fs::remove_dir_all(lab.data_dir(wiped)).unwrap();
    lab.start(wiped).await;
    is_expelled(&lab, wiped, "wiped or exchanged").await;
    sign_targets(&lab, leader, 6..=10).await;
    assert_eq!(lab.cluster(wiped).status().last_log_index, None, "nothing came onto its disk");
    makes_no_quorum(&mut lab, wiped, 11).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_followers_disk_that_went_back_within_one_start_is_noticed_and_the_leader_lives() {
    let mut lab = Lab::steady(3, 1_000).await;
    let (leader, behind) = (lab.leader().await, lab.follower().await);
    sign_targets(&lab, leader, 1..=5).await;
    let term = lab.cluster(leader).status().term;
    let older = image(&lab, behind, "older");
    sign_targets(&lab, leader, 6..=25).await;
    let index = lab.cluster(leader).status().commit_index;
    until("the follower to have it all", || lab.cluster(behind).status().last_log_index >= index).await;
    lab.stop(behind).await;
    put_back(&lab, behind, &older);
    lab.start(behind).await;
    is_expelled(&lab, behind, "went back").await;
    // openraft stops a leader that meets such a log; none of its answers may come that far.
    sign_targets(&lab, leader, 26..=30).await;
    let status = lab.cluster(leader).status();
    assert_eq!((status.role, status.term), (Role::Leader, term), "the same leader, undisturbed");
    makes_no_quorum(&mut lab, behind, 31).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_from_before_an_earlier_start_is_noticed() {
    let mut lab = Lab::steady(3, 1_000).await;
    let (leader, behind) = (lab.leader().await, lab.follower().await);
    let older = image(&lab, behind, "older");
    for (starts, says) in [(1, "two starts of node"), (2, "comes after start")] {
        for _ in 0..starts {
            lab.stop(behind).await;
            lab.start(behind).await;
            is_open(&lab, behind).await;
        }
        lab.stop(behind).await;
        let newest = lab.dir.path().join("newest");
        std::fs::rename(lab.data_dir(behind), &newest).unwrap();
        copy_dir(&older, &lab.data_dir(behind));
        // Nothing was signed: the positions tell nothing apart, the counters do.
        lab.start(behind).await;
        is_expelled(&lab, behind, says).await;
        lab.stop(behind).await;
        // The disk as it was comes back without objection.
        std::fs::remove_dir_all(lab.data_dir(behind)).unwrap();
        std::fs::rename(&newest, lab.data_dir(behind)).unwrap();
        lab.start(behind).await;
        is_open(&lab, behind).await;
    }
    sign_targets(&lab, leader, 1..=2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leaders_disk_that_went_back_is_noticed() {
    let mut lab = Lab::steady(3, 1_000).await;
    let leader = lab.leader().await;
    sign_targets(&lab, leader, 1..=5).await;
    let older = image(&lab, leader, "older");
    sign_targets(&lab, leader, 6..=15).await;
    let noted = lab.cluster(leader).status().commit_index.unwrap();
    until("the position to be noted", || {
        lab.nodes.values().all(|node| {
            node.cluster.read(|state| state.position_of(leader).is_some_and(|position| position.index >= noted))
        })
    })
    .await;
    lab.stop(leader).await;
    put_back(&lab, leader, &older);
    lab.start(leader).await;
    is_expelled(&lab, leader, "went back").await;
    let other = *lab.nodes.keys().find(|id| **id != leader).unwrap();
    for target in 6..=15 {
        assert!(sign(lab.cluster(other), &attestation(0, target, 2)).await.is_err(), "a second vote for {target}");
    }
    makes_no_quorum(&mut lab, leader, 16).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_start_at_once_what_was_noted_tells_the_disk_that_went_back() {
    let mut lab = Lab::steady(3, 1_000).await;
    let (leader, behind) = (lab.leader().await, lab.follower().await);
    sign_targets(&lab, leader, 1..=3).await;
    let older = image(&lab, behind, "older");
    sign_targets(&lab, leader, 4..=12).await;
    let noted = lab.cluster(leader).status().commit_index.unwrap();
    until("the position to be noted", || {
        lab.nodes.values().all(|node| {
            node.cluster.read(|state| state.position_of(behind).is_some_and(|position| position.index >= noted))
        })
    })
    .await;
    for id in 1..=3 {
        lab.stop(id).await;
    }
    put_back(&lab, behind, &older);
    for id in 1..=3 {
        lab.start(id).await;
    }
    is_expelled(&lab, behind, "went back").await;
    sign_targets(&lab, leader, 13..=14).await;
    makes_no_quorum(&mut lab, behind, 15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_waits_while_the_original_runs_and_is_too_old_when_it_ended() {
    let mut lab = Lab::steady(3, 1_000).await;
    let (leader, copied) = (lab.leader().await, lab.follower().await);
    sign_targets(&lab, leader, 1..=3).await;
    let copy = lab.start_elsewhere(copied, image(&lab, copied, "copy")).await;
    // Whatever the original has taken meanwhile makes the copy too old.
    until("the copy to be held back", || says(&copy, "serves at") || copy.fatal().contains("went back")).await;
    sign_targets(&lab, leader, 4..=8).await;
    let index = lab.cluster(leader).status().commit_index;
    until("the original to have it all", || lab.cluster(copied).status().last_log_index >= index).await;
    assert_eq!(lab.nodes[&copied].fatal(), "", "the original is not disturbed");
    assert!(copy.cluster.ready().is_err());
    lab.stop(copied).await;
    until("the copy to be told", || copy.fatal().contains("went back")).await;
    sign_targets(&lab, leader, 9..=10).await;
    lab.start(copied).await;
    is_open(&lab, copied).await;
    copy.stop().await;
}

fn says(node: &Node, what: &str) -> bool {
    node.cluster.entry_waits_for().is_some_and(|reason| reason.contains(what))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_machines_with_one_image_the_second_is_refused() {
    let mut lab = Lab::steady(3, 1_000).await;
    let (leader, copied) = (lab.leader().await, lab.follower().await);
    lab.stop(copied).await;
    let copy = image(&lab, copied, "copy");
    lab.start(copied).await;
    is_open(&lab, copied).await;
    until("both to know it", || lab.cluster(copied).ready().is_ok()).await;
    let second = lab.start_elsewhere(copied, copy).await;
    until("the second to be told", || !second.fatal().is_empty()).await;
    assert!(second.fatal().contains("copies of one disk"), "{}", second.fatal());
    assert!(second.cluster.entry_waits_for().is_some());
    assert_eq!(lab.nodes[&copied].fatal(), "");
    sign_targets(&lab, leader, 1..=3).await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_machines_with_one_image_started_together_not_both_take_part() {
    let mut lab = Lab::steady(3, 1_000).await;
    let (leader, copied) = (lab.leader().await, lab.follower().await);
    lab.stop(copied).await;
    let copy = image(&lab, copied, "copy");
    let (first, second) = tokio::join!(lab.try_start(copied), lab.start_elsewhere(copied, copy));
    let first = first.unwrap();
    let is_decided =
        |node: &Node| node.cluster.entry_waits_for().is_none() || !node.fatal().is_empty() || says(node, "serves at");
    until("both to be decided", || is_decided(&first) && is_decided(&second)).await;
    let open = [&first, &second].iter().filter(|node| node.cluster.entry_waits_for().is_none()).count();
    assert!(open <= 1, "both: {:?} {:?}", first.fatal(), second.fatal());
    sign_targets(&lab, leader, 1..=3).await;
    first.stop().await;
    second.stop().await;
    // Started again, alone, the disk comes back: its next start has a number of its own.
    lab.start(copied).await;
    is_open(&lab, copied).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_slept_while_its_successor_started_stops() {
    let mut lab = Lab::steady(3, 1_000).await;
    let (leader, slept) = (lab.leader().await, lab.follower().await);
    sign_targets(&lab, leader, 1..=3).await;
    let index = lab.cluster(leader).status().commit_index;
    until("it to have it all", || lab.cluster(slept).status().last_log_index >= index).await;
    // Nobody reaches it any more, and its disk goes on elsewhere: a machine that was given up, and lives.
    lab.deafen(slept).await;
    let copy = image(&lab, slept, "copy");
    let old = lab.nodes.remove(&slept).unwrap();
    let successor = lab.start_elsewhere(slept, copy).await;
    until("the successor to be let in", || successor.cluster.entry_waits_for().is_none()).await;
    until("the old process to be told", || !old.fatal().is_empty()).await;
    assert!(old.fatal().contains("comes after start"), "{}", old.fatal());
    assert!(old.cluster.entry_waits_for().is_some() && old.cluster.ready().is_err());
    sign_targets(&lab, leader, 4..=6).await;
    assert_eq!(successor.fatal(), "");
    old.stop().await;
    successor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_comes_back_while_another_is_down() {
    let mut lab = Lab::steady(3, 1_000).await;
    let leader = lab.leader().await;
    let others: Vec<u64> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    sign_targets(&lab, leader, 1..=3).await;
    lab.stop(others[0]).await;
    lab.stop(others[1]).await;
    lab.start(others[1]).await;
    sign_targets(&lab, others[1], 4..=5).await;
    lab.start(others[0]).await;
    is_open(&lab, others[0]).await;
    assert!(lab.nodes.values().all(|node| node.fatal().is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alone_a_node_waits_until_somebody_vouches_or_the_operator_does() {
    let mut lab = Lab::steady(3, 1_000).await;
    sign_targets(&lab, 1, 1..=3).await;
    for id in 1..=3 {
        lab.stop(id).await;
    }
    lab.start(1).await;
    until("a round of asking", || says(&lab.nodes[&1], "no answer from node 2")).await;
    let reason = lab.cluster(1).ready().unwrap_err().reason;
    assert!(reason.contains("vouch for its disk") && reason.contains("no answer from node 2"), "{reason}");
    assert_eq!(lab.cluster(1).accept_restart(), Ok(BTreeSet::from([2, 3])));
    assert!(lab.cluster(1).entry_waits_for().is_none());
    assert_eq!(lab.cluster(1).accept_restart(), Err(AcceptRestartError::NotWaiting));
    let signed = try_sign(lab.cluster(1), &attestation(0, 4, 1)).await;
    assert!(matches!(signed, Err(AuthorizeError::Unavailable { .. })), "vouched for, but no quorum: {signed:?}");
    lab.start(2).await;
    sign_targets(&lab, 1, 4..=5).await;
    lab.start(3).await;
    is_open(&lab, 3).await;
    assert!(lab.nodes.values().all(|node| node.fatal().is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_that_were_counted_and_told_nobody_do_no_harm() {
    let mut lab = Lab::steady(3, 1_000).await;
    let (leader, crashed) = (lab.leader().await, lab.follower().await);
    lab.stop(crashed).await;
    for _ in 0..3 {
        // A crash between the counter and the first call.
        let identity = NodeIdentity { node_id: crashed, cluster_id: CLUSTER.0 };
        DataDir::open(Arc::new(RealDisk), &lab.data_dir(crashed), identity).unwrap().next_boot().unwrap();
    }
    lab.start(crashed).await;
    is_open(&lab, crashed).await;
    sign_targets(&lab, leader, 1..=2).await;
    assert_eq!(lab.nodes[&crashed].fatal(), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_lost_what_names_it_does_not_start() {
    let mut lab = Lab::steady(3, 1_000).await;
    let one = lab.follower().await;
    lab.stop(one).await;
    for file in ["peers", "boot", "incarnation"] {
        let (path, kept) = (lab.data_dir(one).join(file), lab.dir.path().join("kept"));
        std::fs::rename(&path, &kept).unwrap();
        let Err(error) = lab.try_start(one).await else { panic!("started without {file}") };
        assert!(matches!(error, OpenError::DataDir(_)) && format!("{error:?}").contains(file), "{error:?}");
        std::fs::rename(&kept, &path).unwrap();
    }
    // All three gone, as if the directory were from before: it gets a new name, which the membership does not know.
    for file in ["peers", "boot", "incarnation"] {
        std::fs::remove_file(lab.data_dir(one).join(file)).unwrap();
    }
    let Err(error) = lab.try_start(one).await else { panic!("started under another name") };
    assert!(matches!(error, OpenError::OtherDisk { .. }), "{error:?}");
    assert!(error.to_string().contains("consigner cluster replace"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_a_follower_disturbs_nobody_and_takes_no_time() {
    let mut lab = Lab::steady(3, 1_000).await;
    let (leader, restarted) = (lab.leader().await, lab.follower().await);
    let term = lab.cluster(leader).status().term;
    for round in 1..=3_u64 {
        lab.stop(restarted).await;
        lab.start(restarted).await;
        is_open(&lab, restarted).await;
        lab.cluster(restarted).barrier(DEADLINE).await.unwrap();
        sign_targets(&lab, restarted, round..=round).await;
    }
    assert_eq!(lab.cluster(leader).leadership(), Leadership::This);
    assert_eq!(lab.cluster(leader).status().term, term, "no election");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_from_before_the_cluster_grew_takes_no_part() {
    let mut lab = Lab::steady(1, 1_000).await;
    sign_targets(&lab, 1, 1..=3).await;
    let alone = image(&lab, 1, "alone");
    for id in [2, 3] {
        let new = lab.newcomer(id, true).await;
        lab.cluster(1).add_member(new).await.unwrap();
    }
    sign_targets(&lab, 2, 4..=6).await;
    lab.stop(1).await;
    // A leader among those that it does not know.
    sign_targets(&lab, 2, 7..=8).await;
    put_back(&lab, 1, &alone);
    lab.start(1).await;
    is_expelled(&lab, 1, "before the cluster grew").await;
    sign_targets(&lab, 2, 9..=10).await;
    lab.stop(3).await;
    let signed = try_sign(lab.cluster(2), &attestation(0, 11, 1)).await;
    assert!(matches!(signed, Err(AuthorizeError::Unavailable { .. })), "it is not counted: {signed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learners_disk_that_went_back_is_noticed_and_the_leader_lives() {
    let mut lab = Lab::steady(1, 1_000).await;
    let new = lab.newcomer(2, false).await;
    lab.cluster(1).add_member(new).await.unwrap();
    sign_targets(&lab, 1, 1..=3).await;
    let older = image(&lab, 2, "older");
    sign_targets(&lab, 1, 4..=9).await;
    let index = lab.cluster(1).status().commit_index;
    until("the learner to have it all", || lab.cluster(2).status().last_log_index >= index).await;
    lab.stop(2).await;
    put_back(&lab, 2, &older);
    lab.start(2).await;
    is_expelled(&lab, 2, "went back").await;
    sign_targets(&lab, 1, 10..=12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_replaced_comes_back_to_closed_doors() {
    let mut lab = Lab::steady(3, 1_000).await;
    let (leader, replaced) = (lab.leader().await, lab.follower().await);
    sign_targets(&lab, leader, 1..=3).await;
    let new = lab.newcomer(4, true).await;
    lab.stop(replaced).await;
    lab.cluster(leader).replace_member(replaced, new).await.unwrap();
    lab.start(replaced).await;
    until("it to be told", || says(&lab.nodes[&replaced], "is not a member of this cluster")).await;
    assert!(lab.cluster(replaced).ready().is_err());
    sign_targets(&lab, leader, 4..=6).await;
    assert!(lab.nodes.iter().all(|(id, node)| *id == replaced || node.fatal().is_empty()));
}
