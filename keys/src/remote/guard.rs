//! What stands between this program and a service that may be slow, busy or away.
//!
//! ```text
//! call --breaker--> attempt (deadline) --failed, and a retry helps--> backoff (full jitter) --> attempt ..
//! ```
//! In: a call as a closure that can be made again. Out: its result within a bounded time, and metrics. Deliberately
//! absent: what the call does, and repeating it for longer than seconds: whoever needs the answer asks again later.

use super::breaker::Breaker;
use super::failure::{CallError, Failure};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// One attempt, connecting and logging in included. KMS and Vault answer within tens of milliseconds.
pub(crate) const ATTEMPT_DEADLINE: Duration = Duration::from_secs(5);
/// Attempts of one call, the first included.
pub(super) const ATTEMPTS_MAX: u32 = 4;
/// The longest first pause; the pause is random below it (full jitter), so that nodes do not come back in step.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
/// The longest pause.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// A call, for errors and metrics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The exact call, one of few: `kms:Decrypt`.
    pub(crate) name: &'static str,
    /// The key or secret that it is about.
    pub(crate) key: &'a str,
}

impl Call<'_> {
    /// This call, failed.
    pub(crate) fn failed(&self, failure: Failure, hint: impl Into<String>, cause: Option<String>) -> CallError {
        let cause = cause.map(Into::into);
        CallError { call: self.name.to_owned(), key: self.key.to_owned(), failure, hint: hint.into(), cause }
    }
}

/// Guards all calls to one service.
pub(crate) struct Guard {
    service: &'static str,
    /// For the hint of a call without answer.
    endpoint: String,
    deadline: Duration,
    state: Mutex<State>,
}

struct State {
    breaker: Breaker,
    /// What opened the circuit, for the error of calls that are not made.
    last_failure: String,
}

impl Guard {
    /// `service` is the label of its metrics, `endpoint` what people know it by, `deadline` that of one attempt.
    pub(crate) fn new(service: &'static str, endpoint: impl Into<String>, deadline: Duration) -> Self {
        metrics::gauge!("consigner_sealer_breaker_open", "sealer" => service).set(0.0);
        let state = State { breaker: Breaker::new(deadline), last_failure: String::new() };
        Self { service, endpoint: endpoint.into(), deadline, state: Mutex::new(state) }
    }

    /// Where the service is, for people.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Makes a call, again where that can help. Takes at most [`ATTEMPTS_MAX`] deadlines and the pauses between them.
    ///
    /// # Errors
    /// That of the last attempt; [`Failure::CircuitOpen`] without any attempt.
    pub(crate) async fn call<T, F>(&self, call: Call<'_>, mut attempt: impl FnMut() -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let mut backoff = BACKOFF_MIN;
        let mut result = self.attempt(call, &mut attempt).await;
        for _ in 1..ATTEMPTS_MAX {
            match &result {
                Err(error) if error.failure.retry_helps() && !self.state().breaker.is_open() => {}
                Ok(_) | Err(_) => break,
            }
            tokio::time::sleep(below(backoff)).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
            result = self.attempt(call, &mut attempt).await;
        }
        result
    }

    async fn attempt<T, F>(&self, call: Call<'_>, attempt: &mut impl FnMut() -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        self.admit(call)?;
        let began = Instant::now();
        let result = match tokio::time::timeout(self.deadline, attempt()).await {
            Ok(result) => result,
            Err(_) => Err(call.failed(Failure::TimedOut(self.deadline), self.unreachable_hint(), None)),
        };
        metrics::histogram!("consigner_sealer_call_seconds", "sealer" => self.service, "call" => call.name)
            .record(began.elapsed().as_secs_f64());
        self.record(call, &result);
        result
    }

    fn admit(&self, call: Call<'_>) -> Result<(), CallError> {
        let mut state = self.state();
        state.breaker.admit(Instant::now()).map_err(|wait| {
            self.count(call, Failure::CircuitOpen(wait).label());
            call.failed(Failure::CircuitOpen(wait), format!("last failure: {}", state.last_failure), None)
        })
    }

    fn record<T>(&self, call: Call<'_>, result: &Result<T, CallError>) {
        self.count(call, result.as_ref().map_or_else(|error| error.failure.label(), |_| "ok"));
        let mut state = self.state();
        let was_open = state.breaker.is_open();
        let healthy = result.as_ref().err().is_none_or(|error| !error.failure.retry_helps());
        state.breaker.record(Instant::now(), healthy);
        let is_open = state.breaker.is_open();
        if let Some(error) = result.as_ref().err().filter(|_| !healthy) {
            state.last_failure = error.chain();
        }
        drop(state);
        if was_open != is_open {
            let value = if is_open { 1.0 } else { 0.0 };
            metrics::gauge!("consigner_sealer_breaker_open", "sealer" => self.service).set(value);
            tracing::info!(service = self.service, open = is_open, "the circuit to a key service changed");
        }
    }

    fn count(&self, call: Call<'_>, outcome: &'static str) {
        metrics::counter!(
            "consigner_sealer_calls_total",
            "sealer" => self.service, "call" => call.name, "outcome" => outcome
        )
        .increment(1);
    }

    /// What to look at when there is no answer.
    pub(crate) fn unreachable_hint(&self) -> String {
        format!("is {} up, and reachable from this node?", self.endpoint)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A random part of a duration.
pub(crate) fn below(limit: Duration) -> Duration {
    let mut random = [0_u8; 4];
    // Without randomness the full pause is a fine pause.
    let share =
        getrandom::fill(&mut random).map_or(1.0, |()| f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX));
    limit.mul_f64(share)
}
