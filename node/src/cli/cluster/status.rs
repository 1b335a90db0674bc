//! `consigner cluster status`.

use super::super::access::AccessArgs;
use super::super::{Exit, fail, output};
use crate::client::admin::{self, ClusterStatus, MemberStatus};
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    access: AccessArgs,
}

const EXAMPLES: &str = "Examples:
  consigner cluster status --dir ./consigner-dev
  consigner cluster status --endpoint https://node1:9000 --ca ca.pem --cert admin.pem --key admin-key.pem --json";

pub(super) async fn main(args: &StatusArgs) -> Exit {
    let client = match super::admin(&args.access) {
        Ok(client) => client,
        Err(exit) => return exit,
    };
    let status = match admin::status(&client).await {
        Ok(status) => status,
        Err(error) => return fail(&error),
    };
    if !args.access.printed_json(&status) {
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
