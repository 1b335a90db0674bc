//! `consigner cluster join-token`.

use super::super::access::AccessArgs;
use super::super::{Exit, fail, output};
use super::members::seconds;
use crate::client::ClusterClient;
use crate::client::membership::{self, JoinTokenEntry};
use crate::files;
use clap::Args;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct JoinTokenArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Id of the node that may join with it, once
    #[arg(long, value_name = "ID", required_unless_present_any = ["list", "revoke"])]
    #[arg(conflicts_with_all = ["list", "revoke"])]
    id: Option<u64>,
    /// How long it may
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = seconds)]
    expires: Duration,
    /// Write the token to this new file (mode 0600) instead of printing it
    #[arg(long, value_name = "FILE", requires = "id")]
    to: Option<PathBuf>,
    /// Show the tokens that the cluster holds, without their texts
    #[arg(long, conflicts_with = "revoke")]
    list: bool,
    /// Take a token back, by the id that --list shows
    #[arg(long, value_name = "TOKEN-ID")]
    revoke: Option<String>,
}

const EXAMPLES: &str = "Examples:
  consigner cluster join-token --dir ./consigner-dev --id 4
  consigner cluster join-token --dir ./consigner-dev --id 4 --expires 10m --to node4/join-token
  consigner cluster join-token --dir ./consigner-dev --list
  consigner cluster join-token --dir ./consigner-dev --revoke 0123456789abcdef

The token is printed once. Name its file in the new node's cluster.join-token-file, then `consigner cluster add`.
Exit codes: 0 done, 1 failed, 2 usage, 3 nothing to revoke.";

pub(super) async fn main(args: &JoinTokenArgs) -> Exit {
    let client = match super::admin(&args.access) {
        Ok(client) => client,
        Err(exit) => return exit,
    };
    match (args.id, &args.revoke) {
        (Some(id), _) => create(args, &client, id).await,
        (None, Some(token)) => revoke(args, &client, token).await,
        (None, None) => list(args, &client).await,
    }
}

async fn create(args: &JoinTokenArgs, client: &ClusterClient, id: u64) -> Exit {
    let made = match membership::create_join_token(client, id, args.expires.as_secs()).await {
        Ok(made) => made,
        Err(error) => return fail(&error),
    };
    let Some(file) = &args.to else {
        if !args.access.printed_json(&made) {
            output::line(&made.token);
        }
        return Exit::Done;
    };
    if let Err(error) = written(file, &made.token) {
        output::complain(&format!("{}: {error}", file.display()));
        return take_back(client, &made.id).await;
    }
    let public = json!({"id": made.id, "node": made.node, "expires_ms": made.expires_ms, "file": file});
    if !args.access.printed_json(&public) {
        output::line(&format!("join token {} for node {id} is in {}", made.id, file.display()));
    }
    Exit::Done
}

fn written(file: &Path, token: &str) -> std::io::Result<()> {
    files::create(file, format!("{token}\n").as_bytes(), files::SECRET)
}

/// A token that nobody has is of no use to anybody.
async fn take_back(client: &ClusterClient, token: &str) -> Exit {
    if let Err(error) = membership::revoke_join_token(client, token).await {
        let _failed = fail(&error);
    }
    Exit::Failed
}

async fn revoke(args: &JoinTokenArgs, client: &ClusterClient, token: &str) -> Exit {
    match membership::revoke_join_token(client, token).await {
        Ok(was_held) => {
            let status = if was_held { "revoked" } else { "not_found" };
            if !args.access.printed_json(&json!({"id": token, "status": status})) {
                output::line(&format!("join token {token}: {status}"));
            }
            if was_held { Exit::Done } else { Exit::Partly }
        }
        Err(error) => fail(&error),
    }
}

async fn list(args: &JoinTokenArgs, client: &ClusterClient) -> Exit {
    let tokens = match membership::join_tokens(client).await {
        Ok(tokens) => tokens,
        Err(error) => return fail(&error),
    };
    if !args.access.printed_json(&json!({"data": tokens})) {
        let rows: Vec<Vec<String>> = tokens.iter().map(row).collect();
        output::line(&output::table(&["TOKEN", "NODE", "STATE"], &rows));
    }
    Exit::Done
}

fn row(token: &JoinTokenEntry) -> Vec<String> {
    let lives = Duration::from_millis(token.expires_ms.saturating_sub(token.created_ms));
    let state =
        if token.expired { "expired".to_owned() } else { format!("made for {}", super::super::progress::human(lives)) };
    vec![token.id.clone(), token.node.to_string(), state]
}
