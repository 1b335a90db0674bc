//! From a request to a verdict: agreed here if this node leads, at the leader if not, or "not now".
//!
//! In: a parsed request and the authenticated client's name. Out: a committed verdict, or leave for a message that
//! cannot be slashed, or an error that says what the client can do. Deliberately absent: permits (minted in
//! [`crate::cluster`] alone) and status codes.

use crate::clock;
use crate::cluster::{Cluster, Unavailable};
use crate::peer::wire::Failure;
use crate::types::{Leadership, Logged};
use consigner_rules::message::SignPath;
use consigner_rules::primitives::RequestId;
use consigner_rules::slashing::AgreedDuty;
use consigner_rules::{
    Command, Outcome, Root, Ruling, SignIntent, SignRequest, State, Unslashable, Verdict, Violation,
};
use openraft::ServerState;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// What a follower does with a request that only the leader can order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routing {
    /// Answer with the leader's URL, if it has one.
    Redirect,
    /// Send the intent to the leader over the peer channel and sign here.
    Forward,
}

/// Whether the applied state admits a request, or why not. Asked under the lock of the state: it must be short and not
/// read it again.
pub type Admit<'a> = &'a (dyn Fn(&State) -> Result<(), String> + Send + Sync);

/// Why there is no permit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizeError {
    /// Slashable; refused for ever (412).
    #[error("{violation}")]
    Refused {
        /// Why.
        violation: Violation,
        /// The log index of the entry in which it was refused.
        log_index: u64,
    },
    /// The request is for another chain (412).
    #[error("genesis validators root {got} of the request is not the cluster's {expected}")]
    OtherChain {
        /// The cluster's.
        expected: Root,
        /// The request's.
        got: Root,
    },
    /// The policy does not let this client have it (403).
    #[error("{reason}")]
    Denied {
        /// What is missing.
        reason: String,
    },
    /// The cluster holds no such key (404).
    #[error("no key {0} in this cluster")]
    UnknownKey(consigner_rules::PublicKey),
    /// Ask the leader (307).
    #[error("the leader is at {api_url}")]
    Redirect {
        /// The leader's advertised API URL.
        api_url: String,
    },
    /// Could not; the same request may be tried again (503).
    #[error("{reason}")]
    Unavailable {
        /// What is missing.
        reason: String,
    },
}

/// What [`Cluster::authorize`] mints a permit from.
pub enum Leave {
    /// A committed verdict with a ruling that allows signing.
    Agreed(Logged<Verdict>),
    /// A message that cannot be slashed, under a live lease.
    Local(Unslashable),
}

/// A request that must be agreed, and who asks.
#[derive(Clone, Copy)]
struct Asked<'a> {
    request: &'a SignRequest,
    duty: AgreedDuty,
    peer: &'a str,
    admit: Admit<'a>,
}

/// Pause between tries while an election is on; short against the election itself.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// How long a leader makes an asker wait for the first entry of its term; less than one try to forward takes.
const FIRST_ENTRY: Duration = Duration::from_millis(100);

/// Times a request is admitted anew because the policy changed on its way.
const STALE_TRIES: u32 = 5;

impl Cluster {
    /// Everything of `authorize` but minting.
    pub(crate) async fn obtain_leave(
        &self,
        request: &SignRequest,
        peer: &str,
        routing: Routing,
        admit: Admit<'_>,
    ) -> Result<Leave, AuthorizeError> {
        let deadline = Instant::now() + self.timing().leader_wait;
        self.check_admission(admit, deadline).await?;
        self.check_key_and_chain(request, deadline).await?;
        match (&request.path, request.unslashable()) {
            (SignPath::Agreed(duty), _) => {
                self.takes_proposals().map_err(|error| unavailable(&error.reason))?;
                let asked = Asked { request, duty: *duty, peer, admit };
                self.agree(&asked, routing, deadline).await.map(Leave::Agreed)
            }
            (SignPath::Local(_), Some(unslashable)) => {
                self.await_lease(deadline).await.map_err(|error| unavailable(&error.reason))?;
                // After the wait: with a live lease this node knows every change that was acknowledged.
                self.read(admit).map_err(denied)?;
                if self.read(State::awaiting_floor) {
                    return Err(unavailable(AWAITING_FLOOR));
                }
                Ok(Leave::Local(unslashable))
            }
            // `unslashable` answers `Some` for every local path; without one there is no leave.
            (SignPath::Local(_), None) => Err(unavailable("the request has no path to a permit")),
        }
    }

    /// "No" is said only by a node with a live lease: one that comes back may know an older policy than the cluster's.
    /// A "yes" is asked for again where it counts.
    async fn check_admission(&self, admit: Admit<'_>, deadline: Instant) -> Result<(), AuthorizeError> {
        if self.read(admit).is_ok() {
            return Ok(());
        }
        self.await_lease(deadline).await.map_err(|error| unavailable(&error.reason))?;
        self.read(admit).map_err(denied)
    }

    /// A key that is not held here may have been imported elsewhere a moment ago: "unknown" is said only by a node
    /// that has applied what the leader had committed when the request arrived.
    async fn check_key_and_chain(&self, request: &SignRequest, deadline: Instant) -> Result<(), AuthorizeError> {
        let held = || self.holds(&request.public_key);
        if !held() {
            let left = deadline.saturating_duration_since(Instant::now());
            self.barrier(left).await.map_err(|error| unavailable(&error.reason))?;
            if !held() {
                return Err(AuthorizeError::UnknownKey(request.public_key));
            }
        }
        let expected = self.read(|state| state.identity().map(|identity| identity.genesis_validators_root));
        match (request.genesis_validators_root, expected) {
            (Some(got), Some(expected)) if got != expected => Err(AuthorizeError::OtherChain { expected, got }),
            (_, None) => Err(unavailable("the cluster is not initialised yet")),
            (_, Some(_)) => Ok(()),
        }
    }

    pub(crate) async fn await_lease(&self, deadline: Instant) -> Result<(), Unavailable> {
        while !self.lease_is_alive() {
            if Instant::now() >= deadline {
                return Err(Unavailable::because("this node has not heard of a leader with a quorum lately"));
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        Ok(())
    }

    /// Brings an intent before the leader, through elections, until the deadline. Sending the same intent twice is
    /// harmless: the second verdict is `Repeat`.
    async fn agree(
        &self,
        asked: &Asked<'_>,
        routing: Routing,
        deadline: Instant,
    ) -> Result<Logged<Verdict>, AuthorizeError> {
        let mut reason = "no leader is known".to_owned();
        let mut patience = self.timing().forward_try;
        let mut stale = 0;
        let mut leader = self.elections().watch_leader();
        loop {
            leader.borrow_and_update();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(unavailable(&reason));
            }
            let intent = self.intent(asked)?;
            let tried = match self.leadership() {
                Leadership::This => tokio::time::timeout(left, self.submit(intent.clone())).await,
                Leadership::Other { id, member } => {
                    if routing == Routing::Redirect && !member.api_url.is_empty() && self.is_there(id) {
                        return Err(AuthorizeError::Redirect { api_url: member.api_url });
                    }
                    let patience = patience.min(left);
                    let ask = self.forwarder().ask((id, member), intent.clone(), patience);
                    tokio::time::timeout(patience, self.unless_deposed(id, ask))
                        .await
                        .map(|asked| asked.unwrap_or(Err(Failure::Unknown)))
                }
                Leadership::Unknown => Ok(Err(Failure::Unreachable("no leader is known".to_owned()))),
            };
            match tried {
                Ok(Ok(logged)) if answers(&logged.answer, &intent) => match logged.answer.ruling {
                    Ruling::Safe | Ruling::Repeat => return Ok(logged),
                    Ruling::Refused(violation) => {
                        return Err(AuthorizeError::Refused { violation, log_index: logged.index });
                    }
                    Ruling::UnknownKey => return Err(AuthorizeError::UnknownKey(intent.public_key)),
                    Ruling::AwaitingFloor => return Err(unavailable(AWAITING_FLOOR)),
                    Ruling::Stale { policy_version } => {
                        stale += 1;
                        "the access policy changed on the way".clone_into(&mut reason);
                        if stale == STALE_TRIES || !self.await_policy(policy_version, deadline).await {
                            return Err(unavailable(&reason));
                        }
                    }
                },
                Ok(Ok(_)) => "the verdict answers another request".clone_into(&mut reason),
                Ok(Err(Failure::Overloaded)) => return Err(unavailable("too many requests are waiting")),
                Ok(Err(failure)) => reason = failure.to_string(),
                Err(_) => {
                    "no quorum agreed in time".clone_into(&mut reason);
                    patience = patience.saturating_mul(2);
                }
            }
            self.pause_for_leader(&mut leader).await;
        }
    }

    /// The pause between two tries; over at once when the leader changes.
    async fn pause_for_leader(&self, leader: &mut watch::Receiver<Option<u64>>) {
        // Nobody else can tell when the watcher has ended; the pause is short.
        drop(tokio::time::timeout(RETRY_PAUSE, leader.changed()).await);
    }

    /// A leader whose election was a moment ago answers when the first entry of its term is applied, and does not send
    /// the asker away.
    pub(crate) async fn await_first_entry(&self) {
        let mut leader = self.elections().watch_leader();
        let leads = self.raft().metrics().borrow().state == ServerState::Leader;
        if leads && !self.elections().is_suspended() {
            let me = Some(self.node_id());
            drop(tokio::time::timeout(FIRST_ENTRY, leader.wait_for(|leader| *leader == me)).await);
        }
    }

    /// Whether a client may be sent to this leader: it answered lately, and its process has not gone since. A dead one
    /// would be redirected to until the next election.
    fn is_there(&self, leader: u64) -> bool {
        self.vouches_for(leader) && self.inner.links.is_connected(leader)
    }

    /// Waits until this node knows the policy under which the intent is to be admitted anew; whether it came to that.
    async fn await_policy(&self, version: u64, deadline: Instant) -> bool {
        let mut applied = self.inner.shared.watch_index();
        let known = applied.wait_for(|_| self.read(|state| state.cluster().policy_version >= version));
        tokio::time::timeout_at(deadline, known).await.is_ok_and(|known| known.is_ok())
    }

    /// The admission and the version that it holds for are read under one lock: between the two no policy can come.
    fn intent(&self, asked: &Asked<'_>) -> Result<SignIntent, AuthorizeError> {
        let Asked { request, duty, peer, admit } = *asked;
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random).map_err(|_| unavailable("the system has no randomness"))?;
        let policy_version =
            self.read(|state| admit(state).map(|()| state.cluster().policy_version)).map_err(denied)?;
        Ok(SignIntent {
            request_id: RequestId::new(self.node_id(), random),
            public_key: request.public_key,
            duty,
            signing_root: request.signing_root,
            peer: peer.chars().take(PEER_CHARS_MAX).collect(),
            policy_version,
        })
    }

    /// Submits an intent to the local batcher; only a leader has use for it.
    pub(crate) async fn submit(&self, intent: SignIntent) -> Result<Logged<Verdict>, Failure> {
        let handed = clock::Instant::now();
        let Logged { index, answer } = self.batcher().submit(Command::Sign(intent)).await?;
        // A quorum has acknowledged an entry that was proposed after `handed`, which says as much as a confirmation that
        // was asked for then. On slow disks the entries come through while confirmations, which wait behind them, do
        // not; what was agreed must not wait for those before it may leave.
        self.inner.lease.renew(self.node_id(), handed);
        match answer {
            Outcome::Judged(answer) => Ok(Logged { index, answer }),
            Outcome::Initialised
            | Outcome::DataKeyHeld
            | Outcome::KeyImported { .. }
            | Outcome::HistoryMerged { .. }
            | Outcome::HighWatermarkSet
            | Outcome::PolicyRenewed(_)
            | Outcome::KeyDeleted { .. }
            | Outcome::Resealed { .. }
            | Outcome::DataKeyRemoved { .. }
            | Outcome::TokenHeld
            | Outcome::TokenRevoked { .. }
            | Outcome::AuditAnchored
            | Outcome::RulesRaised(_)
            | Outcome::JoinTokenHeld
            | Outcome::JoinTokenRevoked { .. }
            | Outcome::NodeAdmitted
            | Outcome::NodeRetired
            | Outcome::PositionsNoted
            | Outcome::Resumed { .. }
            | Outcome::ArchiveAdvanced
            | Outcome::Rejected(_) => Err(Failure::Unknown),
        }
    }
}

/// Why a restored cluster signs nothing yet, and the way out.
pub const AWAITING_FLOOR: &str = "the cluster was restored and signs nothing until `consigner cluster resume \
                                  --at-epoch N` has raised all histories";

/// Longest client name kept with a record; names come from certificates that the operator's CA signed.
const PEER_CHARS_MAX: usize = 128;

/// Whether a verdict speaks of this very intent: a late, shifted or duplicated reply must not bless another root.
fn answers(verdict: &Verdict, intent: &SignIntent) -> bool {
    verdict.request_id == intent.request_id
        && verdict.public_key == intent.public_key
        && verdict.duty == intent.duty
        && verdict.signing_root == intent.signing_root
}

fn denied(reason: String) -> AuthorizeError {
    AuthorizeError::Denied { reason }
}

fn unavailable(reason: &str) -> AuthorizeError {
    AuthorizeError::Unavailable { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use consigner_rules::PublicKey;

    #[test]
    fn a_verdict_on_another_root_answers_nothing() {
        let intent = SignIntent {
            request_id: RequestId([1; 16]),
            public_key: PublicKey([2; 48]),
            duty: AgreedDuty::Block { slot: 3 },
            signing_root: Root([4; 32]),
            peer: "client".to_owned(),
            policy_version: 1,
        };
        let verdict = Verdict {
            request_id: intent.request_id,
            public_key: intent.public_key,
            duty: intent.duty,
            signing_root: intent.signing_root,
            ruling: Ruling::Safe,
        };
        assert!(answers(&verdict, &intent));
        assert!(!answers(&Verdict { signing_root: Root([5; 32]), ..verdict.clone() }, &intent));
        assert!(!answers(&Verdict { request_id: RequestId([5; 16]), ..verdict.clone() }, &intent));
        assert!(!answers(&Verdict { public_key: PublicKey([5; 48]), ..verdict.clone() }, &intent));
        assert!(!answers(&Verdict { duty: AgreedDuty::Block { slot: 4 }, ..verdict }, &intent));
    }
}
