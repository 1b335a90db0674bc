//! `consigner cluster restore`: a new cluster of one node out of backups, survivors' disks, the archive and interchange
//! files.
//!
//! In: the configuration of the first node of the new cluster, sources. Out: its data directory, and a report of what
//! each source brought. Everything is read and checked before the first byte is written. Deliberately absent: any use
//! of the network but for the archive's database; the old cluster must be gone.

mod archive;
mod error;
mod report;
mod sources;

use super::super::run::load;
use super::super::{Exit, fail, output};
use crate::config::Config;
use crate::serve::{network, sealers};
use clap::Args;
use consigner_keys::backup::{Resealed, Side, reseal_for};
use consigner_raft::Member;
use consigner_raft::restore::{Combined, NewNode, ResumeAt, check_vacant, resume_floor, write};
use consigner_rules::command::{ClusterIdentity, Floor};
use consigner_rules::state::Rebirth;
use consigner_rules::{Command, CommandBatch, Epoch, Network, Outcome, State};
use error::RestoreError;
use report::Report;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RestoreArgs {
    /// Configuration of the first node of the new cluster: a new cluster.id, an empty node.data-dir
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// A file of `cluster backup`; as many as there are
    #[arg(long = "backup", value_name = "FILE", requires = "passphrase_files")]
    backups: Vec<PathBuf>,
    /// Its passphrase: one file for all backups, or one for each in their order
    #[arg(long = "passphrase-file", value_name = "FILE")]
    passphrase_files: Vec<PathBuf>,
    /// Data directory of a node of the old cluster, stopped for good; as many as there are. Only read
    #[arg(long = "survivor", value_name = "DATA_DIR")]
    survivors: Vec<PathBuf>,
    /// An interchange file (EIP-3076) with what was signed elsewhere since
    #[arg(long = "interchange", value_name = "FILE")]
    interchanges: Vec<PathBuf>,
    /// A configuration file whose archive.postgres is read for what the old cluster signed; may be that of --config
    #[arg(long, value_name = "FILE")]
    archive: Option<PathBuf>,
    /// Sign from this epoch on, or `now`: the current epoch and two more. Without it `cluster resume` says so later
    #[arg(long, value_name = "EPOCH")]
    resume_at_epoch: Option<ResumeAt>,
    /// Print JSON for scripts
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "Examples:
  consigner cluster restore --config new/consigner.yaml --backup backup.consigner --passphrase-file backup.pass
  consigner cluster restore --config new/consigner.yaml --survivor /mnt/node3/data --resume-at-epoch now
  consigner cluster restore --config new/consigner.yaml --survivor /mnt/node2/data --survivor /mnt/node3/data \\
    --backup monday.consigner --backup tuesday.consigner --passphrase-file backup.pass --interchange since.json
  consigner cluster restore --config new/consigner.yaml --backup backup.consigner --passphrase-file backup.pass \\
    --archive new/consigner.yaml

Name everything that is left: the most advanced source gives keys and policy, every source raises histories, none lowers
one. docs/OPERATIONS.md goes through a whole restore. Exit codes: 0 restored, 1 refused and nothing written, 2 usage.";

pub(super) async fn main(args: &RestoreArgs) -> Exit {
    let passphrases = args.passphrase_files.len();
    if !args.backups.is_empty() && passphrases != 1 && passphrases != args.backups.len() {
        output::complain("name one --passphrase-file for all backups, or one for each in their order");
        return Exit::Usage;
    }
    let loaded = match load(&args.config, &[]) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    for remark in &loaded.remarks {
        output::complain(remark);
    }
    // Before the first key is in the clear.
    let hardening = consigner_keys::harden_process();
    if !hardening.complete() {
        output::complain(&format!("warning: {hardening}"));
    }
    match restore(args, &loaded.config).await {
        Ok(report) => {
            report.tell(args.json);
            Exit::Done
        }
        Err(error) => fail(&error),
    }
}

/// Reads, checks, merges, seals anew; writes last.
async fn restore(args: &RestoreArgs, config: &Config) -> Result<Report, RestoreError> {
    check_vacant(&config.node.data_dir)?;
    let (chain, genesis_validators_root) = network::load(&config.network)?;
    let identity =
        ClusterIdentity { cluster_id: config.cluster_id, network: chain.name().to_owned(), genesis_validators_root };
    let combined = sources::read(args, &identity).await?;
    let floor = args.resume_at_epoch.map(|at| resume_floor(&chain, at, now_ms(), &combined.maxima)).transpose()?;
    let resealed = reseal(config, &combined).await?;
    let keys = resealed.keys.len() as u64;
    let Combined { identity: old, state, reports, maxima } = combined;
    let rebirth = Rebirth { identity, data_keys: resealed.data_keys, keys: resealed.keys };
    let mut state = state.reborn(rebirth);
    if let Some((_, floor)) = floor {
        resume(&mut state, floor)?;
    }
    write(&new_node(config), &state)?;
    let earliest = earliest(&chain, &maxima);
    Ok(Report {
        old_cluster: old.cluster_id,
        new_cluster: config.cluster_id,
        node: config.node.id,
        data_dir: config.node.data_dir.clone(),
        config: args.config.clone(),
        keys,
        sealer: config.keys.sealer.in_use.word(),
        maxima,
        sources: reports,
        signs_from_epoch: floor.map(|(epoch, _)| epoch),
        earliest_epoch: earliest,
        digest: state.digest(),
    })
}

/// Opens the keys as the old cluster's and seals them for the new one. A passphrase is stretched with the cluster's id, so
/// the configured sealers are built for either.
async fn reseal(config: &Config, combined: &Combined) -> Result<Resealed, RestoreError> {
    let (from, to) = (combined.identity.cluster_id, config.cluster_id);
    let old = sealers::build(&config.keys.sealer, from).await?;
    let new = sealers::build(&config.keys.sealer, to).await?;
    let data_keys: Vec<_> = combined.state.data_keys().cloned().collect();
    let keys = combined.state.keys().cloned().collect();
    let (old, new) = (Side { sealers: &old, cluster: from }, Side { sealers: &new, cluster: to });
    Ok(reseal_for(old, new, &data_keys, keys).await?)
}

/// As the command of a running cluster does it: by the same rule, judged against every history.
fn resume(state: &mut State, floor: Floor) -> Result<(), RestoreError> {
    let commands = vec![Command::Resume(floor)];
    let applied = state.apply(&CommandBatch { proposed_at_ms: now_ms(), checkpoint: None, commands });
    if let Some(Outcome::Resumed { .. }) = applied.outcomes.first() {
        return Ok(());
    }
    Err(RestoreError::NotResumed(format!("{:?}", applied.outcomes)))
}

fn new_node(config: &Config) -> NewNode {
    NewNode {
        node_id: config.node.id,
        cluster_id: config.cluster_id,
        member: Member {
            name: config.node.name.clone(),
            peer_addr: config.peer.advertise.clone(),
            api_url: config.api.advertise_url.clone().unwrap_or_default(),
            ..Member::default()
        },
        data_dir: config.node.data_dir.clone(),
    }
}

/// The earliest epoch that `cluster resume` would take now, for the report.
fn earliest(chain: &Network, maxima: &consigner_raft::Maxima) -> Option<Epoch> {
    use consigner_raft::restore::FloorError;
    match resume_floor(chain, ResumeAt::Now, now_ms(), maxima) {
        Ok((epoch, _)) => Some(epoch),
        Err(
            FloorError::BelowSource { least, .. }
            | FloorError::TooEarly { least, .. }
            | FloorError::TooLate { least, .. },
        ) => Some(least),
        Err(FloorError::NoGenesisTime) => None,
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
