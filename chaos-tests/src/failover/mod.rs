//! How long signing pauses when the leader dies, stops or freezes, and what it costs.
//!
//! ```text
//! cluster -> duties of clients, at the nodes that say they are ready (a balancer's view)
//!         -> round { fault, heal } ... -> oracle: pauses between signatures, failed requests, terms -> report
//! ```
//! In: how many rounds of which fault. Out: a [`FailoverReport`]. The figures are of this machine under its load of the
//! moment; only what must hold anywhere is a violation: conflicting signatures, S1. Deliberately absent: limits on time.

mod balancer;
mod report;
mod round;

pub use report::{FailoverReport, Fault, FaultReport, Millis, Round};

use crate::cluster::{Cluster, ClusterError, Setup};
use crate::faults::FaultError;
use crate::invariants::{genuine, s1};
use crate::oracle::history::Clock;
use crate::oracle::{Courier, Evidence, History, Watch};
use crate::storm::{Chain, Doors, Duties};
use crate::weather::Weather;
use balancer::Balancer;
use consigner_gate::TlsError;
use consigner_keys::development::interop_secret;
use consigner_rules::PublicKey;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A node that stops serves on for so long while `/ready` says 503: many looks of the balancer, which a starved machine
/// delays. Leadership moves before that, so it costs no measured pause.
const OVERLAY: &str = "api: {drain-delay: 3s}\n";

/// Signatures before the first fault.
const WARM_UP: usize = 60;

/// How long they may take on a loaded machine.
const WARM_UP_MAX: Duration = Duration::from_secs(300);

/// What to measure.
#[derive(Debug, Clone)]
pub struct FailoverOptions {
    /// The `consigner` to test.
    pub binary: PathBuf,
    /// Nodes of the cluster.
    pub nodes: u16,
    /// Rounds in which the leader is killed (SIGKILL).
    pub kills: usize,
    /// Rounds in which the leader is asked to stop (SIGTERM).
    pub terms: usize,
    /// Rounds in which the leader, and rounds in which a follower, is frozen (SIGSTOP, SIGCONT).
    pub stops: usize,
    /// How long it stays frozen.
    pub freeze: Duration,
    /// Interop validators, each with a client of its own.
    pub validators: u64,
    /// YAML laid over every node's configuration besides the drain delay.
    pub overlay: Option<String>,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum FailoverError {
    /// No cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Certificates of the cluster.
    #[error("the cluster's certificates cannot be used")]
    Tls(#[from] TlsError),
    /// It did not break, or did not heal.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The rules do not know mainnet.
    #[error("the network of the development cluster is not known")]
    Network,
    /// Nothing is signed before anything is broken.
    #[error("the cluster signs too little before anything is broken")]
    Cold,
}

/// Starts a cluster, breaks it, measures, judges.
///
/// # Errors
/// See [`FailoverError`].
pub async fn run(options: &FailoverOptions) -> Result<FailoverReport, FailoverError> {
    let chain = Chain::mainnet().ok_or(FailoverError::Network)?;
    let overlay = format!("{OVERLAY}{}", options.overlay.as_deref().unwrap_or_default());
    let setup = Setup {
        validators: options.validators,
        nodes: Some(options.nodes),
        overlay: Some(overlay),
        ..Setup::default()
    };
    let mut cluster = Cluster::start_with(&options.binary, &setup).await?;
    let courier = Arc::new(Courier::new(cluster.manifest(), Arc::new(History::new(Clock::start())))?);
    let watch = Watch::start(courier.clone());
    let nodes: Vec<u64> = courier.nodes().iter().map(|address| address.node).collect();
    let keys: Vec<PublicKey> = (0..options.validators).map(|number| interop_secret(number).public_key()).collect();
    let doors = Doors::to(&nodes);
    let balancer = Balancer::start(courier.clone(), doors.clone());
    let duties = Duties::start(&courier, &chain, &keys, &doors, chain.modern_epoch());
    if !duties.more(WARM_UP, WARM_UP_MAX).await {
        return Err(FailoverError::Cold);
    }
    let (load_before, weather) = (load(), Weather::observe());
    let bench = round::Bench { cluster: &cluster, courier: &courier, watch: &watch, duties: &duties };
    let mut rounds = Vec::new();
    for fault in plan(options) {
        rounds.push(bench.run(fault, options.freeze).await?);
    }
    let (load_after, starved) = (load(), weather.worst());
    let (duties, _) = duties.stop().await;
    drop(balancer);
    let seen = watch.stop().await;
    let history = courier.history();
    let given_up = duties.iter().filter(|duty| duty.signed.is_none()).map(ToString::to_string).collect();
    let evidence = Evidence::new(nodes, history, seen.exports, seen.statuses, Vec::new());
    let violations = [genuine::check(&evidence), s1::check(&evidence)].concat();
    let report = FailoverReport::new(options, rounds, &evidence.exchanges, given_up, violations);
    // Whatever the end is like, the measurement stands.
    let _stopped = cluster.stop().await;
    Ok(report.under_load(load_before, load_after, starved))
}

/// Faults of one kind follow each other; kinds do not mix, so that each heals in its own way.
fn plan(options: &FailoverOptions) -> impl Iterator<Item = Fault> {
    let times = |fault, count| std::iter::repeat_n(fault, count);
    times(Fault::Kill, options.kills)
        .chain(times(Fault::Stop, options.terms))
        .chain(times(Fault::FreezeLeader, options.stops))
        .chain(times(Fault::FreezeFollower, options.stops))
}

/// The one-minute load average of the machine, if it tells.
fn load() -> Option<f64> {
    std::fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}
