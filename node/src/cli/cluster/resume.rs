//! `consigner cluster resume`: a restored cluster signs again, above a floor.

use super::super::access::AccessArgs;
use super::super::{Exit, fail, output};
use crate::client::{CallError, ClusterClient, OPERATE};
use clap::Args;
use consigner_raft::restore::ResumeAt;
use serde::{Deserialize, Serialize};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ResumeArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// First epoch that is signed for, or `now`: the current epoch and two more
    #[arg(long, value_name = "EPOCH")]
    at_epoch: ResumeAt,
}

const EXAMPLES: &str = "Examples:
  consigner cluster resume --dir ./consigner-dev --at-epoch now
  consigner cluster resume --endpoint https://node1:9000 --ca ca.pem --cert admin.pem --key admin-key.pem \\
    --at-epoch 412345

Before this, revoke the old cluster's access to KMS or Vault, or destroy its key file: two clusters with the same keys get
them slashed. Everything up to the epoch before counts as signed, for every key, for ever.";

const RESUME: &str = "/admin/v1/cluster/resume";

/// What the cluster answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Resumed {
    epoch: u64,
    floor: FloorAnswer,
    raised: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FloorAnswer {
    slot: u64,
    source_epoch: u64,
    target_epoch: u64,
}

pub(super) async fn main(args: &ResumeArgs) -> Exit {
    let client = match super::admin(&args.access) {
        Ok(client) => client,
        Err(exit) => return exit,
    };
    match resume(&client, args.at_epoch).await {
        Ok(resumed) => {
            if !args.access.printed_json(&resumed) {
                let Resumed { epoch, floor, raised } = resumed;
                output::line(&format!(
                    "the cluster signs from epoch {epoch} on: {raised} histories raised to slot {}, source epoch {}, \
                     target epoch {}",
                    floor.slot, floor.source_epoch, floor.target_epoch
                ));
            }
            Exit::Done
        }
        Err(error) => fail(&error),
    }
}

async fn resume(client: &ClusterClient, at: ResumeAt) -> Result<Resumed, CallError> {
    let at = match at {
        ResumeAt::Now => serde_json::json!("now"),
        ResumeAt::Epoch(epoch) => serde_json::json!(epoch),
    };
    let body = serde_json::json!({ "at": at }).to_string();
    client.post_json(RESUME, body, OPERATE).await?.ok()?.json()
}
