//! `consigner-chaos`: breaks a development cluster of its own and judges it from outside.
//!
//! Exit codes: 0 all invariants held, 1 at least one was violated or a client got an answer that it should not get (302
//! for 307, say; the evidence is printed), 2 usage, or the run could not take place.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command prints")]

use clap::Parser;
use consigner_chaos::scenario::{self, Options, Scenario};
use consigner_chaos::{binary, cluster::ports::Turn};
use consigner_gate::with_causes;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Breaks a cluster of three nodes while rival requests storm in, and checks the invariants from outside
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    /// Reproduces the requests and the faults of an earlier run [default: random]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What is broken
    #[arg(long, value_enum, default_value = "mixed")]
    scenario: Scenario,
    /// Interop validators; the last one measures gaps
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u64).range(2..=1000))]
    validators: u64,
    /// Rounds of rival requests per second; a round is up to nine requests
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// The consigner to test [default: the one beside this program, or $CONSIGNER_BIN]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  consigner-chaos --scenario leader-kills
  consigner-chaos --seed 7 --scenario mixed --json";

/// The run could not take place.
const COULD_NOT: u8 = 2;

// One thread: what is read first is stamped first (see `consigner_chaos::oracle::custody`).
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let json = args.json;
    // Leaving the future behind ends the cluster.
    tokio::select! {
        report = run(args) => match report {
            Ok(report) => {
                let text = if json { serde_json::to_string_pretty(&report).unwrap_or_default() } else { report.to_string() };
                println!("{text}");
                ExitCode::from(u8::from(!report.is_good()))
            }
            Err(error) => {
                eprintln!("{}", with_causes(&*error));
                ExitCode::from(COULD_NOT)
            }
        },
        () = interrupted() => {
            eprintln!("interrupted");
            ExitCode::from(COULD_NOT)
        }
    }
}

/// SIGINT or SIGTERM; never, if the system gives no handler (the signal then ends this process itself).
async fn interrupted() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

async fn run(args: Args) -> Result<consigner_chaos::report::Report, Box<dyn std::error::Error>> {
    let seed = match args.seed {
        Some(seed) => seed,
        None => u64::from(getrandom::u32()?),
    };
    let binary = match args.binary {
        Some(binary) => binary,
        None => binary::beside()?,
    };
    let Args { scenario, validators, rate, .. } = args;
    let options = Options { seed, scenario, binary, validators, rounds_per_second: rate };
    eprintln!("again: {}", options.command());
    let _turn = Turn::wait().await?;
    Ok(scenario::run(&options).await?)
}
