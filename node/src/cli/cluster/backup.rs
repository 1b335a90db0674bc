//! `consigner cluster backup`, `consigner cluster backup verify`.
//!
//! In: the content of a backup from any node. Out: one file that may lie anywhere, read back before it counts.
//! Deliberately absent: overwriting an older backup, and telling the nodes the passphrase.

use super::super::access::AccessArgs;
use super::super::{Exit, fail, output};
use crate::client::{CallError, ClusterClient, OPERATE};
use crate::files::{self, PrivateFileError};
use bytes::Bytes;
use clap::{Args, Subcommand};
use consigner_keys::backup::{BackupFileError, BackupPassphrase, PASSPHRASE_FILE_BYTES_MAX, decrypt, encrypt};
use consigner_raft::{BackupSummary, Maxima, ReadBackupError, read_backup};
use consigner_rules::State;
use http::Method;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, after_help = EXAMPLES)]
pub(super) struct BackupArgs {
    #[command(subcommand)]
    command: Option<BackupCommand>,
    #[command(flatten)]
    access: AccessArgs,
    /// File to write; must not exist yet
    #[arg(long, value_name = "FILE", required = true)]
    to: Option<PathBuf>,
    /// File with the passphrase, 16 bytes or more, its owner's alone (chmod 600)
    #[arg(long, value_name = "FILE", required = true)]
    passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Read a backup back: every byte, every record, what it says about itself
    #[command(after_help = EXAMPLES)]
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// File with its passphrase
    #[arg(long, value_name = "FILE")]
    passphrase_file: PathBuf,
    /// Print JSON for scripts
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  consigner cluster backup --dir ./consigner-dev --to backup.consigner --passphrase-file backup.pass
  consigner cluster backup verify backup.consigner --passphrase-file backup.pass

The file holds sealed keys, histories and policy; no key in the clear. To sign with its keys one needs the passphrase and
what the cluster's sealer needs (key file, KMS, Vault): keep those elsewhere. The cluster signs on meanwhile.
Exit codes: 0 the backup is good, 1 it is not, 2 usage.";

const BACKUP: &str = "/admin/v1/cluster/backup";

/// Why there is no backup, or why one is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackupFault {
    /// The passphrase file.
    #[error(transparent)]
    Private(#[from] PrivateFileError),
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Nothing is overwritten.
    #[error("{} exists; a backup never overwrites a file", .0.display())]
    Exists(PathBuf),
    /// The file cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A disk that does not keep what it is given.
    #[error("{} does not hold what was written to it; it is no backup", .0.display())]
    ReadBack(PathBuf),
    /// The passphrase or the file.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BackupFileError,
    },
    /// What is in it.
    #[error("{}", path.display())]
    Content {
        /// The file, or who sent it.
        path: PathBuf,
        /// What is wrong with it.
        source: ReadBackupError,
    },
    /// The cluster.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A bug.
    #[error("the encryption of the backup panicked")]
    Panicked,
}

pub(super) async fn main(args: &BackupArgs) -> Exit {
    if let Some(BackupCommand::Verify(args)) = &args.command {
        return match verify(args) {
            Ok(summary) => {
                tell(&args.file, &summary, args.json);
                Exit::Done
            }
            Err(error) => fail(&error),
        };
    }
    let (Some(to), Some(passphrase_file)) = (&args.to, &args.passphrase_file) else { return Exit::Usage };
    let client = match super::admin(&args.access) {
        Ok(client) => client,
        Err(exit) => return exit,
    };
    match make(&client, to, passphrase_file).await {
        Ok(summary) => {
            tell(to, &summary, args.access.json);
            Exit::Done
        }
        Err(error) => fail(&error),
    }
}

async fn make(client: &ClusterClient, to: &Path, passphrase_file: &Path) -> Result<BackupSummary, BackupFault> {
    let passphrase = read_passphrase(passphrase_file)?;
    if to.exists() {
        return Err(BackupFault::Exists(to.to_owned()));
    }
    let answer = client.call(Method::GET, BACKUP, &[], Bytes::new(), OPERATE).await?.ok()?;
    let content = answer.response.body;
    let (summary, _) =
        read_backup(&content).map_err(|source| BackupFault::Content { path: answer.url.into(), source })?;
    let encrypted = tokio::task::spawn_blocking(move || encrypt(&passphrase, &content)).await;
    let file = encrypted
        .map_err(|_| BackupFault::Panicked)?
        .map_err(|source| BackupFault::File { path: to.to_owned(), source })?;
    if let Err(source) = files::create(to, &file, files::SECRET) {
        if source.kind() != std::io::ErrorKind::AlreadyExists {
            // Ours, and not whole: it would only be taken for a backup.
            let _best_effort = std::fs::remove_file(to);
        }
        return Err(BackupFault::Write { path: to.to_owned(), source });
    }
    if read_file(to)? == file { Ok(summary) } else { Err(BackupFault::ReadBack(to.to_owned())) }
}

fn verify(args: &VerifyArgs) -> Result<BackupSummary, BackupFault> {
    let content = open(&args.file, &read_passphrase(&args.passphrase_file)?)?;
    let (summary, _state): (_, State) =
        read_backup(&content).map_err(|source| BackupFault::Content { path: args.file.clone(), source })?;
    Ok(summary)
}

/// The content of the file of a backup.
pub(super) fn open(file: &Path, passphrase: &BackupPassphrase) -> Result<Zeroizing<Vec<u8>>, BackupFault> {
    decrypt(passphrase, &read_file(file)?).map_err(|source| BackupFault::File { path: file.to_owned(), source })
}

fn read_file(path: &Path) -> Result<Vec<u8>, BackupFault> {
    std::fs::read(path).map_err(|source| BackupFault::Read { path: path.to_owned(), source })
}

/// Reads a passphrase file that is its owner's alone.
pub(super) fn read_passphrase(path: &Path) -> Result<BackupPassphrase, BackupFault> {
    let file = files::open_owners_alone(path)?;
    // Reserved at once: a growing vector would leave copies behind. Two bytes for a line end, one to notice more.
    let bytes_max = PASSPHRASE_FILE_BYTES_MAX + 3;
    let mut content = Zeroizing::new(Vec::with_capacity(bytes_max));
    let read = file.take(bytes_max as u64).read_to_end(&mut content);
    read.map_err(|source| BackupFault::Read { path: path.to_owned(), source })?;
    BackupPassphrase::new(content).map_err(|source| BackupFault::File { path: path.to_owned(), source })
}

fn tell(file: &Path, summary: &BackupSummary, json: bool) {
    if json {
        let report = serde_json::json!({ "file": file, "backup": summary });
        match serde_json::to_string_pretty(&report) {
            Ok(text) => output::line(&text),
            Err(error) => output::complain(&error.to_string()),
        }
        return;
    }
    let BackupSummary { identity, position, keys, records, digest, members, taken_at_ms, node, version, .. } = summary;
    let at = position.map_or_else(|| "nothing".to_owned(), |at| format!("index {} of term {}", at.index, at.term));
    output::line(&format!("{}: the backup is good", file.display()));
    output::line(&format!(
        "  cluster   {} of {} members, network {}",
        identity.cluster_id,
        members.len(),
        identity.network
    ));
    output::line(&format!("  chain     {}", identity.genesis_validators_root));
    output::line(&format!("  up to     {at}, {records} records, digest {digest}"));
    output::line(&format!("  made      {} s after 1970 by node {node}, version {version}", taken_at_ms / 1000));
    output::line(&format!("  keys      {keys} sealed"));
    output::line(&format!("  signed    {}", describe(&summary.maxima)));
}

/// The greatest marks in words.
pub(super) fn describe(maxima: &Maxima) -> String {
    let mark = |mark: Option<u64>| mark.map_or_else(|| "none".to_owned(), |mark| mark.to_string());
    let Maxima { validators, slot, source, target } = maxima;
    let (slot, source, target) = (mark(*slot), mark(*source), mark(*target));
    format!("{validators} histories; greatest slot {slot}, source epoch {source}, target epoch {target}")
}
