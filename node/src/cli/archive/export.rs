//! `consigner archive export`: every block and attestation as an interchange (EIP-3076), straight out of the archive.
//!
//! In: rows in log order, of one cluster or of those that followed each other. Out: a file, written as it comes, in
//! bounded memory; a validator is listed again when the records that are gathered at one time do not hold all of its own.
//! What stands for lost rows is added last, where nothing that was written covers it.

use super::maxima::Maxima;
use super::place::{Segments, Source, SourceArgs};
use super::{printed_json, segments};
use crate::cli::history::{KeysArgs, Sink};
use crate::cli::{Exit, fail, output};
use crate::client::records::{File, Which};
use clap::Args;
use consigner_rules::command::{HistoryImport, ImportedAttestation, ImportedBlock};
use consigner_rules::interchange::{Interchange, add_change, add_history};
use consigner_rules::{Change, PublicKey, Root};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Records gathered before they are written: some 60 MB in memory.
const GATHERED_MAX: usize = 250_000;

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// File to write; stdout without it
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    #[command(flatten)]
    keys: KeysArgs,
    /// The chain's genesis validators root, where segments do not hold it any more
    #[arg(long, value_name = "ROOT")]
    genesis_validators_root: Option<Root>,
    /// Print JSON for scripts
    #[arg(long, requires = "to")]
    json: bool,
}

pub(super) const EXAMPLES: &str = "Examples:
  consigner archive export --config /etc/consigner/consigner.yaml --to everything.json
  consigner archive export --url postgres://archive_reader@db.example/consigner --db-ca ca.pem \\
    --db-password-file reader.password --keys 0x93247f.. --to one.json
  consigner archive export --data-dir /mnt/node1/data --to everything.json

Needs no running cluster. It has what the archive has: of a cluster that still runs, `history export --complete` has the
newest records too. Never give a file to another signer while this cluster can still sign.
Exit codes: 0 done, 1 failed, 2 usage, 3 done, but rows are missing (they are named; where the archive knows what each
validator had signed at most, the file has that in their place).";

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Database(#[from] super::database::DatabaseError),
    #[error(transparent)]
    Segments(#[from] segments::ReadError),
    #[error("the file cannot be written")]
    Write(#[from] std::io::Error),
    #[error("a part of the interchange is not understood")]
    Part(#[from] serde_json::Error),
    #[error(
        "the segments do not say of which chain they are: give --genesis-validators-root (for a running chain: `curl \
         BEACON-NODE/eth/v1/beacon/genesis`)"
    )]
    NoRoot,
}

/// A file on its way.
struct Export {
    sink: Sink,
    only: Option<BTreeSet<PublicKey>>,
    waiting: Interchange,
    root: Root,
    count: usize,
    written: u64,
    known: Maxima,
}

/// What came of it.
struct Exported {
    validators: usize,
    records: u64,
    missing: Vec<String>,
}

pub(super) async fn main(args: &ExportArgs) -> Exit {
    let source = match args.source.find() {
        Ok(source) => source,
        Err(exit) => return exit,
    };
    let only = match args.keys.which() {
        Ok(Which::All) => None,
        Ok(Which::These(keys)) => Some(keys.into_iter().collect()),
        Err(complaint) => {
            output::complain(&complaint);
            return Exit::Usage;
        }
    };
    let exported = match source {
        #[cfg(feature = "postgres")]
        Source::Database(database) => of_database(args, &database, only).await,
        Source::Segments(segments) => of_segments(args, &segments, only),
    };
    match exported {
        Ok(exported) => told(args, &exported),
        Err(error) => fail(&error),
    }
}

fn told(args: &ExportArgs, exported: &Exported) -> Exit {
    for missing in &exported.missing {
        output::complain(missing);
    }
    let complete = exported.missing.is_empty();
    if let Some(file) = &args.to {
        let (validators, records) = (exported.validators, exported.records);
        let report = json!({"file": file, "validators": validators, "records": records, "complete": complete,
            "missing": exported.missing});
        if !printed_json(args.json, &report) {
            output::line(&format!("{}: {records} records of {validators} validators", file.display()));
        }
    }
    if complete { Exit::Done } else { Exit::Partly }
}

impl Export {
    fn new(args: &ExportArgs, root: Root, only: Option<BTreeSet<PublicKey>>) -> Result<Self, ExportError> {
        let waiting = Interchange::new(root);
        let empty: File = serde_json::from_str(&waiting.to_json())?;
        let sink = Sink::new(args.to.as_deref(), &empty.metadata)?;
        Ok(Self { sink, only, waiting, root, count: 0, written: 0, known: Maxima::default() })
    }

    fn change(&mut self, change: &Change) -> Result<(), ExportError> {
        let mut whose = change.signed().map(|signed| signed.public_key);
        if let Change::HistoryMerged(HistoryImport { public_key, .. }) | Change::KeyAdded(public_key) = change {
            whose = Some(*public_key);
        }
        if whose.is_some_and(|key| self.only.as_ref().is_some_and(|only| !only.contains(&key))) {
            return Ok(());
        }
        self.known.add_change(change);
        self.count += add_change(&mut self.waiting, change);
        if self.count > GATHERED_MAX { self.write() } else { Ok(()) }
    }

    /// Adds what stands for rows that are not there, where it says more than what is.
    fn cover(&mut self, history: &HistoryImport) -> Result<(), ExportError> {
        if self.only.as_ref().is_some_and(|only| !only.contains(&history.public_key)) {
            return Ok(());
        }
        let mut theirs = Maxima::default();
        theirs.add_history(history);
        if theirs.beyond(&self.known, "").next().is_some() {
            self.known.add_history(history);
            self.count += add_history(&mut self.waiting, history);
        }
        if self.count > GATHERED_MAX { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), ExportError> {
        let part = std::mem::replace(&mut self.waiting, Interchange::new(self.root));
        let file: File = serde_json::from_str(&part.to_json())?;
        self.written += self.count as u64;
        self.count = 0;
        file.data.iter().try_for_each(|validator| self.sink.add(validator))?;
        Ok(())
    }

    fn finish(mut self, missing: Vec<String>) -> Result<Exported, ExportError> {
        self.write()?;
        self.sink.finish()?;
        Ok(Exported { validators: self.known.len(), records: self.written, missing })
    }

    /// A floor after a restore speaks for every validator that was named, and lies in no row of its own.
    fn floors(&mut self) -> Result<(), ExportError> {
        let histories: Vec<HistoryImport> = self.known.iter().map(|(key, marks)| history(key, marks)).collect();
        let mut written = Maxima::default();
        std::mem::swap(&mut written, &mut self.known);
        self.known = written.without_floor();
        histories.iter().try_for_each(|history| self.cover(history))
    }
}

fn history(public_key: PublicKey, [slot, source, target]: super::maxima::Marks) -> HistoryImport {
    HistoryImport {
        public_key,
        block: slot.map(|slot| ImportedBlock { slot, signing_root: None }),
        attestation: source.zip(target).map(|(max_source_epoch, max_target_epoch)| ImportedAttestation {
            max_source_epoch,
            max_target_epoch,
            at_max_target: None,
        }),
    }
}

#[cfg(feature = "postgres")]
async fn of_database(
    args: &ExportArgs,
    database: &super::place::Database,
    only: Option<BTreeSet<PublicKey>>,
) -> Result<Exported, ExportError> {
    use super::database::{maxima, open, rows};
    let (mut archive, lineages) = open(database).await?;
    let root = lineages.first().map(|lineage| lineage.genesis_validators_root).ok_or(ExportError::NoRoot)?;
    let (mut export, mut missing) = (Export::new(args, root, only)?, Vec::new());
    for lineage in &lineages {
        let gaps = rows(&mut archive, lineage, |row| export.change(&row.change)).await?;
        let named = gaps.iter().map(|gap| {
            let (from, upto, reason) = (gap.after.saturating_add(1), gap.upto, &gap.reason);
            format!("cluster {}: the rows of log indexes {from} to {upto} are lost ({reason})", lineage.cluster_id)
        });
        missing.extend(named);
    }
    let whose = lineages.first().filter(|_| database.lineage.is_some());
    for history in maxima(&mut archive, whose).await? {
        export.cover(&history)?;
    }
    export.floors()?;
    export.finish(missing)
}

fn of_segments(
    args: &ExportArgs,
    place: &Segments,
    only: Option<BTreeSet<PublicKey>>,
) -> Result<Exported, ExportError> {
    let root = match args.genesis_validators_root.or(place.genesis) {
        Some(root) => root,
        None => root_of(place)?.ok_or(ExportError::NoRoot)?,
    };
    let mut export = Export::new(args, root, only)?;
    let mut failure = None;
    let read = segments::rows(place, |row| {
        if failure.is_none() {
            failure = export.change(&row.change).err();
        }
    })?;
    if let Some(error) = failure {
        return Err(error);
    }
    export.floors()?;
    let mut missing = read.faults.clone();
    if read.tail != segments::Tail::Read {
        missing.push(read.tail_text());
    }
    export.finish(missing)
}

/// Out of the change with which the cluster began.
fn root_of(place: &Segments) -> Result<Option<Root>, ExportError> {
    let mut root = None;
    segments::rows(place, |row| {
        if let Change::ClusterInitialised(identity) = &row.change {
            root = Some(identity.genesis_validators_root);
        }
    })?;
    Ok(root)
}
