//! `consigner history import`: an interchange file, or the database of Web3Signer.

#[cfg(feature = "postgres")]
use super::web3signer;
use crate::cli::access::AccessArgs;
use crate::cli::{Exit, fail, output};
use crate::client::ClusterClient;
use crate::client::admin::{self, ImportReport};
use clap::Args;
use consigner_rules::interchange::Interchange;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "Examples:
  consigner history import --dir ./consigner-dev --from history.json
  consigner history import --dir ./consigner-dev --web3signer-db postgres://signer@db.example:5432/web3signer \\
      --db-ca ca.pem --db-cert signer.pem --db-key signer-key.pem --db-password-file password

Stop the old signer first: what it signs after it was read is not known here.

Exit codes: 0 all validators merged, 1 nothing merged, 2 usage, 3 done in part (each item reported).";

/// The file as it is sent: below what a node takes (256 MiB).
const SENT_BYTES_MAX: usize = 200 << 20;

/// `consigner history import`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ImportArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Interchange file (EIP-3076) to read
    #[arg(long, value_name = "FILE")]
    #[cfg_attr(feature = "postgres", arg(required_unless_present = "web3signer_db"))]
    #[cfg_attr(not(feature = "postgres"), arg(required = true))]
    from: Option<PathBuf>,
    #[cfg(feature = "postgres")]
    #[command(flatten)]
    db: web3signer::DbArgs,
}

/// Runs the command.
pub(super) async fn main(args: ImportArgs) -> Exit {
    let client = match args.access.admin() {
        Ok(client) => client,
        Err(error) => return error.report(),
    };
    #[cfg(feature = "postgres")]
    if args.db.given() {
        return web3signer::main(&args.access, &args.db, &client).await;
    }
    let Some(file) = &args.from else { return Exit::Usage };
    from_file(&args.access, file, &client).await
}

async fn from_file(access: &AccessArgs, file: &Path, client: &ClusterClient) -> Exit {
    let text = match read(file) {
        Ok(text) => text,
        Err(exit) => return exit,
    };
    match admin::import(client, text.into()).await {
        Ok(report) => {
            if !access.printed_json(&report) {
                print(&report);
            }
            judge(&report)
        }
        Err(error) => fail(&error),
    }
}

/// The text to send. What is too large for a node is reduced here to what the node would keep of it.
fn read(file: &Path) -> Result<Vec<u8>, Exit> {
    let text = std::fs::read(file).map_err(|error| {
        output::complain(&format!("{} cannot be read: {error}", file.display()));
        Exit::Usage
    })?;
    if text.len() <= SENT_BYTES_MAX {
        return Ok(text);
    }
    let understood = Interchange::parse(&text).map_err(|error| fail(&error))?;
    let reduced = Interchange::minimal(*understood.genesis_validators_root(), understood.reduce());
    output::complain("the file is large: only the newest records of each validator are sent, which is what is kept");
    Ok(reduced.to_json().into_bytes())
}

/// A table for people.
pub(super) fn print(report: &ImportReport) {
    let mark = |mark: &Option<String>| mark.clone().unwrap_or_else(|| "-".to_owned());
    let rows: Vec<Vec<String>> = report
        .data
        .iter()
        .map(|line| {
            let marks = [mark(&line.slot), mark(&line.source_epoch), mark(&line.target_epoch)];
            let ends = [line.pubkey.clone(), line.status.clone()].into_iter().chain(marks);
            ends.chain([line.message.clone()]).collect()
        })
        .collect();
    output::line(&output::table(&["VALIDATOR", "STATUS", "SLOT", "SOURCE", "TARGET", "MESSAGE"], &rows));
    let failed = report.data.iter().filter(|line| line.status == "error").count();
    output::line(&format!("{} validators, {failed} failed", report.data.len()));
}

/// 0, 1 or 3, by how many validators failed.
pub(super) fn judge(report: &ImportReport) -> Exit {
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
        let line = |status: &&str| ImportLine { status: (*status).to_owned(), ..ImportLine::default() };
        let report = |statuses: &[&str]| ImportReport { data: statuses.iter().map(line).collect() };
        assert_eq!(judge(&report(&[])), Exit::Done);
        assert_eq!(judge(&report(&["merged", "unchanged"])), Exit::Done);
        assert_eq!(judge(&report(&["merged", "error"])), Exit::Partly);
        assert_eq!(judge(&report(&["error", "error"])), Exit::Failed);
    }
}
