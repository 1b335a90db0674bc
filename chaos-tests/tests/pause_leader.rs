//! A storm of rival requests while the leader is frozen for five seconds and wakes up believing that it leads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use consigner_chaos::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn a_thawed_leader_signs_nothing_that_the_others_refused() {
    let report = common::storm(Scenario::PauseLeader).await;
    // Each pause and each thaw is a fault of its own.
    assert_eq!(report.faults.len(), 4);
    assert!(report.signatures >= 500, "a storm of {} signatures is a breeze", report.signatures);
}
