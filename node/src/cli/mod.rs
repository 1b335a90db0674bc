//! The command line: what can be asked, and what the process answers to its caller (DESIGN 10 and 11).

pub mod access;
pub mod archive;
pub mod audit;
pub mod bench;
pub mod cluster;
pub mod config;
pub mod connect;
pub mod dev;
pub mod doctor;
pub mod history;
pub mod keys;
pub mod output;
pub mod policy;
pub mod progress;
pub mod run;
#[cfg(test)]
mod tests;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Exit codes of commands (DESIGN 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Done = 0,
    /// Nothing useful was done.
    Failed = 1,
    /// The command line or a file it names makes no sense.
    Usage = 2,
    /// Done in part; each item was reported.
    Partly = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A remote signer for Ethereum validators that is a cluster.
#[derive(Debug, Parser)]
#[command(name = "consigner", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "Examples:
  consigner dev                          a cluster of three nodes on this machine
  consigner dev --tour                   the same, shown working, then stopped
  consigner run --config consigner.yaml  one node
  consigner cluster status --dir ./consigner-dev
  consigner keys import --dir ./consigner-dev --from ./validator_keys --passwords ./passwords
  consigner policy apply --dir ./consigner-dev policy.yaml --dry-run
  consigner doctor --dir ./consigner-dev   point by point beside the security guidelines
  consigner history export --dir ./consigner-dev --to history.json
  consigner archive status --dir ./consigner-dev

Exit codes: 0 done, 1 failed, 2 usage, 3 done in part (each item reported).";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one node.
    Run(run::RunArgs),
    /// Run a whole development cluster on loopback.
    Dev(dev::DevArgs),
    /// Make a cluster, look at it.
    Cluster(cluster::ClusterArgs),
    /// Make, import, list, delete and rewrap keys.
    Keys(Box<keys::KeysArgs>),
    /// Move signing histories (EIP-3076) out of and into a live cluster.
    History(history::HistoryArgs),
    /// What was ever signed, in Postgres or in a node's own files: prove, read and export it.
    Archive(Box<archive::ArchiveArgs>),
    /// Prove and read the record of what was asked and answered.
    Audit(audit::AuditArgs),
    /// Who may ask what, on every node: policy and tokens.
    Policy(Box<policy::PolicyArgs>),
    /// Sidecar beside a validator client: plain HTTP on loopback in, mutual TLS to the nodes out.
    Connect(connect::ConnectArgs),
    /// Play mainnet-shaped slots against a development cluster and measure.
    Bench(bench::BenchArgs),
    /// Look at a configuration or a running cluster point by point against the security guidelines.
    Doctor(doctor::DoctorArgs),
    /// Check a configuration file without starting anything.
    Config(config::ConfigArgs),
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let exit = match cli.command {
        Command::Run(args) => run::main(&args),
        Command::Dev(args) => blocking(dev::main(args)),
        Command::Cluster(args) => blocking(cluster::main(args)),
        Command::Keys(args) => blocking(keys::main(*args)),
        Command::History(args) => blocking(history::main(args)),
        Command::Archive(args) => blocking(archive::main(*args)),
        Command::Audit(args) => blocking(audit::main(args)),
        Command::Policy(args) => blocking(policy::main(*args)),
        Command::Connect(args) => blocking(connect::main(args)),
        Command::Bench(args) => blocking(bench::main(args)),
        Command::Doctor(args) => blocking(doctor::main(args)),
        Command::Config(args) => config::main(&args),
    };
    exit.into()
}

/// Runs a command that talks over the network.
fn blocking(command: impl Future<Output = Exit>) -> Exit {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => fail(&error),
    }
}

/// Says why and how the command ends.
pub(crate) fn fail(error: &(dyn std::error::Error + 'static)) -> Exit {
    output::complain(&crate::report::one_line(error));
    Exit::Failed
}
