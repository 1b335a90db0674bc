//! `consigner cluster accept-restart`.

use super::super::access::{AccessArgs, AccessError};
use super::super::{Exit, fail, output};
use crate::client::membership;
use crate::client::{ClusterClient, Deployment};
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct AcceptRestartArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Id of the node that waits; with --endpoint, name that node's own URL
    #[arg(long, value_name = "ID")]
    id: u64,
}

const EXAMPLES: &str = "Examples:
  consigner cluster accept-restart --dir ./consigner-dev --id 2
  consigner cluster accept-restart --endpoint https://node2:9000 --ca ca.pem --cert admin.pem --key admin-key.pem --id 2

A node that starts waits until enough others have said that its disk is not an older one. Use this only when those others
are gone for good and you know that this disk is the newest: an older one could sign what was signed already.
Exit codes: 0 done, 1 failed or refused, 2 usage.";

pub(super) async fn main(args: &AcceptRestartArgs) -> Exit {
    let client = match own_client(args) {
        Ok(client) => client,
        Err(error) => return error.report(),
    };
    match membership::accept_restart(&client, args.id).await {
        Ok(answer) => {
            if !args.access.printed_json(&answer) {
                let missing = &answer["missing"];
                output::line(&format!("node {} takes part; nodes that did not vouch for it: {missing}", args.id));
            }
            Exit::Done
        }
        Err(error) => fail(&error),
    }
}

/// Towards the node itself: no other can open its gate.
fn own_client(args: &AcceptRestartArgs) -> Result<ClusterClient, AccessError> {
    let client = args.access.admin()?;
    let Some(dir) = &args.access.dir else { return Ok(client) };
    let deployment = Deployment::read(dir)?;
    Ok(deployment.node(args.id).map_or_else(|| client.clone(), |node| client.only(&node.api_url)))
}
