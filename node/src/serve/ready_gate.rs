//! `/ready` while this process is not: before its keys are imported, and once it is stopping.
//!
//! In: requests for the API. Out: 503 for `/ready` while a reason stands; everything else passes. Deliberately absent:
//! the cluster's own readiness, which `api` answers.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tower::Service;

/// Why the process is not ready, if it is not. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Reasons>);

#[derive(Debug, Default)]
struct Reasons {
    importing: AtomicBool,
    stopping: AtomicBool,
}

impl Readiness {
    /// Whether keys are still on their way into the cluster.
    pub fn set_importing(&self, importing: bool) {
        self.0.importing.store(importing, Ordering::Release);
    }

    /// From now on for ever.
    pub fn set_stopping(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }

    fn reason(&self) -> Option<&'static str> {
        if self.0.stopping.load(Ordering::Acquire) {
            Some("the node is stopping")
        } else if self.0.importing.load(Ordering::Acquire) {
            Some("keys are being imported")
        } else {
            None
        }
    }
}

/// The API behind the gate.
#[derive(Debug, Clone)]
pub struct ReadyGate<S> {
    inner: S,
    readiness: Readiness,
}

impl<S> ReadyGate<S> {
    /// Puts the gate before a service.
    pub const fn new(inner: S, readiness: Readiness) -> Self {
        Self { inner, readiness }
    }
}

impl<S, B, R> Service<Request<R>> for ReadyGate<S>
where
    S: Service<Request<R>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    B: From<String> + Send + 'static,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        // Clients may send `//ready`; `api` collapses slashes for everything else.
        match self.readiness.reason() {
            Some(reason) if request.uri().path().trim_start_matches('/') == "ready" => {
                Box::pin(std::future::ready(Ok(not_ready(reason))))
            }
            _ => Box::pin(self.inner.call(request)),
        }
    }
}

fn not_ready<B: From<String>>(reason: &str) -> Response<B> {
    let body = serde_json::json!({ "ready": false, "error": reason }).to_string();
    let mut response = Response::new(B::from(body));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    async fn status(readiness: &Readiness, path: &str) -> StatusCode {
        let inner = tower::service_fn(async |_: Request<()>| Ok(Response::new(String::new())));
        let mut gate = ReadyGate::new(inner, readiness.clone());
        let request = Request::builder().uri(path).body(()).unwrap();
        gate.call(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn only_ready_is_withheld_and_a_stop_is_for_ever() {
        let readiness = Readiness::default();
        assert_eq!(status(&readiness, "/ready").await, StatusCode::OK);
        readiness.set_importing(true);
        assert_eq!(status(&readiness, "/ready").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(&readiness, "//ready").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status(&readiness, "/upcheck").await, StatusCode::OK);
        readiness.set_stopping();
        readiness.set_importing(false);
        assert_eq!(status(&readiness, "/ready").await, StatusCode::SERVICE_UNAVAILABLE);
    }
}
