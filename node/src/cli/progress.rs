//! One line that tells how far a long command is: rewritten on a terminal, repeated every few seconds in a log.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Often enough to look alive, seldom enough to cost nothing.
const TERMINAL_EVERY: Duration = Duration::from_millis(200);

/// A log is read later; a line every few seconds is enough.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// Written to stderr, so that stdout stays the command's product.
pub struct Progress {
    verb: &'static str,
    noun: &'static str,
    total: u64,
    begun: Instant,
    told: Instant,
    terminal: bool,
    open_line: bool,
}

impl Progress {
    /// Begins to count: `verb` as in `imported`, `noun` as in `keys`.
    #[must_use]
    pub fn new(verb: &'static str, noun: &'static str, total: u64) -> Self {
        let now = Instant::now();
        let terminal = std::io::stderr().is_terminal();
        Self { verb, noun, total, begun: now, told: now, terminal, open_line: false }
    }

    /// Tells it, if it is time to.
    pub fn reached(&mut self, done: u64) {
        let (verb, noun, total, elapsed) = (self.verb, self.noun, self.total, self.begun.elapsed());
        self.tell(|| text(verb, noun, done, total, elapsed));
    }

    /// Tells a text of the caller's, if it is time to.
    pub fn tell(&mut self, text: impl FnOnce() -> String) {
        let every = if self.terminal { TERMINAL_EVERY } else { LOG_EVERY };
        if self.told.elapsed() < every {
            return;
        }
        self.told = Instant::now();
        let text = text();
        let mut stderr = std::io::stderr().lock();
        let _closed_by_the_reader = if self.terminal {
            self.open_line = true;
            // Back to the beginning of the line, and erases what stood behind.
            write!(stderr, "\r{text}\u{1b}[K").and_then(|()| stderr.flush())
        } else {
            writeln!(stderr, "{text}")
        };
    }

    /// Ends the line, so that what follows stands on its own.
    pub fn finish(&mut self) {
        if std::mem::take(&mut self.open_line) {
            let mut stderr = std::io::stderr().lock();
            let _closed_by_the_reader = write!(stderr, "\r\u{1b}[K").and_then(|()| stderr.flush());
        }
    }

    /// Since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// `imported 120 of 1000 keys, 3.2/s, 4 min 35 s left`.
#[expect(clippy::cast_precision_loss, reason = "counts of keys are far below 2^52")]
fn text(verb: &str, noun: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let head = format!("{verb} {done} of {total} {noun}");
    let seconds = elapsed.as_secs_f64();
    if done == 0 || seconds <= 0.0 {
        return head;
    }
    let rate = done as f64 / seconds;
    let left = total.saturating_sub(done) as f64 / rate;
    format!("{head}, {rate:.1}/s, {} left", human(Duration::from_secs_f64(left.min(1e9))))
}

/// `35 s`, `4 min 35 s`, `2 h 4 min`.
#[must_use]
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_remaining_time_are_told() {
        let told = |done, seconds| text("imported", "keys", done, 1000, Duration::from_secs(seconds));
        assert_eq!(told(0, 5), "imported 0 of 1000 keys");
        assert_eq!(told(100, 50), "imported 100 of 1000 keys, 2.0/s, 7 min 30 s left");
        assert_eq!(told(1000, 500), "imported 1000 of 1000 keys, 2.0/s, 0 s left");
        assert_eq!(human(Duration::from_secs(7_500)), "2 h 5 min");
    }
}
