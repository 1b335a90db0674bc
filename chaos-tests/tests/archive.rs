//! The archive under fire: Postgres is killed, stopped, made read-only, its certificates are replaced, leaders die; every
//! decision stands in it exactly once, and signing went on. A hundred thousand decisions: `consigner-chaos archive`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use consigner_chaos::archive::{ArchiveOptions, ArchiveReport, Trouble, Way, run};
use consigner_chaos::binary;
use consigner_chaos::cluster::ports::Turn;
use std::time::Duration;

/// Repeats an earlier run: `CONSIGNER_CHAOS_SEED=7 cargo test ...`.
const SEED: &str = "CONSIGNER_CHAOS_SEED";

/// Decisions of a run, at least.
const DECISIONS: u64 = 1_500;

/// `None`: a server is missing, and that was said.
async fn proved(way: Way, troubles: &[Trouble]) -> Option<ArchiveReport> {
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed.parse().expect("CONSIGNER_CHAOS_SEED is a number"),
        Err(_) => u64::from(getrandom::u32().unwrap()),
    };
    let binary = binary::up_to_date().await.unwrap();
    let _turn = Turn::wait().await.unwrap();
    let options = ArchiveOptions {
        seed,
        binary,
        decisions: DECISIONS,
        way,
        troubles: troubles.to_vec(),
        leader_kills: 1,
        committees: 4,
        pause: Duration::from_millis(100),
    };
    println!("again: CONSIGNER_CHAOS_SEED={seed}");
    let report = run(&options).await.unwrap()?;
    println!("{report}");
    assert!(report.is_good(), "CONSIGNER_CHAOS_SEED={seed} does it again:\n{report}");
    assert!(report.signed + report.refused >= DECISIONS, "{report}");
    assert!(report.refused > 0, "rivals were among the requests: {report}");
    assert!(report.batches >= troubles.len() as u64, "the mark moved after each of them: {report}");
    Some(report)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_is_archived_once_while_postgres_and_leaders_die() {
    let troubles = [Trouble::Kill, Trouble::ReadOnly, Trouble::RotateServer, Trouble::KillWithLeader];
    let Some(report) = proved(Way::Direct, &troubles).await else { return };
    assert_eq!(report.outages.len(), troubles.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_decision_is_archived_once_through_a_pooler() {
    let troubles = [Trouble::EndSessions, Trouble::Stop, Trouble::Untrusted];
    let Some(report) = proved(Way::Pgbouncer, &troubles).await else { return };
    assert_eq!(report.outages.len(), troubles.len());
}
