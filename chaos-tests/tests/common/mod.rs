//! One scenario as a test: its turn on this machine, a seed that is printed, the judgement.

use consigner_chaos::binary;
use consigner_chaos::cluster::ports::Turn;
use consigner_chaos::report::Report;
use consigner_chaos::scenario::{Options, Scenario, run};

/// Repeats an earlier run: `CONSIGNER_CHAOS_SEED=7 cargo test ...`.
const SEED: &str = "CONSIGNER_CHAOS_SEED";

/// Interop validators; the last one gives the pulse.
pub const VALIDATORS: u64 = 9;

/// Rounds of up to nine requests per second that two shared cores can bear beside three debug nodes.
const ROUNDS_PER_SECOND: u32 = 30;

/// Beside a rush the storm only shows that others go on signing.
const ROUNDS_BESIDE_A_RUSH: u32 = 5;

/// Runs a scenario and holds it to every invariant and to answers that a client may get.
pub async fn storm(scenario: Scenario) -> Report {
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed.parse().expect("CONSIGNER_CHAOS_SEED is a number"),
        Err(_) => u64::from(getrandom::u32().unwrap()),
    };
    let binary = binary::up_to_date().await.unwrap();
    let _turn = Turn::wait().await.unwrap();
    let rounds_per_second = if scenario.is_deletion() { ROUNDS_BESIDE_A_RUSH } else { ROUNDS_PER_SECOND };
    let options = Options { seed, scenario, binary, validators: VALIDATORS, rounds_per_second };
    println!("again: {}", options.command());
    let report = run(&options).await.unwrap();
    println!("{report}");
    assert!(report.held(), "violated; `{}` does it again:\n{report}", report.command);
    assert_eq!(report.unexpected, Vec::<String>::new(), "`{}` does it again", report.command);
    report
}
