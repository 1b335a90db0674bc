//! The serving lease (DESIGN 4a): how long a node may sign what cannot be slashed without hearing of a quorum.
//!
//! In: answers to pings, each counted from the time its ping was sent; the leader's own quorum acknowledgements.
//! Out: whether the lease is alive now. Whether a slashable message may be signed never depends on it; that a signature,
//! of whatever type, leaves this node does, because a deletion that could not reach the node counts on that (S6).

use crate::clock::Instant;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The lease of one node.
#[derive(Debug)]
pub struct Lease {
    length: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Last instant at which a quorum was known to stand behind the leader this node follows (or is).
    renewed: Option<Instant>,
    /// The leader that the renewal spoke of.
    leader: Option<u64>,
}

impl Lease {
    /// A lease of length X that was never renewed.
    pub fn new(length: Duration) -> Self {
        Self { length, state: Mutex::default() }
    }

    /// Length X.
    pub const fn length(&self) -> Duration {
        self.length
    }

    /// Renews from `since`: the time the ping was sent, or of the leader's own quorum acknowledgement.
    pub fn renew(&self, leader: u64, since: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.renewed.is_none_or(|renewed| renewed < since) {
            *state = State { renewed: Some(since), leader: Some(leader) };
        }
    }

    /// Whether the lease is alive now.
    pub fn is_alive(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.renewed.is_some_and(|renewed| renewed.elapsed() < self.length)
    }

    /// How long ago the renewal was that speaks of `leader`, if the last one does.
    pub fn age(&self, leader: u64) -> Option<Duration> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.renewed.filter(|_| state.leader == Some(leader)).map(Instant::elapsed)
    }

    /// Whether `leader` answered lately enough to send a client to it.
    pub fn vouches_for(&self, leader: u64) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.leader == Some(leader) && state.renewed.is_some_and(|renewed| renewed.elapsed() < self.length / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_answer_never_shortens_or_revives_a_lease() {
        let lease = Lease::new(Duration::from_secs(60));
        assert!(!lease.is_alive());
        lease.renew(1, Instant::now().before(Duration::from_secs(61)));
        assert!(!lease.is_alive(), "counted from when the ping was sent");
        lease.renew(2, Instant::now());
        lease.renew(1, Instant::now().before(Duration::from_secs(59)));
        assert!(lease.is_alive() && lease.vouches_for(2), "an older answer changes nothing");
        assert!(!lease.vouches_for(1));
    }
}
