//! A request body that is read to its end even if nobody wants it.
//!
//! In: any request body. Out: the same body; if it is dropped before its end, what is left is read and thrown away
//! beside the answer, within bounds. Otherwise a client that is still sending finds its connection (HTTP/1.1) or stream
//! (HTTP/2) reset, and many then never look at the answer. Deliberately absent: why the body was not wanted.

use axum::body::Body;
use bytes::Bytes;
use http::header::EXPECT;
use http::request::Parts;
use http::{HeaderMap, Version};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How much of an unwanted body is read.
const DRAIN_BYTES_MAX: usize = 64 << 20;

/// How long that may take.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// Unwanted bodies read at one time; without a place the connection is simply closed or the stream reset.
pub(crate) const DRAINS_MAX: usize = 32;

/// A body with its rest.
struct Drained {
    body: Body,
    places: Arc<Semaphore>,
    /// The client sends: it did not ask first, or was told to go on because somebody wanted to read.
    is_coming: bool,
    is_over: bool,
}

/// Sees to the rest of this request's body; `places` bounds how many are read at one time.
pub(super) fn drained(parts: &Parts, body: Body, places: &Arc<Semaphore>) -> Body {
    use http_body::Body as _;
    if body.is_end_stream() {
        return body;
    }
    // Reading would tell the client to go on, after the answer.
    let asks_first = parts.version < Version::HTTP_2 && expects_continue(&parts.headers);
    Body::new(Drained { body, places: places.clone(), is_coming: !asks_first, is_over: false })
}

fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

impl http_body::Body for Drained {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.is_coming = true;
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.is_over |= matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        use http_body::Body as _;
        if self.is_over || !self.is_coming || self.body.is_end_stream() {
            return;
        }
        let place = self.places.clone().try_acquire_owned();
        // Outside of a runtime the connection is gone, too.
        if let (Ok(place), Ok(runtime)) = (place, Handle::try_current()) {
            runtime.spawn(drain(std::mem::take(&mut self.body), place));
        }
    }
}

async fn drain(mut body: Body, place: OwnedSemaphorePermit) {
    use http_body::Body as _;
    let discard = async {
        let mut seen = 0;
        while let Some(Ok(frame)) = body.frame().await {
            seen += frame.data_ref().map_or(0, Bytes::len);
            // A body of known length is over with its last byte; hyper may report the end much later.
            if seen > DRAIN_BYTES_MAX || body.is_end_stream() {
                break;
            }
        }
    };
    // Whether it came to its end or not, the answer is on its way and the body is dropped.
    let _enough = timeout(DRAIN_TIME_MAX, discard).await;
    drop(place);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;
    use futures::channel::mpsc::{Sender, channel};
    use futures::{SinkExt as _, StreamExt as _};
    use http::Request;
    use std::convert::Infallible;
    use std::future::pending;

    /// A body that takes a piece only when it is read.
    fn body(version: Version, expect: Option<&str>, places: &Arc<Semaphore>) -> (Sender<Bytes>, Body) {
        let (sender, receiver) = channel(0);
        let mut request = Request::builder().version(version);
        if let Some(expect) = expect {
            request = request.header(EXPECT, expect);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let body = Body::from_stream(receiver.map(Ok::<Bytes, Infallible>));
        (sender, drained(&parts, body, places))
    }

    /// Whether all of many pieces were taken.
    async fn is_read(mut sender: Sender<Bytes>) -> bool {
        for _ in 0..64 {
            if sender.send(Bytes::from_static(&[7; 1024])).await.is_err() {
                return false;
            }
        }
        true
    }

    #[tokio::test]
    async fn what_nobody_read_is_read() {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let places = Arc::new(Semaphore::new(1));
            let (sender, body) = body(version, None, &places);
            drop(body);
            assert_eq!(places.available_permits(), 0);
            assert!(timeout(DRAIN_TIME_MAX, is_read(sender)).await.unwrap(), "{version:?}");
            let _given_back = timeout(DRAIN_TIME_MAX, places.acquire()).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn a_client_that_asks_first_is_not_told_to_go_on() {
        for (version, started, expected) in
            [(Version::HTTP_11, false, false), (Version::HTTP_11, true, true), (Version::HTTP_2, false, true)]
        {
            let places = Arc::new(Semaphore::new(1));
            let (mut sender, mut body) = body(version, Some("100-Continue"), &places);
            if started {
                let (sent, read) = tokio::join!(sender.send(Bytes::from_static(b"first")), body.frame());
                sent.unwrap();
                assert!(read.unwrap().unwrap().is_data());
            }
            drop(body);
            assert_eq!(is_read(sender).await, expected, "{version:?} {started}");
        }
    }

    #[tokio::test]
    async fn without_a_place_the_rest_is_left() {
        let places = Arc::new(Semaphore::new(0));
        let (sender, body) = body(Version::HTTP_2, None, &places);
        drop(body);
        assert!(!is_read(sender).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_left_in_the_end() {
        let places = Arc::new(Semaphore::new(1));
        let (sender, dripping) = body(Version::HTTP_2, None, &places);
        drop(dripping);
        let (parts, ()) = Request::new(()).into_parts();
        let read_to_its_end = drained(&parts, Body::from("whole"), &places);
        read_to_its_end.collect().await.unwrap();
        tokio::select! {
            place = places.acquire() => drop(place.unwrap()),
            () = pending() => {}
        }
        assert!(!is_read(sender).await);
    }
}
