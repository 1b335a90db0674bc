//! One fault, from the signal to a cluster that is whole again.

use super::report::{Fault, Round};
use crate::cluster::Cluster;
use crate::faults::{FaultError, until_restarted};
use crate::oracle::{Courier, Watch};
use crate::storm::Duties;
use rustix::process::Signal;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a condition may take on a loaded machine with debug binaries.
const WAIT_MAX: Duration = Duration::from_secs(180);

/// How often it is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Leadership has moved long before; a node that was killed is started again after 2 s.
const SETTLED: Duration = Duration::from_millis(1_500);

/// Signatures after a round, before the next: the cluster is in full swing again.
const CALM: usize = 60;

/// What a round works with.
pub struct Bench<'b> {
    pub cluster: &'b Cluster,
    pub courier: &'b Arc<Courier>,
    pub watch: &'b Watch,
    pub duties: &'b Duties,
}

impl Bench<'_> {
    pub async fn run(&self, fault: Fault, freeze: Duration) -> Result<Round, FaultError> {
        let (leader, term) = self.leadership().await?;
        let victim = match fault {
            Fault::Kill | Fault::Stop | Fault::FreezeLeader => leader,
            Fault::FreezeFollower => self.follower(leader),
        };
        let pid = self.cluster.pid(victim)?;
        let at = self.courier.history().clock().now();
        match fault {
            Fault::Kill => self.cluster.signal(pid, Signal::KILL)?,
            Fault::Stop => self.cluster.signal(pid, Signal::TERM)?,
            Fault::FreezeLeader | Fault::FreezeFollower => {
                self.cluster.signal(pid, Signal::STOP)?;
                // Not synchronisation: the length of the pause is the fault.
                tokio::time::sleep(freeze).await;
                self.cluster.signal(pid, Signal::CONT)?;
            }
        }
        let settled = self.courier.history().clock().now() + SETTLED;
        if !self.duties.more(1, WAIT_MAX).await {
            return Err(late("a signature after the fault", &fault));
        }
        match fault {
            Fault::Kill | Fault::Stop => until_restarted(self.cluster, self.courier, &[(victim, pid)]).await?,
            Fault::FreezeLeader | Fault::FreezeFollower => until_restarted(self.cluster, self.courier, &[]).await?,
        }
        if !self.duties.more(CALM, WAIT_MAX).await {
            return Err(late("signing in full swing after the fault", &fault));
        }
        let until = self.courier.history().clock().now();
        Ok(Round { fault, victim, at, settled, until, terms: self.term().await.saturating_sub(term) })
    }

    /// Who leads, and the highest term while it did: on a starved machine leadership moves between two questions.
    async fn leadership(&self) -> Result<(u64, u64), FaultError> {
        loop {
            let leader = self.leader().await?;
            let term = self.term().await;
            if self.leader().await? == leader {
                return Ok((leader, term));
            }
        }
    }

    /// The highest term that any node tells, once all tell.
    async fn term(&self) -> u64 {
        let until = Instant::now() + WAIT_MAX;
        loop {
            let states = self.watch.states().await;
            if states.len() == self.courier.nodes().len() || Instant::now() > until {
                return states.iter().map(|state| state.term).max().unwrap_or_default();
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn follower(&self, leader: u64) -> u64 {
        self.courier.nodes().iter().map(|address| address.node).find(|node| *node != leader).unwrap_or(leader)
    }

    /// The node that says `/leader` is here.
    async fn leader(&self) -> Result<u64, FaultError> {
        let until = Instant::now() + WAIT_MAX;
        loop {
            for address in self.courier.nodes() {
                if matches!(self.courier.look(&address.url, "/leader").await, Ok(answer) if answer.status == 200) {
                    return Ok(address.node);
                }
            }
            if Instant::now() > until {
                return Err(FaultError::Late { what: "an election", seen: format!("{:?}", self.watch.states().await) });
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

fn late(what: &'static str, fault: &Fault) -> FaultError {
    FaultError::Late { what, seen: format!("none after {fault:?}") }
}
