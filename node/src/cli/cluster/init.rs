//! `consigner cluster init`.

use super::super::access::AccessArgs;
use super::super::{Exit, fail, output};
use crate::client::admin::{self, InitMember};
use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InitArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// A member: ID,NAME,PEER-HOST:PORT[,API-URL]; once per node
    #[arg(long = "member", value_name = "MEMBER", required = true, value_parser = member)]
    members: Vec<InitMember>,
}

const EXAMPLES: &str = "Examples:
  consigner cluster init --endpoint https://node1:9000 --ca ca.pem --cert admin.pem --key admin-key.pem \\
    --member 1,node1,node1:9001,https://node1:9000 \\
    --member 2,node2,node2:9001,https://node2:9000 \\
    --member 3,node3,node3:9001,https://node3:9000";

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

pub(super) async fn main(args: &InitArgs) -> Exit {
    let client = match super::admin(&args.access) {
        Ok(client) => client,
        Err(exit) => return exit,
    };
    match admin::initialise(&client, &args.members).await {
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
