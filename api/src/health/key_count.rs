//! How many keys the cluster has, counted at most once a second.

use consigner_raft::Cluster;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Monitors ask every second, some several times, and counting 100,000 validators holds up `apply` for a millisecond.
const FRESH: Duration = Duration::from_secs(1);

/// The number of keys as last counted.
#[derive(Debug, Default)]
pub(crate) struct KeyCount(Mutex<Option<(Instant, usize)>>);

impl KeyCount {
    pub(super) fn known(&self, cluster: &Cluster) -> usize {
        self.fresh(Instant::now(), || cluster.read(|state| state.keys().count()))
    }

    fn fresh(&self, now: Instant, count: impl FnOnce() -> usize) -> usize {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *last {
            Some((counted, known)) if now.duration_since(counted) < FRESH => known,
            Some(_) | None => {
                let known = count();
                *last = Some((now, known));
                known
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_again_only_after_a_second() {
        let (count, start) = (KeyCount::default(), Instant::now());
        assert_eq!(count.fresh(start, || 1), 1);
        assert_eq!(count.fresh(start + FRESH / 2, || 2), 1);
        assert_eq!(count.fresh(start + FRESH, || 3), 3);
    }
}
