//! `consigner bench`.

use super::{Exit, fail, output};
use crate::bench::{self, BenchOptions};
use clap::Args;
use std::path::PathBuf;

/// `consigner bench`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    /// Directory of a running `consigner dev`
    #[arg(long, value_name = "DIR", default_value = "./consigner-dev")]
    dir: PathBuf,
    /// Validators that take part [default: all that the cluster holds]
    #[arg(long, value_name = "N")]
    validators: Option<usize>,
    /// Slots to play, one after the other without pause
    #[arg(long, value_name = "N", default_value_t = 8)]
    slots: u64,
    /// Every attester sees another head: the worst case for the signer
    #[arg(long)]
    distinct_roots: bool,
    /// Requests under way per node
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: u16,
    /// Then kill the leader so often and measure the gap to the next signature
    #[arg(long, value_name = "N", default_value_t = 0)]
    kills: usize,
    /// Print JSON for scripts
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Example:
  consigner dev --dir /tmp/c --validators 10000   (in another terminal, until it prints `ready`)
  consigner bench --dir /tmp/c --validators 10000 --slots 8 --kills 10

Exit codes: 0 every request was signed, 1 nothing was measured, 3 some requests failed.";

/// Runs the command.
pub async fn main(args: BenchArgs) -> Exit {
    let options = BenchOptions {
        dir: args.dir,
        validators: args.validators,
        slots: args.slots,
        distinct_roots: args.distinct_roots,
        connections: args.connections.into(),
        kills: args.kills,
    };
    let report = match bench::run(&options).await {
        Ok(report) => report,
        Err(error) => return fail(&error),
    };
    if args.json {
        match serde_json::to_string_pretty(&report) {
            Ok(text) => output::line(&text),
            Err(error) => return fail(&error),
        }
    } else {
        output::line(&report.text());
    }
    match (report.signatures, report.errors) {
        (0, _) => Exit::Failed,
        (_, 0) => Exit::Done,
        _ => Exit::Partly,
    }
}
