//! The cluster as the rest of the node sees it, and the one place where permits are minted from verdicts.
//!
//! In: requests, commands, reads. Out: permits, outcomes, the applied state. Deliberately absent: how agreement is
//! reached ([`crate::authorize`], [`crate::batcher`], [`crate::forward`]) and how a node starts and stops
//! ([`crate::lifecycle`]).

use crate::authorize::{AuthorizeError, Leave, Routing};
use crate::batcher::Batcher;
use crate::forward::Forwarder;
use crate::lease::Lease;
use crate::machine::Shared;
use crate::peer::guard::Guard;
use crate::peer::link::Links;
use crate::peer::wire::{self, Failure, Pong};
use crate::recover::Recovered;
use crate::typ::{Metrics, Raft};
use crate::types::{Leadership, Member, NodeStatus, Role, Timing};
use consigner_rules::command::{ClusterIdentity, DataKey, Rejection};
use consigner_rules::primitives::ClusterId;
use consigner_rules::{Command, Outcome, SealedKey, SignPermit, SignRequest, State, codec};
use consigner_storage::log::Wal;
use openraft::ServerState;
use openraft::error::{InitializeError, RaftError};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What a node needs to take part.
pub struct ClusterOptions {
    /// This node's id; never reused.
    pub node_id: u64,
    /// The cluster this node belongs to.
    pub cluster_id: ClusterId,
    /// How this node advertises itself.
    pub member: Member,
    /// Where log, state and snapshots lie.
    pub data_dir: PathBuf,
    /// Identity and trust towards the other nodes (ALPN h2).
    pub peer_tls: Arc<rustls::ClientConfig>,
    /// Timers.
    pub timing: Timing,
    /// Entries between snapshots.
    pub snapshot_every: u64,
    /// Told of keys, synchronously, before the index that brought them is reported as applied.
    pub on_keys: OnKeys,
    /// Called when the node must stop. It should end the process; nothing is acknowledged afterwards in any case.
    pub on_fatal: OnFatal,
}

/// See [`ClusterOptions::on_keys`].
pub type OnKeys = Arc<dyn Fn(KeyFeed<'_>) + Send + Sync>;
/// See [`ClusterOptions::on_fatal`].
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// How the set of keys changed.
pub enum KeyFeed<'a> {
    /// One key was added.
    Added {
        /// The key.
        sealed: &'a SealedKey,
        /// The data key that encrypts it.
        data_key: &'a DataKey,
    },
    /// The whole state was replaced (start, snapshot): rebuild from it.
    Replaced(&'a State),
}

/// One node's part in the cluster. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub member: Member,
    pub timing: Timing,
    pub raft: Raft,
    pub wal: Arc<Wal>,
    pub shared: Arc<Shared>,
    pub batcher: Batcher,
    pub forwarder: Forwarder,
    pub links: Arc<Links>,
    pub guard: Guard,
    pub lease: Lease,
    pub stopping: AtomicBool,
    pub tasks: CancellationToken,
    pub on_fatal: OnFatal,
    /// Appends handed to openraft and not answered yet.
    pub appends: Arc<Semaphore>,
    /// The data directory's lock and the store, given up by `shutdown`.
    pub recovered: std::sync::Mutex<Option<Recovered>>,
}

/// Why a cluster could not be initialised.
#[derive(Debug, thiserror::Error)]
pub enum InitialiseError {
    /// The member list is not usable.
    #[error("{0}")]
    Members(String),
    /// There is a cluster already.
    #[error("this node belongs to an initialised cluster already")]
    AlreadyInitialised,
    /// No quorum came together in time; the call may be repeated.
    #[error("the members did not elect a leader and agree in time: {0}")]
    Unavailable(String),
    /// Raft refused.
    #[error("raft refused: {0}")]
    Raft(String),
}

/// Why a command has no outcome. Whether it was committed is unknown; commands are safe to repeat.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// The encoded command is larger than an entry may be.
    #[error("a command of {bytes} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Encoded size.
        bytes: usize,
        /// [`consigner_rules::command::COMMAND_BYTES_MAX`].
        limit: usize,
    },
    /// No leader, no quorum, or shedding.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// The cluster could not, within the deadline.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub struct Unavailable {
    /// What is missing.
    pub reason: String,
}

impl Unavailable {
    fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

/// Commands sent to the leader in one call: well below [`wire::BODY_BYTES_MAX`].
const PROPOSE_BYTES: usize = 1024 * 1024;

/// How long one try to propose at another node may take: a full chunk is agreed in far less, and a frozen leader keeps
/// its sockets open.
const PROPOSE_TRY: Duration = Duration::from_secs(3);

/// As [`PROPOSE_TRY`], for a barrier.
const BARRIER_TRY: Duration = Duration::from_secs(1);

/// Pause between tries of a proposal or a barrier.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// How long one member may take to tell its status.
const STATUS_DEADLINE: Duration = Duration::from_secs(1);

/// How long initialisation waits for the first election and agreement.
const INITIALISE_DEADLINE: Duration = Duration::from_secs(20);

impl Cluster {
    /// Obtains leave to sign. `peer` is the authenticated client's name.
    ///
    /// # Errors
    /// [`AuthorizeError`]; nothing was signed, and only `Refused` is for ever.
    #[expect(clippy::disallowed_methods, reason = "the one place where permits are minted from committed verdicts")]
    pub async fn authorize(
        &self,
        request: &SignRequest,
        peer: &str,
        routing: Routing,
    ) -> Result<SignPermit, AuthorizeError> {
        match self.obtain_leave(request, peer, routing).await? {
            Leave::Agreed(verdict) => SignPermit::from_verdict(&verdict)
                .ok_or_else(|| AuthorizeError::Unavailable { reason: "the verdict does not allow signing".to_owned() }),
            Leave::Local(unslashable) => Ok(SignPermit::unslashable(unslashable)),
        }
    }

    /// Makes a new cluster out of these members; called once, on one node, which must be among them.
    ///
    /// # Errors
    /// [`InitialiseError`]; after `Unavailable` the call may be repeated.
    pub async fn initialise(
        &self,
        members: BTreeMap<u64, Member>,
        identity: ClusterIdentity,
    ) -> Result<(), InitialiseError> {
        self.check_members(&members)?;
        if self.read(|state| state.identity().is_some()) {
            return Err(InitialiseError::AlreadyInitialised);
        }
        match self.raft().initialize(members).await {
            // A first call may have been cut off between the two halves; the second half follows.
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => return Err(InitialiseError::Raft(crate::chain(&error))),
        }
        let outcomes = self.propose(vec![Command::Initialise(identity.clone())], INITIALISE_DEADLINE).await;
        match outcomes.map_err(|error| InitialiseError::Unavailable(error.to_string()))?.first() {
            Some(Outcome::Initialised) => Ok(()),
            // The first try may have been agreed although its answer was lost.
            Some(Outcome::Rejected(Rejection::AlreadyInitialised(id))) if *id == identity.cluster_id => Ok(()),
            _ => Err(InitialiseError::AlreadyInitialised),
        }
    }

    fn check_members(&self, members: &BTreeMap<u64, Member>) -> Result<(), InitialiseError> {
        let me = self.node_id();
        if members.contains_key(&0) {
            return Err(InitialiseError::Members("node ids begin at 1".to_owned()));
        }
        if members.get(&me).is_none_or(|member| *member != self.inner.member) {
            let expected = &self.inner.member;
            return Err(InitialiseError::Members(format!(
                "the member list must name this node as it advertises itself: id {me}, name {}, peer address {}, API \
                 URL {}",
                expected.name, expected.peer_addr, expected.api_url
            )));
        }
        let unique = |values: Vec<&String>| {
            let mut sorted = values.clone();
            sorted.sort_unstable();
            sorted.dedup();
            sorted.len() == values.len()
        };
        let names = members.values().map(|member| &member.name).collect();
        let addresses = members.values().map(|member| &member.peer_addr).collect();
        if !unique(names) || !unique(addresses) {
            return Err(InitialiseError::Members("two members have the same name or peer address".to_owned()));
        }
        Ok(())
    }

    /// Proposes commands from any node (forwarded to the leader) and waits for their outcomes, in order.
    ///
    /// # Errors
    /// [`ProposeError`]; some of the commands may have been agreed.
    pub async fn propose(&self, commands: Vec<Command>, deadline: Duration) -> Result<Vec<Outcome>, ProposeError> {
        let deadline = Instant::now() + deadline;
        let mut outcomes = Vec::with_capacity(commands.len());
        let mut chunk = Vec::new();
        let mut bytes = 0;
        for command in commands {
            bytes += codec::encode(&command).len();
            chunk.push(command);
            if bytes >= PROPOSE_BYTES {
                outcomes.extend(self.propose_chunk(std::mem::take(&mut chunk), deadline).await?);
                bytes = 0;
            }
        }
        if !chunk.is_empty() {
            outcomes.extend(self.propose_chunk(chunk, deadline).await?);
        }
        Ok(outcomes)
    }

    /// Repeats the whole chunk until every command has an outcome; commands are safe to repeat.
    async fn propose_chunk(&self, commands: Vec<Command>, deadline: Instant) -> Result<Vec<Outcome>, ProposeError> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let tried: wire::Proposed = match self.leadership() {
                Leadership::This => match tokio::time::timeout(left, self.propose_here(commands.clone())).await {
                    Ok(proposed) => proposed,
                    Err(_) => vec![Err(Failure::Unknown)],
                },
                Leadership::Other { id, member } => {
                    let call = self.inner.links.call((id, &member), wire::PROPOSE, &commands, left.min(PROPOSE_TRY));
                    match self.unless_deposed(id, call).await {
                        Some(Ok(proposed)) => proposed,
                        Some(Err(error)) => vec![Err(Failure::Unreachable(crate::chain(&error)))],
                        None => vec![Err(Failure::Unknown)],
                    }
                }
                Leadership::Unknown => vec![Err(Failure::Unreachable("no leader is known".to_owned()))],
            };
            if tried.contains(&Err(Failure::TooLarge)) {
                let bytes = commands.iter().map(|command| codec::encode(command).len()).max().unwrap_or(0);
                return Err(ProposeError::TooLarge { bytes, limit: consigner_rules::command::COMMAND_BYTES_MAX });
            }
            match tried.into_iter().collect::<Result<Vec<_>, _>>() {
                Ok(outcomes) if outcomes.len() == commands.len() => return Ok(outcomes),
                Ok(_) => {}
                Err(failure) if left.is_zero() => {
                    return Err(Unavailable::because(failure.to_string()).into());
                }
                Err(_) => {}
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// Proposes in order on this node, which should lead.
    pub(crate) async fn propose_here(&self, commands: wire::Propose) -> wire::Proposed {
        if self.leadership() != Leadership::This {
            return vec![Err(Failure::NotLeader { node: self.node_id() })];
        }
        let waiting: Vec<_> = commands.into_iter().map(|command| self.inner.batcher.enqueue(command)).collect();
        let mut proposed = Vec::with_capacity(waiting.len());
        for reply in waiting {
            proposed.push(match reply {
                Ok(reply) => reply.await.unwrap_or(Err(Failure::Stopping)),
                Err(failure) => Err(failure),
            });
        }
        proposed
    }

    /// Answers a follower's intents, in order.
    pub(crate) async fn authorize_forwarded(&self, intents: wire::Authorize) -> wire::Authorized {
        if self.leadership() != Leadership::This {
            return vec![Err(Failure::NotLeader { node: self.node_id() }); intents.len()];
        }
        futures::future::join_all(intents.into_iter().map(|intent| self.submit(intent))).await
    }

    /// Returns once this node has applied everything that was committed when it was called.
    ///
    /// # Errors
    /// [`Unavailable`] when no leader confirms, or this node does not catch up, within the deadline.
    pub async fn barrier(&self, deadline: Duration) -> Result<(), Unavailable> {
        let deadline = Instant::now() + deadline;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let index = match self.leadership() {
                Leadership::This => match tokio::time::timeout(left, self.confirm_commit_index()).await {
                    Ok(confirmed) => confirmed.map_err(|failure| failure.to_string()),
                    Err(_) => Err("no quorum confirmed in time".to_owned()),
                },
                Leadership::Other { id, member } => {
                    let call = self.inner.links.call((id, &member), wire::BARRIER, &(), left.min(BARRIER_TRY));
                    let called: Option<Result<Result<Option<u64>, Failure>, _>> = self.unless_deposed(id, call).await;
                    match called {
                        Some(Ok(confirmed)) => confirmed.map_err(|failure| failure.to_string()),
                        Some(Err(error)) => Err(crate::chain(&error)),
                        None => Err("the leader changed".to_owned()),
                    }
                }
                Leadership::Unknown => Err("no leader is known".to_owned()),
            };
            match index {
                Ok(index) => return self.await_applied(index, deadline).await,
                Err(reason) if Instant::now() >= deadline => return Err(Unavailable::because(reason)),
                Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        }
    }

    /// Gives up on a call to a leader as soon as this node follows another one, or none.
    pub(crate) async fn unless_deposed<T>(&self, leader: u64, call: impl Future<Output = T>) -> Option<T> {
        let mut server = self.raft().server_metrics();
        tokio::select! {
            answer = call => Some(answer),
            _ = server.wait_for(|now| now.current_leader != Some(leader)) => None,
        }
    }

    pub(crate) async fn await_applied(&self, index: Option<u64>, deadline: Instant) -> Result<(), Unavailable> {
        let mut applied = self.inner.shared.watch_index();
        let reached = applied.wait_for(|applied| applied.map(|position| position.index) >= index);
        match tokio::time::timeout_at(deadline, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Unavailable::because("this node lags behind the leader")),
        }
    }

    /// The leader's commit index, confirmed by a quorum after the call.
    pub(crate) async fn confirm_commit_index(&self) -> Result<Option<u64>, Failure> {
        match self.raft().get_read_log_id().await {
            Ok((read, _)) => Ok(read.map(|read| read.index)),
            Err(_) => Err(Failure::NotLeader { node: self.node_id() }),
        }
    }

    /// Reads the applied state. Keep `read` short: it holds up `apply`.
    pub fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        self.inner.shared.read(read)
    }

    /// Who leads.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        let metrics = self.raft().metrics();
        let now = metrics.borrow();
        leadership(&now, self.inner.stopping.load(Ordering::Relaxed))
    }

    /// Whether this node can serve: it heard of a leader with a quorum within the lease, and is not stopping.
    ///
    /// # Errors
    /// [`Unavailable`] with the reason.
    pub fn ready(&self) -> Result<(), Unavailable> {
        if self.inner.stopping.load(Ordering::Relaxed) {
            return Err(Unavailable::because("the node is stopping"));
        }
        if self.read(|state| state.identity().is_none()) {
            return Err(Unavailable::because("the cluster is not initialised"));
        }
        if !self.lease_is_alive() {
            return Err(Unavailable::because("this node has not heard of a leader with a quorum lately"));
        }
        Ok(())
    }

    /// This node's id.
    #[must_use]
    pub fn node_id(&self) -> u64 {
        self.inner.links.me().node_id
    }

    /// This node's own status.
    #[must_use]
    pub fn status(&self) -> NodeStatus {
        let ready = self.ready();
        let (digest, keys, applied) = self.inner.shared.read_standing(|state, standing| {
            (state.digest(), state.keys().count(), standing.applied.map(|applied| applied.index))
        });
        let metrics = self.raft().metrics();
        let now = metrics.borrow();
        NodeStatus {
            id: self.node_id(),
            member: self.inner.member.clone(),
            role: role(&now),
            term: now.current_term,
            leader: now.current_leader,
            last_log_index: now.last_log_index,
            commit_index: self.inner.wal.committed().map(|committed| committed.index),
            applied_index: applied,
            snapshot_index: now.snapshot.map(|snapshot| snapshot.index),
            digest: digest.to_string(),
            keys: keys as u64,
            ready: ready.is_ok(),
            not_ready: ready.err().map(|error| error.reason),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            voters: now.membership_config.voter_ids().collect(),
        }
    }

    /// The status of every member, asked over the peer channel; `Err` holds why a member did not answer.
    pub async fn cluster_status(&self) -> BTreeMap<u64, Result<NodeStatus, String>> {
        let members: Vec<(u64, Member)> = self.inner.shared.read_standing(|_, standing| {
            standing.membership.nodes().map(|(id, member)| (*id, member.clone())).collect()
        });
        let asked = members.into_iter().map(|(id, member)| async move {
            if id == self.node_id() {
                return (id, Ok(self.status()));
            }
            let called = self.inner.links.call((id, &member), wire::STATUS, &(), STATUS_DEADLINE).await;
            (id, called.map_err(|error| crate::chain(&error)))
        });
        let mut answers: BTreeMap<_, _> = futures::future::join_all(asked).await.into_iter().collect();
        answers.entry(self.node_id()).or_insert_with(|| Ok(self.status()));
        answers
    }

    /// The answer to a follower's ping.
    pub(crate) fn pong(&self) -> Pong {
        let metrics = self.raft().metrics();
        let now = metrics.borrow();
        let leads = leadership(&now, false) == Leadership::This && self.inner.lease.vouches_for(self.node_id());
        let commit_index = self.inner.wal.committed().map(|committed| committed.index);
        Pong { leads, term: now.current_term, commit_index }
    }

    /// Stops the node: going on could lose a record.
    pub(crate) fn stop_for(&self, danger: &dyn std::error::Error) {
        (self.inner.on_fatal)(&crate::chain(danger));
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.inner.raft
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.inner.guard
    }

    pub(crate) fn batcher(&self) -> &Batcher {
        &self.inner.batcher
    }

    pub(crate) fn forwarder(&self) -> &Forwarder {
        &self.inner.forwarder
    }

    pub(crate) fn timing(&self) -> &Timing {
        &self.inner.timing
    }

    pub(crate) fn lease_is_alive(&self) -> bool {
        self.inner.lease.is_alive()
    }

    pub(crate) fn vouches_for(&self, leader: u64) -> bool {
        self.inner.lease.vouches_for(leader)
    }
}

/// A node leads only once it has applied an entry of its own term: a restarted or deposed leader may claim the role
/// for a moment, and its state may be behind.
fn leadership(now: &Metrics, stopping: bool) -> Leadership {
    match now.current_leader {
        Some(leader) if leader == now.id => {
            let applied = now.last_applied.is_some_and(|applied| applied.leader_id == *now.vote.leader_id());
            if now.state == ServerState::Leader && applied && !stopping {
                Leadership::This
            } else {
                Leadership::Unknown
            }
        }
        Some(id) => match now.membership_config.membership().get_node(&id) {
            Some(member) => Leadership::Other { id, member: member.clone() },
            None => Leadership::Unknown,
        },
        None => Leadership::Unknown,
    }
}

const fn role(now: &Metrics) -> Role {
    match now.state {
        ServerState::Leader => Role::Leader,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Learner => Role::Learner,
        ServerState::Shutdown => Role::Stopped,
    }
}
