//! `consigner audit verify`.

use super::escape::{escaped, escaped_json};
use super::place::{self, Place, PlaceArgs, Whose};
use crate::cli::access::AccessArgs;
use crate::cli::progress::Progress;
use crate::cli::{Exit, output};
use crate::client::audit;
use clap::Args;
use consigner_storage::AuditError;
use consigner_storage::audit::{Expect, VerifyError, VerifyFailure, VerifyReport, time_text, verify};
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    access: AccessArgs,
    /// Do not ask the development cluster of --dir what it remembers
    #[arg(long)]
    offline: bool,
    /// The key that must have signed the checkpoints: the 64 digits of `key.pub`, kept elsewhere
    #[arg(long, value_name = "HEX", value_parser = public_key)]
    public_key: Option<[u8; 32]>,
    /// Begin with the first checkpoint at or after this line: for a log whose earlier damage is known
    #[arg(long, value_name = "SEQ")]
    from: Option<u64>,
}

pub(super) const EXAMPLES: &str = "Examples:
  consigner audit verify --data-dir /var/lib/consigner
  consigner audit verify --config /etc/consigner/consigner.yaml \\
    --endpoint https://node1:9000,https://node2:9000 --ca ca.pem --cert admin.pem --key admin-key.pem
  consigner audit verify --dir ./consigner-dev          every node, compared with what the cluster remembers
  consigner audit verify --data-dir ./copy --public-key \"$(cat node1-key.pub)\" --json

With --endpoint or --dir the cluster is asked for its anchors: what they name cannot have been cut off or rewritten,
not even by the owner of the node's disk. Ask nodes other than the one that is verified.
Exit codes: 0 every log holds, 1 one does not (file, line and number are named) or cannot be read, 2 usage.";

/// What became of one log.
#[derive(Debug, Serialize)]
struct Verified {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    dir: PathBuf,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<VerifyReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<VerifyFailure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip)]
    is_usage: bool,
}

#[derive(Debug, Serialize)]
struct Answer {
    ok: bool,
    /// Nodes that were asked for anchors and did not answer.
    silent: Vec<String>,
    logs: Vec<Verified>,
}

pub(super) async fn main(args: &VerifyArgs) -> Exit {
    let places = match place::find(&args.place, args.access.dir.as_deref()) {
        Ok(places) => places,
        Err(exit) => return exit,
    };
    let (anchors, silent) = match anchors(args).await {
        Ok(found) => found,
        Err(exit) => return exit,
    };
    let expect = Expect { anchors, public_key: args.public_key, from: args.from, ..Expect::default() };
    let logs: Vec<Verified> = places.into_iter().map(|place| one(place, &expect)).collect();
    let answer = Answer { ok: logs.iter().all(|log| log.ok), silent, logs };
    if args.access.json {
        match serde_json::to_string_pretty(&answer) {
            Ok(text) => output::line(&escaped_json(&text)),
            Err(error) => output::complain(&error.to_string()),
        }
    } else {
        print(&answer);
    }
    exit(&answer.logs)
}

/// A log that does not hold counts more than one that was named wrongly.
fn exit(logs: &[Verified]) -> Exit {
    match logs {
        _ if logs.iter().all(|log| log.ok) => Exit::Done,
        _ if logs.iter().any(|log| !log.ok && !log.is_usage) => Exit::Failed,
        _ => Exit::Usage,
    }
}

/// What the cluster remembers, if it is to be asked.
async fn anchors(args: &VerifyArgs) -> Result<(Option<Vec<consigner_storage::audit::Anchor>>, Vec<String>), Exit> {
    let wanted = !args.access.endpoint.is_empty() || (args.access.dir.is_some() && !args.offline);
    if !wanted {
        return Ok((None, Vec::new()));
    }
    let client = args.access.admin().map_err(|error| error.report())?;
    match audit::anchors(&client).await {
        Ok(found) => Ok((Some(found.anchors), found.silent)),
        Err(error) => {
            let why = crate::report::one_line(&error);
            output::complain(&format!("the cluster cannot be asked what it remembers of the logs: {why}"));
            if args.access.dir.is_some() {
                output::complain("with --offline the logs are verified without it");
            }
            Err(Exit::Failed)
        }
    }
}

fn one(place: Place, expect: &Expect) -> Verified {
    let Place { name, dir, whose: Whose { node, cluster, files_max } } = place;
    let expect = &Expect { node, cluster, files_max, ..expect.clone() };
    let mut progress: Option<Progress> = None;
    let mut tell = |read: u64, total: u64| {
        let progress = progress.get_or_insert_with(|| Progress::new("verified", "KiB", total >> KIB));
        progress.reached(read >> KIB);
    };
    let verified = verify(&dir, expect, &mut tell);
    drop(progress);
    let nothing = Verified { name, dir, ok: false, report: None, failure: None, error: None, is_usage: false };
    match verified {
        Ok(report) => Verified { ok: true, report: Some(report), ..nothing },
        Err(VerifyError::Broken(failure)) => Verified { failure: Some(*failure), ..nothing },
        Err(VerifyError::Audit(error)) => {
            let is_usage = matches!(error, AuditError::Nothing(_) | AuditError::Options(_));
            Verified { error: Some(error.full_text()), is_usage, ..nothing }
        }
    }
}

fn print(answer: &Answer) {
    for silent in &answer.silent {
        output::complain(&escaped(&format!("not asked for anchors: {silent}")));
    }
    for log in &answer.logs {
        let name = log.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        if let Some(report) = &log.report {
            output::line(&escaped(&format!("{name}{}", text(report))));
            for notice in &report.notices {
                let seq = notice.seq.map(|seq| format!(" (seq {seq})")).unwrap_or_default();
                let at = format!("{} line {}{seq}", notice.file.display(), notice.line);
                output::line(&escaped(&format!("  note: {at}: {}", notice.what)));
            }
        }
        if let Some(failure) = &log.failure {
            output::line(&escaped(&format!("{name}BROKEN: {failure}")));
        }
        if let Some(error) = &log.error {
            output::complain(&escaped(&format!("{name}{error}")));
        }
    }
}

fn text(report: &VerifyReport) -> String {
    let VerifyReport { node, files, lines, checkpoints, first_seq, last_seq, unsigned, .. } = report;
    let (from, to) = (time_text(report.first_time_ms), time_text(report.last_time_ms));
    let anchor = match report.anchor {
        Some(anchor) => format!("; the cluster remembers line {anchor}, and it is the same"),
        None => "; not compared with what the cluster remembers".to_owned(),
    };
    let unsigned = if *unsigned > 0 { format!("; {unsigned} lines behind the last checkpoint") } else { String::new() };
    format!(
        "the chain holds: node {node}, lines {first_seq} to {last_seq} ({lines} lines, {checkpoints} checkpoints, {files} \
         files), {from} to {to}{unsigned}{anchor}; key {}",
        report.public_key
    )
}

fn public_key(text: &str) -> Result<[u8; 32], String> {
    let bytes = hex::decode(text.trim()).map_err(|error| error.to_string())?;
    bytes.try_into().map_err(|_| "64 hexadecimal digits are expected, as in key.pub".to_owned())
}

/// 2^10 bytes.
const KIB: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_log_counts_more_than_one_that_is_not_there() {
        let log = |ok, is_usage| Verified {
            name: None,
            dir: PathBuf::new(),
            ok,
            report: None,
            failure: None,
            error: None,
            is_usage,
        };
        assert_eq!(exit(&[log(true, false), log(true, false)]), Exit::Done);
        assert_eq!(exit(&[log(true, false), log(false, true)]), Exit::Usage);
        assert_eq!(exit(&[log(false, true), log(false, false)]), Exit::Failed);
    }
}
