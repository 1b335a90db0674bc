//! HTTP towards the client: admission, body, answer.
//!
//! ```text
//! head -> surface -> room -> body -> slot -> dispatch -> answer
//!          403/404/405  503    413/408   503     (a node's, unchanged)
//! ```
//!
//! In: requests of a door. Out: answers. Of a request pass method, path, body, `Accept` and `Content-Type`; of an
//! answer status, body and the headers of [`PASSED_BACK`]. Deliberately absent: whom to ask (`dispatch`), sockets
//! (`gate`, `unix`).

use super::dispatch::{Dispatcher, Ending, Request};
use super::surface::{self, Patience, Refusal};
use super::telemetry::{self, Outcome};
use bytes::{Bytes, BytesMut};
use consigner_gate::{HostAllowlist, LogBudget, Response};
use futures::future::BoxFuture;
use http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout_at;
use tower::Service;

/// What a node reads as a body; more would only be refused there.
const BODY_BYTES_MAX: usize = 16 << 20;

/// Memory of all bodies together: many small ones, a few blocks.
const BODIES_KIB_MAX: usize = 256 << 10;

/// Requests at one time, waiting ones included; each holds a connection or a stream.
const ADMITTED_MAX: usize = 2048;

/// Requests that nodes are being asked for at one time; the rest waits its turn within its own deadline.
const IN_FLIGHT_MAX: usize = 256;

/// Of a request pass these headers. Not `Authorization`: the sidecar's certificate speaks. Not `User-Agent`, by which a
/// follower would choose to redirect: it should hold the request through an election instead.
const PASSED_ON: [HeaderName; 2] = [ACCEPT, CONTENT_TYPE];

/// Of an answer pass these.
const PASSED_BACK: [HeaderName; 4] = [CONTENT_TYPE, RETRY_AFTER, ALLOW, CACHE_CONTROL];

const AGENT: HeaderValue = HeaderValue::from_static(concat!("consigner-connect/", env!("CARGO_PKG_VERSION")));

/// The service of one door. Cheap to clone.
#[derive(Clone)]
pub(super) struct Sidecar(Arc<Shared>);

struct Shared {
    dispatcher: Arc<Dispatcher>,
    hosts: Option<HostAllowlist>,
    deadline: Duration,
    admitted: Semaphore,
    slots: Semaphore,
    bodies_kib: Arc<Semaphore>,
    complaints: LogBudget,
}

/// Why a request ends here.
#[derive(Debug, thiserror::Error)]
enum Denied {
    #[error(transparent)]
    Surface(#[from] Refusal),
    #[error("the body exceeds the limit of {BODY_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the body did not arrive in time")]
    Slow,
    #[error("the body broke off")]
    Broken,
    #[error("too many requests at one time; try again")]
    Overloaded,
    #[error("no node answered within {deadline:?}: {reasons}; try again")]
    NoAnswer { deadline: Duration, reasons: String },
}

impl Sidecar {
    /// `hosts` is `None` on a Unix socket. `deadline` is for each request as a whole.
    pub(super) fn new(dispatcher: Arc<Dispatcher>, hosts: Option<HostAllowlist>, deadline: Duration) -> Self {
        Self(Arc::new(Shared {
            dispatcher,
            hosts,
            deadline,
            admitted: Semaphore::new(ADMITTED_MAX),
            slots: Semaphore::new(IN_FLIGHT_MAX),
            bodies_kib: Arc::new(Semaphore::new(BODIES_KIB_MAX)),
            complaints: LogBudget::new(Instant::now()),
        }))
    }
}

impl Service<http::Request<Incoming>> for Sidecar {
    type Response = http::Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Incoming>) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move { Ok(shared.answer(request).await) })
    }
}

impl Shared {
    async fn answer(&self, request: http::Request<Incoming>) -> http::Response<Full<Bytes>> {
        match self.pass(request).await {
            Ok(response) => {
                telemetry::request(Outcome::Answered(response.status));
                passed_back(response)
            }
            Err(denied) => {
                telemetry::request(denied.outcome());
                self.complain(&denied);
                denied.response()
            }
        }
    }

    async fn pass(&self, request: http::Request<Incoming>) -> Result<Response, Denied> {
        let begun = Instant::now();
        let deadline = begun + self.deadline;
        let (head, body) = request.into_parts();
        let passage = surface::judge(&head, self.hosts.as_ref())?;
        let _admitted = self.admitted.try_acquire().map_err(|_full| Denied::Overloaded)?;
        let (body, _room) = self.read(&head.headers, body, deadline).await?;
        let request = Request { headers: passed_on(&head.headers), passage, body };
        // Looks do not queue behind duties: the client's health check must not fail because it signs a lot.
        let _slot = match request.passage.patience {
            Patience::OneRound => None,
            Patience::UntilDeadline => {
                let slot = timeout_at(deadline.into(), self.slots.acquire()).await;
                Some(slot.map_err(|_elapsed| Denied::Overloaded)?)
            }
        };
        let ending = self.dispatcher.ask(&request, deadline).await;
        telemetry::took(begun.elapsed());
        match ending {
            Ending::Answer(response) => Ok(response),
            Ending::Nothing(reasons) => Err(Denied::NoAnswer { deadline: self.deadline, reasons }),
        }
    }

    async fn read(
        &self,
        headers: &HeaderMap,
        mut body: Incoming,
        deadline: Instant,
    ) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Denied> {
        let announced = headers.get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: u64| length > BODY_BYTES_MAX as u64) {
            return Err(Denied::TooLarge);
        }
        let (mut whole, mut room) = (BytesMut::new(), None::<OwnedSemaphorePermit>);
        loop {
            let frame = timeout_at(deadline.into(), body.frame()).await.map_err(|_elapsed| Denied::Slow)?;
            let Some(frame) = frame else { return Ok((whole.freeze(), room)) };
            let Ok(data) = frame.map_err(|_broken| Denied::Broken)?.into_data() else { continue };
            if whole.len() + data.len() > BODY_BYTES_MAX {
                return Err(Denied::TooLarge);
            }
            let kib = u32::try_from(data.len().div_ceil(1 << 10)).unwrap_or(u32::MAX);
            let more = self.bodies_kib.clone().try_acquire_many_owned(kib).map_err(|_full| Denied::Overloaded)?;
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
            whole.extend_from_slice(&data);
        }
    }

    /// A few lines per second, whatever happens. A path that does not exist here is the caller's slip and told to it.
    fn complain(&self, denied: &Denied) {
        if matches!(denied, Denied::Surface(Refusal::NoSuchPath | Refusal::Method(_))) {
            tracing::debug!(reason = %denied, "not passed");
        } else if self.complaints.may_write(Instant::now()) {
            let (status, unsaid) = (denied.status().as_u16(), self.complaints.take_suppressed());
            tracing::warn!(reason = %denied, status, unsaid, "not answered by a node");
        }
    }
}

impl Denied {
    const fn status(&self) -> StatusCode {
        match self {
            Self::Surface(refusal) => refusal.status(),
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken => StatusCode::BAD_REQUEST,
            Self::Overloaded | Self::NoAnswer { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    const fn outcome(&self) -> Outcome {
        match self {
            Self::Surface(_) | Self::TooLarge | Self::Slow | Self::Broken => Outcome::NotPassed,
            Self::Overloaded => Outcome::Overloaded,
            Self::NoAnswer { .. } => Outcome::NoAnswer,
        }
    }

    /// In the shape of a node's errors.
    fn response(&self) -> http::Response<Full<Bytes>> {
        let body = serde_json::json!({"error": self.to_string()}).to_string();
        let mut response = http::Response::new(Full::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self {
            Self::Surface(Refusal::Method(allowed)) => {
                headers.insert(ALLOW, HeaderValue::from_static(allowed));
            }
            Self::Overloaded | Self::NoAnswer { .. } => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::Surface(_) | Self::TooLarge | Self::Slow | Self::Broken => {}
        }
        response
    }
}

fn passed_on(headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    let of = |name: HeaderName| headers.get_all(&name).iter().cloned().map(move |value| (name.clone(), value));
    PASSED_ON.into_iter().flat_map(of).chain([(USER_AGENT, AGENT)]).collect()
}

fn passed_back(answer: Response) -> http::Response<Full<Bytes>> {
    let mut response = http::Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    for name in PASSED_BACK {
        for value in answer.headers.get_all(&name) {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
    response
}
