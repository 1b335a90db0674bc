//! `consigner policy show`.

use crate::cli::access::AccessArgs;
use crate::cli::{Exit, fail, output};
use crate::client::policy::{self, Shown};
use clap::Args;

/// `consigner policy show`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    access: AccessArgs,
}

const EXAMPLES: &str = "Examples:
  consigner policy show --dir ./consigner-dev > policy.yaml
  consigner policy show --endpoint https://node2:9000 --ca ca.pem --cert admin.pem --key admin-key.pem --json

The document is that of the first node that answers, written out canonically: comments of the original are lost.";

/// Runs the command.
pub(super) async fn main(args: &ShowArgs) -> Exit {
    let client = match args.access.admin() {
        Ok(client) => client,
        Err(error) => return error.report(),
    };
    let shown = match policy::show(&client).await {
        Ok(shown) => shown,
        Err(error) => return fail(&error),
    };
    if !args.access.printed_json(&shown) {
        print(&shown);
    }
    Exit::Done
}

/// The first line is a comment, so that the output is a document that can be applied again.
fn print(Shown { version, since, policy }: &Shown) {
    match policy {
        Some(text) => {
            let since = since.filter(|since| since != version).map(|since| format!(", this document since {since}"));
            output::line(&format!("# policy version {version}{}", since.unwrap_or_default()));
            output::line(text.trim_end());
        }
        None => output::line(&format!(
            "# policy version {version}: no document was applied; api.admins of each node may do everything, \
             api.clients may sign"
        )),
    }
}
