//! Outgoing calls to other nodes, over one pooled connection per peer.
//!
//! In: a member, a question. Out: its answer, if it comes from a start of that member that was let in. Whoever refuses
//! this node for good stops it here.

use crate::cluster::OnFatal;
use crate::entry_gate::EntryGate;
use crate::entry_gate::boots::{BootRefusal, Boots};
use crate::peer::wire;
use crate::types::Member;
use bytes::Bytes;
use consigner_gate::tls::ClientConfig;
use consigner_gate::{ChannelError, PeerCertificate, PeerChannel};
use consigner_rules::codec;
use consigner_rules::primitives::ClusterId;
use consigner_storage::Boot;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
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
    /// Who speaks, and by which others know this start again, in every call and in every answer.
    pub fn headers(&self) -> [(HeaderName, HeaderValue); 3] {
        [
            (HeaderName::from_static(wire::HEADER_FROM), HeaderValue::from(self.node_id)),
            (HeaderName::from_static(wire::HEADER_INCARNATION), value(&self.boot.incarnation_hex())),
            (HeaderName::from_static(wire::HEADER_BOOT), value(&self.boot.tag())),
        ]
    }
}

/// The start that an answer names.
fn named(headers: &HeaderMap) -> Option<Boot> {
    let text = |name| headers.get(name)?.to_str().ok();
    Boot::parse(text(wire::HEADER_INCARNATION)?, text(wire::HEADER_BOOT)?)
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// The connections to all peers.
pub struct Links {
    me: Me,
    boots: Arc<Boots>,
    entry: Arc<EntryGate>,
    on_fatal: OnFatal,
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
    /// The peer knows that this node must not go on.
    #[error("node {node} refused this node for good: {reason}")]
    Expelled {
        /// The peer.
        node: u64,
        /// What it said.
        reason: String,
    },
    /// The answer does not come from a start of the peer that was let in; nothing of it is used.
    #[error("the answer of node {node} is not used")]
    Stranger {
        /// The peer.
        node: u64,
        /// Why.
        #[source]
        source: BootRefusal,
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
            Self::Refused { .. } | Self::Expelled { .. } | Self::Stranger { .. } | Self::Decode { .. } => false,
        }
    }

    /// Whether nobody listens at the peer's address.
    pub const fn is_refused(&self) -> bool {
        matches!(self, Self::Channel { source: ChannelError::ConnectRefused { .. }, .. })
    }
}

impl Links {
    /// No connection is made yet.
    pub fn new(me: Me, tls: Arc<ClientConfig>, boots: Arc<Boots>, entry: Arc<EntryGate>, on_fatal: &OnFatal) -> Self {
        let on_fatal = Arc::clone(on_fatal);
        Self { me, boots, entry, on_fatal, tls, channels: Mutex::default(), sequence: AtomicU64::new(1) }
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
        self.call_seen((node, member), path, question, deadline).await.map(|(answer, _server)| answer)
    }

    /// As [`Links::call`]; also the certificate of who answered, `None` if it names nobody.
    ///
    /// # Errors
    /// As [`Links::call`].
    pub async fn call_seen<Q: Serialize, A: DeserializeOwned>(
        &self,
        (node, member): (u64, &Member),
        path: &str,
        question: &Q,
        deadline: Duration,
    ) -> Result<(A, Option<Arc<PeerCertificate>>), CallError> {
        let (answer, server) = self.exchange((node, member), path, codec::encode(question).into(), deadline).await?;
        self.check_answer((node, member), path, &answer)?;
        if answer.status() != StatusCode::OK {
            let (status, reason) = (answer.status(), String::from_utf8_lossy(answer.body()).into_owned());
            if status == StatusCode::GONE && named(answer.headers()).is_some() {
                self.expelled(node, &reason);
                return Err(CallError::Expelled { node, reason });
            }
            return Err(CallError::Refused { node, status, reason });
        }
        let decoded = codec::decode(answer.body()).map_err(|source| CallError::Decode { node, source })?;
        Ok((decoded, server))
    }

    /// Which start of a member serves at its address, whichever it is; `None` when nobody does.
    pub async fn who(&self, (node, member): (u64, &Member), deadline: Duration) -> Option<Boot> {
        let asked = self.exchange((node, member), wire::WHO, codec::encode(&()).into(), deadline).await;
        let (answer, _server) = asked.ok()?;
        if answer.status() == StatusCode::OK { named(answer.headers()) } else { None }
    }

    /// Another node knows that this one must not go on as who it was.
    pub fn expelled(&self, by: u64, reason: &str) {
        let reason = format!("node {by} does not let this node take part: {reason}");
        self.entry.expel(&reason);
        (self.on_fatal)(&reason);
    }

    async fn exchange(
        &self,
        (node, member): (u64, &Member),
        path: &str,
        body: Bytes,
        deadline: Duration,
    ) -> Result<(Response<Bytes>, Option<Arc<PeerCertificate>>), CallError> {
        let channel = self.channel(node, member)?;
        let headers = self.headers(node, member);
        let called = channel.call_whole(path, &headers, body, deadline, wire::BODY_BYTES_MAX).await;
        called.map_err(|source| CallError::Channel { node, source })
    }

    /// Nothing that comes from another disk, an older start or a copy is used; what takes part in agreement comes only
    /// from a start that was let in. The first start of a member that nothing was known of is remembered.
    fn check_answer(
        &self,
        (node, member): (u64, &Member),
        path: &str,
        answer: &Response<Bytes>,
    ) -> Result<(), CallError> {
        let refused = |source: BootRefusal| {
            metrics::counter!("consigner_peer_boot_refusals_total", "reason" => source.name()).increment(1);
            if source.is_final() {
                tracing::error!(node, reason = %source, "an answer is not used");
            }
            if let BootRefusal::Memory(_) = &source {
                (self.on_fatal)(&crate::chain(&source));
            }
            CallError::Stranger { node, source }
        };
        let from = answer.headers().get(wire::HEADER_FROM).and_then(|from| from.to_str().ok()?.parse::<u64>().ok());
        let Some(boot) = named(answer.headers()).filter(|_| from == Some(node)) else {
            if answer.status() != StatusCode::OK {
                // Another node, or another version, that says why it does not answer.
                return Ok(());
            }
            let reason = "the answer does not come from this node".to_owned();
            return Err(CallError::Refused { node, status: StatusCode::BAD_GATEWAY, reason });
        };
        let checked = if wire::is_for_members_let_in(path) {
            self.boots.check(node, &boot, &member.incarnation)
        } else {
            self.boots.judge(node, &boot, &member.incarnation).map(drop)
        };
        checked.map_err(refused)
    }

    fn headers(&self, to: u64, member: &Member) -> Vec<(HeaderName, HeaderValue)> {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let [from, incarnation, boot] = self.me.headers();
        let mut headers = vec![
            (HeaderName::from_static(wire::HEADER_PROTOCOL), HeaderValue::from_static(wire::PROTOCOL)),
            (HeaderName::from_static(wire::HEADER_CLUSTER), value(&self.me.cluster_id.to_string())),
            from,
            (HeaderName::from_static(wire::HEADER_TO), HeaderValue::from(to)),
            boot,
            incarnation,
            (HeaderName::from_static(wire::HEADER_SEQUENCE), HeaderValue::from(sequence)),
        ];
        if !member.incarnation.is_empty() {
            headers.push((HeaderName::from_static(wire::HEADER_TO_INCARNATION), value(&member.incarnation)));
        }
        headers
    }
}
