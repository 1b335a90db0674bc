//! The cluster as the rest of the node sees it, and the one place where permits are minted from verdicts.
//!
//! In: requests, commands, reads. Out: permits, outcomes, the applied state. Deliberately absent: how agreement is
//! reached ([`crate::authorize`], [`crate::batcher`], [`crate::forward`]) and how a node starts and stops
//! ([`crate::lifecycle`]).

use crate::archive::OutboxOptions;
use crate::archive::guard::OutboxGuard;
use crate::authorize::{Admit, AuthorizeError, Leave, Routing};
use crate::batcher::Batcher;
use crate::description::{Describe, JoinTokenHash};
use crate::disk_guard::{DiskGuard, DiskOptions};
use crate::election::Elections;
use crate::entry_gate::EntryGate;
use crate::entry_gate::boots::Boots;
use crate::entry_gate::floors::Floors;
use crate::forward::Forwarder;
use crate::key_feed::OnKeys;
use crate::lease::Lease;
use crate::machine::Shared;
use crate::peer::guard::Guard;
use crate::peer::link::Links;
use crate::peer::wire::{self, Failure, Pong};
use crate::recover::Recovered;
use crate::rounds::Rounds;
use crate::settle::OnSettle;
use crate::typ::{Metrics, Raft};
use crate::types::{Leadership, Member, Timing};
use consigner_gate::tls::ClientConfig;
use consigner_rules::primitives::ClusterId;
use consigner_rules::{PublicKey, SignPermit, SignRequest, State};
use consigner_storage::log::Wal;
use openraft::ServerState;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;
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
    pub peer_tls: Arc<ClientConfig>,
    /// Timers.
    pub timing: Timing,
    /// Entries between snapshots.
    pub snapshot_every: u64,
    /// Marks of the disk, and bytes between snapshots.
    pub disk: DiskOptions,
    /// Where the outbox goes, and what it may take.
    pub outbox: OutboxOptions,
    /// Told of keys, synchronously, before the index that brought them is reported as applied.
    pub on_keys: OnKeys,
    /// Resolves when this node's keyring holds what its applied state asks for and every signing call of removed keys
    /// has ended. Called as often as somebody waits; dropped unfinished when that wait ends.
    pub on_settle: OnSettle,
    /// Told of the policy and the tokens: once at the start, and whenever they changed before the index that changed
    /// them is reported as applied. Called under the lock of the state: it must be short and not read it again.
    pub on_policy: OnPolicy,
    /// Tells what the process around the cluster knows about itself. Asked for every status: it must be short.
    pub describe: Describe,
    /// The SHA-256 of the join token that this node has now ([`crate::join_token_hash`]), if it has one. Asked when a
    /// leader asks who this node is; it may read a file.
    pub join_token: JoinTokenHash,
    /// Called when the node must stop. It should end the process; nothing is acknowledged afterwards in any case.
    pub on_fatal: OnFatal,
}

/// See [`ClusterOptions::on_fatal`].
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// See [`ClusterOptions::on_policy`].
pub type OnPolicy = Arc<dyn Fn(&State) + Send + Sync>;

/// Whether a signature may leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Release {
    /// It may.
    Yes,
    /// Its key was deleted.
    KeyGone,
    /// Who asked for it is not admitted (any more).
    Denied(String),
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
    pub elections: Elections,
    /// Whether this node may take part as who it was.
    pub entry: Arc<EntryGate>,
    /// The starts of the others that were let in.
    pub boots: Arc<Boots>,
    /// What the others acknowledged.
    pub floors: Arc<Floors>,
    pub disk: DiskGuard,
    pub outbox: OutboxGuard,
    pub stopping: AtomicBool,
    pub tasks: CancellationToken,
    pub on_fatal: OnFatal,
    /// See [`ClusterOptions::describe`].
    pub describe: Describe,
    /// See [`ClusterOptions::join_token`].
    pub join_token: JoinTokenHash,
    /// Held while this node changes the membership.
    pub changing: tokio::sync::Mutex<()>,
    /// Appends handed to openraft and not answered yet.
    pub appends: Arc<Semaphore>,
    /// See [`ClusterOptions::on_settle`].
    pub on_settle: OnSettle,
    /// Calls of other nodes that wait for this node to settle.
    pub settles: Semaphore,
    /// Callers on this node that ask for the cluster's commit index.
    pub barriers: Rounds<Result<Option<u64>, String>>,
    /// Callers everywhere that ask this node, as the leader, for its confirmed commit index.
    pub confirmations: Rounds<Result<Option<u64>, Failure>>,
    /// The data directory's lock and the store, given up by `shutdown`.
    pub recovered: std::sync::Mutex<Option<Recovered>>,
}

/// The cluster could not, within the deadline.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
pub struct Unavailable {
    /// What is missing.
    pub reason: String,
}

impl Unavailable {
    pub(crate) fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }
}

impl Cluster {
    /// Obtains leave to sign. `peer` is the authenticated client's name; `admit` says whether the applied state lets it
    /// have this signature.
    ///
    /// What must be agreed is admitted under the policy version that the record is made under: a change of the policy
    /// that is ordered before the record makes it stale, and `admit` is asked again. Anything else is admitted by a node
    /// with a live lease, before and, in [`Cluster::may_release`], after it was signed.
    ///
    /// # Errors
    /// [`AuthorizeError`]; nothing was signed, and only `Refused` is for ever.
    #[expect(clippy::disallowed_methods, reason = "the one place where permits are minted from committed verdicts")]
    pub async fn authorize(
        &self,
        request: &SignRequest,
        peer: &str,
        routing: Routing,
        admit: Admit<'_>,
    ) -> Result<SignPermit, AuthorizeError> {
        match self.obtain_leave(request, peer, routing, admit).await? {
            Leave::Agreed(verdict) => SignPermit::from_verdict(&verdict.answer)
                .map(|permit| permit.recorded_at(verdict.index))
                .ok_or_else(|| AuthorizeError::Unavailable { reason: "the verdict does not allow signing".to_owned() }),
            Leave::Local(unslashable) => Ok(SignPermit::unslashable(unslashable)),
        }
    }

    /// Answers a follower's intents, in order.
    pub(crate) async fn authorize_forwarded(&self, intents: wire::Authorize) -> wire::Authorized {
        self.await_first_entry().await;
        if self.leadership() != Leadership::This {
            return vec![Err(Failure::NotLeader { node: self.node_id() }); intents.len()];
        }
        if self.inner.disk.is_starved() {
            return vec![Err(Failure::Unreachable("its disk is full".to_owned())); intents.len()];
        }
        futures::future::join_all(intents.into_iter().map(|intent| self.submit(intent))).await
    }

    /// Reads the applied state. Keep `read` short: it holds up `apply`.
    pub fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        self.inner.shared.read(read)
    }

    /// Whether the applied state holds this key.
    pub(crate) fn holds(&self, public_key: &PublicKey) -> bool {
        self.read(|state| state.holds(public_key))
    }

    /// Who leads.
    #[must_use]
    pub fn leadership(&self) -> Leadership {
        let metrics = self.raft().metrics();
        let now = metrics.borrow();
        leadership(&now, self.inner.stopping.load(Ordering::Relaxed) || self.inner.elections.is_suspended())
    }

    /// As [`Cluster::leadership`], by the word of Raft alone: also where this node leads without a quorum.
    pub(crate) fn leadership_in_raft(&self) -> Leadership {
        let metrics = self.raft().metrics();
        let now = metrics.borrow();
        leadership(&now, self.inner.stopping.load(Ordering::Relaxed))
    }

    /// Whether this node may vote and stand for election.
    pub(crate) fn may_vote(&self) -> bool {
        self.inner.entry.is_open()
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
        if let Some(reason) = self.inner.entry.waits_for() {
            return Err(Unavailable::because(reason));
        }
        if self.inner.elections.lacks_quorum() {
            return Err(Unavailable::because("this node leads, but no quorum has answered it lately"));
        }
        if !self.lease_is_alive() {
            return Err(Unavailable::because("this node has not heard of a leader with a quorum lately"));
        }
        self.takes_proposals()
    }

    /// This node's id.
    #[must_use]
    pub fn node_id(&self) -> u64 {
        self.inner.links.me().node_id
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
fn leadership(now: &Metrics, is_suspended: bool) -> Leadership {
    match now.current_leader {
        Some(leader) if leader == now.id => {
            let applied = now.last_applied.is_some_and(|applied| applied.leader_id == *now.vote.leader_id());
            if now.state == ServerState::Leader && applied && !is_suspended {
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
