//! Decides when a connection has been held long enough.
//!
//! hyper's own header timeout is not used: it also runs while a kept-alive connection waits for its next request, so
//! it cannot be short for a dripped head and long for an idle client. Here the socket counts bytes, the service counts
//! requests, and a pure function looks at both now and then. No clock is read per request.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::limits::DoorLimits;

/// A connection is looked at a few times per limit, at least this often ...
const TICK_MAX: Duration = Duration::from_secs(5);

/// ... and at most this often.
const TICK_MIN: Duration = Duration::from_millis(10);

/// What socket and service report about one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    /// `bytes_read` when the last request ended: what came later belongs to the next head.
    read_before_head: AtomicU64,
    requests: AtomicU64,
    in_flight: AtomicUsize,
    /// Answers whose body is not handed over yet.
    answers: AtomicUsize,
    /// How often a part of an answer was handed over, or an answer ended.
    answer_steps: AtomicU64,
    http2: AtomicBool,
}

impl Activity {
    pub(super) fn read(&self, bytes: usize) {
        self.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn written(&self, bytes: usize) {
        self.bytes_written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// HTTP/2 frames flow without requests (pings, window updates), so bytes say nothing about a head there.
    pub(super) fn is_http2(&self) {
        self.http2.store(true, Ordering::Relaxed);
    }

    pub(super) fn request_began(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn request_ended(&self) {
        self.read_before_head.store(self.bytes_read.load(Ordering::Relaxed), Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn answer_began(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answer_moved(&self) {
        self.answer_steps.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn answer_ended(&self) {
        self.answer_moved();
        self.answers.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn moved(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed) + self.bytes_written.load(Ordering::Relaxed)
    }

    fn head_began(&self) -> bool {
        !self.http2.load(Ordering::Relaxed)
            && self.bytes_read.load(Ordering::Relaxed) > self.read_before_head.load(Ordering::Relaxed)
    }
}

/// What to do with a connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Keep,
    /// Idle: close in an orderly way.
    Close,
    /// Slow or stuck: cut, for this reason.
    Cut(&'static str),
}

/// The memory of earlier looks at one connection.
#[derive(Debug)]
pub(super) struct Watch {
    requests: u64,
    quiet_since: Instant,
    head_since: Option<Instant>,
    moved: u64,
    still_since: Instant,
    answer_steps: u64,
    taken_since: Instant,
}

impl Watch {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            requests: 0,
            quiet_since: now,
            head_since: None,
            moved: 0,
            still_since: now,
            answer_steps: 0,
            taken_since: now,
        }
    }

    /// How often to look.
    pub(super) fn tick(limits: &DoorLimits) -> Duration {
        let shortest = limits.head_timeout.min(limits.idle_timeout).min(limits.stall_timeout);
        (shortest / 4).clamp(TICK_MIN, TICK_MAX)
    }

    /// One look. Errs by at most one tick, on the generous side.
    pub(super) fn look(&mut self, now: Instant, activity: &Activity, limits: &DoorLimits) -> Verdict {
        let (moved, requests) = (activity.moved(), activity.requests.load(Ordering::Relaxed));
        if moved != self.moved {
            (self.moved, self.still_since) = (moved, now);
        }
        if !self.takes_its_answers(now, activity, limits) {
            return Verdict::Cut("no answer was taken");
        }
        if activity.in_flight() > 0 {
            (self.requests, self.quiet_since, self.head_since) = (requests, now, None);
            let stuck = now.duration_since(self.still_since) >= limits.stall_timeout;
            return if stuck { Verdict::Cut("no byte moved while a request was in flight") } else { Verdict::Keep };
        }
        if requests != self.requests {
            (self.requests, self.quiet_since, self.head_since) = (requests, now, None);
        }
        if activity.head_began() {
            let since = *self.head_since.get_or_insert(now);
            if now.duration_since(since) >= limits.head_timeout {
                return Verdict::Cut("request head took too long");
            }
        }
        if now.duration_since(self.quiet_since) >= limits.idle_timeout { Verdict::Close } else { Verdict::Keep }
    }

    /// An HTTP/2 caller can close its window and go on sending pings: bytes move, and nothing is taken.
    fn takes_its_answers(&mut self, now: Instant, activity: &Activity, limits: &DoorLimits) -> bool {
        let steps = activity.answer_steps.load(Ordering::Relaxed);
        if steps != self.answer_steps || activity.answers.load(Ordering::Relaxed) == 0 {
            (self.answer_steps, self.taken_since) = (steps, now);
        }
        now.duration_since(self.taken_since) < limits.stall_timeout
    }
}

#[cfg(test)]
#[path = "supervision_tests.rs"]
mod tests;
