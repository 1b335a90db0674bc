//! Log lines that a caller can cause at will: a few per second and kind are written, the rest is counted.
//!
//! In: the wish to write one. Out: leave to write it, or, within a second, one line with the number of those that were
//! not written. What is counted as a metric is counted whatever is logged. Deliberately absent: the texts.

use consigner_gate::LogBudget;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long after the first line that was not written their number is told.
const REPORT_AFTER: Duration = Duration::from_secs(1);

/// The kinds of lines, so that a flood of one does not hide another.
pub(crate) struct Lines {
    /// Slashing protection said no.
    pub(crate) slashing: Budgeted,
    /// Could not sign, or was not asked properly.
    pub(crate) not_signed: Budgeted,
}

/// One kind.
#[derive(Clone)]
pub(crate) struct Budgeted(Arc<Kind>);

struct Kind {
    what: &'static str,
    budget: LogBudget,
    is_report_due: AtomicBool,
}

impl Lines {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            slashing: Budgeted::new("requests refused by slashing protection"),
            not_signed: Budgeted::new("requests not signed"),
        })
    }
}

impl Budgeted {
    fn new(what: &'static str) -> Self {
        let budget = LogBudget::new(Instant::now());
        Self(Arc::new(Kind { what, budget, is_report_due: AtomicBool::new(false) }))
    }

    /// Whether a line may be written now; one that may not is counted.
    pub(crate) fn may_write(&self) -> bool {
        if self.0.budget.may_write(Instant::now()) {
            return true;
        }
        if !self.0.is_report_due.swap(true, Ordering::AcqRel) {
            tokio::spawn(self.clone().report());
        }
        false
    }

    async fn report(self) {
        tokio::time::sleep(REPORT_AFTER).await;
        // First, so that a line not written from here on has a report of its own.
        self.0.is_report_due.store(false, Ordering::Release);
        let count = self.0.budget.take_suppressed();
        if count > 0 {
            tracing::warn!(count, what = self.0.what, "further requests, not logged one by one");
        }
    }
}
