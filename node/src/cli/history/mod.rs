//! `consigner history export|import|watermark`: what validators have signed, on a live cluster.

mod chosen;
mod complete;
mod confirm;
mod export;
mod import;
mod sink;
mod watermark;
#[cfg(feature = "postgres")]
mod web3signer;

pub(in crate::cli) use chosen::KeysArgs;
pub(in crate::cli) use sink::Sink;

use super::Exit;
use clap::{Args, Subcommand};

/// `consigner history`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct HistoryArgs {
    #[command(subcommand)]
    command: HistoryCommand,
}

const EXAMPLES: &str = "Examples:
  consigner history export --dir ./consigner-dev --to history.json
  consigner history import --dir ./consigner-dev --from history.json
  consigner history watermark show --dir ./consigner-dev";

#[derive(Debug, Subcommand)]
enum HistoryCommand {
    /// Write an interchange file (EIP-3076): the minimal one, or everything that was recorded
    Export(export::ExportArgs),
    /// Merge an interchange file, or the database of Web3Signer; watermarks only rise
    Import(Box<import::ImportArgs>),
    /// Show, raise and limit what validators may sign
    Watermark(watermark::WatermarkArgs),
}

/// Runs the command.
pub async fn main(args: HistoryArgs) -> Exit {
    match args.command {
        HistoryCommand::Export(args) => export::main(&args).await,
        HistoryCommand::Import(args) => import::main(*args).await,
        HistoryCommand::Watermark(args) => watermark::main(args).await,
    }
}
