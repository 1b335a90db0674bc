//! A storm of rival requests to all three nodes while the leader is killed five times.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use consigner_chaos::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn no_conflict_and_nothing_forgotten_over_five_leader_kills() {
    let report = common::storm(Scenario::LeaderKills).await;
    assert_eq!(report.faults.len(), 5);
    assert!(report.signatures >= 2_000, "a storm of {} signatures is a breeze", report.signatures);
    assert!(report.contested >= 200, "only {} slots and targets were contested", report.contested);
}
