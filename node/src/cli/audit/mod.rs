//! `consigner audit verify|show`: the record of a node, proved and read.

mod escape;
mod place;
mod show;
#[cfg(test)]
mod tests;
mod verify;

pub(in crate::cli) use escape::{escaped, escaped_json};
pub(in crate::cli) use show::moment;

use super::Exit;
use clap::{Args, Subcommand};

/// `consigner audit`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

const EXAMPLES: &str = "Examples:
  consigner audit show --data-dir /var/lib/consigner --outcome refused --since 2h
  consigner audit verify --data-dir /var/lib/consigner
  consigner audit verify --dir ./consigner-dev

See docs/AUDIT.md for what is recorded, and what verifying proves.
Exit codes: 0 done, the chain holds; 1 it does not (the place is named) or cannot be read; 2 usage.";

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Prove that no line was removed, altered, moved or added, or say where
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::VerifyArgs),
    /// Find lines: who did what, and why something was refused
    #[command(after_help = show::EXAMPLES)]
    Show(show::ShowArgs),
}

/// Runs the command.
pub async fn main(args: AuditArgs) -> Exit {
    match args.command {
        AuditCommand::Verify(args) => verify::main(&args).await,
        AuditCommand::Show(args) => show::main(&args),
    }
}
