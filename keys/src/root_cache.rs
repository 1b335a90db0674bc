//! One slot, one root: remembers which signing roots were hashed to the curve lately.
//!
//! In: signing roots. Out: curve points, public data. Three hundred attesters of one slot hash their common root once,
//! also when they all arrive at the same moment: the first hashes, the others wait for it. Deliberately absent: secrets.

use crate::bls::{HashedRoot, hash_to_curve};
use consigner_rules::Root;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Roots remembered by default: a slot has about a dozen common roots (attestations, sync committee, selection proofs,
/// randao) among unique ones (aggregates); 256 keep the common ones over a burst of unique ones, in 100 KiB.
pub(crate) const HASHED_ROOTS_DEFAULT: usize = 256;

pub(crate) struct RootCache {
    recent: Mutex<Recent>,
    limit: usize,
}

#[derive(Default)]
struct Recent {
    entries: HashMap<Root, Entry>,
    uses: u64,
}

struct Entry {
    point: Arc<OnceLock<HashedRoot>>,
    last_use: u64,
}

impl RootCache {
    pub(crate) fn new(limit: usize) -> Self {
        Self { recent: Mutex::new(Recent::default()), limit: limit.max(1) }
    }

    /// The root on the curve, from memory or computed now.
    pub(crate) fn hashed(&self, root: &Root) -> HashedRoot {
        self.hashed_by(root, hash_to_curve)
    }

    /// Keeps every thread that needs a root waiting until the guard is dropped.
    #[cfg(test)]
    pub(crate) fn freeze(&self) -> impl Drop + '_ {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn knows(&self, root: &Root) -> bool {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).entries.contains_key(root)
    }

    fn hashed_by(&self, root: &Root, hash: impl FnOnce(&Root) -> HashedRoot) -> HashedRoot {
        let point = self.recent.lock().unwrap_or_else(PoisonError::into_inner).point(root, self.limit);
        // Outside the mutex: others may look up other roots while this one is computed.
        *point.get_or_init(|| hash(root))
    }
}

impl Recent {
    fn point(&mut self, root: &Root, limit: usize) -> Arc<OnceLock<HashedRoot>> {
        self.uses += 1;
        if let Some(entry) = self.entries.get_mut(root) {
            entry.last_use = self.uses;
            return Arc::clone(&entry.point);
        }
        if self.entries.len() >= limit {
            self.forget_oldest();
        }
        let entry = Entry { point: Arc::default(), last_use: self.uses };
        let point = Arc::clone(&entry.point);
        self.entries.insert(*root, entry);
        point
    }

    /// A scan over a few hundred entries costs less than a thousandth of the hash that follows it.
    fn forget_oldest(&mut self) {
        let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.last_use).map(|(root, _)| *root);
        if let Some(root) = oldest {
            self.entries.remove(&root);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    fn root(number: u8) -> Root {
        Root([number; 32])
    }

    #[test]
    fn a_root_that_many_ask_for_at_once_is_hashed_once() {
        const ASKERS: usize = 32;
        let cache = RootCache::new(4);
        let (hashes, start) = (AtomicUsize::new(0), Barrier::new(ASKERS));
        thread::scope(|scope| {
            for _ in 0..ASKERS {
                scope.spawn(|| {
                    start.wait();
                    let point = cache.hashed_by(&root(1), |root| {
                        hashes.fetch_add(1, Ordering::Relaxed);
                        hash_to_curve(root)
                    });
                    assert_eq!(point, hash_to_curve(&root(1)));
                });
            }
        });
        assert_eq!(hashes.into_inner(), 1);
    }

    #[test]
    fn the_root_unused_for_longest_makes_room() {
        let cache = RootCache::new(2);
        cache.hashed(&root(1));
        cache.hashed(&root(2));
        cache.hashed(&root(1));
        cache.hashed(&root(3));
        let recent = cache.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut held: Vec<Root> = recent.entries.keys().copied().collect();
        held.sort();
        assert_eq!(held, [root(1), root(3)]);
    }
}
