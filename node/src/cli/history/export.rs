//! `consigner history export`.

use super::chosen::KeysArgs;
use super::complete::{self, Exported};
use super::sink::Sink;
use crate::cli::access::AccessArgs;
use crate::cli::{Exit, fail, output};
use crate::client::records::{self, Which};
use crate::client::{CallError, ClusterClient};
use clap::Args;
use serde_json::json;
use std::io;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "Examples:
  consigner history export --dir ./consigner-dev --to history.json
  consigner history export --dir ./consigner-dev --keys 0x93247f..,0xb89beb.. --to two.json
  consigner history export --dir ./consigner-dev --complete --to everything.json

The minimal file has the newest block and attestation of each validator; every signer refuses what lies at or below them,
so it is all that another signer needs. --complete adds every record that the asked node has, or the archive for it.

Exit codes: 0 done, 1 failed, 2 usage, 3 with --complete: the node lacks records from before the log index that is named
(the file has their maxima); another node may have them.";

/// `consigner history export`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// File to write; stdout without it
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Every block and attestation that was recorded, not only the newest of each validator
    #[arg(long)]
    complete: bool,
    #[command(flatten)]
    keys: KeysArgs,
}

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    /// The cluster did not give it.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The cluster gave something else.
    #[error("the answer is not understood: {0}")]
    Answer(String),
    /// It cannot be written.
    #[error("the file cannot be written")]
    Write(#[from] io::Error),
}

/// Runs the command.
pub(super) async fn main(args: &ExportArgs) -> Exit {
    let which = match args.keys.which() {
        Ok(which) => which,
        Err(complaint) => {
            output::complain(&complaint);
            return Exit::Usage;
        }
    };
    let client = match args.access.admin() {
        Ok(client) => client,
        Err(error) => return error.report(),
    };
    let to = args.to.as_deref();
    let exported =
        if args.complete { complete::export(&client, &which, to).await } else { minimal(&client, &which, to).await };
    match exported {
        Ok(exported) => report(args, &exported),
        Err(error) => fail(&error),
    }
}

async fn minimal(client: &ClusterClient, which: &Which, to: Option<&Path>) -> Result<Exported, ExportError> {
    let file = records::minimal(client, which).await?;
    let mut sink = Sink::new(to, &file.metadata)?;
    for validator in &file.data {
        sink.add(validator)?;
    }
    sink.finish()?;
    Ok(Exported { validators: file.data.len(), ..Exported::default() })
}

fn report(args: &ExportArgs, exported: &Exported) -> Exit {
    let gap = exported.gap();
    if let Some(gap) = &gap {
        output::complain(gap);
    }
    if let Some(file) = &args.to {
        let mut report = json!({ "file": file, "validators": exported.validators });
        if let Some(from) = &exported.complete_from {
            report["complete_from_log_index"] = json!(from);
            report["complete"] = json!(gap.is_none());
            report["records"] = json!(exported.records);
            report["node"] = json!(exported.node);
        }
        if !args.access.printed_json(&report) {
            let what = if args.complete { "everything recorded" } else { "history" };
            output::line(&format!("{}: {what} of {} validators", file.display(), exported.validators));
        }
    }
    if gap.is_some() { Exit::Partly } else { Exit::Done }
}
