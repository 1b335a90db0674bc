//! Keeps a flood of refused connections or requests from becoming a flood of log lines.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One window of the limit.
const WINDOW: Duration = Duration::from_secs(1);

/// So many lines per window and kind: enough to see every caller of a misconfigured cluster, few enough that a port
/// scan costs nothing.
const LINES_PER_WINDOW: u32 = 10;

/// Lets a few log lines pass per second and counts the rest.
pub struct LogBudget(Mutex<Window>);

struct Window {
    began: Instant,
    written: u32,
    suppressed: u64,
}

impl LogBudget {
    /// The first window begins now.
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Window { began: now, written: 0, suppressed: 0 }))
    }

    /// Whether a line may be written now; one that may not is counted.
    pub fn may_write(&self, now: Instant) -> bool {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(window.began) >= WINDOW {
            (window.began, window.written) = (now, 0);
        }
        if window.written < LINES_PER_WINDOW {
            window.written += 1;
            return true;
        }
        window.suppressed += 1;
        false
    }

    /// The number of lines not written since the last call.
    pub fn take_suppressed(&self) -> u64 {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_a_few_per_second_and_counts_the_rest() {
        let start = Instant::now();
        let budget = LogBudget::new(start);
        let written = (0..100).filter(|_| budget.may_write(start)).count();
        assert_eq!((written, budget.take_suppressed()), (LINES_PER_WINDOW as usize, 90));
        assert_eq!(budget.take_suppressed(), 0, "counted once");
        assert!(budget.may_write(start + WINDOW), "a new second, a new budget");
    }
}
