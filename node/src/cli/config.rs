//! `consigner config check`: everything that `run` would complain about before it opens anything.

use super::run::load;
use super::{Exit, output};
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// `consigner config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

const EXAMPLES: &str = "Example:
  consigner config check --config /etc/consigner/consigner.yaml

Exit codes: 0 nothing to complain about, 2 every problem with file, line, key and what is allowed.";

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Read a configuration with the environment laid over it, and check that its files are there
    #[command(after_help = EXAMPLES)]
    Check {
        /// Configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

/// Runs the command.
#[must_use]
pub fn main(args: &ConfigArgs) -> Exit {
    let ConfigCommand::Check { config } = &args.command;
    match load(config, &[]) {
        Ok(loaded) => {
            for remark in &loaded.remarks {
                output::complain(remark);
            }
            output::line(&format!("{}: no problem found", config.display()));
            Exit::Done
        }
        Err(exit) => exit,
    }
}
