//! How often one caller may call.
//!
//! In: who calls, and when. Out: leave, or after how many seconds to come again. One token bucket per caller: the name of
//! a client, of a certificate or of a token, else an address. Deliberately absent: who the caller is, and whether it may
//! call at all. That no token is guessed is due to its length; the bucket bounds what calls cost.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Callers told apart at one time. Beyond, the ones that have not called for long enough to have a full bucket are
/// forgotten; if there is none, newcomers share one bucket, so that nobody can fill the memory with addresses.
const CALLERS_MAX: usize = 1024;

/// The name of the bucket that newcomers share then; no certificate and no address has it.
const SHARED: &str = "";

/// How often one caller may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Calls at once after a pause.
    pub burst: u32,
    /// Calls per second in the long run.
    pub per_second: u32,
}

impl Default for RateLimit {
    /// Enough for a tool that imports keystores one by one.
    fn default() -> Self {
        Self { burst: 100, per_second: 10 }
    }
}

/// The buckets of all callers.
#[derive(Debug)]
pub(crate) struct Buckets {
    limit: RateLimit,
    callers: Mutex<HashMap<String, Bucket>>,
}

/// What one caller has left.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    limit: RateLimit,
    calls: f64,
    filled: Instant,
}

impl Buckets {
    /// `limit` is for callers of whom nothing else is said.
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self { limit, callers: Mutex::default() }
    }

    /// Takes a call out of the caller's bucket.
    ///
    /// # Errors
    /// Whole seconds after which there is one again, at least 1.
    pub(crate) fn take(&self, caller: &str, now: Instant) -> Result<(), u64> {
        self.take_within(caller, self.limit, now)
    }

    /// [`Self::take`] for a caller with a limit of its own, which may be another one than at its last call.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn take_within(&self, caller: &str, limit: RateLimit, now: Instant) -> Result<(), u64> {
        let limit = limit.sensible();
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if !callers.contains_key(caller) && callers.len() >= CALLERS_MAX {
            callers.retain(|_, bucket| !bucket.filled(bucket.limit, now).is_full());
        }
        let known = callers.contains_key(caller) || callers.len() < CALLERS_MAX;
        let name = if known { caller } else { SHARED };
        if let Some(bucket) = callers.get_mut(name) {
            *bucket = bucket.filled(limit, now);
            return bucket.take();
        }
        callers.entry(name.to_owned()).or_insert(Bucket::full(limit, now)).take()
    }
}

impl Bucket {
    fn full(limit: RateLimit, now: Instant) -> Self {
        Self { limit, calls: f64::from(limit.burst), filled: now }
    }

    fn is_full(&self) -> bool {
        self.calls >= f64::from(self.limit.burst)
    }

    /// As it is now, under this limit from now on.
    fn filled(&self, limit: RateLimit, now: Instant) -> Self {
        let since = now.saturating_duration_since(self.filled).as_secs_f64();
        let calls = f64::from(self.limit.per_second).mul_add(since, self.calls).min(f64::from(limit.burst));
        Self { limit, calls, filled: now }
    }

    fn take(&mut self) -> Result<(), u64> {
        if self.calls < 1.0 {
            let seconds = (1.0 - self.calls) / f64::from(self.limit.per_second);
            // At most one call is missing, so this is a small number.
            return Err((seconds.ceil() as u64).max(1));
        }
        self.calls -= 1.0;
        Ok(())
    }
}

impl RateLimit {
    /// A bucket that holds nothing, or never fills, would refuse everybody for ever.
    fn sensible(self) -> Self {
        Self { burst: self.burst.max(1), per_second: self.per_second.max(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_then_a_rate_and_each_caller_for_itself() {
        let (buckets, start) = (Buckets::new(RateLimit { burst: 3, per_second: 2 }), Instant::now());
        let taken = |caller: &str, after: u64| buckets.take(caller, start + Duration::from_millis(after));
        for _ in 0..3 {
            assert_eq!(taken("alice", 0), Ok(()));
        }
        assert_eq!(taken("alice", 0), Err(1));
        assert_eq!(taken("bob", 0), Ok(()), "another caller");
        assert_eq!(taken("alice", 400), Err(1));
        assert_eq!(taken("alice", 500), Ok(()), "two calls per second");
        assert_eq!(taken("alice", 500), Err(1));
        for _ in 0..3 {
            assert_eq!(taken("alice", 3_600_000), Ok(()), "never more than a burst");
        }
        assert_eq!(taken("alice", 3_600_000), Err(1));
    }

    #[test]
    fn strangers_cannot_fill_the_memory_or_lock_out_who_is_known() {
        let (buckets, start) = (Buckets::new(RateLimit { burst: 2, per_second: 1 }), Instant::now());
        for number in 0..CALLERS_MAX {
            assert_eq!(buckets.take(&number.to_string(), start), Ok(()));
        }
        // None of them has a full bucket, so newcomers share one.
        for number in 0..2 {
            assert_eq!(buckets.take(&format!("new {number}"), start), Ok(()));
        }
        assert_eq!(buckets.take("new 2", start), Err(1));
        assert_eq!(buckets.take("7", start), Ok(()), "its own second call");
        let held = |buckets: &Buckets| buckets.callers.lock().map_or(0, |callers| callers.len());
        assert_eq!(held(&buckets), CALLERS_MAX + 1);
        assert_eq!(buckets.take("later", start + Duration::from_secs(60)), Ok(()));
        assert_eq!(held(&buckets), 1, "idle callers are forgotten");
    }

    #[test]
    fn a_limit_of_nothing_is_a_limit_of_one() {
        let (buckets, start) = (Buckets::new(RateLimit { burst: 0, per_second: 0 }), Instant::now());
        assert_eq!(buckets.take("alice", start), Ok(()));
        assert_eq!(buckets.take("alice", start + Duration::from_secs(2)), Ok(()));
    }

    #[test]
    fn a_caller_with_a_limit_of_its_own_keeps_what_it_has_left_when_that_changes() {
        let (buckets, start) = (Buckets::new(RateLimit { burst: 1, per_second: 1 }), Instant::now());
        let taken = |burst, per_second, after| {
            buckets.take_within("alice", RateLimit { burst, per_second }, start + Duration::from_secs(after))
        };
        for _ in 0..10 {
            assert_eq!(taken(10, 5, 0), Ok(()));
        }
        assert_eq!(taken(10, 5, 0), Err(1));
        assert_eq!(taken(100, 50, 0), Err(1), "a greater limit fills from now on");
        for _ in 0..50 {
            assert_eq!(taken(100, 50, 1), Ok(()));
        }
        assert_eq!(taken(100, 50, 1), Err(1));
        for _ in 0..2 {
            assert_eq!(taken(2, 1, 60), Ok(()), "a smaller one holds at once");
        }
        assert_eq!(taken(2, 1, 60), Err(1));
        assert_eq!(buckets.take("bob", start), Ok(()));
        assert_eq!(buckets.take("bob", start), Err(1));
    }
}
