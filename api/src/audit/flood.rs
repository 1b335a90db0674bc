//! Lines of the audit that a stranger can cause at will: some are written, the rest is counted and told in one line.
//!
//! A chain on disk rotates; a stranger that could write to it without a bound would push out what matters. So each kind
//! has a burst and a slow rate in the long run, of its own, so that a flood of one does not hide another.

use super::{Actor, Event, Operation, Outcome, Sending};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines of one kind at once after a pause: every caller of a misconfigured site is seen.
const LINES_BURST: u32 = 100;

/// How long a line of one kind takes to be earned again: at 400 bytes, 35 MB a day for a kind under a lasting flood.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// How long after the first line that was left out their number is told.
const REPORT_AFTER: Duration = Duration::from_secs(5);

/// The kinds of such lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// Connections refused by their address.
    Connections,
    /// Requests that name a foreign host.
    Hosts,
    /// Refused credentials, and callers without any.
    Credentials,
    /// Callers that are known, but may not do what they ask for.
    Denied,
    /// Calls beyond a rate, or during a back-off.
    TooMany,
    /// Signatures that could not be made.
    Failed,
}

/// The kinds, in the order of [`Floods`].
const KINDS: [Flood; 6] =
    [Flood::Connections, Flood::Hosts, Flood::Credentials, Flood::Denied, Flood::TooMany, Flood::Failed];

impl Flood {
    const fn what(self) -> &'static str {
        match self {
            Self::Connections => "connections refused by their address",
            Self::Hosts => "requests to a foreign host",
            Self::Credentials => "refused credentials",
            Self::Denied => "denied calls",
            Self::TooMany => "calls beyond a rate",
            Self::Failed => "signatures that could not be made",
        }
    }
}

/// What each kind has left.
pub(super) struct Floods([Kind; KINDS.len()]);

struct Kind {
    flood: Flood,
    earned: Mutex<Earned>,
    left_out: AtomicU64,
    is_report_due: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
struct Earned {
    lines: u32,
    since: Instant,
}

impl Earned {
    fn take(&mut self, now: Instant) -> bool {
        let periods = now.saturating_duration_since(self.since).as_nanos() / LINE_EVERY.as_nanos();
        // What does not fit is far more than the burst.
        let earned = u32::try_from(periods).unwrap_or(u32::MAX);
        if earned >= LINES_BURST - self.lines {
            (self.lines, self.since) = (LINES_BURST, now);
        } else {
            self.lines += earned;
            self.since += LINE_EVERY * earned;
        }
        let may = self.lines > 0;
        self.lines = self.lines.saturating_sub(1);
        may
    }
}

impl Floods {
    pub(super) fn new(now: Instant) -> Self {
        Self(KINDS.map(|flood| Kind {
            flood,
            earned: Mutex::new(Earned { lines: LINES_BURST, since: now }),
            left_out: AtomicU64::new(0),
            is_report_due: AtomicBool::new(false),
        }))
    }
}

/// Whether a line of this kind may be written now; one that may not is counted, and told of later.
pub(super) fn may_write(sending: &Arc<Sending>, flood: Flood) -> bool {
    let Some(kind) = sending.floods.0.iter().find(|kind| kind.flood == flood) else { return true };
    if kind.earned.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()) {
        return true;
    }
    kind.left_out.fetch_add(1, Ordering::AcqRel);
    // Outside of a runtime nothing can be told later; the number stays for the next time.
    if let Ok(runtime) = tokio::runtime::Handle::try_current()
        && !kind.is_report_due.swap(true, Ordering::AcqRel)
    {
        runtime.spawn(report(Arc::clone(sending), flood));
    }
    false
}

async fn report(sending: Arc<Sending>, flood: Flood) {
    tokio::time::sleep(REPORT_AFTER).await;
    let Some(kind) = sending.floods.0.iter().find(|kind| kind.flood == flood) else { return };
    // First, so that a line left out from here on has a report of its own.
    kind.is_report_due.store(false, Ordering::Release);
    let count = kind.left_out.swap(0, Ordering::AcqRel);
    if count > 0 {
        let reason = format!("{count} further lines: {}", flood.what());
        sending.note(&Event::new(&Actor::node(), Operation::LeftOut, Outcome::Done, &reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_in_each_period() {
        let start = Instant::now();
        let mut earned = Earned { lines: LINES_BURST, since: start };
        let written = |earned: &mut Earned, after: Duration| (0..1000).filter(|_| earned.take(start + after)).count();
        assert_eq!(written(&mut earned, Duration::ZERO), LINES_BURST as usize);
        assert_eq!(written(&mut earned, LINE_EVERY / 2), 0);
        assert_eq!(written(&mut earned, LINE_EVERY * 3 / 2), 1);
        assert_eq!(written(&mut earned, LINE_EVERY * 2), 1, "half a period was not lost");
        assert_eq!(written(&mut earned, LINE_EVERY * 1_000_000), LINES_BURST as usize, "never more than a burst");
    }
}
