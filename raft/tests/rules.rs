//! Rules are raised once every member knows them; until then nothing that needs them comes into the log (DESIGN 10).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_raft::ProposeError;
use consigner_rules::command::{JoinToken, Rejection};
use consigner_rules::{Command, Outcome, RULES_VERSION};
use std::time::Duration;
use support::{DEADLINE, Lab, until};

fn join_token(node: u64) -> Command {
    let token = JoinToken { id: [1; 8], node, hash: [2; 32], created_ms: 1, expires_ms: 2 };
    Command::AddJoinToken(token)
}

fn rules_of(lab: &Lab, id: u64) -> u32 {
    lab.cluster(id).read(consigner_rules::State::rules_version)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_cluster_moves_to_the_newest_rules_by_itself() {
    let lab = Lab::up(3, 1_000).await;
    // From any node, at once: the proposal waits for the rules.
    let follower = lab.follower().await;
    let outcomes = lab.cluster(follower).propose(vec![join_token(4)], DEADLINE).await.unwrap();
    assert_eq!(outcomes, [Outcome::JoinTokenHeld]);
    until("the same rules on all nodes", || (1..=3).all(|id| rules_of(&lab, id) == RULES_VERSION)).await;
    let status = lab.cluster(1).status();
    assert_eq!((status.rules, status.rules_max), (RULES_VERSION, RULES_VERSION));
    assert_eq!(lab.cluster(1).members_lacking_rules(RULES_VERSION).await, Vec::<u64>::new());
    // Lowered they are not, whoever asks.
    let lower = lab.cluster(follower).propose(vec![Command::RaiseRules { version: 1 }], DEADLINE).await.unwrap();
    assert_eq!(lower, [Outcome::Rejected(Rejection::RulesWentBack { current: RULES_VERSION })]);
    // And what no node here could apply does not come into the log.
    let last = lab.cluster(1).status().last_log_index;
    let newer = vec![Command::RaiseRules { version: RULES_VERSION + 1 }];
    let refused = lab.cluster(1).propose(newer, Duration::from_millis(300)).await;
    assert!(matches!(refused, Err(ProposeError::Unavailable(_))), "{refused:?}");
    assert!(lab.nodes.values().all(|node| node.fatal.lock().unwrap().is_empty()));
    assert_eq!((rules_of(&lab, 1), lab.cluster(1).status().last_log_index), (RULES_VERSION, last));
}
