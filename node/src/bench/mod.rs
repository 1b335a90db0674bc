//! `consigner bench`: mainnet-shaped slots against a development cluster, and what they cost.
//!
//! ```text
//! slot:  block, randao -> attestations of 1/32 -> sync messages of 1/64 -> selection proofs -> aggregates -> yardstick
//! ```
//! In: the directory of a running cluster. Out: a [`Report`]. The CPU of the node processes is read from `/proc`, and
//! one plain BLS signature is measured in between, so that the ratio of both holds on any machine. Deliberately absent:
//! the pace of real slots; they follow each other as fast as the cluster answers.

mod cpu;
mod load;
mod report;
mod scrape;
mod slot;
#[cfg(test)]
mod tests;

pub use report::Report;

use crate::client::faults::{self, FaultError};
use crate::client::history::highest;
use crate::client::signing::{Chain, Duty, Vote, public_keys};
use crate::client::{CallError, Deployment};
use crate::config::NetworkConfig;
use crate::dev::Layout;
use crate::serve::network::{self, ChainError};
use consigner_rules::{Epoch, PublicKey};
use report::Kills;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BenchOptions {
    /// Directory of the running cluster.
    pub dir: PathBuf,
    /// Validators that take part; `None`: all that the cluster holds.
    pub validators: Option<usize>,
    /// Slots to play.
    pub slots: u64,
    /// Every attester sees another head.
    pub distinct_roots: bool,
    /// Requests under way per node.
    pub connections: usize,
    /// How often the leader is killed afterwards.
    pub kills: usize,
}

/// Why there is no measurement.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// No running cluster in the directory.
    #[error(transparent)]
    Deployment(#[from] crate::client::deployment::DeploymentError),
    /// The directory is not one of `consigner dev`.
    #[error("{} was not made by `consigner dev`", .0.display())]
    NotDev(PathBuf),
    /// The cluster does not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A kill could not be shown.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The chain of the cluster.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Fewer keys than asked for.
    #[error("the cluster holds {held} keys, {asked} were asked for: start `consigner dev` with --validators {asked}")]
    TooFewKeys {
        /// Keys held.
        held: usize,
        /// Keys asked for.
        asked: usize,
    },
    /// What a node process used cannot be read.
    #[error("the CPU time of a node process cannot be read")]
    Cpu(#[source] std::io::Error),
}

/// The metrics of the nodes are published every second; a little more, so that the last second is in them.
const METRICS_LAG: Duration = Duration::from_millis(1_300);

/// Plays the slots, then the kills.
///
/// # Errors
/// See [`BenchError`]; requests that fail are counted, not errors.
pub async fn run(options: &BenchOptions) -> Result<Report, BenchError> {
    let deployment = Deployment::read(&options.dir)?;
    let chain = chain(&options.dir)?;
    let admin = deployment.admin()?;
    let signer = deployment.signer(options.connections)?;
    let mut keys = public_keys(&signer).await?;
    let asked = options.validators.unwrap_or(keys.len()).max(1);
    if keys.len() < asked {
        return Err(BenchError::TooFewKeys { held: keys.len(), asked });
    }
    keys.truncate(asked);
    let signed = highest(&admin).await?;
    let above = signed.target.max(chain.network().epoch_at_slot(signed.slot)) + 2;
    let first_epoch = above.max(chain.newest_fork_epoch() + 2);
    let leader = faults::leader(&admin).await?;
    let before = scrape::all(&deployment).await;
    let bench = slot::Bench::new(options, &deployment, &chain, &signer, &keys, first_epoch);
    let measured = bench.play().await?;
    tokio::time::sleep(METRICS_LAG).await;
    let after = scrape::all(&deployment).await;
    let counters = scrape::difference(&before, &after, leader);
    let next_epoch = first_epoch + options.slots / chain.network().slots_per_epoch() + 2;
    let kills = kill(options, &chain, &keys, next_epoch).await?;
    Ok(report::put_together(options, keys.len(), &measured, counters, kills))
}

/// The chain that the directory's cluster signs for.
fn chain(dir: &Path) -> Result<Chain, BenchError> {
    let not_dev = || BenchError::NotDev(dir.to_owned());
    let layout = Layout::open(dir).map_err(|_| not_dev())?;
    let plan = layout.read_plan().ok().flatten().ok_or_else(not_dev)?;
    let config = NetworkConfig::new(plan.network, plan.genesis_validators_root);
    let (network, root) = network::load(&config)?;
    Ok(Chain::new(network, root))
}

async fn kill(
    options: &BenchOptions,
    chain: &Chain,
    keys: &[PublicKey],
    first_epoch: Epoch,
) -> Result<Option<Kills>, BenchError> {
    if options.kills == 0 {
        return Ok(None);
    }
    let mut gaps = Vec::with_capacity(options.kills);
    // One vote per validator and epoch, so that no try can be refused.
    let mut number: u64 = 0;
    for _ in 0..options.kills {
        let next = || {
            let validator = usize::try_from(number).unwrap_or(0) % keys.len();
            let target = first_epoch + number / keys.len() as u64;
            number += 1;
            let vote = Vote { slot: chain.first_slot(target), source: target - 1, target, head: 1 };
            Duty { public_key: keys[validator], body: chain.attestation(&vote) }
        };
        let kill = faults::kill_leader(&options.dir, next).await?;
        gaps.push(kill.gap);
        faults::until_back(&options.dir, kill.leader, kill.pid).await?;
    }
    Ok(Some(Kills::new(gaps)))
}
