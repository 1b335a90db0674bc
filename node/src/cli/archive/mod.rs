//! `consigner archive`: what the cluster ever signed, in a database or in the segments of a node.
//!
//! ```text
//! flags, or a node's configuration --place--> database | segments --> line, maxima --> show, export, verify
//! endpoints --client::archive--> status, backfill; and what verify compares the archive with (live)
//! ```
//! In: flags. Out: tables or JSON on stdout, progress and complaints on stderr. What needs a database is compiled with
//! the feature `postgres` only; segments are read without. Deliberately absent: any change of rows. Only `migrate` (the
//! schema) and `backfill` (by the leader) change anything.

mod backfill;
#[cfg(feature = "postgres")]
mod database;
mod export;
mod line;
mod live;
mod maxima;
mod migrate;
mod place;
mod segments;
mod show;
mod status;
mod verify;
mod wanted;

use super::{Exit, output};
use clap::{Args, Subcommand};

/// `consigner archive`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ArchiveArgs {
    #[command(subcommand)]
    command: ArchiveCommand,
}

const EXAMPLES: &str = "Examples:
  consigner archive status --dir ./consigner-dev
  consigner archive migrate --url postgres://archive_owner@db.example/consigner --db-ca ca.pem \\
    --db-password-file owner.password --writer archive_writer --reader archive_reader
  consigner archive verify --config /etc/consigner/consigner.yaml
  consigner archive show --config /etc/consigner/consigner.yaml --pubkey 0x93247f.. --epoch 211704
  consigner archive export --data-dir /var/lib/consigner --to everything.json

docs/ARCHIVE.md sets an archive up from nothing, and says what to do when something is wrong with it.
Exit codes: 0 done, 1 failed, 2 usage, 3 done in part (what is missing is named).";

#[derive(Debug, Subcommand)]
enum ArchiveCommand {
    /// How far the archive has come, what waits for it, what went wrong last
    #[command(after_help = status::EXAMPLES)]
    Status(status::StatusArgs),
    /// Prove that nothing is missing, altered or doubled, or say where
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::VerifyArgs),
    /// What was signed or refused: by validator, epoch, slot, client, node, time
    #[command(after_help = show::EXAMPLES)]
    Show(show::ShowArgs),
    /// The complete interchange (EIP-3076), straight out of the archive; no cluster is needed
    #[command(after_help = export::EXAMPLES)]
    Export(export::ExportArgs),
    /// Fill a database again that lost what it had confirmed
    #[command(after_help = backfill::EXAMPLES)]
    Backfill(backfill::BackfillArgs),
    /// Make or renew the tables, and give roles their rights
    #[command(after_help = migrate::EXAMPLES)]
    Migrate(migrate::MigrateArgs),
}

/// Runs the command.
pub async fn main(args: ArchiveArgs) -> Exit {
    match args.command {
        ArchiveCommand::Status(args) => status::main(&args).await,
        ArchiveCommand::Verify(args) => verify::main(&args).await,
        ArchiveCommand::Show(args) => show::main(&args).await,
        ArchiveCommand::Export(args) => export::main(&args).await,
        ArchiveCommand::Backfill(args) => backfill::main(&args).await,
        ArchiveCommand::Migrate(args) => migrate::main(&args).await,
    }
}

/// Prints a value as JSON, if asked for; whether it was.
fn printed_json<T: serde::Serialize>(json: bool, value: &T) -> bool {
    if json {
        match serde_json::to_string_pretty(value) {
            Ok(text) => output::line(&super::audit::escaped_json(&text)),
            Err(error) => output::complain(&error.to_string()),
        }
    }
    json
}
