//! Who shares a question with whom.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use futures::future::{join_all, poll_immediate};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::oneshot;

/// Answers with the number of the question.
struct Counter(AtomicU64);

impl Counter {
    async fn ask(&self) -> u64 {
        let number = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        tokio::task::yield_now().await;
        number
    }

    /// Answers only after `gate` has opened.
    async fn held(&self, gate: oneshot::Receiver<()>) -> u64 {
        let number = self.ask().await;
        gate.await.unwrap();
        number
    }
}

#[tokio::test]
async fn callers_that_wait_share_one_question_and_never_one_that_began_before_they_came() {
    let (rounds, counter) = (Rounds::default(), Counter(AtomicU64::new(0)));
    let (open, gate) = oneshot::channel();
    let mut first = pin!(rounds.ask(counter.held(gate)));
    for _ in 0..3 {
        assert_eq!(poll_immediate(&mut first).await, None);
    }
    let mut late = pin!(join_all((0..100).map(|_| rounds.ask(counter.ask()))));
    assert!(poll_immediate(&mut late).await.is_none());
    assert_eq!(counter.0.load(Ordering::Relaxed), 1, "the second question waits for the first");
    open.send(()).unwrap();
    assert_eq!(first.await, 1);
    assert_eq!(late.await, vec![2; 100], "one question for all who came meanwhile, and not the first");
    assert_eq!(rounds.ask(counter.ask()).await, 3);
}

#[tokio::test]
async fn when_the_one_who_asks_gives_up_the_next_of_the_round_asks() {
    let (rounds, counter) = (Rounds::default(), Counter(AtomicU64::new(0)));
    let (open, gate) = oneshot::channel();
    let mut first = pin!(rounds.ask(counter.held(gate)));
    assert_eq!(poll_immediate(&mut first).await, None);
    let (_never, closed) = oneshot::channel();
    let mut gives_up = Box::pin(rounds.ask(counter.held(closed)));
    assert_eq!(poll_immediate(&mut gives_up).await, None);
    let mut others = pin!(join_all((0..3).map(|_| rounds.ask(counter.ask()))));
    assert!(poll_immediate(&mut others).await.is_none());
    open.send(()).unwrap();
    assert_eq!(first.await, 1);
    assert_eq!(poll_immediate(&mut gives_up).await, None);
    assert_eq!(counter.0.load(Ordering::Relaxed), 2, "the first of the second round asks");
    assert!(poll_immediate(&mut others).await.is_none());
    drop(gives_up);
    assert_eq!(others.await, [3, 3, 3], "one of the others asks for them all");
}
