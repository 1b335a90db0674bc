//! What a door has seen, for metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a door has seen since it opened. Counters only grow; `open` is the present number.
#[derive(Debug, Default)]
pub struct DoorCounters {
    pub(super) accepted: AtomicU64,
    pub(super) handshakes_failed: AtomicU64,
    pub(super) refused_full: AtomicU64,
    pub(super) cut: AtomicU64,
    pub(super) accept_errors: AtomicU64,
    pub(super) expelled: AtomicU64,
    pub(super) address_refused: AtomicU64,
    closed: AtomicU64,
}

impl DoorCounters {
    /// Connections taken from the system.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Callers turned away during the handshake or by `admit`.
    pub fn handshakes_failed(&self) -> u64 {
        self.handshakes_failed.load(Ordering::Relaxed)
    }

    /// Connections closed because a cap was reached: at once, or while still unproved to make room for another.
    pub fn refused_full(&self) -> u64 {
        self.refused_full.load(Ordering::Relaxed)
    }

    /// Connections cut because they were slow or stuck.
    pub fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// Times that the system refused to hand over a connection (no file descriptors left, no memory).
    pub fn accept_errors(&self) -> u64 {
        self.accept_errors.load(Ordering::Relaxed)
    }

    /// Connections closed because of the caller's address, before any byte was read or right after a PROXY header.
    pub fn address_refused(&self) -> u64 {
        self.address_refused.load(Ordering::Relaxed)
    }

    /// Open connections cut because their caller would not be let in any more: its certificate was revoked, its CA or its
    /// pin was removed, or its address is no longer allowed.
    pub fn expelled(&self) -> u64 {
        self.expelled.load(Ordering::Relaxed)
    }

    /// Connections open now, those that have proved nothing yet included.
    pub fn open(&self) -> u64 {
        let closed = self.closed.load(Ordering::Acquire);
        self.accepted().saturating_sub(closed)
    }
}

/// Counts one connection as open.
pub(super) struct Counted(Arc<DoorCounters>);

impl Counted {
    pub(super) fn new(counters: Arc<DoorCounters>) -> Self {
        counters.accepted.fetch_add(1, Ordering::Relaxed);
        Self(counters)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Release);
    }
}
