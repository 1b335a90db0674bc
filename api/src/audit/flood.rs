//! Lines of the audit that others can cause at will: some are written, the rest is counted and told in one line.
//!
//! The chain lies on a disk, often the one of the log: whoever could write to it without a bound would push out what
//! matters, or fill the disk and stop the node. That holds for strangers, and for a client whose certificate was stolen:
//! it can have a message refused, or signed again, as often as it likes. So each kind has a burst and a slow rate in the
//! long run, of its own, so that a flood of one does not hide another.

use super::{Actor, Event, Operation, Outcome, Sending};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a kind may write.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    /// Lines at once after a pause.
    burst: u32,
    /// How long a line takes to be earned again.
    every: Duration,
}

/// Of what strangers cause: every caller of a misconfigured site is seen, and a lasting flood writes some 50 MB a day.
const STRANGERS: Allowance = Allowance { burst: 100, every: Duration::from_secs(1) };

/// Of what clients cause that may sign: each registration of an epoch of ten thousand validators, and every conflict of a
/// validator that runs twice. A lasting flood writes some 250 MB a day.
const CLIENTS: Allowance = Allowance { burst: 10_000, every: Duration::from_millis(200) };

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
    /// Administrators' and key managers' calls that were denied: a client that asks for signatures it may not have must
    /// not hide them.
    Administration,
    /// Signatures that could not be made.
    Failed,
    /// What slashing protection refused, or was asked for another chain.
    Slashable,
    /// Blocks and exits that were signed.
    Signed,
    /// Registrations and deposits that were signed.
    Registered,
}

/// The kinds, in the order of [`Floods`].
const KINDS: [Flood; 10] = [
    Flood::Connections,
    Flood::Hosts,
    Flood::Credentials,
    Flood::Denied,
    Flood::TooMany,
    Flood::Administration,
    Flood::Failed,
    Flood::Slashable,
    Flood::Signed,
    Flood::Registered,
];

impl Flood {
    const fn what(self) -> &'static str {
        match self {
            Self::Connections => "connections refused by their address",
            Self::Hosts => "requests to a foreign host",
            Self::Credentials => "refused credentials",
            Self::Denied => "denied calls",
            Self::TooMany => "calls beyond a rate",
            Self::Administration => "denied calls of administrators and key managers",
            Self::Failed => "signatures that could not be made",
            Self::Slashable => "requests that slashing protection refused",
            Self::Signed => "blocks and exits that were signed",
            Self::Registered => "registrations and deposits that were signed",
        }
    }

    const fn allowance(self) -> Allowance {
        match self {
            Self::Connections
            | Self::Hosts
            | Self::Credentials
            | Self::Denied
            | Self::TooMany
            | Self::Administration
            | Self::Failed => STRANGERS,
            Self::Slashable | Self::Signed | Self::Registered => CLIENTS,
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
    allowance: Allowance,
    lines: u32,
    since: Instant,
}

impl Earned {
    const fn full(allowance: Allowance, since: Instant) -> Self {
        Self { allowance, lines: allowance.burst, since }
    }

    fn take(&mut self, now: Instant) -> bool {
        let Allowance { burst, every } = self.allowance;
        let periods = now.saturating_duration_since(self.since).as_nanos() / every.as_nanos();
        // What does not fit is far more than the burst.
        let earned = u32::try_from(periods).unwrap_or(u32::MAX);
        if earned >= burst - self.lines {
            (self.lines, self.since) = (burst, now);
        } else {
            self.lines += earned;
            self.since += every * earned;
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
            earned: Mutex::new(Earned::full(flood.allowance(), now)),
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
        let Allowance { burst, every } = STRANGERS;
        let mut earned = Earned::full(STRANGERS, start);
        let written = |earned: &mut Earned, after: Duration| (0..1000).filter(|_| earned.take(start + after)).count();
        assert_eq!(written(&mut earned, Duration::ZERO), burst as usize);
        assert_eq!(written(&mut earned, every / 2), 0);
        assert_eq!(written(&mut earned, every * 3 / 2), 1);
        assert_eq!(written(&mut earned, every * 2), 1, "half a period was not lost");
        assert_eq!(written(&mut earned, every * 1_000_000), burst as usize, "never more than a burst");
    }
}
