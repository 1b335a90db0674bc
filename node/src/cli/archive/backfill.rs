//! `consigner archive backfill`: a database that was lost, restored from an older copy, or attached late gets what the
//! nodes still have; what they have not becomes a gap that says so, and only with the operator's leave.

use super::printed_json;
use crate::cli::access::AccessArgs;
use crate::cli::{Exit, fail, output};
use crate::client::archive;
use clap::Args;
use consigner_api::Backfilled;
use serde_json::json;

#[derive(Debug, Args)]
pub(super) struct BackfillArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Write a gap, with the greatest numbers of every validator, for entries whose rows no node has any more
    #[arg(long)]
    accept_gap: bool,
}

pub(super) const EXAMPLES: &str = "Examples:
  consigner archive backfill --dir ./consigner-dev
  consigner archive backfill --dir ./consigner-dev --accept-gap
  consigner archive backfill --endpoint https://node1:9000,https://node2:9000 --ca ca.pem --cert admin.pem \\
    --key admin-key.pem --json

Nodes drop rows once the archive confirmed them: a database that is lost gets back what was not confirmed yet, and what
some node happens to have still (all are asked; start those that are down, without archive.postgres, before).
Restore its newest backup first; backfill then closes what lies between. A gap stays a gap: verify and export name it.
Name all nodes: the leader does it. Exit codes: 0 nothing is missing, 1 failed (also: a gap was not accepted), 2 usage,
3 done, and a gap remains.";

pub(super) async fn main(args: &BackfillArgs) -> Exit {
    let client = match args.access.admin() {
        Ok(client) => client,
        Err(error) => return error.report(),
    };
    let done = match archive::backfill(&client, args.accept_gap).await {
        Ok(done) => done,
        Err(error) => return fail(&error),
    };
    let exit = if done.gaps.is_empty() { Exit::Done } else { Exit::Partly };
    if !printed_json(args.access.json, &json!({"complete": done.gaps.is_empty(), "done": done})) {
        print(&done);
    }
    exit
}

fn print(done: &Backfilled) {
    let index = |mark: Option<&consigner_api::MarkView>| {
        mark.map_or_else(|| "nothing".to_owned(), |mark| format!("log index {} ({} rows)", mark.index, mark.rows))
    };
    output::line(&format!(
        "the archive had {}, and has {} now; {} rows were written again, and the export goes on from there",
        index(done.before.as_ref()),
        index(done.after.as_ref()),
        done.rows
    ));
    for part in &done.given {
        let nodes: Vec<String> = part.nodes.iter().map(ToString::to_string).collect();
        let (first, last, rows) = (part.after.saturating_add(1), part.upto, part.rows);
        output::line(&format!("{rows} rows of the log indexes {first} to {last} came from node {}", nodes.join(", ")));
    }
    for (node, why) in &done.unheard {
        output::line(&format!("node {node} was not heard, and may have rows of the gaps: {why}"));
    }
    for (after, upto) in &done.gaps {
        output::line(&format!(
            "GAP: the rows of the log indexes {} to {upto} are lost; in their place stand the greatest numbers of {} \
             validators",
            after.saturating_add(1),
            done.baseline
        ));
    }
}
