//! Every request and every answer of a run.
//!
//! In: requests before they are sent, answers when they are read to the end. Out: the list, in the order of sending.
//! Times count from the start of the run and come from one monotonic clock, so that "after" means something.

use super::custody::{Deletion, Import};
use super::message::Message;
use bytes::Bytes;
use consigner_rules::PublicKey;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Beyond this nothing more is sent: some 500 MB, and more than any scenario asks for.
pub const EXCHANGES_MAX: usize = 250_000;

/// Why a request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// While things break.
    Storm,
    /// When everything is healed: the last word on what may still be signed.
    Probe,
}

/// One request to one node and what came back.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The node that was asked.
    pub node: u64,
    /// Why.
    pub phase: Phase,
    /// What was asked.
    pub message: Arc<Message>,
    /// Whether another node had sent the request here.
    pub is_redirected: bool,
    /// When sending began.
    pub sent_at: Duration,
    /// What came back, and when it was complete; `None` while nothing is known.
    pub reply: Option<(Duration, Reply)>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// An HTTP answer.
    Answer {
        /// Its status.
        status: u16,
        /// Its `Location`.
        location: Option<String>,
        /// Its body, every byte.
        body: Bytes,
    },
    /// No answer: no connection, a broken one, the deadline. The request may have been processed.
    Lost(String),
}

/// The clock of a run.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Begins now.
    #[must_use]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the beginning.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The list, shared by all who send.
#[derive(Debug)]
pub struct History {
    clock: Clock,
    exchanges: Mutex<Vec<Exchange>>,
    successes: AtomicU64,
    pub(super) imports: Mutex<Vec<Import>>,
    pub(super) deletions: Mutex<Vec<Deletion>>,
}

impl History {
    /// An empty list whose times count from `clock`.
    #[must_use]
    pub const fn new(clock: Clock) -> Self {
        Self {
            clock,
            exchanges: Mutex::new(Vec::new()),
            successes: AtomicU64::new(0),
            imports: Mutex::new(Vec::new()),
            deletions: Mutex::new(Vec::new()),
        }
    }

    /// The clock.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Writes a request down, before it is sent. `None`: the list is full, nothing may be sent.
    pub fn sending(&self, node: u64, phase: Phase, message: &Arc<Message>, is_redirected: bool) -> Option<usize> {
        let mut exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        if exchanges.len() >= EXCHANGES_MAX {
            return None;
        }
        let (message, sent_at) = (message.clone(), self.clock.now());
        exchanges.push(Exchange { node, phase, message, is_redirected, sent_at, reply: None });
        Some(exchanges.len() - 1)
    }

    /// Writes down what came back.
    pub fn replied(&self, exchange: usize, reply: Reply) {
        let now = self.clock.now();
        if matches!(reply, Reply::Answer { status: 200, .. }) {
            self.successes.fetch_add(1, Ordering::Relaxed);
        }
        let mut exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(exchange) = exchanges.get_mut(exchange) {
            exchange.reply = Some((now, reply));
        }
    }

    /// How many 200 came back so far.
    #[must_use]
    pub fn successes(&self) -> u64 {
        self.successes.load(Ordering::Relaxed)
    }

    /// Requests about this validator that were sent at or after this time and answered by this node.
    #[must_use]
    pub fn answers_of(&self, node: u64, validator: &PublicKey, since: Duration) -> Vec<Exchange> {
        let exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = exchanges.iter().rev().take_while(|exchange| exchange.sent_at >= since);
        let asked = recent.filter(|one| one.node == node && one.message.validator == *validator);
        asked.filter(|one| one.status().is_some()).cloned().collect()
    }

    /// Whether a 200 came back for a request sent at or after this time.
    #[must_use]
    pub fn has_success_sent_since(&self, since: Duration) -> bool {
        let exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        exchanges.iter().rev().take_while(|exchange| exchange.sent_at >= since).any(Exchange::is_ok)
    }

    /// All exchanges so far, in the order of sending.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Exchange {
    /// The status of the answer, if there is one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match &self.reply {
            Some((_, Reply::Answer { status, .. })) => Some(*status),
            Some((_, Reply::Lost(_))) | None => None,
        }
    }

    /// The bytes of the answer, if there is one.
    #[must_use]
    pub fn body(&self) -> Option<&Bytes> {
        match &self.reply {
            Some((_, Reply::Answer { body, .. })) => Some(body),
            Some((_, Reply::Lost(_))) | None => None,
        }
    }

    /// When the answer was complete.
    #[must_use]
    pub fn answered_at(&self) -> Option<Duration> {
        self.reply.as_ref().map(|(at, _)| *at)
    }

    /// Whether the node acknowledged.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status() == Some(200)
    }
}

impl std::fmt::Display for Exchange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:.3} s node {} <- {}", self.sent_at.as_secs_f64(), self.node, self.message)?;
        match &self.reply {
            None => write!(formatter, "; no answer"),
            Some((at, Reply::Lost(why))) => write!(formatter, "; {:.3} s lost: {why}", at.as_secs_f64()),
            Some((at, Reply::Answer { status, body, .. })) => {
                write!(formatter, "; {:.3} s {status} {}", at.as_secs_f64(), String::from_utf8_lossy(body))
            }
        }
    }
}
