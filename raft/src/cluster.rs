//! The cluster as the rest of the node sees it.

use crate::authorize::{AuthorizeError, Routing};
use crate::types::{Leadership, Member, NodeStatus, Timing};
use bytes::Bytes;
use consigner_rules::command::{ClusterIdentity, DataKey};
use consigner_rules::primitives::ClusterId;
use consigner_rules::{Command, Outcome, SealedKey, SignPermit, SignRequest, State};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
    pub on_keys: Arc<dyn Fn(KeyFeed<'_>) + Send + Sync>,
    /// Called once when the node must stop; never returns to normal operation after.
    pub on_fatal: Arc<dyn Fn(&str) + Send + Sync>,
}

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
pub struct Cluster {}

/// Serves the peer door: Raft, forwarding, pings, status. A tower service over `http::Request<hyper::body::Incoming>`.
#[derive(Clone)]
pub struct PeerService {}

/// Why a node cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// placeholder
    #[error("{0}")]
    Other(String),
}

/// Why a cluster could not be initialised.
#[derive(Debug, thiserror::Error)]
pub enum InitialiseError {
    /// placeholder
    #[error("{0}")]
    Other(String),
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

impl Cluster {
    /// Opens the node's data, checks it, starts Raft.
    pub async fn open(_options: ClusterOptions) -> Result<(Self, PeerService), OpenError> {
        unimplemented!()
    }

    /// Makes a new cluster out of these members; called once, on one node, which must be among them.
    pub async fn initialise(
        &self,
        _members: BTreeMap<u64, Member>,
        _identity: ClusterIdentity,
    ) -> Result<(), InitialiseError> {
        unimplemented!()
    }

    /// Obtains leave to sign. `peer` is the authenticated client's name.
    pub async fn authorize(
        &self,
        _request: &SignRequest,
        _peer: &str,
        _routing: Routing,
    ) -> Result<SignPermit, AuthorizeError> {
        unimplemented!()
    }

    /// Proposes commands from any node (forwarded to the leader) and waits for their outcomes, in order.
    pub async fn propose(&self, _commands: Vec<Command>, _deadline: Duration) -> Result<Vec<Outcome>, ProposeError> {
        unimplemented!()
    }

    /// Returns once this node has applied everything that was committed when it was called.
    pub async fn barrier(&self, _deadline: Duration) -> Result<(), Unavailable> {
        unimplemented!()
    }

    /// Reads the applied state. Keep `read` short: it holds up `apply`.
    pub fn read<T>(&self, _read: impl FnOnce(&State) -> T) -> T {
        unimplemented!()
    }

    /// Who leads.
    pub fn leadership(&self) -> Leadership {
        unimplemented!()
    }

    /// Whether this node can serve: a live lease, or leadership with a fresh quorum acknowledgement.
    pub fn ready(&self) -> Result<(), Unavailable> {
        unimplemented!()
    }

    /// This node's id.
    pub fn node_id(&self) -> u64 {
        unimplemented!()
    }

    /// This node's own status.
    pub fn status(&self) -> NodeStatus {
        unimplemented!()
    }

    /// The status of every member, asked over the peer channel; `Err` holds why a member did not answer.
    pub async fn cluster_status(&self) -> BTreeMap<u64, Result<NodeStatus, String>> {
        unimplemented!()
    }

    /// Refuses new proposals, finishes those in flight, hands leadership over as well as possible, stops Raft and
    /// closes the storage cleanly.
    pub async fn shutdown(&self, _deadline: Duration) {
        unimplemented!()
    }
}

impl PeerService {
    /// Answers one request of another node. `sender` is the name in its certificate.
    pub async fn handle(
        &self,
        _sender: String,
        _path: &str,
        _headers: &http::HeaderMap,
        _body: Bytes,
    ) -> http::Response<Bytes> {
        unimplemented!()
    }
}
