//! Says in time that certificates and revocation lists will end: as a metric always, as a log line once per day.

use std::collections::HashMap;

use super::{Expiry, What};

/// Seconds of a day.
const DAY: i64 = 86_400;

/// From here on there is a line every day: time enough to plan a renewal.
const NOTICE_DAYS: i64 = 30;

/// From here on the renewal that should have come by itself has failed.
const WARNING_DAYS: i64 = 7;

/// From here on clients will be refused tomorrow.
const ALARM_DAYS: i64 = 1;

/// How near the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    Month,
    Week,
    Day,
    Over,
}

/// Remembers what was said about which end.
#[derive(Default)]
pub(super) struct Alarm {
    said: HashMap<Expiry, (i64, Nearness)>,
}

impl Alarm {
    /// Sets the gauges, and writes the lines that are due.
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^52")]
    pub(super) fn look(&mut self, door: &str, ends: &[Expiry], now: i64) {
        for what in What::ALL {
            if let Some(first) = ends.iter().filter(|end| end.what == what).map(|end| end.unix).min() {
                let labels = [("door", door.to_owned()), ("what", what.label().to_owned())];
                metrics::gauge!("consigner_tls_certificate_expiry_seconds", &labels).set(first as f64);
            }
        }
        for (end, nearness) in self.due(ends, now) {
            say(door, end, nearness, (end.unix - now) / DAY);
        }
    }

    /// The ends that are to be spoken of: each once per day, and at once when it comes nearer.
    fn due<'e>(&mut self, ends: &'e [Expiry], now: i64) -> Vec<(&'e Expiry, Nearness)> {
        self.said.retain(|end, _| ends.contains(end));
        let mut due = Vec::new();
        for end in ends {
            let Some(nearness) = nearness(end.unix - now) else { continue };
            let is_said = self.said.get(end).is_some_and(|(at, said)| now - at < DAY && *said >= nearness);
            if !is_said {
                self.said.insert(end.clone(), (now, nearness));
                due.push((end, nearness));
            }
        }
        due
    }
}

fn nearness(left: i64) -> Option<Nearness> {
    match left {
        i64::MIN..0 => Some(Nearness::Over),
        left if left <= ALARM_DAYS * DAY => Some(Nearness::Day),
        left if left <= WARNING_DAYS * DAY => Some(Nearness::Week),
        left if left <= NOTICE_DAYS * DAY => Some(Nearness::Month),
        _far => None,
    }
}

fn say(door: &str, end: &Expiry, nearness: Nearness, days: i64) {
    let (what, subject) = (end.what.label(), &end.subject);
    match nearness {
        Nearness::Over => tracing::error!(door = %door, what, subject, "has expired: renew it now"),
        Nearness::Day => tracing::error!(door = %door, what, subject, days, "expires within a day: renew it now"),
        Nearness::Week => tracing::warn!(door = %door, what, subject, days, "expires within a week: renew it"),
        Nearness::Month => tracing::warn!(door = %door, what, subject, days, "expires within 30 days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn end(days: i64) -> Expiry {
        Expiry { what: What::Ca, subject: format!("CN=in {days} days"), unix: NOW + days * DAY }
    }

    #[test]
    fn every_end_is_spoken_of_once_per_day_and_when_it_comes_nearer() {
        let (far, near) = (end(31), end(8));
        let ends = [far.clone(), near.clone()];
        let mut alarm = Alarm::default();
        let mut at = |seconds: i64| {
            alarm.due(&ends, NOW + seconds).into_iter().map(|(end, near)| (end.clone(), near)).collect::<Vec<_>>()
        };
        assert_eq!(at(0), [(near.clone(), Nearness::Month)]);
        assert_eq!(at(1), []);
        assert_eq!(at(DAY - 1), []);
        assert_eq!(at(DAY), [(far.clone(), Nearness::Month), (near.clone(), Nearness::Week)]);
        assert_eq!(at(2 * DAY - 1), []);
        assert_eq!(at(7 * DAY)[1], (near.clone(), Nearness::Day));
        assert_eq!(at(8 * DAY)[1], (near.clone(), Nearness::Day));
        assert_eq!(at(8 * DAY + 1), [(near, Nearness::Over)]);
    }

    #[test]
    fn a_renewed_certificate_is_forgotten() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.due(&[end(3)], NOW).len(), 1);
        assert_eq!(alarm.due(&[end(300)], NOW).len(), 0);
        assert_eq!(alarm.said.len(), 0);
    }
}
