//! `consigner cluster status`: once, or again and again until ctrl-c.

use super::super::access::AccessArgs;
use super::super::{Exit, fail, output};
use crate::client::ClusterClient;
use crate::client::admin::{self, ClusterStatus, MemberStatus};
use clap::Args;
use consigner_raft::{Description, NodeStatus};
use std::io::IsTerminal as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Look again every second until ctrl-c; with --json one line each time
    #[arg(long)]
    watch: bool,
}

const EXAMPLES: &str = "Examples:
  consigner cluster status --dir ./consigner-dev
  consigner cluster status --dir ./consigner-dev --watch
  consigner cluster status --endpoint https://node1:9000 --ca ca.pem --cert admin.pem --key admin-key.pem --json

LAG is the number of entries that a node has not applied yet; BOOT counts the starts of its data directory; ARCHIVE is what
waits for the archive; SEALERS says whether every data key is open; CERTIFICATE is the one that ends first.
Exit codes: 0 every member is ready (or --watch was ended), 1 no answer, 2 usage, 3 some member is not ready.";

/// Between two looks.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Home, and everything from there to the end of the screen erased.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

pub(super) async fn main(args: &StatusArgs) -> Exit {
    let client = match super::admin(&args.access) {
        Ok(client) => client,
        Err(exit) => return exit,
    };
    if args.watch {
        return watch(args, &client).await;
    }
    let status = match admin::status(&client).await {
        Ok(status) => status,
        Err(error) => return fail(&error),
    };
    if !args.access.printed_json(&status) {
        output::line(&rendered(&status, now_unix()));
    }
    let all_ready = status.nodes.iter().all(|node| node.status.as_ref().is_some_and(|status| status.ready));
    if all_ready { Exit::Done } else { Exit::Partly }
}

/// Until ctrl-c. A look that fails is shown, and the next one is taken.
async fn watch(args: &StatusArgs, client: &ClusterClient) -> Exit {
    let terminal = std::io::stdout().is_terminal();
    let looks = async {
        let mut tick = tokio::time::interval(WATCH_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let looked = admin::status(client).await;
            output::line(&frame(&looked, args.access.json, terminal));
        }
    };
    tokio::select! {
        () = looks => Exit::Done,
        caught = tokio::signal::ctrl_c() => match caught {
            Ok(()) => Exit::Done,
            Err(error) => fail(&error),
        },
    }
}

fn frame(looked: &Result<ClusterStatus, crate::client::CallError>, json: bool, terminal: bool) -> String {
    let text = match looked {
        Ok(status) if json => serde_json::to_string(status).unwrap_or_default(),
        Ok(status) => format!("{}\n", rendered(status, now_unix())),
        Err(error) if json => serde_json::json!({"error": crate::report::one_line(error)}).to_string(),
        Err(error) => crate::report::one_line(error),
    };
    if terminal && !json { format!("{CLEAR}{text}") } else { text }
}

fn now_unix() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Two tables: what Raft says of each member, and what its process says.
fn rendered(status: &ClusterStatus, now: i64) -> String {
    let raft =
        ["NODE", "NAME", "ROLE", "TERM", "LOG", "COMMIT", "APPLIED", "LAG", "SNAPSHOT", "KEYS", "DIGEST", "READY"];
    let process = ["NODE", "VERSION", "RULES", "BOOT", "SEALERS", "ARCHIVE", "CERTIFICATE", "DISK"];
    let newest = status.nodes.iter().filter_map(|node| node.status.as_ref()?.commit_index).max();
    let mut parts = vec![
        output::table(&raft, &status.nodes.iter().map(|node| raft_row(node, newest)).collect::<Vec<_>>()),
        String::new(),
        output::table(&process, &status.nodes.iter().map(|node| process_row(node, now)).collect::<Vec<_>>()),
    ];
    parts.extend(status.nodes.iter().filter_map(|node| Some(format!("node {}: {}", node.id, node.error.as_ref()?))));
    parts.join("\n")
}

fn raft_row(node: &MemberStatus, newest: Option<u64>) -> Vec<String> {
    let index = |index: Option<u64>| index.map_or_else(|| "-".to_owned(), |index| index.to_string());
    let Some(status) = &node.status else {
        return vec![node.id.to_string(), "no answer".to_owned()];
    };
    let lag = newest.map(|newest| newest.saturating_sub(status.applied_index.unwrap_or(0)));
    vec![
        status.id.to_string(),
        status.member.name.clone(),
        format!("{:?}", status.role).to_lowercase(),
        status.term.to_string(),
        index(status.last_log_index),
        index(status.commit_index),
        index(status.applied_index),
        index(lag),
        index(status.snapshot_index),
        status.keys.to_string(),
        status.digest.chars().take(14).collect(),
        readiness(status),
    ]
}

fn readiness(status: &NodeStatus) -> String {
    let why = status.not_ready.clone().or_else(|| status.description.not_ready.clone());
    why.unwrap_or_else(|| "yes".to_owned())
}

fn process_row(node: &MemberStatus, now: i64) -> Vec<String> {
    let Some(status) = &node.status else { return vec![node.id.to_string(), "no answer".to_owned()] };
    let Description { certificate, disk, .. } = &status.description;
    let certificate = certificate.as_ref().map(|end| format!("{} d ({})", (end.not_after - now) / 86_400, end.what));
    let disk = disk.filter(|disk| disk.total_bytes > 0).map(|disk| {
        let used = disk.total_bytes.saturating_sub(disk.free_bytes);
        format!("{} %", u128::from(used) * 100 / u128::from(disk.total_bytes))
    });
    vec![
        status.id.to_string(),
        status.version.clone(),
        format!("{} of {}", status.rules, status.rules_max),
        status.boot_counter.to_string(),
        sealers(&status.description),
        status.outbox_rows.to_string(),
        certificate.unwrap_or_else(|| "-".to_owned()),
        disk.unwrap_or_else(|| "-".to_owned()),
    ]
}

fn sealers(description: &Description) -> String {
    let failed =
        description.sealers.iter().filter_map(|sealer| Some(format!("{}: {}", sealer.kind, sealer.error.as_ref()?)));
    let failed: Vec<String> = failed.collect();
    match (failed.is_empty(), description.sealers.is_empty()) {
        (false, _) => failed.join("; "),
        (true, true) => "-".to_owned(),
        (true, false) => "ok".to_owned(),
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
