//! Waiting until what was agreed about keys is true on every node, not only in the log (DESIGN 4 and 4a).
//!
//! In: a wish to wait, after a command about keys was agreed. Out: who has applied it and whose keyring follows; who
//! could not be asked. Deliberately absent: what "follows" means to a keyring; the node says so through [`OnSettle`].
//!
//! Why a member that cannot be reached releases nothing after a strict settlement: it signs only under a live serving
//! lease. A lease that was renewed by a ping sent after the deletion was agreed needed the deletion to be applied. Pings
//! from before end with the lease X; and a leader that was deposed unnoticed vouches for X/2 after its last quorum, so
//! that leases by its word end 1.5 X after the election of its successor, which lies before the barrier. Waiting 2 X
//! after the barrier leaves X/2 for clocks that do not run alike.

use crate::authorize::{AWAITING_FLOOR, Admit};
use crate::clock;
use crate::cluster::{Cluster, Release, Unavailable};
use crate::peer::wire::{self, Settling};
use crate::types::Member;
use consigner_rules::PublicKey;
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// See [`crate::ClusterOptions::on_settle`].
pub type OnSettle = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// Who has applied what was committed and whose keyring follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The log index that was waited for.
    pub index: Option<u64>,
    /// Members, by node id, that have applied it and whose keyrings hold what it asks for.
    pub settled: Vec<u64>,
    /// Members, by node id, that gave no answer. After a strict settlement their leases have run out.
    pub unreached: Vec<u64>,
}

/// Calls of other nodes that may wait here at once; more are told to come again. Each is one sleeping task.
pub const SETTLES_MAX: usize = 64;

/// How long a member waits for its own keyring before it answers "not yet": a slow member must not look like a dead one.
const TURN: Duration = Duration::from_millis(500);

/// How long the answer of a member may take beyond its turn; who needs longer counts as not reached.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// Pause between tries at one member.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Lease lengths after which a member that was not reached releases nothing from before the barrier; see above.
const LEASES_WAITED: u32 = 2;

/// Until when a member that gives no answer is tried again, by the clock that leases run on.
#[derive(Clone, Copy)]
struct Grace {
    since: clock::Instant,
    length: Duration,
}

impl Grace {
    fn is_over(self) -> bool {
        self.since.elapsed() >= self.length
    }
}

impl Cluster {
    /// Waits until every member in contact (voters, learners, this node) has applied what was committed when this was
    /// called and its keyring follows. Members that give no answer are named in the result and not waited for.
    ///
    /// # Errors
    /// [`Unavailable`] when no leader confirms, or a member answers but has not settled, within `deadline` (which may
    /// be passed by the second that a last answer may take).
    pub async fn settle(&self, deadline: Duration) -> Result<Settlement, Unavailable> {
        // One lost connection is no reason to leave a member out.
        self.settle_within(deadline, self.inner.lease.length() / 2).await
    }

    /// As [`Cluster::settle`], but waits, for members that give no answer, until their serving leases must have run
    /// out: afterwards no node releases a signature of a key whose deletion was agreed before.
    ///
    /// # Errors
    /// As [`Cluster::settle`]; also when `deadline` ends before such a lease must have.
    pub async fn settle_strictly(&self, deadline: Duration) -> Result<Settlement, Unavailable> {
        let grace = self.inner.lease.length() * LEASES_WAITED;
        let until = Instant::now() + deadline;
        let settlement = self.settle_within(deadline, grace).await?;
        // A node that left just before is asked by nobody, and may still have a lease.
        let left = self.inner.shared.since_a_node_left();
        if left < grace {
            let over = Instant::now() + (grace - left);
            if over > until {
                return Err(Unavailable::because("a node that left the cluster just now may still serve"));
            }
            tokio::time::sleep_until(over).await;
        }
        Ok(settlement)
    }

    /// Waits until this node's serving lease is alive: the last thing before a signature leaves. Follow it by a look
    /// whether the key is still held, in this order, or use [`Cluster::may_release`], which does both.
    ///
    /// # Errors
    /// [`Unavailable`] when the lease is not alive at the deadline.
    pub async fn await_release(&self, deadline: Duration) -> Result<(), Unavailable> {
        self.await_lease(Instant::now() + deadline).await
    }

    /// Whether a signature of this key may leave now: the lease is alive, the key is still held, and who asked for it is
    /// still admitted.
    ///
    /// The order is what counts: with a live lease this node has applied every deletion and every change of the policy
    /// whose acknowledgement may have been given, so a process that was frozen between signing and answering finds the
    /// key, or the right, gone.
    ///
    /// # Errors
    /// As [`Cluster::await_release`]; also while a restored cluster waits for its floor.
    pub async fn may_release(
        &self,
        public_key: &PublicKey,
        deadline: Duration,
        admit: Admit<'_>,
    ) -> Result<Release, Unavailable> {
        self.await_release(deadline).await?;
        self.read(|state| match admit(state) {
            _ if state.awaiting_floor() => Err(Unavailable::because(AWAITING_FLOOR)),
            _ if !state.holds(public_key) => Ok(Release::KeyGone),
            Ok(()) => Ok(Release::Yes),
            Err(reason) => Ok(Release::Denied(reason)),
        })
    }

    async fn settle_within(&self, deadline: Duration, grace: Duration) -> Result<Settlement, Unavailable> {
        let until = Instant::now() + deadline;
        let index = self.barrier_index(until).await?;
        let grace = Grace { since: clock::Instant::now(), length: grace };
        let members = self.members();
        let asked = members.iter().map(|(id, member)| self.settle_member(*id, member, index, until, grace));
        let answers = futures::future::join_all(asked).await;
        let mut settlement = Settlement { index, settled: Vec::new(), unreached: Vec::new() };
        let mut reasons = Vec::new();
        for ((id, member), answer) in members.iter().zip(answers) {
            match answer {
                Ok(true) => settlement.settled.push(*id),
                Ok(false) => settlement.unreached.push(*id),
                Err(reason) => reasons.push(format!("node {id} ({}) {reason}", member.name)),
            }
        }
        if reasons.is_empty() { Ok(settlement) } else { Err(Unavailable::because(reasons.join("; "))) }
    }

    /// Whether the member settled (or could not be asked until the end of `grace`), or why that is not known.
    async fn settle_member(
        &self,
        id: u64,
        member: &Member,
        index: Option<u64>,
        until: Instant,
        grace: Grace,
    ) -> Result<bool, String> {
        loop {
            // The turn fits into what is left: a member that only has to wait still answers in time.
            let turn = until.saturating_duration_since(Instant::now()).min(TURN);
            let answered = if id == self.node_id() {
                Ok(self.settle_here(index, turn).await)
            } else {
                let question = wire::Settle { index, turn_ms: u64::try_from(turn.as_millis()).unwrap_or(u64::MAX) };
                self.inner.links.call((id, member), wire::SETTLE, &question, turn + ANSWER_MARGIN).await
            };
            let reason = match answered {
                Ok(Settling::Done) => return Ok(true),
                Ok(unsettled) => unsettled.to_string(),
                Err(error) if grace.is_over() => {
                    tracing::info!(node = id, reason = crate::chain(&error), "a member was not reached to settle");
                    return Ok(false);
                }
                Err(error) => format!("may still serve and gives no answer: {}", crate::chain(&error)),
            };
            if Instant::now() >= until {
                return Err(reason);
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// The answer to another node's call, bounded in time and number.
    pub(crate) async fn settle_for_peer(&self, question: wire::Settle) -> Settling {
        match self.inner.settles.try_acquire() {
            Ok(_place) => self.settle_here(question.index, Duration::from_millis(question.turn_ms).min(TURN)).await,
            Err(_) => Settling::Busy,
        }
    }

    async fn settle_here(&self, index: Option<u64>, turn: Duration) -> Settling {
        let until = Instant::now() + turn;
        if self.await_applied(index, until).await.is_err() {
            return Settling::Applying;
        }
        match tokio::time::timeout_at(until, (self.inner.on_settle)()).await {
            Ok(()) => Settling::Done,
            Err(_) => Settling::Keys,
        }
    }

    /// Voters and learners, as this node has applied them.
    fn members(&self) -> Vec<(u64, Member)> {
        self.inner.shared.read_standing(|_, standing| {
            standing.membership.nodes().map(|(id, member)| (*id, member.clone())).collect()
        })
    }
}
