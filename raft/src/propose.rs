//! Commands from any node to an outcome, the first command of a cluster, and reads that are not stale.
//!
//! In: commands, member lists. Out: outcomes; a barrier after which this node has applied what was committed before.
//! Deliberately absent: requests to sign ([`crate::authorize`]).

use crate::cluster::{Cluster, Unavailable};
use crate::peer::wire::{self, Failure};
use crate::types::{Leadership, Logged, Member};
use consigner_rules::command::{COMMAND_BYTES_MAX, ClusterIdentity, Rejection};
use consigner_rules::{Command, Outcome, codec};
use openraft::error::{InitializeError, RaftError};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

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
        /// [`COMMAND_BYTES_MAX`].
        limit: usize,
    },
    /// No leader, no quorum, or shedding.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The cluster judges by rules that do not know the command yet. Nothing was proposed.
    #[error(
        "this needs rules version {needed}, the cluster judges by version {current} until every member knows more; \
         {}",
        waiting(waiting_for)
    )]
    NeedsRules {
        /// The version that the command needs.
        needed: u32,
        /// The version that holds.
        current: u32,
        /// Members, by node id, whose binary does not know the version, or that gave no answer.
        waiting_for: Vec<u64>,
    },
}

/// Whether a command gets through where the disk or the outbox keeps everything else out: it is what empties them. The
/// rules are raised because moving the mark may need newer ones.
const fn heals_the_outbox(command: &Command) -> bool {
    matches!(command, Command::AdvanceArchive { .. } | Command::RaiseRules { .. })
}

/// Whether a command confirms entries that this node does not know to be agreed: no archive can have them.
const fn marks_beyond(command: &Command, applied: u64) -> bool {
    matches!(command, Command::AdvanceArchive { mark, .. } if mark.index > applied)
}

fn waiting(nodes: &[u64]) -> String {
    if nodes.is_empty() {
        return "every member does, and the leader is about to raise the rules".to_owned();
    }
    let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    format!("upgrade or start these nodes: {}", nodes.join(", "))
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

/// How long initialisation waits for the first election and agreement.
const INITIALISE_DEADLINE: Duration = Duration::from_secs(20);

impl Cluster {
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
        // A first call may have been cut off between the two halves; the second half follows.
        if self.is_fresh() {
            let members = self.identify_founders(members).await?;
            match self.raft().initialize(members).await {
                Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
                Err(error) => return Err(InitialiseError::Raft(crate::chain(&error))),
            }
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
        let expected = &self.inner.member;
        let same = |member: &Member| Member { incarnation: String::new(), ..member.clone() };
        if members.get(&me).is_none_or(|member| same(member) != same(expected)) {
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
        let outcomes = self.propose_logged(commands, deadline).await?;
        Ok(outcomes.into_iter().map(|logged| logged.answer).collect())
    }

    /// As [`Cluster::propose`], with the log index of each outcome, for records.
    ///
    /// # Errors
    /// [`ProposeError`]; some of the commands may have been agreed.
    pub async fn propose_logged(
        &self,
        commands: Vec<Command>,
        deadline: Duration,
    ) -> Result<Vec<Logged<Outcome>>, ProposeError> {
        let deadline = Instant::now() + deadline;
        self.await_rules_for(&commands, deadline).await?;
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
    async fn propose_chunk(
        &self,
        commands: Vec<Command>,
        deadline: Instant,
    ) -> Result<Vec<Logged<Outcome>>, ProposeError> {
        if !commands.iter().all(heals_the_outbox) {
            self.takes_proposals()?;
        }
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
                return Err(ProposeError::TooLarge { bytes, limit: COMMAND_BYTES_MAX });
            }
            match tried.into_iter().collect::<Result<Vec<_>, _>>() {
                Ok(outcomes) if outcomes.len() == commands.len() => return Ok(outcomes),
                Ok(_) if left.is_zero() => {
                    return Err(Unavailable::because("the leader answered another number of commands").into());
                }
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
        if self.inner.disk.is_starved() {
            return vec![Err(Failure::Unreachable("its disk is full".to_owned()))];
        }
        if let Err(failure) = self.check_rules_of(&commands) {
            return vec![Err(failure)];
        }
        let applied = self.applied_index();
        if commands.iter().any(|command| marks_beyond(command, applied)) {
            // Whoever asks may have applied it just before this node: it asks again.
            let reason = "the archive's mark would pass what it has applied";
            return vec![Err(Failure::Unreachable(reason.to_owned()))];
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

    /// Returns once this node has applied everything that was committed when it was called.
    ///
    /// # Errors
    /// [`Unavailable`] when no leader confirms, or this node does not catch up, within the deadline.
    pub async fn barrier(&self, deadline: Duration) -> Result<(), Unavailable> {
        self.barrier_index(Instant::now() + deadline).await.map(drop)
    }

    /// As [`Cluster::barrier`]; answers the index that was waited for.
    ///
    /// Callers that come while another's question is on its way share the next one: requests for unknown keys each
    /// come here, and must not cost a quorum round each.
    pub(crate) async fn barrier_index(&self, deadline: Instant) -> Result<Option<u64>, Unavailable> {
        loop {
            let asked = self.inner.barriers.ask(self.ask_commit_index());
            let asked = tokio::time::timeout_at(deadline, asked).await;
            match asked.unwrap_or_else(|_| Err("no quorum confirmed in time".to_owned())) {
                Ok(index) => return self.await_applied(index, deadline).await.map(|()| index),
                Err(reason) if Instant::now() >= deadline => return Err(Unavailable::because(reason)),
                Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
            }
        }
    }

    /// One try to learn the commit index from whoever leads, bounded by [`BARRIER_TRY`].
    async fn ask_commit_index(&self) -> Result<Option<u64>, String> {
        match self.leadership() {
            Leadership::This => self.confirm_together().await.map_err(|failure| failure.to_string()),
            Leadership::Other { id, member } => {
                let call = self.inner.links.call((id, &member), wire::BARRIER, &(), BARRIER_TRY);
                let called: Option<Result<Result<Option<u64>, Failure>, _>> = self.unless_deposed(id, call).await;
                match called {
                    Some(Ok(confirmed)) => confirmed.map_err(|failure| failure.to_string()),
                    Some(Err(error)) => Err(crate::chain(&error)),
                    None => Err("the leader changed".to_owned()),
                }
            }
            Leadership::Unknown => Err("no leader is known".to_owned()),
        }
    }

    /// As [`Cluster::confirm_commit_index`], shared among callers, this node's and others', that wait for it.
    pub(crate) async fn confirm_together(&self) -> Result<Option<u64>, Failure> {
        let confirm = async {
            // openraft waits for a quorum for ever.
            let confirmed = tokio::time::timeout(BARRIER_TRY, self.confirm_commit_index()).await;
            confirmed.unwrap_or(Err(Failure::Unknown))
        };
        self.inner.confirmations.ask(confirm).await
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
        if self.elections().is_handing_over() {
            // The confirmations are appends, and would renew the voters' faith in this leader.
            return Err(Failure::NotLeader { node: self.node_id() });
        }
        match self.raft().get_read_log_id().await {
            Ok((read, _)) => Ok(read.map(|read| read.index)),
            Err(_) => Err(Failure::NotLeader { node: self.node_id() }),
        }
    }
}
