//! What is told about the export: to operators, and as metrics.
//!
//! In: what the exporter did and what went wrong. Out: an [`ExporterStatus`] at any time, without waiting; numbers for
//! Prometheus. Deliberately absent: the log lines of what went well, of which there would be one each two seconds.

use super::trouble::{Cure, Trouble};
use consigner_api::{ArchiveTrouble, ExporterState, ExporterStatus, MarkView};
use consigner_rules::archive::ArchiveMark;
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const LAG_ENTRIES: &str = "consigner_archive_lag_entries";
const LAG_SECONDS: &str = "consigner_archive_lag_seconds";
const MARK_INDEX: &str = "consigner_archive_mark_index";
const ROWS: &str = "consigner_archive_rows_total";
const BATCH_ROWS: &str = "consigner_archive_batch_rows";
const WRITE_SECONDS: &str = "consigner_archive_write_seconds";
const ERRORS: &str = "consigner_archive_errors_total";
const STATE: &str = "consigner_archive_state";

/// What a node that does not lead says.
const FOLLOWS: &str = "another node leads, and exports";

/// Registers the help texts.
pub(super) fn describe() {
    describe_gauge!(LAG_ENTRIES, "Entries of the log that wait for the archive");
    describe_gauge!(LAG_SECONDS, "How long the oldest of them has waited");
    describe_gauge!(MARK_INDEX, "Log index up to which the cluster has agreed that everything is archived");
    describe_counter!(ROWS, "Rows that this node wrote to the archive");
    describe_histogram!(BATCH_ROWS, "Rows per batch");
    describe_histogram!(WRITE_SECONDS, "Time to write a batch");
    describe_counter!(ERRORS, "Troubles of the export, by class");
    describe_gauge!(STATE, "0: another node exports, 1: this one does, 2: it waits, 3: something is wrong");
}

/// The present state of the export on this node.
pub(super) struct Shown {
    status: Mutex<ExporterStatus>,
}

impl Shown {
    pub(super) fn new(database: String, insecure: bool) -> Self {
        let status = ExporterStatus {
            state: ExporterState::Following,
            reason: Some(FOLLOWS.to_owned()),
            database,
            insecure,
            head: None,
            lag_entries: 0,
            lag_seconds: 0,
            trouble: None,
            last_trouble: None,
        };
        Self { status: Mutex::new(status) }
    }

    pub(super) fn status(&self) -> ExporterStatus {
        self.lock().clone()
    }

    /// Another node leads.
    pub(super) fn follows(&self) {
        let mut status = self.lock();
        // Where it is, only the leader sees.
        status.head = None;
        over(&mut status, ExporterState::Following, Some(FOLLOWS.to_owned()));
    }

    /// The database is this far.
    pub(super) fn head(&self, head: Option<&ArchiveMark>) {
        self.lock().head = head.map(MarkView::from);
    }

    /// A batch was confirmed.
    #[expect(clippy::cast_precision_loss, reason = "a batch has at most 50,000 rows")]
    pub(super) fn wrote(&self, rows: usize, took: Duration) {
        counter!(ROWS).increment(rows as u64);
        histogram!(BATCH_ROWS).record(rows as f64);
        histogram!(WRITE_SECONDS).record(took.as_secs_f64());
    }

    /// Everything that is to be exported now is, or is on its way.
    pub(super) fn exports(&self) {
        let mut status = self.lock();
        if let Some(trouble) = &status.trouble {
            tracing::info!(class = trouble.class, "the archive takes records again");
        }
        over(&mut status, ExporterState::Exporting, None);
    }

    /// Nothing moves, and why.
    pub(super) fn stopped(&self, trouble: &Trouble, now_ms: u64) {
        let Trouble { class, reason, cure } = trouble;
        let waits = *cure == Cure::Wait;
        let mut status = self.lock();
        let is_news = status.trouble.as_ref().is_none_or(|known| known.reason != *reason);
        if waits {
            over(&mut status, ExporterState::Waiting, Some(reason.clone()));
            return;
        }
        counter!(ERRORS, "class" => *class).increment(1);
        if is_news {
            tracing::warn!(class, reason, "the archive takes no records; signing goes on, they wait in the outbox");
        }
        let (since_ms, times) = match status.trouble.take() {
            Some(known) if known.class == *class => (known.since_ms, known.times + 1),
            other => {
                status.last_trouble = other.or_else(|| status.last_trouble.take());
                (now_ms, 1)
            }
        };
        let (class, reason) = ((*class).to_owned(), reason.clone());
        status.trouble = Some(ArchiveTrouble { class, reason: reason.clone(), since_ms, last_ms: now_ms, times });
        status.reason = Some(reason);
        set(&mut status, ExporterState::Paused);
    }

    /// How much waits.
    #[expect(clippy::cast_precision_loss, reason = "gauges are floating point")]
    pub(super) fn lags(&self, mark: u64, entries: u64, seconds: u64) {
        gauge!(MARK_INDEX).set(mark as f64);
        gauge!(LAG_ENTRIES).set(entries as f64);
        gauge!(LAG_SECONDS).set(seconds as f64);
        let mut status = self.lock();
        (status.lag_entries, status.lag_seconds) = (entries, seconds);
    }

    fn lock(&self) -> MutexGuard<'_, ExporterStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whatever was wrong is over.
fn over(status: &mut ExporterStatus, state: ExporterState, reason: Option<String>) {
    status.last_trouble = status.trouble.take().or_else(|| status.last_trouble.take());
    status.reason = reason;
    set(status, state);
}

fn set(status: &mut ExporterStatus, state: ExporterState) {
    status.state = state;
    gauge!(STATE).set(match state {
        ExporterState::Following => 0.0,
        ExporterState::Exporting => 1.0,
        ExporterState::Waiting => 2.0,
        ExporterState::Paused => 3.0,
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_series_of_troubles_is_one_until_it_is_over() {
        let shown = Shown::new("db:5432/archive".to_owned(), false);
        assert_eq!(shown.status().state, ExporterState::Following);
        shown.stopped(&Trouble::new("tls", "expired"), 10);
        shown.stopped(&Trouble::new("tls", "expired still"), 20);
        let status = shown.status();
        let trouble = status.trouble.unwrap();
        assert_eq!((trouble.since_ms, trouble.last_ms, trouble.times), (10, 20, 2));
        assert_eq!((status.state, status.reason.as_deref()), (ExporterState::Paused, Some("expired still")));
        shown.stopped(&Trouble::new("auth", "password"), 30);
        assert_eq!(shown.status().last_trouble.unwrap().class, "tls");
        shown.exports();
        let status = shown.status();
        assert_eq!((status.state, status.trouble, status.reason), (ExporterState::Exporting, None, None));
        assert_eq!(status.last_trouble.unwrap().class, "auth", "it stays to be seen");
        shown.stopped(&Trouble::waiting("rules", "older rules"), 40);
        let status = shown.status();
        assert_eq!((status.state, status.trouble), (ExporterState::Waiting, None), "nobody's fault");
    }
}
