//! The guard under a paused clock: what is tried again, for how long, and when it is not tried at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::breaker::{FAILURES_MAX, PAUSE_MAX, PAUSE_MIN};
use super::failure::{CallError, Failure};
use super::guard::{ATTEMPT_DEADLINE, ATTEMPTS_MAX, Call, Guard};
use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;

const CALL: Call<'static> = Call { name: "kms:Decrypt", key: "alias/test" };

fn guard() -> Guard {
    Guard::new("test", "the test", ATTEMPT_DEADLINE)
}

/// Calls with an attempt that fails `failures` times, then succeeds; the result and the number of attempts.
async fn call(guard: &Guard, failure: Failure, failures: u32) -> (Result<u32, CallError>, u32) {
    let attempts = Cell::new(0);
    let result = guard
        .call(CALL, || {
            attempts.set(attempts.get() + 1);
            let number = attempts.get();
            async move { if number > failures { Ok(number) } else { Err(CALL.failed(failure, "hint", None)) } }
        })
        .await;
    (result, attempts.get())
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_in_a_moment_is_tried_again() {
    for failure in [Failure::Unreachable, Failure::Throttled, Failure::Service, Failure::TimedOut(ATTEMPT_DEADLINE)] {
        let guard = guard();
        let began = Instant::now();
        let (result, attempts) = call(&guard, failure, ATTEMPTS_MAX - 1).await;
        assert_eq!((result.unwrap(), attempts), (ATTEMPTS_MAX, ATTEMPTS_MAX), "{failure}");
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn what_needs_somebody_is_tried_once() {
    let needs = [
        Failure::Sealed,
        Failure::Unauthenticated,
        Failure::Denied,
        Failure::Disabled,
        Failure::NotFound,
        Failure::Refused,
        Failure::Malformed,
    ];
    for failure in needs {
        let guard = guard();
        for _ in 0..2 * FAILURES_MAX {
            let (result, attempts) = call(&guard, failure, u32::MAX).await;
            assert_eq!((result.unwrap_err().failure, attempts), (failure, 1), "it opens no circuit either");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_and_their_time_are_bounded() {
    let guard = guard();
    let began = Instant::now();
    let result: Result<(), _> = guard.call(CALL, std::future::pending).await;
    let error = result.unwrap_err();
    assert_eq!(error.failure, Failure::TimedOut(ATTEMPT_DEADLINE));
    let text = error.to_string();
    assert!(text.starts_with("kms:Decrypt for alias/test gave no answer within 5000 ms; is the test up"), "{text}");
    let elapsed = began.elapsed();
    assert!(elapsed >= ATTEMPT_DEADLINE * ATTEMPTS_MAX, "{elapsed:?}");
    assert!(elapsed < ATTEMPT_DEADLINE * ATTEMPTS_MAX + Duration::from_secs(1), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_keeps_failing_is_left_alone_and_probed() {
    let guard = guard();
    let (_, first) = call(&guard, Failure::Service, u32::MAX).await;
    let (result, second) = call(&guard, Failure::Service, u32::MAX).await;
    assert_eq!((first, first + second), (ATTEMPTS_MAX, FAILURES_MAX), "retries stop when the circuit opens");
    assert_eq!(result.unwrap_err().failure, Failure::Service, "the error of the last attempt, not of the circuit");

    let (result, attempts) = call(&guard, Failure::Service, 0).await;
    let error = result.unwrap_err();
    assert_eq!((error.failure, attempts), (Failure::CircuitOpen(PAUSE_MIN), 0));
    assert!(error.to_string().contains("last failure: kms:Decrypt for alias/test failed on the side"), "{error}");
    assert!(error.may_pass());

    tokio::time::advance(PAUSE_MIN).await;
    assert_eq!(call(&guard, Failure::Service, u32::MAX).await.1, 1, "one probe, no retries");
    tokio::time::advance(PAUSE_MIN).await;
    assert_eq!(call(&guard, Failure::Service, 0).await.1, 0, "the pause doubled");
    tokio::time::advance(PAUSE_MAX).await;
    assert_eq!(call(&guard, Failure::Service, 0).await.0.unwrap(), 1);
    assert_eq!(call(&guard, Failure::Service, 1).await.1, 2, "closed: retries again");
}

#[test]
fn every_failure_says_something_of_its_own() {
    let all = [
        Failure::Unreachable,
        Failure::TimedOut(Duration::from_secs(1)),
        Failure::Throttled,
        Failure::Service,
        Failure::Sealed,
        Failure::Unauthenticated,
        Failure::Denied,
        Failure::Disabled,
        Failure::NotFound,
        Failure::Refused,
        Failure::Malformed,
        Failure::CircuitOpen(Duration::from_secs(1)),
    ];
    let mut texts: Vec<String> = all.iter().map(ToString::to_string).collect();
    let mut labels: Vec<&str> = all.iter().map(|failure| failure.label()).collect();
    for list in [&mut texts.iter().map(String::as_str).collect(), &mut labels] {
        list.sort_unstable();
        list.dedup();
        assert_eq!(list.len(), all.len());
    }
    texts.clear();
    for failure in all {
        assert!(!failure.retry_helps() || failure.may_pass(), "{failure}");
    }
}
