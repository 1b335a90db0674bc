//! `consigner-chaos`: breaks a development cluster of its own and judges it from outside.
//!
//! Exit codes: 0 all invariants held, 1 at least one was violated or a client got an answer that it should not get (302
//! for 307, say; the evidence is printed), 2 usage, or the run could not take place.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command prints")]

use clap::Parser;
use consigner_chaos::archive::throughput::{self, ThroughputOptions};
use consigner_chaos::archive::{self, ArchiveOptions, Trouble, Way};
use consigner_chaos::failover::{self, FailoverOptions, FailoverReport};
use consigner_chaos::scenario::{self, Options, Scenario};
use consigner_chaos::{binary, cluster::ports::Turn};
use consigner_gate::with_causes;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
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
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    measure: Option<Measure>,
}

#[derive(Debug, clap::Subcommand)]
enum Measure {
    /// Measures how long signing pauses when leaders are killed, stopped or frozen
    Failover(Failover),
    /// Breaks the Postgres that a cluster archives to, and proves that every decision stands in it exactly once
    Archive(Archive),
}

#[derive(Debug, clap::Args)]
struct Archive {
    /// Signatures and refusals that clients get
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=200_000))]
    decisions: u64,
    /// Reproduces rivals and the order of faults [default: random]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How the nodes come to the database [default: one run of each]
    #[arg(long, value_enum)]
    way: Option<Way>,
    /// What happens to Postgres
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FAULT,..", default_values_t = Trouble::ALL)]
    postgres_faults: Vec<Trouble>,
    /// How often the leader is killed besides
    #[arg(long, value_name = "N", default_value_t = 10)]
    kills: usize,
    /// Committees of eight validators
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=100))]
    committees: u16,
    /// Between two slots of a committee, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 100)]
    pause: u64,
    /// Breaks nothing: measures signing with and without an archive, by turns
    #[arg(long)]
    throughput: bool,
    /// With --throughput: phases of each cluster
    #[arg(long, value_name = "N", default_value_t = 6)]
    rounds: usize,
    /// With --throughput: slots of a phase
    #[arg(long, value_name = "N", default_value_t = 64)]
    slots: u64,
    /// With --throughput: validators of each cluster
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    validators: u64,
    /// The consigner to test [default: the one beside this program, or $CONSIGNER_BIN]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Failover {
    /// Nodes of the cluster
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=7))]
    nodes: u16,
    /// Rounds in which the leader gets SIGKILL
    #[arg(long, value_name = "N", default_value_t = 25)]
    kills: usize,
    /// Rounds in which the leader gets SIGTERM
    #[arg(long, value_name = "N", default_value_t = 25)]
    terms: usize,
    /// Rounds in which the leader, and in which a follower, gets SIGSTOP and SIGCONT
    #[arg(long, value_name = "N", default_value_t = 5)]
    stops: usize,
    /// How long it stays frozen, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    freeze: u64,
    /// Clients, one for each interop validator
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=100))]
    validators: u64,
    /// YAML file laid over every node's configuration
    #[arg(long, value_name = "FILE")]
    config_overlay: Option<PathBuf>,
    /// The consigner to test [default: the one beside this program, or $CONSIGNER_BIN]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  consigner-chaos --scenario leader-kills
  consigner-chaos --seed 7 --scenario mixed --json
  consigner-chaos archive --decisions 100000 --seed 7
  consigner-chaos archive --way pgbouncer --postgres-faults kill,read-only --kills 2
  consigner-chaos archive --throughput --json
  consigner-chaos failover --nodes 5 --kills 25 --terms 25 --stops 5 --json";

/// The run could not take place.
const COULD_NOT: u8 = 2;

// One thread: what is read first is stamped first (see `consigner_chaos::oracle::custody`).
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let json = args.json;
    // Leaving the future behind ends the cluster.
    tokio::select! {
        report = reported(args, json) => match report {
            Ok((text, is_good)) => {
                println!("{text}");
                ExitCode::from(u8::from(!is_good))
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

/// The report as text, and whether it is a good one.
async fn reported(mut args: Args, json: bool) -> Result<(String, bool), Box<dyn std::error::Error>> {
    match args.measure.take() {
        Some(Measure::Failover(failover)) => {
            let report = measured(failover).await?;
            Ok((text(&report, json), report.is_good()))
        }
        Some(Measure::Archive(args)) => archived(args, json).await,
        None => {
            let report = run(args).await?;
            Ok((text(&report, json), report.is_good()))
        }
    }
}

fn text<R: serde::Serialize + std::fmt::Display>(report: &R, json: bool) -> String {
    if json { serde_json::to_string_pretty(report).unwrap_or_default() } else { report.to_string() }
}

/// Without Postgres nothing is shown, and that is no success.
async fn archived(args: Archive, json: bool) -> Result<(String, bool), Box<dyn std::error::Error>> {
    let binary = match args.binary {
        Some(binary) => binary,
        None => binary::beside()?,
    };
    let _turn = Turn::wait().await?;
    if args.throughput {
        let Archive { rounds, slots, validators, way, .. } = args;
        let options = ThroughputOptions { binary, rounds, slots, validators, way: way.unwrap_or(Way::Direct) };
        let report = throughput::measure(&options).await?.ok_or("there is no Postgres")?;
        return Ok((text(&report, json), true));
    }
    let seed = match args.seed {
        Some(seed) => seed,
        None => u64::from(getrandom::u32()?),
    };
    let ways = args.way.map_or_else(|| vec![Way::Direct, Way::Pgbouncer], |way| vec![way]);
    let (mut reports, mut is_good) = (Vec::new(), true);
    for way in &ways {
        let options = ArchiveOptions {
            seed,
            binary: binary.clone(),
            // The two runs together make what was asked for.
            decisions: args.decisions / ways.len() as u64,
            way: *way,
            troubles: args.postgres_faults.clone(),
            leader_kills: args.kills,
            committees: args.committees.into(),
            pause: Duration::from_millis(args.pause),
        };
        eprintln!("again: {}", options.command());
        let report = archive::run(&options).await?.ok_or("a server is missing")?;
        is_good &= report.is_good();
        reports.push(text(&report, json));
    }
    let all = if json { format!("[{}]", reports.join(",")) } else { reports.join("\n\n") };
    Ok((all, is_good))
}

async fn measured(args: Failover) -> Result<FailoverReport, Box<dyn std::error::Error>> {
    let Failover { nodes, kills, terms, stops, freeze, validators, config_overlay, binary } = args;
    let binary = match binary {
        Some(binary) => binary,
        None => binary::beside()?,
    };
    let overlay = config_overlay.map(std::fs::read_to_string).transpose()?;
    let freeze = Duration::from_millis(freeze);
    let options = FailoverOptions { binary, nodes, kills, terms, stops, freeze, validators, overlay };
    let _turn = Turn::wait().await?;
    Ok(failover::run(&options).await?)
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
