//! `consigner keys delete`.

use crate::cli::access::AccessArgs;
use crate::cli::{Exit, fail, output};
use crate::client::keys::{self, Deletion};
use crate::files;
use clap::Args;
use consigner_rules::PublicKey;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// `consigner keys delete`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Public keys
    #[arg(value_name = "PUBKEY", required_unless_present = "from_file")]
    public_keys: Vec<PublicKey>,
    /// File with public keys, one per line; # begins a comment
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// New file for what the keys have signed (EIP-3076): the next signer must import it
    #[arg(long, value_name = "FILE", required_unless_present = "without_slashing_protection")]
    slashing_protection_out: Option<PathBuf>,
    /// Do not write that file; a second delete returns the same history again
    #[arg(long, conflicts_with = "slashing_protection_out")]
    without_slashing_protection: bool,
}

const EXAMPLES: &str = "Examples:
  consigner keys delete --dir ./consigner-dev 0x93247f.. --slashing-protection-out history.json
  consigner keys delete --dir ./consigner-dev --from-file leaving.txt --slashing-protection-out history.json

When the command returns, no node signs with the keys any more. It may be repeated: the cluster keeps the history.
Exit codes: 0 every key is gone, 1 nothing was done, 2 usage, 3 some keys failed or are not known.";

/// One key, for scripts.
#[derive(Debug, Serialize)]
struct Line<'d> {
    pubkey: &'d PublicKey,
    status: &'d str,
    message: Option<&'d str>,
}

/// Runs the command.
pub(super) async fn main(args: &DeleteArgs) -> Exit {
    let public_keys = match public_keys(args) {
        Ok(public_keys) => public_keys,
        Err(complaint) => {
            output::complain(&complaint);
            return Exit::Usage;
        }
    };
    if let Some(file) = args.slashing_protection_out.as_deref().filter(|file| file.exists()) {
        output::complain(&format!("{} exists; a history is never overwritten", file.display()));
        return Exit::Usage;
    }
    let client = match args.access.admin() {
        Ok(client) => client,
        Err(error) => return error.report(),
    };
    let deletion = match keys::delete(&client, &public_keys).await {
        Ok(deletion) => deletion,
        Err(error) => return fail(&error),
    };
    // Durable before anything is said: what is printed as deleted has its history on disk.
    if let Some(file) = &args.slashing_protection_out
        && let Err(error) = files::create(file, deletion.slashing_protection.as_bytes(), files::PUBLIC)
    {
        let file = file.display();
        output::complain(&format!("the keys are deleted, but {file} cannot be written: {error}; repeat the command"));
        return Exit::Failed;
    }
    print(args, &public_keys, &deletion);
    judge(&deletion)
}

fn public_keys(args: &DeleteArgs) -> Result<Vec<PublicKey>, String> {
    let mut found = args.public_keys.clone();
    if let Some(file) = &args.from_file {
        found.extend(read(file)?);
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|public_key| seen.insert(*public_key));
    if found.is_empty() { Err("no public key given".to_owned()) } else { Ok(found) }
}

fn read(file: &Path) -> Result<Vec<PublicKey>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).enumerate();
    let parsed = lines.filter(|(_, line)| !line.is_empty()).map(|(position, line)| {
        line.parse().map_err(|error| format!("{}:{}: no public key: {error}", file.display(), position + 1))
    });
    parsed.collect()
}

fn print(args: &DeleteArgs, public_keys: &[PublicKey], deletion: &Deletion) {
    let lines: Vec<Line<'_>> = public_keys
        .iter()
        .zip(&deletion.data)
        .map(|(pubkey, done)| Line { pubkey, status: &done.status, message: done.message.as_deref() })
        .collect();
    let report = serde_json::json!({ "data": lines, "slashing_protection": args.slashing_protection_out });
    if args.access.printed_json(&report) {
        return;
    }
    let row = |line: &Line<'_>| {
        vec![line.pubkey.to_string(), line.status.to_owned(), line.message.unwrap_or_default().to_owned()]
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    output::line(&output::table(&["VALIDATOR", "STATUS", "MESSAGE"], &rows));
    if let Some(file) = &args.slashing_protection_out {
        output::line(&format!("{}: what they have signed", file.display()));
    }
}

/// A key without a signer is the goal, whoever took it away; a key that nobody knows is probably a slip of the pen.
fn judge(deletion: &Deletion) -> Exit {
    let gone = deletion.data.iter().filter(|done| matches!(done.status.as_str(), "deleted" | "not_active")).count();
    match gone {
        all if all == deletion.data.len() => Exit::Done,
        0 => Exit::Failed,
        _ => Exit::Partly,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::client::keys::KeyStatus;

    #[test]
    fn exit_codes_tell_all_some_and_none() {
        let status = |status: &&str| KeyStatus { pubkey: None, status: (*status).into(), message: None };
        let judged = |statuses: &[&str]| {
            let data = statuses.iter().map(status).collect();
            judge(&Deletion { data, slashing_protection: String::new() })
        };
        assert_eq!(judged(&["deleted", "not_active"]), Exit::Done);
        assert_eq!(judged(&["deleted", "not_found"]), Exit::Partly);
        assert_eq!(judged(&["error"]), Exit::Failed);
    }

    #[test]
    fn a_list_of_keys_may_have_comments_and_names_bad_lines() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("list");
        let key = consigner_keys::development::interop_secret(0).public_key();
        std::fs::write(&file, format!("# leaving\n\n{key}  # first\n")).unwrap();
        assert_eq!(read(&file), Ok(vec![key]));
        std::fs::write(&file, format!("{key}\n0x12\n")).unwrap();
        assert!(read(&file).unwrap_err().contains("list:2: no public key"));
    }
}
