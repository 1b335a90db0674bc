//! A key is deleted while 50 clients ask all nodes for its signature: after the acknowledgement nobody gets one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use consigner_chaos::report::Report;
use consigner_chaos::scenario::Scenario;

async fn deletion(scenario: Scenario) -> Report {
    let report = common::storm(scenario).await;
    assert_eq!(report.deletions, 2, "the key, and again");
    report
}

#[tokio::test]
async fn after_an_acknowledged_deletion_no_node_signs() {
    deletion(Scenario::Delete).await;
}

#[tokio::test]
async fn a_follower_frozen_in_the_middle_of_signing_signs_no_more_when_it_thaws() {
    let report = deletion(Scenario::DeleteFrozen).await;
    assert_eq!(report.faults.len(), 1);
}

#[tokio::test]
async fn a_follower_that_stumbles_over_the_deletion_is_waited_for() {
    let report = deletion(Scenario::DeleteHiccup).await;
    assert_eq!(report.faults.len(), 1);
}

#[tokio::test]
async fn a_follower_that_was_down_comes_back_without_the_key() {
    let report = deletion(Scenario::DeleteKilled).await;
    assert_eq!(report.faults.len(), 1);
}

#[tokio::test]
async fn a_follower_that_installs_a_snapshot_over_the_deletion_loses_the_key() {
    let report = deletion(Scenario::DeleteSnapshot).await;
    assert_eq!(report.faults.len(), 1);
}
