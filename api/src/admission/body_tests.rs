#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use axum::extract::Request;
use futures::stream;
use std::convert::Infallible;

const RULES: BodyRules = BodyRules { bytes_max: 4096, time_max: Duration::from_secs(5) };

fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits))
}

/// A body of unknown length, as a chunked request has it.
fn chunked(chunks: Vec<usize>) -> Request {
    let pieces = chunks.into_iter().map(|length| Ok::<_, Infallible>(Bytes::from(vec![7_u8; length])));
    Request::new(Body::from_stream(stream::iter(pieces)))
}

#[tokio::test]
async fn a_body_up_to_the_limit_is_whole() {
    for chunks in [vec![], vec![4096], vec![1, 4095], vec![1000, 0, 1000, 2096]] {
        let length: usize = chunks.iter().sum();
        let body = read(chunked(chunks), RULES, None).await.unwrap();
        assert_eq!(&*body, vec![7_u8; length]);
    }
}

#[tokio::test]
async fn one_byte_more_is_refused_whatever_its_framing() {
    for request in [chunked(vec![4097]), chunked(vec![4096, 1]), Request::new(Body::from(vec![7_u8; 4097]))] {
        let refused = read(request, RULES, None).await;
        assert!(matches!(refused, Err(BodyError::TooLarge { bytes_max: 4096 })), "{refused:?}");
    }
}

#[tokio::test]
async fn an_endless_body_is_refused_without_waiting_for_its_end() {
    let endless = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[7; 1024])));
    let refused = read(Request::new(Body::from_stream(endless)), RULES, None).await;
    assert!(matches!(refused, Err(BodyError::TooLarge { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_declared_length_over_the_limit_is_refused_before_anything_is_read() {
    struct Declared;
    impl http_body::Body for Declared {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
            panic!("the body was read")
        }

        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact(4097)
        }
    }
    let refused = read(Request::new(Body::new(Declared)), RULES, None).await;
    assert!(matches!(refused, Err(BodyError::TooLarge { .. })), "{refused:?}");
}

#[tokio::test]
async fn bodies_share_their_memory_and_give_it_back() {
    let room = semaphore(3);
    let held = read(chunked(vec![1024, 1]), RULES, Some(&room)).await.unwrap();
    assert_eq!(room.available_permits(), 1);
    let refused = read(chunked(vec![1024, 1]), RULES, Some(&room)).await;
    assert!(matches!(refused, Err(BodyError::NoRoom)), "{refused:?}");
    assert_eq!(room.available_permits(), 1, "a refused body keeps nothing");
    drop(held);
    assert_eq!(room.available_permits(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_drips_is_given_up() {
    let dripping = stream::pending::<Result<Bytes, Infallible>>();
    let refused = read(Request::new(Body::from_stream(dripping)), RULES, None).await;
    assert!(matches!(refused, Err(BodyError::Slow(_))), "{refused:?}");
}
