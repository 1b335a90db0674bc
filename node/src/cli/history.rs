//! `consigner history export|import`: EIP-3076 interchange, on a live cluster.

use super::access::AccessArgs;
use super::{Exit, fail, output};
use crate::client::ClusterClient;
use crate::client::admin::{self, ImportReport};
use crate::files;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

/// `consigner history`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct HistoryArgs {
    #[command(subcommand)]
    command: HistoryCommand,
}

const EXAMPLES: &str = "Examples:
  consigner history export --dir ./consigner-dev --to history.json
  consigner history import --dir ./consigner-dev --from history.json

Exit codes of import: 0 all validators merged, 1 nothing merged, 2 usage, 3 some validators failed.";

#[derive(Debug, Subcommand)]
enum HistoryCommand {
    /// Write the minimal interchange of all validators
    #[command(after_help = EXAMPLES)]
    Export(ExportArgs),
    /// Merge an interchange file; watermarks only rise
    #[command(after_help = EXAMPLES)]
    Import(ImportArgs),
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// File to write; stdout without it
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ImportArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// File to read
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
}

/// Runs the command.
pub async fn main(args: HistoryArgs) -> Exit {
    let access = match &args.command {
        HistoryCommand::Export(args) => &args.access,
        HistoryCommand::Import(args) => &args.access,
    };
    let client = match access.admin() {
        Ok(client) => client,
        Err(error) => return error.report(),
    };
    match &args.command {
        HistoryCommand::Export(args) => export(args, &client).await,
        HistoryCommand::Import(args) => import(args, &client).await,
    }
}

async fn export(args: &ExportArgs, client: &ClusterClient) -> Exit {
    let text = match admin::export(client).await {
        Ok(text) => text,
        Err(error) => return fail(&error),
    };
    let Some(file) = &args.to else {
        output::line(String::from_utf8_lossy(&text).trim_end());
        return Exit::Done;
    };
    if let Err(error) = files::replace(file, &text, files::PUBLIC) {
        output::complain(&format!("{} cannot be written: {error}", file.display()));
        return Exit::Failed;
    }
    let validators = serde_json::from_slice::<serde_json::Value>(&text)
        .ok()
        .and_then(|file| file.get("data").and_then(|data| data.as_array()).map(Vec::len));
    let report = serde_json::json!({ "file": file, "validators": validators });
    if !args.access.printed_json(&report) {
        output::line(&format!("{}: history of {} validators", file.display(), validators.unwrap_or_default()));
    }
    Exit::Done
}

async fn import(args: &ImportArgs, client: &ClusterClient) -> Exit {
    let file = match read(&args.from) {
        Ok(file) => file,
        Err(exit) => return exit,
    };
    match admin::import(client, file.into()).await {
        Ok(report) => {
            if !args.access.printed_json(&report) {
                print(&report);
            }
            judge(&report)
        }
        Err(error) => fail(&error),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Exit> {
    std::fs::read(file).map_err(|error| {
        output::complain(&format!("{} cannot be read: {error}", file.display()));
        Exit::Usage
    })
}

fn print(report: &ImportReport) {
    let rows: Vec<Vec<String>> =
        report.data.iter().map(|line| vec![line.pubkey.clone(), line.status.clone(), line.message.clone()]).collect();
    output::line(&output::table(&["VALIDATOR", "STATUS", "MESSAGE"], &rows));
    let failed = report.data.iter().filter(|line| line.status == "error").count();
    output::line(&format!("{} validators, {failed} failed", report.data.len()));
}

/// 0, 1 or 3, by how many validators failed.
fn judge(report: &ImportReport) -> Exit {
    let failed = report.data.iter().filter(|line| line.status == "error").count();
    match failed {
        0 => Exit::Done,
        _ if failed == report.data.len() => Exit::Failed,
        _ => Exit::Partly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::admin::ImportLine;

    #[test]
    fn exit_codes_tell_all_some_and_none() {
        let report = |statuses: &[&str]| ImportReport {
            data: statuses
                .iter()
                .map(|status| ImportLine { pubkey: String::new(), status: (*status).into(), message: String::new() })
                .collect(),
        };
        assert_eq!(judge(&report(&[])), Exit::Done);
        assert_eq!(judge(&report(&["merged", "unchanged"])), Exit::Done);
        assert_eq!(judge(&report(&["merged", "error"])), Exit::Partly);
        assert_eq!(judge(&report(&["error", "error"])), Exit::Failed);
    }
}
