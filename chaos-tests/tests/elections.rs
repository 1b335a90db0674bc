//! The leader is killed, stopped and frozen, and a follower frozen, under a signing load. Nothing here depends on time:
//! `consigner-chaos failover` measures that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use consigner_chaos::binary;
use consigner_chaos::cluster::ports::Turn;
use consigner_chaos::failover::{FailoverOptions, FailoverReport, Fault, FaultReport, run};
use std::time::Duration;

/// Runs in which the machine may disturb: on a starved one nodes suspect a leader that was only kept from running.
const TRIES: usize = 5;

/// Kept from running for so long, the balancer of the load may look too late to see that a node stops.
const STARVED_MS: f64 = 500.0;

/// Each dead leader has a successor, and no conflict leaves, whatever the machine does. Two promises hold on one that
/// lets the nodes run: what breaks them on its own is seen here, and then they are put to the proof again.
#[tokio::test(flavor = "multi_thread")]
async fn leaders_come_and_go_and_no_conflict_leaves() {
    let binary = binary::up_to_date().await.unwrap();
    let _turn = Turn::wait().await.unwrap();
    let freeze = Duration::from_millis(2_500);
    let mut options =
        FailoverOptions { binary, nodes: 3, kills: 2, terms: 2, stops: 1, freeze, validators: 4, overlay: None };
    for last in (0..TRIES).map(|number| number + 1 == TRIES) {
        let report = run(&options).await.unwrap();
        println!("{report}");
        assert!(report.is_good(), "{report}");
        assert!(
            report.of(Fault::Kill).is_none_or(|kill| kill.terms >= 2),
            "each dead leader had a successor: {report}"
        );
        if let Some(stop) = report.of(Fault::Stop) {
            assert!(stop.terms >= 2, "each leader that stopped had a successor: {report}");
            let must_hold = last || !is_disturbed(&report, stop);
            assert!(!must_hold || stop.failed_requests == 0, "no request fails while a leader stops: {report}");
            options.terms = if stop.failed_requests == 0 { 0 } else { options.terms };
        }
        // A follower that deposes when it thaws does so every time; an election that nobody caused does not.
        let deposed = report.of(Fault::FreezeFollower).is_some_and(|thawed| thawed.terms > 0);
        assert!(!last || !deposed, "a thawed follower deposes nobody: {report}");
        options.stops = usize::from(deposed);
        options.kills = 0;
        if options.terms + options.stops == 0 {
            return;
        }
    }
}

/// Elections that the stops do not explain, or a load that was itself kept from running.
fn is_disturbed(report: &FailoverReport, stop: &FaultReport) -> bool {
    stop.terms > stop.rounds as u64 || report.starved_ms > STARVED_MS
}
