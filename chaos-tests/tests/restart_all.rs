//! A storm of rival requests while all nodes are killed at once: what was acknowledged is on disk, or is lost.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use consigner_chaos::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_the_death_of_all_nodes() {
    let report = common::storm(Scenario::RestartAll).await;
    assert_eq!(report.faults.len(), 2);
    assert!(report.signatures >= 500, "a storm of {} signatures is a breeze", report.signatures);
}
