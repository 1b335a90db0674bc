//! `consigner keys`: keys into the cluster, out of it, and from one sealer to another.

mod delete;
mod generate;
mod import;
mod list;
mod rewrap;

use super::{Exit, output};
use clap::{Args, Subcommand};

/// `consigner keys`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

const EXAMPLES: &str = "Examples:
  consigner keys generate --count 2 --out ./new --network hoodi --password-file pw --mnemonic-out mnemonic
  consigner keys import --dir ./consigner-dev --from ./new --password-file pw
  consigner keys list --dir ./consigner-dev
  consigner keys delete --dir ./consigner-dev 0x93247f.. --slashing-protection-out history.json
  consigner keys rewrap --dir ./consigner-dev --to vault-transit";

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make new validator keys: keystores and deposit data, and with --import straight into the cluster
    Generate(generate::GenerateArgs),
    /// Import keys from keystores, Web3Signer configuration, AWS Secrets Manager or Vault
    Import(import::ImportArgs),
    /// Show the keys of the cluster and where they are open
    List(list::ListArgs),
    /// Delete keys on all nodes and write what they have signed
    Delete(delete::DeleteArgs),
    /// Move all keys to another data key, master key or sealer, on the running cluster
    Rewrap(rewrap::RewrapArgs),
}

/// Before the first secret or mnemonic is in memory.
fn harden() {
    let hardening = consigner_keys::harden_process();
    if !hardening.complete() {
        output::complain(&format!("warning: {hardening}"));
    }
}

/// Runs the command.
pub async fn main(args: KeysArgs) -> Exit {
    match args.command {
        KeysCommand::Generate(args) => generate::main(args).await,
        KeysCommand::Import(args) => import::main(args).await,
        KeysCommand::List(args) => list::main(&args).await,
        KeysCommand::Delete(args) => delete::main(&args).await,
        KeysCommand::Rewrap(args) => rewrap::main(&args).await,
    }
}
