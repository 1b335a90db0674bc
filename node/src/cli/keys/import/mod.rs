//! `consigner keys import`: decrypts on this machine, so that no signing node pays for scrypt, and sends batches.
//!
//! ```text
//! flags -> SourceConfig -> gather -> skip what the cluster holds -> decrypt -> batches -> POST /admin/v1/keys/import
//! ```
//! In: sources, a history file. Out: keys in the cluster; a line per key; exit 3 if any failed. Repeating the command
//! continues where it stopped: what the cluster holds is not decrypted again. Deliberately absent: secrets on disk.

mod batch;
mod flags;
mod history;

use super::harden;
use crate::cli::progress::{Progress, human};
use crate::cli::{Exit, fail, output};
use crate::client::keys::{self, KeyEntry};
use crate::client::{CallError, ClusterClient};
use crate::config::SourceConfig;
use crate::report::one_line;
use crate::source::{self, Gathered};
pub(super) use batch::{BATCH, send_secrets};
use batch::{Batches, Ready};
use consigner_keys::DecryptPool;
use consigner_keys::source::{Loaded, Loading, Outcome, Progress as Reached, fetcher};
use consigner_rules::PublicKey;
pub(super) use flags::ImportArgs;
use history::History;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What became of one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    /// File or name of the secret.
    pub(super) origin: String,
    /// The validator, where it is known.
    pub(super) pubkey: Option<PublicKey>,
    /// `imported`, `duplicate` or `error`.
    pub(super) status: &'static str,
    /// Why.
    pub(super) message: Option<String>,
}

/// What became of all of them.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    data: Vec<Line>,
    imported: usize,
    duplicate: usize,
    error: usize,
    /// Why the import was broken off, if it was.
    stopped: Option<String>,
}

/// Runs the command.
pub(super) async fn main(args: ImportArgs) -> Exit {
    harden();
    let config = match args.source_config() {
        Ok(config) => config,
        Err(complaint) => {
            output::complain(&complaint);
            return Exit::Usage;
        }
    };
    let history = match args.slashing_protection.as_deref().map(History::read).transpose() {
        Ok(history) => history,
        Err(complaint) => {
            output::complain(&complaint);
            return Exit::Usage;
        }
    };
    let client = match args.access.admin() {
        Ok(client) => client,
        Err(error) => return error.report(),
    };
    let pool = DecryptPool::new(args.threads(), args.memory_bytes());
    match import(&config, pool, history, &client, args.access.json).await {
        Ok(report) => {
            if !args.access.printed_json(&report) {
                report.print_totals();
            }
            if report.is_empty() {
                output::complain(&format!("no key found in {}", args.places().join(", ")));
                return Exit::Failed;
            }
            report.exit()
        }
        Err(error) => fail(&error),
    }
}

/// Imports everything that the sources offer; says each key as it is done, unless a report follows as JSON.
///
/// # Errors
/// The cluster does not answer, or refuses the history file, before anything was imported.
pub(super) async fn import(
    config: &SourceConfig,
    pool: DecryptPool,
    history: Option<History>,
    client: &ClusterClient,
    quiet: bool,
) -> Result<Report, CallError> {
    let known: BTreeSet<PublicKey> =
        keys::list(client).await?.into_iter().map(|KeyEntry { pubkey, .. }| pubkey).collect();
    let known = Arc::new(known);
    let Gathered { candidates, failures, .. } = source::gather(config).await;
    let mut report = Report::default();
    for failure in failures {
        report.add(Line::failed(failure.source, None, one_line(&failure.error)), quiet);
    }
    let history = Arc::new(history);
    if let Some(history) = history.as_ref() {
        // Also shows a history of another chain before the first key is imported.
        history.merge_for(&known, client).await?;
    }
    let held = known.clone();
    let loading = Loading::new(candidates, pool, Some(fetcher()), move |key: &PublicKey| held.contains(key));
    let (batches, mut results) = Batches::start(client.clone(), history);
    let mut progress = Progress::new("imported", "keys", 0);
    let feed = feed(loading, batches, &mut progress);
    let collect = async {
        let mut lines = Vec::new();
        while let Some(mut done) = results.recv().await {
            lines.append(&mut done);
        }
        lines
    };
    let (stopped, lines) = futures::join!(feed, collect);
    progress.finish();
    lines.into_iter().for_each(|line| report.add(line, quiet));
    report.stopped = stopped;
    Ok(report)
}

/// Decrypts one key after the other and hands it on; why that was broken off, if it was.
async fn feed(mut loading: Loading, mut batches: Batches, progress: &mut Progress) -> Option<String> {
    while let Some(loaded) = loading.next().await {
        let reached = loading.progress();
        progress.tell(|| told(&reached));
        let Loaded { origin, public_key, warnings, outcome } = loaded;
        for warning in warnings {
            progress.finish();
            output::complain(&format!("warning: {warning}"));
        }
        let line = match (outcome, public_key) {
            (Outcome::Secret(secret), public_key) => {
                let public_key = public_key.unwrap_or_else(|| secret.public_key());
                batches.add(Ready { origin, public_key, secret }).await;
                None
            }
            (Outcome::Known, public_key) => Some(Line::duplicate(origin, public_key, "the cluster has it".to_owned())),
            (Outcome::Duplicate { of }, public_key) => {
                Some(Line::duplicate(origin, public_key, format!("same as {of}")))
            }
            (Outcome::Failed(error), public_key) => Some(Line::failed(origin, public_key, one_line(&error))),
        };
        if let Some(line) = line {
            batches.tell(line).await;
        }
        if batches.is_broken_off() {
            break;
        }
    }
    batches.finish().await
}

/// How far the decryption is; sending hardly takes longer.
fn told(reached: &Reached) -> String {
    let head = format!("{} of {} keys", reached.done, reached.total);
    match reached.remaining() {
        Some(left) => format!("{head}, {:.1} decrypted per second, {} left", reached.secrets_per_s(), human(left)),
        None => head,
    }
}

impl Line {
    pub(super) const fn failed(origin: String, pubkey: Option<PublicKey>, why: String) -> Self {
        Self { origin, pubkey, status: "error", message: Some(why) }
    }

    const fn duplicate(origin: String, pubkey: Option<PublicKey>, why: String) -> Self {
        Self { origin, pubkey, status: "duplicate", message: Some(why) }
    }

    fn print(&self) {
        let key = self.pubkey.map_or_else(|| "-".to_owned(), |key| key.to_string());
        let why = self.message.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        output::line(&format!("{:<9}  {key}  {}{why}", self.status, self.origin));
    }
}

impl Report {
    fn add(&mut self, line: Line, quiet: bool) {
        match line.status {
            "imported" => self.imported += 1,
            "duplicate" => self.duplicate += 1,
            _ => self.error += 1,
        }
        if !quiet {
            line.print();
        }
        self.data.push(line);
    }

    /// Whether there was nothing: no key, and no file that should have held one.
    const fn is_empty(&self) -> bool {
        self.data.is_empty() && self.stopped.is_none()
    }

    pub(super) fn print_totals(&self) {
        output::line(&format!("{} imported, {} duplicate, {} error", self.imported, self.duplicate, self.error));
        if let Some(why) = &self.stopped {
            output::complain(&format!("broken off: {why}; repeat the command to continue"));
        }
    }

    /// A key that failed was reported and the others went on: done in part, also if it was the only one.
    pub(super) fn exit(&self) -> Exit {
        match (&self.stopped, self.imported + self.duplicate, self.error) {
            (None, _, 0) => Exit::Done,
            (Some(_), 0, _) => Exit::Failed,
            _ => Exit::Partly,
        }
    }
}
