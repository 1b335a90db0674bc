//! How badly this program itself was starved: what it saw meanwhile says less about others.
//!
//! In: time. Out: the longest that a task was kept from running when it should have. Deliberately absent: any judgement
//! that passes because of it; a test may repeat what it did in a storm.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How often the task wants to run.
const TICK: Duration = Duration::from_millis(50);

/// A running observation; it ends with this value.
#[derive(Debug)]
pub struct Weather {
    worst_ms: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Weather {
    /// Begins to observe.
    #[must_use]
    pub fn observe() -> Self {
        let worst_ms = Arc::<AtomicU64>::default();
        let seen = worst_ms.clone();
        let task = tokio::spawn(async move {
            loop {
                let begun = Instant::now();
                tokio::time::sleep(TICK).await;
                let late = begun.elapsed().saturating_sub(TICK).as_millis();
                seen.fetch_max(u64::try_from(late).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Self { worst_ms, task }
    }

    /// The longest delay so far.
    #[must_use]
    pub fn worst(&self) -> Duration {
        Duration::from_millis(self.worst_ms.load(Ordering::Relaxed))
    }
}

impl Drop for Weather {
    fn drop(&mut self) {
        self.task.abort();
    }
}
