//! Outgoing calls to other nodes, over one pooled connection per peer.

use crate::peer::wire;
use crate::types::Member;
use bytes::Bytes;
use consigner_gate::tls::ClientConfig;
use consigner_gate::{ChannelError, PeerChannel};
use consigner_rules::codec;
use consigner_rules::primitives::ClusterId;
use consigner_storage::Boot;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Who this process is, towards other nodes.
#[derive(Debug, Clone)]
pub struct Me {
    /// Node id.
    pub node_id: u64,
    /// Cluster.
    pub cluster_id: ClusterId,
    /// Which start of which life of its disk.
    pub boot: Boot,
}

impl Me {
    /// By which others know this start again, in every call and in every answer.
    pub fn headers(&self) -> [(HeaderName, HeaderValue); 2] {
        [
            (HeaderName::from_static(wire::HEADER_INCARNATION), value(&self.boot.incarnation_hex())),
            (HeaderName::from_static(wire::HEADER_BOOT), value(&self.boot.tag())),
        ]
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// The connections to all peers.
pub struct Links {
    me: Me,
    tls: Arc<ClientConfig>,
    channels: Mutex<BTreeMap<u64, (String, Arc<PeerChannel>)>>,
    sequence: AtomicU64,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The connection failed.
    #[error("node {node} cannot be reached")]
    Channel {
        /// The peer.
        node: u64,
        /// Why.
        #[source]
        source: ChannelError,
    },
    /// The peer refused to answer.
    #[error("node {node} refused: {status}: {reason}")]
    Refused {
        /// The peer.
        node: u64,
        /// HTTP status.
        status: StatusCode,
        /// What it said.
        reason: String,
    },
    /// The answer cannot be decoded.
    #[error("node {node} answered what this version cannot read")]
    Decode {
        /// The peer.
        node: u64,
        /// Why.
        #[source]
        source: codec::DecodeError,
    },
}

impl CallError {
    /// Whether the request certainly did not reach the peer's program.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Channel { source, .. } => source.is_unreachable(),
            Self::Refused { .. } | Self::Decode { .. } => false,
        }
    }

    /// Whether nobody listens at the peer's address.
    pub const fn is_refused(&self) -> bool {
        matches!(self, Self::Channel { source: ChannelError::ConnectRefused { .. }, .. })
    }
}

impl Links {
    /// No connection is made yet.
    pub fn new(me: Me, tls: Arc<ClientConfig>) -> Self {
        Self { me, tls, channels: Mutex::default(), sequence: AtomicU64::new(1) }
    }

    /// Who this process is.
    pub const fn me(&self) -> &Me {
        &self.me
    }

    /// Whether a connection to the peer stands, as far as anybody has noticed.
    pub fn is_connected(&self, node: u64) -> bool {
        let channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.get(&node).is_some_and(|(_, channel)| channel.is_connected())
    }

    /// The pooled channel to a peer at its present address.
    fn channel(&self, node: u64, member: &Member) -> Result<Arc<PeerChannel>, CallError> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        match channels.get(&node) {
            Some((address, channel)) if *address == member.peer_addr => Ok(Arc::clone(channel)),
            Some(_) | None => {
                let address = member.peer_addr.clone();
                let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                let channel = PeerChannel::new(address.clone(), host, Arc::clone(&self.tls));
                let channel = Arc::new(channel.map_err(|source| CallError::Channel { node, source })?);
                channels.insert(node, (address, Arc::clone(&channel)));
                Ok(channel)
            }
        }
    }

    /// Calls a peer and decodes its answer.
    ///
    /// # Errors
    /// [`CallError`]; unless [`CallError::is_unreachable`], the peer may have acted on the request.
    pub async fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        (node, member): (u64, &Member),
        path: &str,
        question: &Q,
        deadline: Duration,
    ) -> Result<A, CallError> {
        let channel = self.channel(node, member)?;
        let body = Bytes::from(codec::encode(question));
        let called = channel.call(path, &self.headers(node), body, deadline, wire::BODY_BYTES_MAX).await;
        let (status, answer) = called.map_err(|source| CallError::Channel { node, source })?;
        if status != StatusCode::OK {
            let reason = String::from_utf8_lossy(&answer).into_owned();
            return Err(CallError::Refused { node, status, reason });
        }
        codec::decode(&answer).map_err(|source| CallError::Decode { node, source })
    }

    fn headers(&self, to: u64) -> [(HeaderName, HeaderValue); 7] {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let [incarnation, boot] = self.me.headers();
        [
            (HeaderName::from_static(wire::HEADER_PROTOCOL), HeaderValue::from_static(wire::PROTOCOL)),
            (HeaderName::from_static(wire::HEADER_CLUSTER), value(&self.me.cluster_id.to_string())),
            (HeaderName::from_static(wire::HEADER_FROM), HeaderValue::from(self.me.node_id)),
            (HeaderName::from_static(wire::HEADER_TO), HeaderValue::from(to)),
            boot,
            incarnation,
            (HeaderName::from_static(wire::HEADER_SEQUENCE), HeaderValue::from(sequence)),
        ]
    }
}
