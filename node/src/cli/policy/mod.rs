//! `consigner policy`: who may ask what, on every node.

mod apply;
mod check;
mod show;
mod token;

use super::Exit;
use crate::client::{CallError, ClusterClient};
use clap::{Args, Subcommand};

/// `consigner policy`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct PolicyArgs {
    #[command(subcommand)]
    command: PolicyCommand,
}

const EXAMPLES: &str = "Examples:
  consigner policy show --dir ./consigner-dev > policy.yaml
  consigner policy apply --dir ./consigner-dev policy.yaml --dry-run
  consigner policy apply --dir ./consigner-dev policy.yaml
  consigner policy check --dir ./consigner-dev --as cn:vc-1 --key 0x93247f.. --operation ATTESTATION
  consigner policy token create --dir ./consigner-dev --name ci --role operator --expires 30d

docs/POLICY.md has the document. Exit codes: 0 done or allowed, 1 failed or denied, 2 usage.";

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Print the policy that the cluster acts by
    Show(show::ShowArgs),
    /// Replace the policy of the cluster by a document
    Apply(apply::ApplyArgs),
    /// Say whether somebody may do something, and by which line of the policy
    Check(check::CheckArgs),
    /// Make, list and revoke bearer tokens
    Token(token::TokenArgs),
}

/// Runs the command.
pub async fn main(args: PolicyArgs) -> Exit {
    match args.command {
        PolicyCommand::Show(args) => show::main(&args).await,
        PolicyCommand::Apply(args) => apply::main(&args).await,
        PolicyCommand::Check(args) => check::main(args).await,
        PolicyCommand::Token(args) => token::main(args).await,
    }
}

/// The first endpoint that answers this look, alone, and what it said. What follows a look goes to the same node: after
/// a lost answer another one would take the change for somebody else's.
async fn first_to_answer<T>(
    client: &ClusterClient,
    look: impl AsyncFn(&ClusterClient) -> Result<T, CallError>,
) -> Result<(ClusterClient, T), CallError> {
    let mut last = CallError::NoEndpoint;
    for endpoint in client.endpoints() {
        let only = client.only(endpoint);
        match look(&only).await {
            Ok(seen) => return Ok((only, seen)),
            Err(error) if error.may_pass() => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}
