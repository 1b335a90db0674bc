//! The leader is killed, stopped and frozen, and a follower frozen, under a signing load. Nothing here depends on time:
//! `consigner-chaos failover` measures that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use consigner_chaos::binary;
use consigner_chaos::cluster::ports::Turn;
use consigner_chaos::failover::{FailoverOptions, Fault, run};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn leaders_come_and_go_and_no_conflict_leaves() {
    let binary = binary::up_to_date().await.unwrap();
    let _turn = Turn::wait().await.unwrap();
    let options = FailoverOptions {
        binary,
        nodes: 3,
        kills: 2,
        terms: 2,
        stops: 1,
        freeze: Duration::from_millis(2_500),
        validators: 4,
        overlay: None,
    };
    let report = run(&options).await.unwrap();
    println!("{report}");
    assert!(report.is_good(), "{report}");
    let of = |fault| report.of(fault).expect("it was measured");
    assert!(of(Fault::Kill).terms >= 2, "each dead leader had a successor: {report}");
    assert!(of(Fault::Stop).terms >= 2, "each leader that stopped had a successor: {report}");
    assert_eq!(of(Fault::Stop).failed_requests, 0, "no request fails while a leader stops: {report}");
    assert_eq!(of(Fault::FreezeFollower).terms, 0, "a thawed follower deposes nobody: {report}");
}
