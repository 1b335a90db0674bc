//! `consigner run`: from file, environment and flags to a running node.

use super::{Exit, fail, output};
use crate::config::{self, FlagValue, Loaded, flags};
use crate::serve;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use std::path::{Path, PathBuf};

/// `consigner run`. Written by hand because its flags come from the table of configuration keys.
#[derive(Debug)]
pub struct RunArgs {
    config: PathBuf,
    dry_run: bool,
    stop_with_stdin: bool,
    flags: Vec<FlagValue>,
}

impl FromArgMatches for RunArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let missing = || clap::Error::new(clap::error::ErrorKind::MissingRequiredArgument);
        Ok(Self {
            config: matches.get_one::<PathBuf>("config").cloned().ok_or_else(missing)?,
            dry_run: matches.get_flag("dry-run"),
            stop_with_stdin: matches.get_flag("stop-with-stdin"),
            flags: flags::values(matches),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

const EXAMPLES: &str = "Examples:
  consigner run --config /etc/consigner/consigner.yaml
  consigner run --config consigner.yaml --dry-run             check, start nothing
  CONSIGNER_LOG_LEVEL=debug consigner run --config consigner.yaml

Flags override CONSIGNER_* variables, which override the file.";

impl Args for RunArgs {
    fn augment_args(command: Command) -> Command {
        let command = command
            .after_help(EXAMPLES)
            .arg(
                Arg::new("config")
                    .long("config")
                    .visible_alias("config-file")
                    .value_name("FILE")
                    .env("CONSIGNER_CONFIG")
                    .required(true)
                    .value_parser(value_parser!(PathBuf))
                    .help("Configuration file"),
            )
            .arg(
                Arg::new("dry-run")
                    .long("dry-run")
                    .action(ArgAction::SetTrue)
                    .help("Check the configuration and the files it names, then stop"),
            )
            .arg(
                Arg::new("stop-with-stdin")
                    .long("stop-with-stdin")
                    .action(ArgAction::SetTrue)
                    .hide(true)
                    .help("Stop when standard input ends; a supervisor holds the other end"),
            );
        flags::augment(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// Loads a configuration with the environment and flags laid over it, and checks its files. Says every problem.
///
/// # Errors
/// [`Exit::Usage`], after every problem has been said.
pub fn load(file: &Path, flags: &[FlagValue]) -> Result<Loaded, Exit> {
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name != "CONSIGNER_CONFIG");
    let checked = |mut loaded: Loaded| {
        loaded.remarks.extend(loaded.config.check_files(file)?);
        Ok(loaded)
    };
    config::load(file, variables, flags).and_then(checked).map_err(|error| {
        for problem in &error.0 {
            output::complain(&problem.to_string());
        }
        Exit::Usage
    })
}

/// Runs the command.
#[must_use]
pub fn main(args: &RunArgs) -> Exit {
    let loaded = match load(&args.config, &args.flags) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    if args.dry_run {
        output::line(&format!("{}: no problem found", args.config.display()));
        return Exit::Done;
    }
    serve::logging::start(&loaded.config.log);
    for remark in &loaded.remarks {
        tracing::warn!("{remark}");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let ended = runtime.block_on(serve::until_stopped(loaded.config, args.stop_with_stdin));
    // What still blocks (a read of stdin, a pool) must not hold up the exit.
    runtime.shutdown_background();
    match ended {
        Ok(()) => Exit::Done,
        Err(error) => {
            tracing::error!(error = %crate::report::one_line(&error), "the node cannot run");
            Exit::Failed
        }
    }
}
