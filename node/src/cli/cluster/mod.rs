//! `consigner cluster`: one subcommand, one file.

mod init;
mod status;

use super::Exit;
use super::access::AccessArgs;
use crate::client::ClusterClient;
use clap::{Args, Subcommand};

/// `consigner cluster`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ClusterArgs {
    #[command(subcommand)]
    command: ClusterCommand,
}

const EXAMPLES: &str = "Examples:
  consigner cluster status --dir ./consigner-dev
  consigner cluster init --endpoint https://node1:9000 --ca ca.pem --cert admin.pem --key admin-key.pem \\
    --member 1,node1,node1:9001,https://node1:9000 \\
    --member 2,node2,node2:9001,https://node2:9000 \\
    --member 3,node3,node3:9001,https://node3:9000";

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Make running nodes a cluster, once, through one of them
    Init(init::InitArgs),
    /// Show every member: role, term, indexes, digest, readiness
    Status(status::StatusArgs),
}

/// Runs the command.
pub async fn main(args: ClusterArgs) -> Exit {
    match args.command {
        ClusterCommand::Init(args) => init::main(&args).await,
        ClusterCommand::Status(args) => status::main(&args).await,
    }
}

/// The client of a command that changes the cluster, or how the command ends.
fn admin(access: &AccessArgs) -> Result<ClusterClient, Exit> {
    access.admin().map_err(|error| error.report())
}
