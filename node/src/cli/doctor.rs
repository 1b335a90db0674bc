//! `consigner doctor`: a configuration or a live cluster beside the security guidelines.

use super::access::AccessArgs;
use super::{Exit, output};
use crate::client::Deployment;
use crate::doctor::host::Host;
use crate::doctor::{self, Report};
use crate::report::one_line;
use clap::Args;
use std::io::IsTerminal as _;
use std::path::PathBuf;

/// `consigner doctor`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// A node's configuration file, examined on the machine that it runs on, as the user that it runs as
    #[arg(long, value_name = "FILE", conflicts_with_all = ["endpoint", "dir"])]
    config: Option<PathBuf>,
    #[command(flatten)]
    access: AccessArgs,
    /// WARN counts as FAIL
    #[arg(long)]
    strict: bool,
}

const EXAMPLES: &str = "Examples:
  consigner doctor --config /etc/consigner/consigner.yaml
  consigner doctor --dir ./consigner-dev
  consigner doctor --endpoint https://node1:9000,https://node2:9000 --ca ca.pem --cert admin.pem --key admin-key.pem
  consigner doctor --config consigner.yaml --json --strict

Each point is PASS, WARN, FAIL or SKIP (not looked at, with the reason). Nothing is changed.
Exit codes: 0 no FAIL (with --strict: no WARN either), 1 otherwise, 2 usage.";

/// Runs the command.
pub async fn main(args: DoctorArgs) -> Exit {
    let report = match examine(&args).await {
        Ok(report) => report,
        Err(exit) => return exit,
    };
    if !args.access.printed_json(&report) {
        output::line(&doctor::render::text(&report, std::io::stdout().is_terminal()));
    }
    if report.is_good(args.strict) { Exit::Done } else { Exit::Failed }
}

async fn examine(args: &DoctorArgs) -> Result<Report, Exit> {
    let host = Host::this();
    let usage = |error: &(dyn std::error::Error + 'static)| {
        output::complain(&one_line(error));
        Exit::Usage
    };
    if let Some(file) = &args.config {
        let variables: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name != "CONSIGNER_CONFIG")
            .collect();
        return doctor::configuration(file, &variables, &host).await.map_err(|error| usage(&error));
    }
    if args.access.dir.is_none() && args.access.endpoint.is_empty() {
        output::complain("say what to examine: --config FILE, --dir DIR, or --endpoint with --ca, --cert and --key");
        return Err(Exit::Usage);
    }
    let client = args.access.admin().map_err(|error| error.report())?;
    match &args.access.dir {
        Some(dir) => {
            let deployment = Deployment::read(dir).map_err(|error| usage(&error))?;
            doctor::directory(dir, &deployment, &client, &host).await.map_err(|error| usage(&error))
        }
        None => Ok(doctor::endpoints(&client).await),
    }
}
