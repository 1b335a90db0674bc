//! What is broken on purpose, one fault per file.
//!
//! In: a running cluster. Out: a [`Fault`] with its times, after the cluster has healed; or the reason why it did not.
//! Every wait is for a condition and has a deadline. Only processes that `cluster.json` names are touched.

pub mod deletion;
mod kill_leader;
mod pause_leader;
mod restart_all;

use crate::cluster::{Cluster, ClusterError, SignalError};
use crate::oracle::{Courier, Fault, Watch};
use crate::storm::Challenger;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a cluster may take to heal: the supervisor starts a child again after 2 s, and a debug binary on a
/// starved machine is slow. It tells "heals" from "hangs".
const HEAL_MAX: Duration = Duration::from_secs(180);

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);

/// What can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `kill -9` of the leader.
    KillLeader,
    /// SIGSTOP of the leader, SIGCONT after five seconds.
    PauseLeader,
    /// `kill -9` of all nodes at once.
    RestartAll,
    /// A key is deleted while everybody asks for its signature.
    Delete(deletion::Disturbance),
}

/// A cluster to be broken.
pub struct Field<'c> {
    /// The processes.
    pub cluster: &'c Cluster,
    /// The way to ask them.
    pub courier: Arc<Courier>,
    /// What is known of their states.
    pub watch: &'c Watch,
    /// What rages meanwhile.
    pub storm: Challenger,
    /// What was broken so far.
    pub faults: Vec<Fault>,
}

/// Why a fault could not be made, or did not heal.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// The cluster's files.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// A process.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// Something that must work in health did not.
    #[error("{what} could not be had: {seen}")]
    Broken {
        /// What was wanted.
        what: &'static str,
        /// What was there instead.
        seen: String,
    },
    /// Not in time.
    #[error("{what} did not happen within {} s; last seen: {seen}", HEAL_MAX.as_secs())]
    Late {
        /// What was waited for.
        what: &'static str,
        /// What was there instead.
        seen: String,
    },
}

impl Kind {
    /// Breaks, waits until all is well again.
    ///
    /// # Errors
    /// See [`FaultError`]; the fault stands in `field.faults` in any case.
    pub async fn run(self, field: &mut Field<'_>) -> Result<(), FaultError> {
        match self {
            Self::KillLeader => kill_leader::run(field).await,
            Self::PauseLeader => pause_leader::run(field).await,
            Self::RestartAll => restart_all::run(field).await,
            Self::Delete(disturbance) => deletion::run(field, disturbance).await,
        }
    }
}

impl Field<'_> {
    fn now(&self) -> Duration {
        self.courier.history().clock().now()
    }

    fn begin(&mut self, name: &'static str, victims: &[(u64, u32)]) -> usize {
        let (at, nodes) = (self.now(), victims.iter().map(|(node, _)| *node).collect());
        let pids = victims.iter().map(|(_, pid)| *pid).collect();
        self.faults.push(Fault { name, nodes, pids, at, quorum_at: at, healed_at: None });
        self.faults.len() - 1
    }

    fn healed(&mut self, fault: usize) {
        let now = self.now();
        if let Some(fault) = self.faults.get_mut(fault) {
            fault.healed_at = Some(now);
        }
    }

    /// The node that says `/leader` is here, and its process.
    async fn leader(&self) -> Result<(u64, u32), FaultError> {
        let until = Instant::now() + HEAL_MAX;
        loop {
            for address in self.courier.nodes() {
                if matches!(self.courier.look(&address.url, "/leader").await, Ok(answer) if answer.status == 200) {
                    return Ok((address.node, self.cluster.pid(address.node)?));
                }
            }
            if Instant::now() > until {
                return Err(FaultError::Late { what: "an election", seen: format!("{:?}", self.watch.states().await) });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Waits until something asked for after the fault was signed.
    async fn until_signing(&self, since: Duration) -> Result<(), FaultError> {
        let until = Instant::now() + HEAL_MAX;
        while !self.courier.history().has_success_sent_since(since) {
            if Instant::now() > until {
                let seen = format!("{:?}", self.watch.states().await);
                return Err(FaultError::Late { what: "a signature after the fault", seen });
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Waits until the victims run as other processes and every node is ready.
    async fn until_restarted(&self, victims: &[(u64, u32)]) -> Result<(), FaultError> {
        until_restarted(self.cluster, &self.courier, victims).await
    }

    /// Waits until every node is ready and all have applied the same.
    ///
    /// # Errors
    /// Not in time.
    pub async fn until_converged(&self) -> Result<(), FaultError> {
        self.until_restarted(&[]).await?;
        let until = Instant::now() + HEAL_MAX;
        loop {
            let states = self.watch.states().await;
            let is_all = states.len() == self.courier.nodes().len() && states.iter().all(|state| state.is_ready);
            if is_all && states.windows(2).all(|pair| pair[0].applied_index == pair[1].applied_index) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(FaultError::Late { what: "one applied index on all nodes", seen: format!("{states:?}") });
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Waits until the victims run as other processes and every node is ready.
///
/// # Errors
/// Not in time, or `cluster.json` cannot be read.
pub async fn until_restarted(cluster: &Cluster, courier: &Courier, victims: &[(u64, u32)]) -> Result<(), FaultError> {
    let until = Instant::now() + HEAL_MAX;
    loop {
        let mut missing = Vec::new();
        for (node, pid) in victims {
            if cluster.pid(*node)? == *pid {
                missing.push(format!("node {node} was not started again"));
            }
        }
        for address in courier.nodes() {
            match courier.look(&address.url, "/ready").await {
                Ok(answer) if answer.status == 200 => {}
                Ok(answer) => {
                    missing.push(format!("node {}: {}", address.node, String::from_utf8_lossy(&answer.body)));
                }
                Err(error) => missing.push(format!("node {}: {error}", address.node)),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(FaultError::Late { what: "the return of all nodes", seen: missing.join("; ") });
        }
        tokio::time::sleep(POLL).await;
    }
}
