//! Killing the leader of a development cluster and measuring how long nothing is signed.

use super::signing::{Duty, Signed, sign};
use super::{CallError, ClusterClient, Deployment, admin};
use crate::dev::signal_pid;
use http::StatusCode;
use rustix::process::Signal;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);

/// One look at `/ready`.
const PROBE: Duration = Duration::from_secs(2);

/// How long a cluster may take to have a leader, or to have all nodes back, before that counts as failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Pause between two tries to sign while no leader is there: short against what is measured.
const RETRY_PAUSE: Duration = Duration::from_millis(2);

/// What a kill did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kill {
    /// The leader that died.
    pub leader: u64,
    /// Its process.
    pub pid: u32,
    /// From the signal to the next acknowledged signature.
    pub gap: Duration,
}

/// Why a fault could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The cluster does not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// `cluster.json`.
    #[error(transparent)]
    Deployment(#[from] super::deployment::DeploymentError),
    /// A wait took too long.
    #[error("{what} did not happen within {} s", PATIENCE.as_secs())]
    Late {
        /// What was waited for.
        what: String,
    },
}

/// The node that leads, once there is one.
///
/// # Errors
/// No leader in time.
pub async fn leader(admin: &ClusterClient) -> Result<u64, FaultError> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Ok(status) = admin::status(admin).await
            && let Some(leader) = status.leader()
        {
            return Ok(leader);
        }
        if Instant::now() > until {
            return Err(FaultError::Late { what: "an election".to_owned() });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Kills the leader and signs through the others until one succeeds. `duty` gives a new message for each try.
///
/// # Errors
/// No leader, or no signature, in time.
pub async fn kill_leader(dir: &Path, mut duty: impl FnMut() -> Duty) -> Result<Kill, FaultError> {
    let deployment = Deployment::read(dir)?;
    let leader = leader(&deployment.admin()?).await?;
    let signer = deployment.signer(4)?;
    let pid = deployment.node(leader).map_or(0, |node| node.pid);
    let others: Vec<ClusterClient> = deployment
        .nodes
        .iter()
        // A cluster of one has nobody else to ask.
        .filter(|node| node.id != leader || deployment.nodes.len() == 1)
        .map(|node| signer.only(&node.api_url).following(true))
        .collect();
    signal_pid(pid, Signal::KILL);
    let killed = Instant::now();
    for other in others.iter().cycle() {
        let duty = duty();
        if let Ok(Signed::Signature(_)) = sign(other, &duty).await {
            return Ok(Kill { leader, pid, gap: killed.elapsed() });
        }
        if killed.elapsed() > PATIENCE {
            break;
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
    Err(FaultError::Late { what: "a signature after the leader's death".to_owned() })
}

/// Returns once node `id` runs as another process than `pid` and every node is ready.
///
/// # Errors
/// Not in time.
pub async fn until_back(dir: &Path, id: u64, pid: u32) -> Result<Duration, FaultError> {
    let begun = Instant::now();
    let admin = Deployment::read(dir)?.admin()?;
    loop {
        let restarted = Deployment::read(dir)?.node(id).is_some_and(|node| node.pid != pid);
        if restarted && all_ready(&admin).await {
            return Ok(begun.elapsed());
        }
        if begun.elapsed() > PATIENCE {
            return Err(FaultError::Late { what: format!("the return of node {id}") });
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn all_ready(admin: &ClusterClient) -> bool {
    for endpoint in admin.endpoints() {
        if admin.only(endpoint).probe("/ready", PROBE).await != Some(StatusCode::OK) {
            return false;
        }
    }
    true
}

/// The applied index and digest that all nodes share, once they do.
///
/// # Errors
/// Two nodes differ at one index (invariant S8), or never come to one index.
pub async fn equal_digests(admin: &ClusterClient) -> Result<Result<(u64, String), String>, FaultError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let status = admin::status(admin).await?;
        let known: Vec<(u64, Option<u64>, &str)> = status
            .nodes
            .iter()
            .filter_map(|node| node.status.as_ref())
            .map(|status| (status.id, status.applied_index, status.digest.as_str()))
            .collect();
        for (id, index, digest) in &known {
            let other = known.iter().find(|(_, other_index, other)| index == other_index && digest != other);
            if let Some((other_id, _, other)) = other {
                return Ok(Err(format!("nodes {id} and {other_id} differ at index {index:?}: {digest}, {other}")));
            }
        }
        if let Some((_, Some(index), digest)) = known.first()
            && known.len() == status.nodes.len()
            && known.iter().all(|(_, other, _)| *other == Some(*index))
        {
            return Ok(Ok((*index, (*digest).to_owned())));
        }
        if Instant::now() > until {
            return Err(FaultError::Late { what: "one applied index on all nodes".to_owned() });
        }
        tokio::time::sleep(POLL).await;
    }
}
