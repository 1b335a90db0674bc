//! A circuit breaker: a service that failed several times in a row is left alone for a while, then tried once.
//!
//! In: the time, and whether calls went well. Out: leave to call, or how long to wait. Deliberately absent: clocks,
//! calls and locks; this is a state machine and nothing else.

use std::time::Duration;
use tokio::time::Instant;

/// Failures in a row after which the service is left alone: more than one call with all its attempts can produce, so
/// that a single hiccup never opens the circuit.
pub(super) const FAILURES_MAX: u32 = 5;
/// The first pause; doubled by each failed probe.
pub(super) const PAUSE_MIN: Duration = Duration::from_secs(5);
/// The longest pause: what an operator waits at most after the service is back.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(30);

pub(super) struct Breaker {
    failures: u32,
    open: Option<Open>,
    /// How long a probe may take. One that was given up without a word counts as failed after that.
    probe_deadline: Duration,
}

struct Open {
    pause: Duration,
    until: Instant,
    probing: bool,
}

impl Breaker {
    pub(super) const fn new(probe_deadline: Duration) -> Self {
        Self { failures: 0, open: None, probe_deadline }
    }

    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Leave to call now, or the time until the next probe.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if now < open.until {
            return Err(open.until.duration_since(now));
        }
        open.probing = true;
        open.until = now + self.probe_deadline;
        Ok(())
    }

    /// How an admitted call ended; `healthy` when the service answered for itself, even if it refused.
    pub(super) fn record(&mut self, now: Instant, healthy: bool) {
        if healthy {
            self.failures = 0;
            self.open = None;
            return;
        }
        self.failures = self.failures.saturating_add(1);
        match &mut self.open {
            Some(open) if open.probing => {
                let pause = (open.pause * 2).min(PAUSE_MAX);
                self.open = Some(Open { pause, until: now + pause, probing: false });
            }
            // A call that was under way when the circuit opened says nothing new.
            Some(_) => {}
            None if self.failures >= FAILURES_MAX => {
                self.open = Some(Open { pause: PAUSE_MIN, until: now + PAUSE_MIN, probing: false });
            }
            None => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const PROBE: Duration = Duration::from_secs(3);

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(PROBE);
        for _ in 0..FAILURES_MAX {
            assert!(!breaker.is_open());
            breaker.admit(now).unwrap();
            breaker.record(now, false);
        }
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new(PROBE);
        for _ in 0..3 {
            for _ in 1..FAILURES_MAX {
                breaker.record(now, false);
            }
            breaker.record(now, true);
        }
        assert!(!breaker.is_open());
        assert_eq!(breaker.admit(now), Ok(()));
    }

    #[test]
    fn an_open_circuit_lets_one_probe_through_after_the_pause() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.admit(now), Err(PAUSE_MIN));
        let later = now + PAUSE_MIN;
        assert_eq!(breaker.admit(later - Duration::from_millis(1)), Err(Duration::from_millis(1)));
        assert_eq!(breaker.admit(later), Ok(()));
        assert_eq!(breaker.admit(later), Err(PROBE), "one probe at a time");
        breaker.record(later, true);
        assert!(!breaker.is_open());
        assert_eq!(breaker.admit(later), Ok(()));
    }

    #[test]
    fn failed_probes_double_the_pause_up_to_its_limit() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        let mut pause = PAUSE_MIN;
        for _ in 0..8 {
            assert_eq!(breaker.admit(now), Err(pause));
            now += pause;
            breaker.admit(now).unwrap();
            breaker.record(now, false);
            pause = (pause * 2).min(PAUSE_MAX);
        }
        assert_eq!(pause, PAUSE_MAX);
        breaker.admit(now + PAUSE_MAX).unwrap();
        breaker.record(now + PAUSE_MAX, true);
        assert_eq!(breaker.failures, 0, "after a success it is as good as new");
    }

    #[test]
    fn a_probe_that_never_ends_does_not_block_the_next() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.admit(now + PAUSE_MIN).unwrap();
        assert_eq!(breaker.admit(now + PAUSE_MIN + PROBE), Ok(()));
    }

    #[test]
    fn calls_that_were_under_way_do_not_prolong_the_pause() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.record(now + Duration::from_secs(1), false);
        assert_eq!(breaker.admit(now + PAUSE_MIN), Ok(()));
    }
}
