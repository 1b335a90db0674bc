//! The way of an event: counted, logged, and handed to the sink.

use super::flood::{self, Floods};
use super::line::{self, AuditLine, AuditSink};
use super::{Event, Flood, Outcome};
use crate::metrics;
use futures::TryFutureExt as _;
use futures::future::{BoxFuture, ready, try_join_all};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a change waits for its line to be on disk: a disk that takes longer is broken for this purpose.
const KEEP_DEADLINE: Duration = Duration::from_secs(10);

/// Lines of one call on their way to the disk at one time; the sink writes them together, and keeps room for those of two
/// calls (as many as change keys at one time) when lines that nobody waits for have filled its queue.
const TOGETHER_MAX: usize = 500;

/// Why a line of a change is not (known to be) on disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// So nothing was begun.
    #[error("nothing was changed, because the audit of this node cannot be written: {0}")]
    NotBegun(String),
    /// What was begun was done (or not), and the audit has its beginning only.
    #[error(
        "what was asked for was tried, but the audit of this node could not be completed; repeat the call to learn \
         what became of it: {0}"
    )]
    NotConcluded(String),
}

/// Where everything is told. Cheap to clone.
#[derive(Clone)]
pub struct Auditor(Arc<Sending>);

/// Resolves when lines are on disk.
pub type Kept = BoxFuture<'static, Result<(), AuditError>>;

/// What the clones share.
pub(super) struct Sending {
    sink: Arc<dyn AuditSink>,
    pub(super) floods: Floods,
    /// One duty in so many is written; 0: none.
    duties_one_in: u64,
    duties: AtomicU64,
}

/// Lines go to the log only.
struct LogOnly;

impl AuditSink for LogOnly {
    fn note(&self, _line: AuditLine) {}

    fn keep(&self, _line: AuditLine) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(ready(Ok(())))
    }
}

impl Auditor {
    /// Lines go to the log and to `sink`; of duties (attestations and the like) none.
    #[must_use]
    pub fn new(sink: Arc<dyn AuditSink>) -> Self {
        Self::with_duties(sink, 0)
    }

    /// As [`Self::new`], with one in `one_in` signatures of duties; 0 for none, 1 for all. Duties are all types but
    /// blocks, exits, deposits and registrations, which are always told.
    #[must_use]
    pub fn with_duties(sink: Arc<dyn AuditSink>, one_in: u64) -> Self {
        let floods = Floods::new(Instant::now());
        Self(Arc::new(Sending { sink, floods, duties_one_in: one_in, duties: AtomicU64::new(0) }))
    }

    /// Lines go to the log only: for tests, and for a node that is told to keep no audit of its own.
    #[must_use]
    pub fn to_log_only() -> Self {
        Self::new(Arc::new(LogOnly))
    }

    /// Tells of a decision or an observation. Does not wait.
    pub fn record(&self, event: &Event<'_>) {
        self.0.note(event);
    }

    /// [`Self::record_within`] without the line in the process' log, for what has one there already.
    pub(crate) fn record_quietly_within(&self, flood: Flood, event: &Event<'_>) {
        metrics::audited(event.operation.name(), event.outcome.name());
        if flood::may_write(&self.0, flood) {
            self.0.sink.note(AuditLine::of(event));
        }
    }

    /// Tells of something that a stranger can cause at will: counted always, told within a budget.
    pub fn record_within(&self, flood: Flood, event: &Event<'_>) {
        if flood::may_write(&self.0, flood) {
            self.0.note(event);
        } else {
            metrics::audited(event.operation.name(), event.outcome.name());
        }
    }

    /// Tells that a change is about to be tried; `event.outcome` does not matter. Only after it returned may anything be
    /// proposed.
    ///
    /// # Errors
    /// [`AuditError::NotBegun`]; the change must not be tried.
    pub fn begin(&self, event: &Event<'_>) -> Kept {
        self.begin_all([*event])
    }

    /// [`Self::begin`] for a change of many keys. As with all of these, the events are taken at once, not when the
    /// result is awaited.
    ///
    /// # Errors
    /// [`AuditError::NotBegun`]; nothing of the change must be tried, also if some lines are on disk.
    pub fn begin_all<'a>(&self, events: impl IntoIterator<Item = Event<'a>>) -> Kept {
        let begun = events.into_iter().map(|event| Event { outcome: Outcome::Begun, ..event });
        Box::pin(Arc::clone(&self.0).keep(taken(begun)).map_err(AuditError::NotBegun))
    }

    /// Tells what became of a change, before it is answered.
    ///
    /// # Errors
    /// [`AuditError::NotConcluded`]; an ERROR line and a count tell the operator, too.
    pub fn conclude(&self, event: &Event<'_>) -> Kept {
        self.conclude_all([*event])
    }

    /// [`Self::conclude`] for a change of many keys.
    ///
    /// # Errors
    /// [`AuditError::NotConcluded`], also if some lines are on disk.
    pub fn conclude_all<'a>(&self, events: impl IntoIterator<Item = Event<'a>>) -> Kept {
        Box::pin(Arc::clone(&self.0).keep(taken(events)).map_err(AuditError::NotConcluded))
    }

    /// Whether this signature of a duty is one that is told.
    pub(crate) fn is_sampled(&self) -> bool {
        let one_in = self.0.duties_one_in;
        one_in > 0 && self.0.duties.fetch_add(1, Ordering::Relaxed).is_multiple_of(one_in)
    }
}

impl Sending {
    pub(super) fn note(&self, event: &Event<'_>) {
        counted_and_logged(event);
        self.sink.note(AuditLine::of(event));
    }

    async fn keep(self: Arc<Self>, lines: Vec<AuditLine>) -> Result<(), String> {
        let mut lines = lines.into_iter().peekable();
        while lines.peek().is_some() {
            let together: Vec<AuditLine> = lines.by_ref().take(TOGETHER_MAX).collect();
            let writing = try_join_all(together.into_iter().map(|line| self.sink.keep(line)));
            let written = tokio::time::timeout(KEEP_DEADLINE, writing).await;
            if let Err(why) =
                written.unwrap_or_else(|_late| Err(format!("no disk within {} s", KEEP_DEADLINE.as_secs())))
            {
                metrics::audit_not_kept();
                tracing::error!(why, "lines of the audit are not known to be on disk");
                return Err(why);
            }
        }
        Ok(())
    }
}

/// Counted, logged, and ready for the disk.
fn taken<'a>(events: impl IntoIterator<Item = Event<'a>>) -> Vec<AuditLine> {
    let line = |event: Event<'a>| {
        counted_and_logged(&event);
        AuditLine::of(&event)
    };
    events.into_iter().map(line).collect()
}

fn counted_and_logged(event: &Event<'_>) {
    metrics::audited(event.operation.name(), event.outcome.name());
    line::log(event);
}

#[cfg(test)]
#[path = "auditor_tests.rs"]
mod tests;
