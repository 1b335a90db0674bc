//! `consigner policy apply`.

use super::first_to_answer;
use crate::cli::access::AccessArgs;
use crate::cli::{Exit, fail, output};
use crate::client::policy::{self, Applied};
use clap::Args;
use consigner_rules::Policy;
use consigner_rules::policy::POLICY_TEXT_BYTES_MAX;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// `consigner policy apply`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ApplyArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// The document, YAML; - reads it from standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Apply only if the policy is still at this version (default: the version that the changes are shown against)
    #[arg(long, value_name = "VERSION")]
    replaces: Option<u64>,
}

const EXAMPLES: &str = "Examples:
  consigner policy apply --dir ./consigner-dev policy.yaml --dry-run
  consigner policy apply --dir ./consigner-dev policy.yaml
  consigner policy apply --endpoint https://node1:9000,https://node2:9000 --ca ca.pem --cert admin.pem \\
    --key admin-key.pem policy.yaml --replaces 7

When the command returns, no node acts by the older policy any more. A policy by which you could not apply another one is
refused. It may be repeated. Exit codes: 0 it holds, 1 refused or not certain, 2 usage or a document that is not one.";

/// The report, for scripts.
#[derive(Debug, Serialize)]
struct Report<'a> {
    version: u64,
    dry_run: bool,
    changes: &'a [String],
    warnings: &'a [String],
}

/// Runs the command.
pub(super) async fn main(args: &ApplyArgs) -> Exit {
    let text = match read(&args.file) {
        Ok(text) => text,
        Err(complaint) => {
            output::complain(&complaint);
            return Exit::Usage;
        }
    };
    let client = match args.access.admin() {
        Ok(client) => client,
        Err(error) => return error.report(),
    };
    let (node, before) = match first_to_answer(&client, async |node| policy::dry_run(node, &text).await).await {
        Ok(answer) => answer,
        Err(error) => return fail(&error),
    };
    if args.dry_run {
        report(args, &before);
        return Exit::Done;
    }
    if !args.access.json {
        tell(&before);
    }
    match policy::apply(&node, &text, args.replaces.unwrap_or(before.version)).await {
        Ok(applied) => {
            // What was shown is what was changed: the version says so.
            report(args, &applied);
            Exit::Done
        }
        Err(error) => fail(&error),
    }
}

/// The document, understood here first: line and column are those of the file.
fn read(file: &Path) -> Result<String, String> {
    let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    let mut text = String::new();
    // One byte more than is allowed shows that there is more.
    let limit = POLICY_TEXT_BYTES_MAX as u64 + 1;
    let read: io::Result<usize> = if file == Path::new("-") {
        io::stdin().lock().take(limit).read_to_string(&mut text)
    } else {
        File::open(file).and_then(|open| open.take(limit).read_to_string(&mut text))
    };
    read.map_err(|error| format!("{name} cannot be read: {error}"))?;
    match Policy::parse(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(format!("{name}:{}:{}: {}", error.line, error.column, error.what)),
    }
}

fn report(args: &ApplyArgs, applied: &Applied) {
    let Applied { version, changes, warnings } = applied;
    if args.access.printed_json(&Report { version: *version, dry_run: args.dry_run, changes, warnings }) {
        return;
    }
    if args.dry_run {
        tell(applied);
        output::line(&format!("nothing was applied; the policy is at version {version}"));
    } else {
        output::line(&format!("the policy is at version {version}"));
    }
}

/// Changes for whoever wants them, warnings so that nobody misses them.
fn tell(applied: &Applied) {
    for change in &applied.changes {
        output::line(change);
    }
    if applied.changes.is_empty() {
        output::line("no change");
    }
    for warning in &applied.warnings {
        output::complain(&format!("warning: {warning}"));
    }
}
