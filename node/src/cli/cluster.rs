//! `consigner cluster init|status`.

use super::access::AccessArgs;
use super::{Exit, fail, output};
use crate::client::ClusterClient;
use crate::client::admin::{self, ClusterStatus, InitMember, MemberStatus};
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
    #[command(after_help = EXAMPLES)]
    Init(InitArgs),
    /// Show every member: role, term, indexes, digest, readiness
    #[command(after_help = EXAMPLES)]
    Status(AccessArgs),
}

#[derive(Debug, Args)]
struct InitArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// A member: ID,NAME,PEER-HOST:PORT[,API-URL]; once per node
    #[arg(long = "member", value_name = "MEMBER", required = true, value_parser = member)]
    members: Vec<InitMember>,
}

fn member(text: &str) -> Result<InitMember, String> {
    let mut parts = text.split(',').map(str::trim);
    let mut part = |what: &str| parts.next().filter(|part| !part.is_empty()).ok_or(format!("{what} is missing"));
    let id = part("ID")?.parse().map_err(|_| "ID must be a whole number".to_owned())?;
    let (name, peer_addr) = (part("NAME")?.to_owned(), part("PEER-HOST:PORT")?.to_owned());
    let api_url = parts.next().unwrap_or_default().to_owned();
    if parts.next().is_some() {
        return Err("more than four parts".to_owned());
    }
    Ok(InitMember { id, name, peer_addr, api_url })
}

/// Runs the command.
pub async fn main(args: ClusterArgs) -> Exit {
    match args.command {
        ClusterCommand::Init(args) => match args.access.admin() {
            Ok(client) => init(&args, &client).await,
            Err(error) => error.report(),
        },
        ClusterCommand::Status(access) => match access.admin() {
            Ok(client) => status(&access, &client).await,
            Err(error) => error.report(),
        },
    }
}

async fn init(args: &InitArgs, client: &ClusterClient) -> Exit {
    match admin::initialise(client, &args.members).await {
        Ok(answer) => {
            let body: serde_json::Value = answer.json().unwrap_or_default();
            if !args.access.printed_json(&body) {
                let id = body.get("cluster_id").and_then(|id| id.as_str()).unwrap_or("?");
                output::line(&format!("cluster {id} of {} members is initialised", args.members.len()));
            }
            Exit::Done
        }
        Err(error) => fail(&error),
    }
}

async fn status(access: &AccessArgs, client: &ClusterClient) -> Exit {
    let status = match admin::status(client).await {
        Ok(status) => status,
        Err(error) => return fail(&error),
    };
    if !access.printed_json(&status) {
        print(&status);
    }
    let all_ready = status.nodes.iter().all(|node| node.status.as_ref().is_some_and(|status| status.ready));
    if all_ready { Exit::Done } else { Exit::Partly }
}

fn print(status: &ClusterStatus) {
    let head = ["NODE", "NAME", "ROLE", "TERM", "LOG", "COMMIT", "APPLIED", "SNAPSHOT", "KEYS", "DIGEST", "READY"];
    let rows: Vec<Vec<String>> = status.nodes.iter().map(row).collect();
    output::line(&output::table(&head, &rows));
    for node in &status.nodes {
        if let Some(error) = &node.error {
            output::line(&format!("node {}: {error}", node.id));
        }
    }
}

fn row(node: &MemberStatus) -> Vec<String> {
    let index = |index: Option<u64>| index.map_or_else(|| "-".to_owned(), |index| index.to_string());
    let Some(status) = &node.status else {
        return vec![node.id.to_string(), "no answer".to_owned()];
    };
    vec![
        status.id.to_string(),
        status.member.name.clone(),
        format!("{:?}", status.role).to_lowercase(),
        status.term.to_string(),
        index(status.last_log_index),
        index(status.commit_index),
        index(status.applied_index),
        index(status.snapshot_index),
        status.keys.to_string(),
        status.digest.chars().take(14).collect(),
        status.not_ready.clone().unwrap_or_else(|| "yes".to_owned()),
    ]
}
