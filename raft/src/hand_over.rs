//! Leadership moves to another node on purpose: before a stop, on an operator's wish, before the leader is removed.
//!
//! In: the wish, a deadline. Out: who leads now. Nothing is lost on the way: new proposals wait at their nodes, those on
//! their way are finished first, and openraft elects nobody whose log is shorter. Deliberately absent: elections of
//! their own accord ([`crate::election`]).

use crate::cluster::Cluster;
use crate::peer::wire;
use crate::typ::Metrics;
use crate::types::{Election, Leadership, Member};
use openraft::ServerState;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::timeout;

/// How long a successor may take to answer that it stands.
const ASK: Duration = Duration::from_millis(200);

/// How long it may take from there until this node follows it: two fsyncs and three messages on a busy machine.
const TAKE_OVER: Duration = Duration::from_millis(400);

/// Pause between two tries.
const AGAIN: Duration = Duration::from_millis(20);

/// Beyond the lease of the voters, which runs from when each took the last append.
const LEASE_MARGIN: Duration = Duration::from_millis(5);

/// How long a peer may take to hear that this node stops.
const GOODBYE: Duration = Duration::from_millis(100);

/// Why leadership did not move. This node leads on, if it did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandOverError {
    /// Another node leads, or none.
    #[error("this node does not lead")]
    NotLeader,
    /// It is being done already.
    #[error("leadership is being handed over already")]
    InProgress,
    /// The wanted successor has no vote.
    #[error("node {0} is no other voter of this cluster")]
    NotAVoter(u64),
    /// There is no other voter.
    #[error("this node is the only voter")]
    NobodyElse,
    /// Every other voter stops itself, may not lead, or is gone.
    #[error("no other node may take over: they stop, may not lead yet, or are gone")]
    Refused,
    /// No successor was level, reachable and elected in time.
    #[error("no other node took over in time")]
    Late,
}

/// Held while leadership moves; gives back what was switched off.
struct Turn<'c>(&'c Cluster);

impl<'c> Turn<'c> {
    fn take(cluster: &'c Cluster) -> Result<Self, HandOverError> {
        let is_taken = cluster.elections().handing_over.swap(true, Ordering::Relaxed);
        if is_taken { Err(HandOverError::InProgress) } else { Ok(Self(cluster)) }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let cluster = self.0;
        let is_stopping = cluster.inner.stopping.load(Ordering::Relaxed);
        cluster.raft().runtime_config().heartbeat(true);
        let stands = !is_stopping && !cluster.inner.disk.is_stopped();
        cluster.raft().runtime_config().elect(cluster.timing().election == Election::Builtin && stands);
        cluster.elections().handing_over.store(false, Ordering::Relaxed);
    }
}

type Successor = (u64, Member);

impl Cluster {
    /// Moves leadership from this node to `to`, or to the voter that is level first. Answers who leads.
    ///
    /// # Errors
    /// [`HandOverError`]; this node leads on, if it did.
    pub async fn hand_over(&self, to: Option<u64>, deadline: Duration) -> Result<u64, HandOverError> {
        if self.elections().is_handing_over() {
            return Err(HandOverError::InProgress);
        }
        if self.leadership() != Leadership::This {
            return Err(HandOverError::NotLeader);
        }
        self.move_leadership(to, deadline).await
    }

    /// As [`Cluster::hand_over`], for a node that stops and may be refusing requests already.
    pub(crate) async fn move_leadership(&self, to: Option<u64>, deadline: Duration) -> Result<u64, HandOverError> {
        let successors = self.successors(to)?;
        let turn = Turn::take(self)?;
        let moved = timeout(deadline, self.until_succeeded(successors)).await;
        drop(turn);
        match moved {
            Ok(Some(leader)) => {
                tracing::info!(leader, "leadership was handed over");
                Ok(leader)
            }
            Ok(None) => Err(HandOverError::Refused),
            Err(_) => Err(HandOverError::Late),
        }
    }

    /// This node is about to stop: it stands for no election any more, and hands over leadership while it still serves
    /// as a follower.
    pub async fn step_aside(&self, deadline: Duration) {
        self.elections().retire();
        self.raft().runtime_config().elect(false);
        match self.hand_over(None, deadline).await {
            Ok(_) | Err(HandOverError::NotLeader | HandOverError::NobodyElse) => {}
            Err(HandOverError::Refused) => tracing::info!("no other node may take over"),
            Err(error) => tracing::warn!(%error, "leadership was not handed over yet"),
        }
    }

    /// Tells the other members that this node stops.
    pub(crate) async fn say_goodbye(&self) {
        let metrics = self.raft().metrics();
        let membership = metrics.borrow().membership_config.membership().clone();
        let me = self.node_id();
        let told = membership.nodes().filter(|(id, _)| **id != me).map(|(id, member)| async move {
            let told: Result<(), _> = self.inner.links.call((*id, member), wire::GOODBYE, &(), GOODBYE).await;
            if let Err(error) = told {
                tracing::debug!(node = id, error = crate::chain(&error), "a peer did not hear the goodbye");
            }
        });
        futures::future::join_all(told).await;
    }

    /// `None`: all of them refuse.
    async fn until_succeeded(&self, successors: Vec<Successor>) -> Option<u64> {
        // Nothing is on its way and nothing new sets out: the log's end stands still.
        let _pause = self.batcher().pause().await;
        self.raft().runtime_config().elect(false);
        let (mut tried, mut refused) = (BTreeSet::new(), BTreeSet::new());
        // A peer without a connection cannot become level either.
        let may_yet = |refused: &BTreeSet<u64>| {
            successors.iter().any(|(id, _)| !refused.contains(id) && self.inner.links.is_connected(*id))
        };
        while may_yet(&refused) {
            let Some((id, member)) = self.level_successor(&successors, &mut tried).await else {
                // Deposed, perhaps by a successor that was given up too early: whoever leads has taken over.
                match self.successor().await {
                    Some(leader) => return Some(leader),
                    None => continue,
                }
            };
            self.raft().runtime_config().heartbeat(false);
            if !self.is_quorum_with(id) {
                // A third voter must agree, and none does while it heard a leader within its lease.
                tokio::time::sleep(self.timing().voters_faith() + LEASE_MARGIN).await;
            }
            let asked: Result<bool, _> = self.inner.links.call((id, &member), wire::ELECT, &(), ASK).await;
            match asked {
                Ok(true) => {
                    if let Some(leader) = self.successor().await {
                        return Some(leader);
                    }
                }
                Ok(false) => {
                    refused.insert(id);
                }
                Err(error) => tracing::debug!(node = id, error = crate::chain(&error), "a successor was not reached"),
            }
            tried.insert(id);
            // Whoever is asked next must be level, and for that it must hear this leader.
            self.raft().runtime_config().heartbeat(true);
            tokio::time::sleep(AGAIN).await;
        }
        None
    }

    /// The first voter that holds all of this leader's log; those that failed before come last. `None` when this node does
    /// not lead any more: it knows nobody's log then.
    async fn level_successor(&self, successors: &[Successor], tried: &mut BTreeSet<u64>) -> Option<Successor> {
        let mut metrics = self.raft().metrics();
        loop {
            let level: Vec<&Successor> = {
                let now = metrics.borrow_and_update();
                if now.state != ServerState::Leader {
                    return None;
                }
                successors.iter().filter(|(id, _)| is_level(&now, *id)).collect()
            };
            if !level.is_empty() && level.iter().all(|(id, _)| tried.contains(id)) {
                tried.clear();
            }
            if let Some(next) = level.into_iter().find(|(id, _)| !tried.contains(id)) {
                return Some(next.clone());
            }
            if metrics.changed().await.is_err() {
                // openraft has ended; the deadline of the caller ends this wait.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The other node that leads now, if one came to it in time.
    async fn successor(&self) -> Option<u64> {
        let me = self.node_id();
        let mut metrics = self.raft().metrics();
        let succeeded = metrics.wait_for(|now| now.current_leader.is_some_and(|leader| leader != me));
        timeout(TAKE_OVER, succeeded).await.ok()?.ok()?.current_leader
    }

    /// Whether this node and that one can elect it by themselves: a leader's own faith is long over.
    fn is_quorum_with(&self, other: u64) -> bool {
        let metrics = self.raft().metrics();
        let now = metrics.borrow();
        let both = BTreeSet::from([self.node_id(), other]);
        crate::election::is_quorum(now.membership_config.membership().get_joint_config(), &both)
    }

    fn successors(&self, to: Option<u64>) -> Result<Vec<Successor>, HandOverError> {
        let metrics = self.raft().metrics();
        let now = metrics.borrow();
        let membership = now.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().filter(|id| *id != now.id).collect();
        let wanted: Vec<u64> = match to {
            Some(to) if !voters.contains(&to) => return Err(HandOverError::NotAVoter(to)),
            Some(to) => vec![to],
            None => voters.into_iter().collect(),
        };
        let successors: Vec<Successor> =
            wanted.into_iter().filter_map(|id| Some((id, membership.get_node(&id)?.clone()))).collect();
        if successors.is_empty() { Err(HandOverError::NobodyElse) } else { Ok(successors) }
    }
}

fn is_level(now: &Metrics, id: u64) -> bool {
    let matched = now.replication.as_ref().and_then(|replication| replication.get(&id).copied().flatten());
    matched.map(|log| log.index) == now.last_log_index
}
