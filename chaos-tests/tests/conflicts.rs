//! A storm of rival requests to three healthy nodes: every request gets a verdict.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod common;

use consigner_chaos::scenario::Scenario;

#[tokio::test(flavor = "multi_thread")]
async fn healthy_nodes_answer_every_request_and_sign_one_of_the_rivals() {
    let report = common::storm(Scenario::Conflicts).await;
    assert!(report.signatures >= 500, "a storm of {} signatures is a breeze", report.signatures);
    assert!(report.contested >= 50, "only {} slots and targets were contested", report.contested);
    assert_eq!(report.answers.get("lost"), None, "{report}");
}
