//! The runs that have a name: a storm, the faults in it, the last word, the judgement.
//!
//! ```text
//! start cluster -> storm + watch -> { calm, fault, healed } ... -> storm ends -> all converge -> exports
//!               -> probes -> exports -> evidence -> invariants -> report
//! ```
//!
//! In: a seed and a name. Out: a [`Report`]. A cluster that does not heal ends the run early and is a violation of L1.

pub mod probe;

use crate::cluster::{Cluster, ClusterError, Setup};
use crate::faults::deletion::{Disturbance, SNAPSHOT_EVERY};
use crate::faults::{FaultError, Field, Kind};
use crate::invariants::judge;
use crate::oracle::history::Clock;
use crate::oracle::message::MessageError;
use crate::oracle::{Courier, Evidence, History, Watch};
use crate::report::{Report, RunFacts};
use crate::rng::Rng;
use crate::storm::{Chain, Generator, Plan, Sent, Storm};
use consigner_gate::TlsError;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Acknowledged requests between two faults: enough that the cluster is in full swing again.
const CALM_SUCCESSES: u64 = 400;

/// The same where a rush brings most of the requests: the storm is light and shows that others go on signing.
const CALM_BESIDE_A_RUSH: u64 = 60;

/// A slow machine goes on to the next fault after this time.
const CALM_MAX: Duration = Duration::from_secs(240);

/// How often the number of acknowledged requests is looked at.
const POLL: Duration = Duration::from_millis(50);

/// The API that brings keys in and takes them away, on the API port.
const KEY_MANAGER: &str = "keymanager: {enabled: true}\n";

/// Every request and answer of a run that violated something, one line each.
const HISTORY_FILE: &str = "chaos-history.txt";

/// The runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Conflicting and identical requests to all nodes, nothing broken.
    Conflicts,
    /// The leader is killed five times.
    LeaderKills,
    /// The leader is frozen for five seconds, twice.
    PauseLeader,
    /// All nodes are killed at once, twice.
    RestartAll,
    /// Everything, in an order that the seed chooses.
    Mixed,
    /// A key is deleted while 50 clients ask for its signature.
    Delete,
    /// The same while a follower is frozen in the middle of signing.
    DeleteFrozen,
    /// The same while a follower is frozen for less than a lease.
    DeleteHiccup,
    /// The same while a follower is down.
    DeleteKilled,
    /// The same while a follower is frozen and learns of the deletion from a snapshot.
    DeleteSnapshot,
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Chooses the messages and, for [`Scenario::Mixed`], the order of faults.
    pub seed: u64,
    /// Which run.
    pub scenario: Scenario,
    /// The `consigner` to test.
    pub binary: PathBuf,
    /// Interop validators; the last one gives the pulse.
    pub validators: u64,
    /// Rounds of rival requests per second.
    pub rounds_per_second: u32,
}

/// Why a run could not take place. Nothing is known about the invariants then.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Certificates of the cluster.
    #[error("the cluster's certificates cannot be used")]
    Tls(#[from] TlsError),
    /// Requests cannot be made.
    #[error("a slip of this program: a request that does not mean what was meant")]
    Message(#[from] MessageError),
    /// The rules do not know mainnet.
    #[error("the network of the development cluster is not known")]
    Network,
}

impl Scenario {
    /// Name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Conflicts => "conflicts",
            Self::LeaderKills => "leader-kills",
            Self::PauseLeader => "pause-leader",
            Self::RestartAll => "restart-all",
            Self::Mixed => "mixed",
            Self::Delete => "delete",
            Self::DeleteFrozen => "delete-frozen",
            Self::DeleteHiccup => "delete-hiccup",
            Self::DeleteKilled => "delete-killed",
            Self::DeleteSnapshot => "delete-snapshot",
        }
    }

    /// What is broken, in order.
    #[must_use]
    pub fn faults(self, seed: u64) -> Vec<Kind> {
        match self {
            Self::Conflicts => Vec::new(),
            Self::LeaderKills => vec![Kind::KillLeader; 5],
            Self::PauseLeader => vec![Kind::PauseLeader; 2],
            Self::RestartAll => vec![Kind::RestartAll; 2],
            Self::Mixed => {
                let mut faults =
                    vec![Kind::KillLeader, Kind::PauseLeader, Kind::RestartAll, Kind::KillLeader, Kind::PauseLeader];
                Rng::new(seed).shuffle(&mut faults);
                faults
            }
            Self::Delete => vec![Kind::Delete(Disturbance::None)],
            Self::DeleteFrozen => vec![Kind::Delete(Disturbance::Frozen)],
            Self::DeleteHiccup => vec![Kind::Delete(Disturbance::Hiccup)],
            Self::DeleteKilled => vec![Kind::Delete(Disturbance::Killed)],
            Self::DeleteSnapshot => vec![Kind::Delete(Disturbance::Snapshot)],
        }
    }

    /// Whether a key is deleted in it, under a rush of its own.
    #[must_use]
    pub fn is_deletion(self) -> bool {
        self.faults(0).iter().any(|fault| matches!(fault, Kind::Delete(_)))
    }

    /// What every node's configuration has besides what `consigner dev` writes.
    #[must_use]
    pub fn overlay(self) -> Option<String> {
        match self {
            Self::Conflicts | Self::LeaderKills | Self::PauseLeader | Self::RestartAll | Self::Mixed => None,
            Self::Delete | Self::DeleteFrozen | Self::DeleteHiccup | Self::DeleteKilled => Some(KEY_MANAGER.to_owned()),
            Self::DeleteSnapshot => Some(format!("{KEY_MANAGER}raft: {{snapshot-every: {SNAPSHOT_EVERY}}}\n")),
        }
    }
}

impl Options {
    /// The command that sends the same requests and breaks the same things.
    #[must_use]
    pub fn command(&self) -> String {
        let Self { seed, scenario, validators, rounds_per_second, .. } = self;
        let name = scenario.name();
        format!("consigner-chaos --seed {seed} --scenario {name} --validators {validators} --rate {rounds_per_second}")
    }
}

/// Runs a scenario to its end.
///
/// # Errors
/// The run could not take place; see [`RunError`].
pub async fn run(options: &Options) -> Result<Report, RunError> {
    let begun = Instant::now();
    let overlay = options.scenario.overlay();
    let setup = Setup { validators: options.validators, overlay, ..Setup::default() };
    let mut cluster = Cluster::start_with(&options.binary, &setup).await?;
    let courier = Arc::new(Courier::new(cluster.manifest(), Arc::new(History::new(Clock::start())))?);
    let nodes: Vec<u64> = courier.nodes().iter().map(|address| address.node).collect();
    let chain = Chain::mainnet().ok_or(RunError::Network)?;
    let generator = Generator::new(options.seed, chain.clone(), nodes.clone(), options.validators)?;
    let watch = Watch::start(courier.clone());
    let broken = break_and_heal(options, &cluster, &courier, &watch, generator).await;
    if broken.not_healed.is_none()
        && let Some(export) = watch.newest_export().await
    {
        probe::run(&courier, &nodes, &chain, &export).await?;
        watch.look_once().await;
    }
    let seen = watch.stop().await;
    let mut problems = seen.problems;
    let mut evidence = Evidence::new(nodes, courier.history(), seen.exports, seen.statuses, broken.faults);
    evidence.not_healed = broken.not_healed;
    let violations = judge(&evidence);
    let kept = (!violations.is_empty()).then(|| keep(&mut cluster, &evidence));
    match cluster.stop().await {
        Ok(status) if status.success() => {}
        Ok(status) => problems.push(format!("consigner dev ended with {status} on SIGTERM")),
        Err(error) => problems.push(format!("{error} within the promised time")),
    }
    let facts = RunFacts { options, sent: broken.sent, seconds: begun.elapsed().as_secs_f64(), problems, kept };
    Ok(Report::new(facts, &evidence, violations))
}

/// Keeps the cluster's files and, beside them, every request and every answer.
fn keep(cluster: &mut Cluster, evidence: &Evidence) -> (PathBuf, String) {
    let dir = cluster.keep_files();
    let lines: Vec<String> = evidence.exchanges.iter().map(ToString::to_string).collect();
    let hints = match std::fs::write(dir.join(HISTORY_FILE), lines.join("\n")) {
        Ok(()) => cluster.log_tails(),
        Err(error) => format!("the history cannot be kept: {error}\n{}", cluster.log_tails()),
    };
    (dir, hints)
}

/// What came of the storm and the faults.
struct Broken {
    sent: Sent,
    faults: Vec<crate::oracle::Fault>,
    not_healed: Option<String>,
}

async fn break_and_heal(
    options: &Options,
    cluster: &Cluster,
    courier: &Arc<Courier>,
    watch: &Watch,
    generator: Generator,
) -> Broken {
    let (seed, validators, rounds_per_second) = (options.seed, options.validators, options.rounds_per_second);
    let storm = Storm::start(courier.clone(), generator, &Plan { seed, validators, rounds_per_second });
    let mut field = Field { cluster, courier: courier.clone(), watch, storm: storm.challenger(), faults: Vec::new() };
    let faults = options.scenario.faults(seed);
    let outcome = async {
        let enough = if options.scenario.is_deletion() { CALM_BESIDE_A_RUSH } else { CALM_SUCCESSES };
        calm(courier, if faults.is_empty() { 3 * enough } else { enough }).await;
        for fault in faults {
            fault.run(&mut field).await?;
            calm(courier, enough).await;
        }
        Ok::<(), FaultError>(())
    }
    .await;
    let sent = storm.stop().await;
    let outcome = match outcome {
        Ok(()) => field.until_converged().await,
        Err(error) => Err(error),
    };
    Broken { sent, faults: field.faults, not_healed: outcome.err().map(|error| error.to_string()) }
}

/// Lets the storm rage until so many more requests were acknowledged.
async fn calm(courier: &Courier, successes: u64) {
    let enough = courier.history().successes() + successes;
    let until = Instant::now() + CALM_MAX;
    while courier.history().successes() < enough && Instant::now() < until {
        tokio::time::sleep(POLL).await;
    }
}
