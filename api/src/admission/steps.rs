//! The steps around every endpoint: path, host, panic, log line; and the deadline around each group of them.

use super::bounds::PolicyBounds;
use super::door::Door;
use super::drain::{DRAINS_MAX, drained};
use super::host::{self, HostProblem};
use super::identity::stranger;
use super::path::{Asked, normalised};
use crate::audit::{self, Auditor, Flood};
use crate::error::{self, ApiError};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use consigner_gate::{HostAllowlist, Peer};
use futures::FutureExt as _;
use http::Version;
use http::header::CONNECTION;
use http::request::Parts;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Below it errors have the shape of the key manager API.
const KEY_MANAGER: &str = "/eth/v1/";

/// What the steps around every endpoint need.
pub(crate) struct Admission {
    door: Door,
    /// This node's own list.
    hosts: HostAllowlist,
    /// The policy's, which narrows it; `None`: there is no cluster.
    policy: Option<Arc<PolicyBounds>>,
    /// One per unwanted body that is read to its end so that the client sees the answer.
    drains: Arc<Semaphore>,
    audit: Auditor,
}

impl Admission {
    pub(crate) fn new(
        door: Door,
        hosts: HostAllowlist,
        policy: Option<Arc<PolicyBounds>>,
        audit: Auditor,
    ) -> Arc<Self> {
        Arc::new(Self { door, hosts, policy, drains: Arc::new(Semaphore::new(DRAINS_MAX)), audit })
    }

    fn check_host(&self, parts: &Parts) -> Result<(), HostProblem> {
        host::check(parts, &self.hosts)?;
        let bounds = self.policy.as_ref().map(|policy| policy.now());
        bounds.as_ref().and_then(|bounds| bounds.hosts()).map_or(Ok(()), |hosts| host::check(parts, hosts))
    }

    fn turned_away(&self, parts: &Parts, asked: &Asked, problem: HostProblem) -> ApiError {
        let actor = stranger(parts, self.door);
        let reason = &format!("{} {}: {problem}", parts.method, asked.0.path());
        let event = audit::Event::new(&actor, audit::Operation::Host, audit::Outcome::Refused, reason);
        self.audit.record_within(Flood::Hosts, &event);
        ApiError::Host(problem)
    }
}

/// Lets a request through to its endpoint, or answers in its place. Outermost: an answer leaves through here.
pub(crate) async fn admit(State(admission): State<Arc<Admission>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let (mut parts, body) = request.into_parts();
    let body = drained(&parts, body, &admission.drains);
    let asked = Asked::of(&parts.uri);
    if let Err(problem) = admission.check_host(&parts) {
        return admission.turned_away(&parts, &asked, problem).into_response();
    }
    if let Some(uri) = normalised(&parts.uri) {
        parts.uri = uri;
    }
    let (method, version) = (parts.method.clone(), parts.version);
    let is_key_manager = parts.uri.path().starts_with(KEY_MANAGER);
    let peer = parts.extensions.get::<Peer>().map(|peer| peer.addr);
    parts.extensions.insert(asked.clone());
    // After a panic nothing of the request is used again, and what endpoints share survives one: locks are held over
    // reads and single assignments only.
    let answered = AssertUnwindSafe(next.run(Request::from_parts(parts, body))).catch_unwind().await;
    let mut response = answered.unwrap_or_else(|panic| {
        tracing::error!(%method, path = asked.0.path(), panic = message(&*panic), "a request handler panicked");
        ApiError::Internal.into_response()
    });
    if is_key_manager {
        response = error::for_key_manager(response);
    }
    if version >= Version::HTTP_2 {
        // RFC 9113, 8.2.2: connections are not managed by headers there.
        response.headers_mut().remove(CONNECTION);
    }
    tracing::debug!(
        %method,
        path = asked.0.path(),
        status = response.status().as_u16(),
        micros = started.elapsed().as_micros(),
        peer = peer.map(tracing::field::display),
        "answered"
    );
    response
}

/// Gives an endpoint up when it has not answered in time.
pub(crate) async fn deadline(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::Unavailable(format!("no answer within {} s", limit.as_secs())).into_response(),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
