//! While the node stops, each answer on HTTP/1.1 is the last on its connection, so that clients that keep connections
//! come back through their balancer, to another node, before the door closes. So is each 503 of a node that is not
//! ready: its balancer knows better nodes.
//!
//! In: answers. Out: the same, with `Connection: close`. Without it a client could send its next request on a
//! connection that is being closed at that moment. Deliberately absent: HTTP/2, which says goodbye by itself (GOAWAY),
//! and 503 of a node that is ready: it is busy, and handshakes would make it busier.

use super::readiness::Readiness;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, StatusCode, Version};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::Service;

/// A door's service, with the farewell around it.
#[derive(Clone)]
pub(super) struct Farewell<S> {
    inner: S,
    readiness: Readiness,
    is_ready: IsReady,
}

/// Whether the node can serve, as `/ready` says it. Asked after a 503 only.
pub(super) type IsReady = Arc<dyn Fn() -> bool + Send + Sync>;

impl<S> Farewell<S> {
    pub(super) const fn new(inner: S, readiness: Readiness, is_ready: IsReady) -> Self {
        Self { inner, readiness, is_ready }
    }
}

impl<S, A, B> Service<Request<A>> for Farewell<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let keeps = request.version() <= Version::HTTP_11;
        let (readiness, is_ready) = (self.readiness.clone(), self.is_ready.clone());
        let answering = self.inner.call(request);
        Box::pin(async move {
            let mut response = answering.await?;
            let is_of_no_use = || response.status() == StatusCode::SERVICE_UNAVAILABLE && !is_ready();
            if keeps && (readiness.is_stopping() || is_of_no_use()) {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::convert::Infallible;
    use tower::{ServiceExt as _, service_fn};

    async fn says(readiness: &Readiness, version: Version) -> Option<HeaderValue> {
        asked(readiness, version, StatusCode::OK, false).await
    }

    async fn asked(readiness: &Readiness, version: Version, status: StatusCode, ready: bool) -> Option<HeaderValue> {
        let answered = move || Response::builder().status(status).body(()).unwrap();
        let answer = move |_: Request<()>| async move { Ok::<_, Infallible>(answered()) };
        let inner = service_fn(answer);
        let request = Request::builder().version(version).body(()).unwrap();
        let farewell = Farewell::new(inner, readiness.clone(), Arc::new(move || ready));
        let response = farewell.oneshot(request).await.unwrap();
        response.headers().get(CONNECTION).cloned()
    }

    #[tokio::test]
    async fn connections_end_with_their_next_answer_once_the_node_stops() {
        let readiness = Readiness::default();
        assert_eq!(says(&readiness, Version::HTTP_11).await, None);
        readiness.set_importing(true);
        assert_eq!(says(&readiness, Version::HTTP_11).await, None, "not ready is not stopping");
        readiness.set_stopping();
        assert_eq!(says(&readiness, Version::HTTP_11).await, Some(HeaderValue::from_static("close")));
        assert_eq!(says(&readiness, Version::HTTP_2).await, None, "there it is no header");
    }

    #[tokio::test]
    async fn a_node_that_is_not_ready_sends_away_whom_it_cannot_serve() {
        let readiness = Readiness::default();
        let (busy, version) = (StatusCode::SERVICE_UNAVAILABLE, Version::HTTP_11);
        assert_eq!(asked(&readiness, version, busy, false).await, Some(HeaderValue::from_static("close")));
        assert_eq!(asked(&readiness, version, busy, true).await, None, "only busy");
        assert_eq!(asked(&readiness, version, StatusCode::OK, false).await, None, "what it can do, it does");
    }
}
