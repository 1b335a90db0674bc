//! While the node stops, each answer on HTTP/1.1 is the last on its connection, so that clients that keep connections
//! come back through their balancer, to another node, before the door closes.
//!
//! In: answers. Out: the same, with `Connection: close`. Without it a client could send its next request on a
//! connection that is being closed at that moment. Deliberately absent: HTTP/2, which says goodbye by itself (GOAWAY).

use super::readiness::Readiness;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response, Version};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower::Service;

/// A door's service, with the farewell around it.
#[derive(Clone)]
pub(super) struct Farewell<S> {
    inner: S,
    readiness: Readiness,
}

impl<S> Farewell<S> {
    pub(super) const fn new(inner: S, readiness: Readiness) -> Self {
        Self { inner, readiness }
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
        let (readiness, answering) = (self.readiness.clone(), self.inner.call(request));
        Box::pin(async move {
            let mut response = answering.await?;
            if keeps && readiness.is_stopping() {
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
        let inner = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(())));
        let request = Request::builder().version(version).body(()).unwrap();
        let response = Farewell::new(inner, readiness.clone()).oneshot(request).await.unwrap();
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
}
