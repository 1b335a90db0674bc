//! Incoming calls of other nodes.
//!
//! In: HTTP/2 requests whose client certificate the peer door has verified. Out: answers in the form of [`wire`].
//! Deliberately absent: decisions. This is a table of paths and the calls behind them.

use crate::archive::KeepError;
use crate::cluster::Cluster;
use crate::peer::guard::{Admitted, Refusal};
use crate::peer::wire;
use crate::typ::{AppendResponse, InstallRequest, VoteRequest};
use crate::versions;
use bytes::Bytes;
use consigner_gate::Peer;
use consigner_rules::codec;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Serves the peer door; a tower service to be handed to [`consigner_gate::Door::serve`].
#[derive(Clone)]
pub struct PeerService {
    cluster: Cluster,
}

/// How long a body may take; the largest, a snapshot chunk, crosses a slow link in a fraction of it.
const BODY_DEADLINE: Duration = Duration::from_secs(10);

/// A refusal with its status.
struct Refused(StatusCode, String);

impl PeerService {
    pub(crate) fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    async fn answer(self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let name = request.extensions().get::<Peer>().map_or_else(String::new, Peer::name);
        let (parts, body) = request.into_parts();
        let answered = match self.admit(&name, &parts.headers, parts.uri.path()) {
            // Who may not call is told so before a byte of the body is read.
            Err(refused) => Err(refused),
            Ok(from) => match read_body(body).await {
                Ok(body) => self.dispatch(from, parts.uri.path(), body).await,
                Err(refused) => Err(refused),
            },
        };
        let (status, body) = match answered {
            Ok(body) => (StatusCode::OK, body),
            Err(Refused(status, reason)) => (status, Bytes::from(reason)),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        response.headers_mut().extend(self.cluster.inner.links.me().headers());
        response
    }

    async fn dispatch(&self, from: Admitted, path: &str, body: Bytes) -> Result<Bytes, Refused> {
        let cluster = &self.cluster;
        match path {
            wire::APPEND => self.append(from, &body).await,
            wire::VOTE => answer(&cluster.raft().vote(read::<VoteRequest>(&body)?).await),
            wire::SNAPSHOT => {
                let part = read::<InstallRequest>(&body)?;
                cluster.elections().heard(&part.vote, cluster.elections().now(), false);
                answer(&cluster.raft().install_snapshot(part).await)
            }
            wire::PRE_VOTE => answer(&cluster.elections().answer()),
            wire::GOODBYE => answer(&cluster.take_leave(from.node)),
            wire::ELECT => answer(&cluster.stand_for_election()),
            wire::AUTHORIZE => answer(&cluster.authorize_forwarded(read(&body)?).await),
            wire::PROPOSE => answer(&cluster.propose_here(read(&body)?).await),
            wire::BARRIER => answer(&cluster.confirm_together().await),
            wire::SETTLE => answer(&cluster.settle_for_peer(read(&body)?).await),
            wire::PING => answer(&cluster.pong()),
            wire::STATUS => answer(&cluster.status()),
            wire::RECORDED => self.recorded(&body).await,
            wire::HELLO => match cluster.greet(from, read(&body)?).await {
                Ok(greeting) => answer(&greeting),
                Err(refusal) => Err(self.refused("", refusal)),
            },
            wire::WHO => answer(&()),
            wire::IDENTIFY => self.identify(&body).await,
            wire::MEMBERSHIP => answer(&cluster.change_here(read(&body)?).await),
            _ => Err(Refused(StatusCode::NOT_FOUND, format!("no such call: {path}"))),
        }
    }

    /// Before the body is read: who may not call, or not now, sends none.
    fn admit(&self, name: &str, headers: &HeaderMap, path: &str) -> Result<Admitted, Refused> {
        let admitted =
            self.cluster.guard().admit(name, headers, path).map_err(|refusal| self.refused(name, refusal))?;
        match self.cluster.entry_waits_for() {
            Some(reason) if wire::is_raft(path) => Err(self.refused(name, Refusal::Starting(reason))),
            Some(_) | None => Ok(admitted),
        }
    }

    /// Tells of a refusal, and stops this node if it is the one that must not go on.
    fn refused(&self, caller: &str, refusal: Refusal) -> Refused {
        let status = refusal.status();
        if let Refusal::NotMember(_) = &refusal {
            self.cluster.inner.entry.note_stranger();
        }
        if let Refusal::Boot(refusal) = &refusal {
            metrics::counter!("consigner_peer_boot_refusals_total", "reason" => refusal.name()).increment(1);
        }
        if refusal.is_our_end() {
            self.cluster.inner.entry.expel(&refusal.to_string());
            self.cluster.stop_for(&refusal);
        } else if status == StatusCode::GONE || matches!(refusal, Refusal::OwnId(_) | Refusal::OtherDisk { .. }) {
            tracing::error!(caller, %refusal, "peer refused");
        } else if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_EARLY) {
            tracing::debug!(caller, %refusal, "peer refused for now");
        } else {
            tracing::warn!(caller, %refusal, "peer refused");
        }
        Refused(status, refusal.to_string())
    }

    /// Off the async threads: the join token is read from its file.
    async fn identify(&self, body: &Bytes) -> Result<Bytes, Refused> {
        let (cluster, question) = (self.cluster.clone(), read(body)?);
        let identified = tokio::task::spawn_blocking(move || cluster.identify_myself(question)).await;
        let failed = |_| Refused(StatusCode::INTERNAL_SERVER_ERROR, "this node cannot say who it is".to_owned());
        answer(&identified.map_err(failed)?)
    }

    async fn recorded(&self, body: &Bytes) -> Result<Bytes, Refused> {
        let failed = |error: KeepError| match error {
            KeepError::Busy => Refused(StatusCode::TOO_MANY_REQUESTS, error.to_string()),
            KeepError::Stopping(_) | KeepError::Outbox(_) | KeepError::Panicked(_) => {
                Refused(StatusCode::INTERNAL_SERVER_ERROR, crate::chain(&error))
            }
        };
        answer(&self.cluster.rows_for_peer(read(body)?).await.map_err(failed)?)
    }

    async fn append(&self, from: Admitted, body: &Bytes) -> Result<Bytes, Refused> {
        let append: wire::Append = codec::decode(body).map_err(|unread| {
            // From a member whose binary is newer: what it sends cannot be applied here, now or later.
            if unread.is_newer() {
                self.cluster.stop_for(&versions::UnreadableAppend { from: from.node, source: unread });
            }
            Refused(StatusCode::BAD_REQUEST, "the append cannot be read by this binary".to_owned())
        })?;
        // A log that could not be written would stop this node for good; one that waits catches up. The leader lives.
        if self.cluster.inner.disk.is_starved() {
            self.cluster.elections().heard(&append.request.vote, self.cluster.elections().now(), false);
            return Err(Refused(StatusCode::INSUFFICIENT_STORAGE, "the disk of this node is full".to_owned()));
        }
        match self.cluster.guard().check_append(from, &append) {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => {
                if let Refusal::LostLog { .. } = refusal {
                    metrics::counter!("consigner_raft_lost_log_refusals_total").increment(1);
                    tracing::error!(node = from.node, %refusal, "append refused");
                }
                return Err(Refused(StatusCode::CONFLICT, refusal.to_string()));
            }
            Err(danger) => {
                self.cluster.stop_for(&danger);
                return Err(Refused(StatusCode::INTERNAL_SERVER_ERROR, danger.to_string()));
            }
        }
        let busy = || Refused(StatusCode::TOO_MANY_REQUESTS, "earlier appends are still being written".to_owned());
        let place = Arc::clone(&self.cluster.inner.appends).try_acquire_owned().map_err(|_| busy())?;
        let (cluster, arrived) = (self.cluster.clone(), self.cluster.elections().now());
        let vote = append.request.vote;
        // A leader that sends lives, even if this node's disk keeps it waiting.
        cluster.elections().heard(&vote, arrived, false);
        // In a task of its own: the place is held until openraft has answered, even if the caller gives up before.
        let appended = tokio::spawn(async move {
            let answer = cluster.raft().append_entries(append.request).await;
            if answer.as_ref().is_ok_and(|answer| !matches!(answer, AppendResponse::HigherVote(_))) {
                cluster.elections().heard(&vote, arrived, true);
            }
            drop(place);
            answer
        });
        let appended = appended.await.map_err(|error| Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
        answer(&appended)
    }
}

impl tower::Service<Request<Incoming>> for PeerService {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}

async fn read_body(body: Incoming) -> Result<Bytes, Refused> {
    match tokio::time::timeout(BODY_DEADLINE, Limited::new(body, wire::BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) => Err(Refused(StatusCode::PAYLOAD_TOO_LARGE, error.to_string())),
        Err(_) => Err(Refused(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".to_owned())),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    codec::decode(body).map_err(|error| Refused(StatusCode::BAD_REQUEST, crate::chain(&error)))
}

fn answer<T: Serialize>(value: &T) -> Result<Bytes, Refused> {
    Ok(codec::encode(value).into())
}
