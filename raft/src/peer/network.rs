//! openraft's outgoing calls.

use crate::entry_gate::floors::Floors;
use crate::log_store;
use crate::peer::link::{CallError, Links};
use crate::peer::wire;
use crate::typ::{
    self, AppendRequest, AppendResponse, InstallRequest, InstallResponse, LogId, TypeConfig, Vote, VoteRequest,
    VoteResponse,
};
use crate::types::Member;
use consigner_storage::LogPosition;
use consigner_storage::log::Wal;
use http::StatusCode;
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// Pause before an unreachable peer is tried again: a restarted peer should be found within a heartbeat or two.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(50);

/// Makes a network client per peer; all share the pooled connections of [`Links`].
pub struct Network {
    links: Arc<Links>,
    wal: Arc<Wal>,
    floors: Arc<Floors>,
}

impl Network {
    /// `wal` tells the leader's last position, sent along with every append; `floors` is told what is acknowledged.
    pub fn new(links: Arc<Links>, wal: Arc<Wal>, floors: Arc<Floors>) -> Self {
        Self { links, wal, floors }
    }
}

/// openraft's client for one peer.
pub struct PeerNetwork {
    links: Arc<Links>,
    wal: Arc<Wal>,
    floors: Arc<Floors>,
    target: u64,
    member: Member,
}

type RpcError<E = openraft::error::Infallible> = RPCError<u64, Member, RaftError<u64, E>>;

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = PeerNetwork;

    async fn new_client(&mut self, target: u64, node: &Member) -> PeerNetwork {
        let (links, wal, floors) = (Arc::clone(&self.links), Arc::clone(&self.wal), Arc::clone(&self.floors));
        PeerNetwork { links, wal, floors, target, member: node.clone() }
    }
}

impl PeerNetwork {
    /// The peer's disk holds this node's log up to `matched`, of which `committed` was agreed when it was sent.
    fn acknowledged(&self, vote: &Vote, matched: Option<LogId>, committed: Option<LogPosition>) {
        let matched = matched.as_ref().map(typ::position);
        self.floors.acknowledged(self.target, vote.leader_id().term, matched, committed);
    }

    /// How far the cluster agreed, as long as this node leads under `vote`: what it hears of a later leader says nothing
    /// about entries of its own.
    fn agreed_under(&self, vote: &Vote) -> Option<LogPosition> {
        let committed = self.wal.committed();
        let stored = log_store::read_vote(&self.wal).ok().flatten()?;
        committed.filter(|_| stored.leader_id() == vote.leader_id())
    }

    async fn call<Q, A, E>(&self, path: &str, question: &Q, deadline: Duration) -> Result<A, RpcError<E>>
    where
        Q: Serialize,
        A: DeserializeOwned,
        E: std::error::Error + DeserializeOwned,
    {
        let answer: Result<A, RaftError<u64, E>> = self
            .links
            .call((self.target, &self.member), path, question, deadline)
            .await
            .map_err(|error| transport_error(&error))?;
        answer.map_err(|error| match error {
            // A peer whose raft has stopped will not answer the next try either: back off.
            RaftError::Fatal(fatal) => RPCError::Unreachable(Unreachable::new(&fatal)),
            RaftError::APIError(_) => RPCError::RemoteError(RemoteError::new(self.target, error)),
        })
    }
}

/// A refusal (another cluster, two processes of one id) is not worth an immediate retry either.
fn transport_error<E: std::error::Error>(error: &CallError) -> RpcError<E> {
    match error {
        // It starts, or this node has just done so: soon over, and told elsewhere if not.
        CallError::Refused { status: StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_EARLY, .. }
        | CallError::Stranger { .. }
        | CallError::Expelled { .. } => RPCError::Unreachable(Unreachable::new(error)),
        CallError::Refused { .. } => {
            tracing::warn!(error = %error, "a peer refuses this node");
            RPCError::Unreachable(Unreachable::new(error))
        }
        CallError::Decode { .. } => RPCError::Unreachable(Unreachable::new(error)),
        CallError::Channel { .. } if error.is_unreachable() => RPCError::Unreachable(Unreachable::new(error)),
        CallError::Channel { .. } => RPCError::Network(NetworkError::new(error)),
    }
}

impl RaftNetwork<TypeConfig> for PeerNetwork {
    async fn append_entries(&mut self, request: AppendRequest, option: RPCOption) -> Result<AppendResponse, RpcError> {
        let kind = if request.entries.is_empty() { "heartbeat" } else { "entries" };
        metrics::counter!("consigner_raft_append_rpcs_total", "kind" => kind).increment(1);
        let committed = self.agreed_under(&request.vote);
        let append = wire::Append { leader_last: self.wal.last(), request };
        let answer = self.call(wire::APPEND, &append, option.hard_ttl()).await?;
        let request = &append.request;
        let sent = request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id);
        match &answer {
            AppendResponse::Success => self.acknowledged(&request.vote, sent, committed),
            AppendResponse::PartialSuccess(matched) => self.acknowledged(&request.vote, *matched, committed),
            AppendResponse::Conflict | AppendResponse::HigherVote(_) => {}
        }
        Ok(answer)
    }

    async fn vote(&mut self, request: VoteRequest, option: RPCOption) -> Result<VoteResponse, RpcError> {
        let answer: VoteResponse = self.call(wire::VOTE, &request, option.hard_ttl()).await?;
        if answer.vote_granted {
            self.floors.voted(self.target, request.vote.leader_id().term);
        }
        Ok(answer)
    }

    async fn install_snapshot(
        &mut self,
        request: InstallRequest,
        option: RPCOption,
    ) -> Result<InstallResponse, RpcError<InstallSnapshotError>> {
        let answer: InstallResponse = self.call(wire::SNAPSHOT, &request, option.hard_ttl()).await?;
        if request.done && answer.vote == request.vote {
            // What a snapshot covers is committed.
            let covered = request.meta.last_log_id.as_ref().map(typ::position);
            self.floors.acknowledged(self.target, request.vote.leader_id().term, covered, covered);
        }
        Ok(answer)
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(UNREACHABLE_PAUSE))
    }
}
