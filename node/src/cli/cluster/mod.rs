//! `consigner cluster`: one subcommand, one file; those that change the membership share one.

mod accept_restart;
mod backup;
mod init;
mod join_token;
mod members;
mod restore;
mod resume;
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
  consigner cluster status --dir ./consigner-dev --watch
  consigner cluster init --endpoint https://node1:9000 --ca ca.pem --cert admin.pem --key admin-key.pem \\
    --member 1,node1,node1:9001,https://node1:9000 \\
    --member 2,node2,node2:9001,https://node2:9000 \\
    --member 3,node3,node3:9001,https://node3:9000
  consigner cluster join-token --dir ./consigner-dev --id 4 --to node4/join-token
  consigner cluster add --dir ./consigner-dev --id 4 --peer-addr 127.0.0.1:9031
  consigner cluster remove --dir ./consigner-dev --id 4";

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Make running nodes a cluster, once, through one of them
    Init(init::InitArgs),
    /// Show every member: role, term, indexes, digest, readiness
    Status(status::StatusArgs),
    /// Take a node into the cluster: as a learner, and as a voter once it has caught up
    Add(members::AddArgs),
    /// Let a node go; its id is never used again
    Remove(members::RemoveArgs),
    /// Take a node in, in place of another that may be dead
    Replace(members::ReplaceArgs),
    /// Give a learner a vote
    Promote(members::PromoteArgs),
    /// Let another node lead
    TransferLeader(members::TransferArgs),
    /// Give a node leave to join, once
    JoinToken(join_token::JoinTokenArgs),
    /// Let a node take part whose start nobody is left to vouch for
    AcceptRestart(accept_restart::AcceptRestartArgs),
    /// Write everything that the cluster holds into one encrypted file; read it back
    Backup(Box<backup::BackupArgs>),
    /// Make a new cluster of one node out of backups and what is left of a lost one
    Restore(restore::RestoreArgs),
    /// Let a restored cluster sign again, from an epoch on
    Resume(resume::ResumeArgs),
}

/// Runs the command.
pub async fn main(args: ClusterArgs) -> Exit {
    match args.command {
        ClusterCommand::Init(args) => init::main(&args).await,
        ClusterCommand::Status(args) => status::main(&args).await,
        ClusterCommand::Add(args) => members::add(&args).await,
        ClusterCommand::Remove(args) => members::remove(&args).await,
        ClusterCommand::Replace(args) => members::replace(&args).await,
        ClusterCommand::Promote(args) => members::promote(&args).await,
        ClusterCommand::TransferLeader(args) => members::transfer_leader(&args).await,
        ClusterCommand::JoinToken(args) => join_token::main(&args).await,
        ClusterCommand::AcceptRestart(args) => accept_restart::main(&args).await,
        ClusterCommand::Backup(args) => backup::main(&args).await,
        ClusterCommand::Restore(args) => restore::main(&args).await,
        ClusterCommand::Resume(args) => resume::main(&args).await,
    }
}

/// The client of a command that changes the cluster, or how the command ends.
fn admin(access: &AccessArgs) -> Result<ClusterClient, Exit> {
    access.admin().map_err(|error| error.report())
}
