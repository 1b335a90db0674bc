//! Rules are raised once every member knows them; until then nothing that needs them comes into the log (DESIGN 10).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use consigner_raft::{AuthorizeError, ProposeError};
use consigner_rules::command::{JoinToken, Rejection};
use consigner_rules::slashing::AgreedDuty;
use consigner_rules::{Change, Command, Outcome, RULES_VERSION};
use std::time::{Duration, Instant};
use support::{DEADLINE, Lab, attestation, sign, until};

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
    let began = Instant::now();
    let outcomes = loop {
        match lab.cluster(follower).propose(vec![join_token(4)], DEADLINE).await {
            // On a loaded machine they may come later than a proposal waits.
            Err(ProposeError::NeedsRules { .. }) if began.elapsed() < DEADLINE => {}
            answer => break answer.unwrap(),
        }
    };
    assert_eq!(outcomes, [Outcome::JoinTokenHeld]);
    until("the same rules on all nodes", || (1..=3).all(|id| rules_of(&lab, id) == RULES_VERSION)).await;
    let status = lab.cluster(1).status();
    assert_eq!((status.rules, status.rules_max), (RULES_VERSION, RULES_VERSION));
    // Who does not answer within a second is taken for one that lacks them.
    while !lab.cluster(1).members_lacking_rules(RULES_VERSION).await.is_empty() {
        assert!(began.elapsed() < 2 * DEADLINE, "a member lacks the rules");
    }
    // Lowered they are not, whoever asks.
    let lower = lab.cluster(follower).propose(vec![Command::RaiseRules { version: 1 }], DEADLINE).await.unwrap();
    assert_eq!(lower, [Outcome::Rejected(Rejection::RulesWentBack { current: RULES_VERSION })]);
    // And what no node here could apply does not come into the log.
    let newer = vec![Command::RaiseRules { version: RULES_VERSION + 1 }];
    let refused = lab.cluster(1).propose(newer, Duration::from_millis(300)).await;
    assert!(matches!(refused, Err(ProposeError::Unavailable(_))), "{refused:?}");
    // Had it come, what is agreed after it would find nobody who goes on.
    assert!(sign(lab.cluster(follower), &attestation(0, 1, 1)).await.is_ok());
    assert!(lab.nodes.values().all(|node| node.fatal.lock().unwrap().is_empty()));
    assert!((1..=3).all(|id| rules_of(&lab, id) == RULES_VERSION));
}

/// What a node recorded up to a log index, in log order.
fn recorded(lab: &Lab, id: u64, upto: u64) -> Vec<Change> {
    let rows = lab.cluster(id).recorded_after(0, 10_000).unwrap();
    rows.into_iter().filter(|row| row.index <= upto).flat_map(|row| row.changes).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_says_which_node_was_asked_and_is_the_same_on_all() {
    let lab = Lab::up(3, 1_000).await;
    until("the same rules on all nodes", || (1..=3).all(|id| rules_of(&lab, id) == RULES_VERSION)).await;
    for id in 1..=3_u64 {
        sign(lab.cluster(id), &attestation(0, id, 1)).await.unwrap();
        // Another vote for the same target is refused.
        assert!(matches!(sign(lab.cluster(id), &attestation(0, id, 2)).await, Err(AuthorizeError::Refused { .. })));
    }
    // Whoever leads has applied what it answered.
    let last = (1..=3).map(|id| lab.cluster(id).applied_index()).max().unwrap();
    until("all nodes have it", || (1..=3).all(|id| lab.cluster(id).applied_index() >= last)).await;
    let changes = recorded(&lab, 1, last);
    let mut found = Vec::new();
    for change in &changes {
        let signed = change.signed().map(|record| (true, record.duty, record.node));
        let judged = signed.or_else(|| change.refused().map(|record| (false, record.duty, record.node)));
        // A question whose answer was late is asked again, and refused again.
        found.extend(judged.filter(|judged| !found.contains(judged)));
    }
    let duty = |id| AgreedDuty::Attestation { source_epoch: 0, target_epoch: id };
    let expected = (1..=3).flat_map(|id| [(true, duty(id), Some(id)), (false, duty(id), Some(id))]);
    assert_eq!(found, expected.collect::<Vec<_>>());
    for id in 2..=3 {
        assert_eq!(recorded(&lab, id, last), changes);
    }
}
