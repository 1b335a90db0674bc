//! `consigner keys rewrap`: all keys under one data key of the wanted sealer, while the cluster signs.
//!
//! In: what every member says about sealers and data keys. Out: keys moved in steps, old data keys removed. Every step
//! is one command of the cluster, so the command may be stopped and repeated anywhere. Deliberately absent: secrets; the
//! nodes reseal.

use crate::cli::access::AccessArgs;
use crate::cli::progress::Progress;
use crate::cli::{Exit, fail, output};
use crate::client::keys::{self, DataKeys, RemovedDataKey};
use crate::client::{CallError, ClusterClient, members};
use crate::config::keys::SEALERS;
use crate::report::one_line;
use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;
use std::time::{Duration, Instant};

/// `consigner keys rewrap`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RewrapArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Kind of the sealer to move to [default: keys.sealer.use of the nodes]
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(SEALERS))]
    to: Option<String>,
    /// Make a new data key although one under the sealer's current master key exists
    #[arg(long)]
    force_new_data_key: bool,
    /// How many seconds to wait for a member that does not answer or cannot open the new data key
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    patience: u64,
}

const EXAMPLES: &str = "Examples:
  consigner keys rewrap --dir ./consigner-dev                       under keys.sealer.use of the nodes
  consigner keys rewrap --dir ./consigner-dev --to vault-transit
  consigner keys rewrap --dir ./consigner-dev --force-new-data-key  also when nothing else changed

Signing goes on meanwhile. No key moves before every member has opened the new data key. The command may be stopped and
repeated. Exit codes: 0 all keys lie under the new data key, 1 nothing was moved, 2 usage, 3 some keys are left.";

/// Keys per step: about 250 bytes each, so that one step is half of what one entry of the log may hold.
const STEP: u64 = 500;

/// Data keys that one call of the API removes at most.
const REMOVED_MAX: usize = 16;

/// Between two looks at members that are not ready yet.
const POLL: Duration = Duration::from_millis(250);

/// How often the wait is explained.
const EXPLAIN: Duration = Duration::from_secs(5);

/// Why the keys were not moved.
#[derive(Debug, thiserror::Error)]
enum RewrapError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The nodes are set up differently.
    #[error("{0}")]
    Setup(String),
    /// A member did not get there.
    #[error("not all members are ready after {seconds} s: {}; nothing is lost, repeat the command", missing.join("; "))]
    Late {
        /// Time waited.
        seconds: u64,
        /// Who, and why.
        missing: Vec<String>,
    },
}

/// What was done, for scripts.
#[derive(Debug, Default, Serialize)]
struct Report {
    data_key: String,
    sealer: String,
    moved: u64,
    remaining: u64,
    removed: Vec<RemovedDataKey>,
}

/// Runs the command.
pub(super) async fn main(args: &RewrapArgs) -> Exit {
    let client = match args.access.admin() {
        Ok(client) => client,
        Err(error) => return error.report(),
    };
    let mut report = Report::default();
    let ended = rewrap(args, &client, &mut report).await;
    if !args.access.printed_json(&report) && !report.data_key.is_empty() {
        print(&report);
    }
    match ended {
        Ok(()) => Exit::Done,
        Err(error) => {
            let failed = fail(&error);
            if report.moved > 0 { Exit::Partly } else { failed }
        }
    }
}

async fn rewrap(args: &RewrapArgs, client: &ClusterClient, report: &mut Report) -> Result<(), RewrapError> {
    let patience = Duration::from_secs(args.patience);
    let views = views_of_all(client, patience).await?;
    report.sealer = wanted_sealer(args.to.as_deref(), &views)?;
    let before: Vec<String> = views[0].1.data.iter().map(|data_key| data_key.id.clone()).collect();
    let reusable = (!args.force_new_data_key).then(|| reusable(&report.sealer, &views)).flatten();
    report.data_key = match reusable {
        Some(id) => id,
        None => patiently(patience, async || keys::new_data_key(client, &report.sealer).await).await?,
    };
    until_open(client, &report.data_key, patience).await?;
    move_all(client, report, patience).await?;
    let unused: Vec<String> = before.into_iter().filter(|id| *id != report.data_key).collect();
    for unused in unused.chunks(REMOVED_MAX) {
        report.removed.extend(patiently(patience, async || keys::remove_data_keys(client, unused).await).await?);
    }
    Ok(())
}

type View = (u64, DataKeys);

/// What every member says, once every member answers: a member that is down could not open the new data key later, and
/// nobody would notice before its next start.
async fn views_of_all(client: &ClusterClient, patience: Duration) -> Result<Vec<View>, RewrapError> {
    let mut seen = Vec::new();
    until(patience, async || {
        let (views, missing) = look(client).await;
        seen = views;
        missing
    })
    .await?;
    Ok(seen)
}

/// Returns when every member has the data key open.
async fn until_open(client: &ClusterClient, id: &str, patience: Duration) -> Result<(), RewrapError> {
    until(patience, async || {
        let (views, mut missing) = look(client).await;
        missing.extend(views.iter().filter_map(|(node, view)| {
            let entry = view.data.iter().find(|data_key| data_key.id == id);
            let why = match entry {
                Some(entry) if entry.open => return None,
                Some(entry) => entry.error.as_deref().unwrap_or("it is being opened"),
                None => "it has not arrived",
            };
            Some(format!("node {node} has not opened data key {id}: {why}"))
        }));
        missing
    })
    .await
}

/// The views of the members that answer, and a line for each that does not.
async fn look(client: &ClusterClient) -> (Vec<View>, Vec<String>) {
    let members = match members::find(client).await {
        Ok(members) => members,
        Err(error) => return (Vec::new(), vec![one_line(&error)]),
    };
    let asked = members.into_iter().map(|(node, url)| async move {
        match url {
            Ok(url) => {
                keys::data_keys(&client.only(&url)).await.map(|view| (node, view)).map_err(|e| (node, one_line(&e)))
            }
            Err(why) => Err((node, why)),
        }
    });
    let (mut views, mut missing) = (Vec::new(), Vec::new());
    for answer in futures::future::join_all(asked).await {
        match answer {
            Ok(view) => views.push(view),
            Err((node, why)) => missing.push(format!("node {node}: {why}")),
        }
    }
    (views, missing)
}

/// Looks until nothing is missing.
async fn until(patience: Duration, mut look: impl AsyncFnMut() -> Vec<String>) -> Result<(), RewrapError> {
    let begun = Instant::now();
    let mut explained = begun;
    loop {
        let missing = look().await;
        if missing.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > patience {
            return Err(RewrapError::Late { seconds: patience.as_secs(), missing });
        }
        if explained.elapsed() > EXPLAIN {
            explained = Instant::now();
            output::complain(&format!("waiting: {}", missing.join("; ")));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The kind asked for, or the one that all nodes use; set up on every node.
fn wanted_sealer(asked: Option<&str>, views: &[View]) -> Result<String, RewrapError> {
    let (first_node, first) = &views[0];
    let wanted = asked.unwrap_or(&first.in_use);
    for (node, view) in views {
        let entry = view.sealers.iter().find(|sealer| sealer.kind == wanted);
        if asked.is_none() && view.in_use != first.in_use {
            let (one, other) = (&first.in_use, &view.in_use);
            let what = format!(
                "keys.sealer.use is {one} on node {first_node} and {other} on node {node}: make them equal, or say --to"
            );
            return Err(RewrapError::Setup(what));
        }
        let Some(entry) = entry else {
            let what =
                format!("node {node} has no sealer of kind {wanted}: set up keys.sealer.{wanted} and restart it");
            return Err(RewrapError::Setup(what));
        };
        // What the node calls current may then be wrapped under a key that was replaced.
        if let Some(error) = &entry.error {
            let what = format!("node {node} cannot ask sealer {wanted} for its current master key: {error}");
            return Err(RewrapError::Setup(what));
        }
    }
    Ok(wanted.to_owned())
}

/// The data key under the current master key, on every node's word, that most keys lie under already.
fn reusable(sealer: &str, views: &[View]) -> Option<String> {
    let current = |id: &str, view: &DataKeys| view.data.iter().any(|entry| entry.id == id && entry.current);
    let (_, first) = &views[0];
    let candidates = first.data.iter().filter(|entry| entry.sealer == sealer);
    let everywhere = candidates.filter(|entry| views.iter().all(|(_, view)| current(&entry.id, view)));
    everywhere.max_by_key(|entry| entry.keys).map(|entry| entry.id.clone())
}

async fn move_all(client: &ClusterClient, report: &mut Report, patience: Duration) -> Result<(), RewrapError> {
    let mut progress: Option<Progress> = None;
    loop {
        let id = report.data_key.clone();
        let step = patiently(patience, async || keys::rewrap(client, &id, STEP).await).await?;
        report.moved += step.moved;
        report.remaining = step.remaining;
        let total = report.moved + step.remaining;
        progress.get_or_insert_with(|| Progress::new("moved", "keys", total)).reached(report.moved);
        if step.remaining == 0 {
            return Ok(());
        }
        if step.moved == 0 {
            let what = format!("{} keys cannot be moved: {}", step.remaining, step.why.join("; "));
            return Err(RewrapError::Setup(what));
        }
    }
}

/// Repeats a call through an election or a node's restart.
async fn patiently<T>(
    patience: Duration,
    mut call: impl AsyncFnMut() -> Result<T, CallError>,
) -> Result<T, RewrapError> {
    let begun = Instant::now();
    loop {
        match call().await {
            Err(error) if error.may_pass() && begun.elapsed() < patience => tokio::time::sleep(POLL).await,
            ended => return Ok(ended?),
        }
    }
}

fn print(report: &Report) {
    let Report { data_key, sealer, moved, remaining, removed } = report;
    output::line(&format!("{moved} keys moved under data key {data_key} of sealer {sealer}, {remaining} left"));
    for RemovedDataKey { id, status } in removed {
        output::line(&format!("data key {id}: {status}"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::client::keys::{DataKeyEntry, SealerEntry};

    fn view(node: u64, in_use: &str, data_keys: &[(&str, &str, bool, u64)]) -> View {
        let sealer = |kind: &&str| SealerEntry { kind: (*kind).into(), master: "m".into(), error: None };
        let data_key = |(id, sealer, current, keys): &(&str, &str, bool, u64)| DataKeyEntry {
            id: (*id).into(),
            sealer: (*sealer).into(),
            current: *current,
            open: true,
            keys: *keys,
            waiting_keys: 0,
            error: None,
        };
        let sealers = ["local", in_use].iter().map(sealer).collect();
        (node, DataKeys { in_use: in_use.into(), sealers, data: data_keys.iter().map(data_key).collect() })
    }

    #[test]
    fn the_wanted_sealer_is_set_up_on_every_node_or_said() {
        let alike = [view(1, "aws-kms", &[]), view(2, "aws-kms", &[])];
        assert_eq!(wanted_sealer(None, &alike).unwrap(), "aws-kms");
        assert_eq!(wanted_sealer(Some("local"), &alike).unwrap(), "local");
        let different = [view(1, "aws-kms", &[]), view(2, "local", &[])];
        assert!(wanted_sealer(None, &different).unwrap_err().to_string().contains("node 2"));
        let missing = wanted_sealer(Some("aws-kms"), &different).unwrap_err().to_string();
        assert!(missing.contains("node 2 has no sealer of kind aws-kms"), "{missing}");
        let mut silent = alike;
        silent[1].1.sealers[1].error = Some("throttled".into());
        let unknown = wanted_sealer(None, &silent).unwrap_err().to_string();
        assert!(unknown.contains("node 2 cannot ask sealer aws-kms") && unknown.contains("throttled"), "{unknown}");
        assert_eq!(wanted_sealer(Some("local"), &silent).unwrap(), "local", "the others do not matter");
    }

    #[test]
    fn only_a_data_key_that_is_current_everywhere_is_used_again() {
        let keys = [("a", "local", true, 1), ("b", "local", true, 5), ("c", "aws-kms", true, 9)];
        let views = [view(1, "local", &keys), view(2, "local", &keys)];
        assert_eq!(reusable("local", &views).as_deref(), Some("b"), "most keys lie there already");
        let rotated = [("a", "local", true, 1), ("b", "local", false, 5)];
        let views = [view(1, "local", &keys), view(2, "local", &rotated)];
        assert_eq!(reusable("local", &views).as_deref(), Some("a"));
        assert_eq!(reusable("vault-transit", &views), None);
    }
}
