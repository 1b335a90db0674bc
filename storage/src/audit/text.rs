//! Times and bytes as text: RFC 3339 in UTC, lower-case hexadecimal.

/// `2026-01-31T12:00:00.123Z` of milliseconds since 1970.
pub fn time_text(time_ms: u64) -> String {
    let (seconds, millis) = (time_ms / 1000, time_ms % 1000);
    let (days, of_day) = (seconds / DAY, seconds % DAY);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (of_day / 3600, of_day % 3600 / 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Milliseconds since 1970 of `2026-01-31`, `2026-01-31T12:00:00Z` or the same with a fraction, in UTC.
/// `None`: not such a time.
pub fn parse_time(text: &str) -> Option<u64> {
    let (date, rest) = text.split_at_checked(10)?;
    let days = days_of(date)?;
    let of_day = match rest.strip_prefix(['T', 't', ' ']) {
        Some(clock) => millis_of_day(clock.strip_suffix(['Z', 'z']).or_else(|| clock.strip_suffix("+00:00"))?)?,
        None if rest.is_empty() => 0,
        None => return None,
    };
    (days * DAY * 1000).checked_add(of_day)
}

fn days_of(date: &str) -> Option<u64> {
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let widths = (year.len(), month.len(), day.len());
    let (year, month, day) = (digits(year)?, digits(month)?, digits(day)?);
    let plausible = widths == (4, 2, 2) && parts.next().is_none() && year >= 1970;
    // Counted by year and month; the day itself must exist.
    let days = plausible.then(|| days_before(year, month))?? + day.checked_sub(1)?;
    (civil(days) == (year, month, day)).then_some(days)
}

fn millis_of_day(clock: &str) -> Option<u64> {
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = whole.split(':').map(digits);
    let (hour, minute) = (parts.next()??, parts.next()??);
    let second = parts.next().unwrap_or(Some(0))?;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 || fraction.len() > 9 {
        return None;
    }
    let nanos = digits(fraction)? * 10u64.pow(9 - u32::try_from(fraction.len()).ok()?);
    Some(((hour * 60 + minute) * 60 + second) * 1000 + nanos / 1_000_000)
}

fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

/// Year, month, day of a count of days since 1970 (Howard Hinnant's `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// Days from 1970 to the first of a month (`days_from_civil`).
fn days_before(year: u64, month: u64) -> Option<u64> {
    if !(1..=12).contains(&month) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted_month + 2) / 5;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    (era * 146_097 + of_era).checked_sub(719_468)
}

/// Exactly `N` bytes of lower-case hexadecimal: a changed case is a changed byte.
pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    lower.then(|| hex::decode(text).ok())??.try_into().ok()
}

const DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_767_225_600_001, "2026-01-01T00:00:00.001Z"),
            (4_102_444_799_000, "2099-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(time_text(millis), text);
            assert_eq!(parse_time(text), Some(millis));
        }
        assert_eq!(parse_time("2026-01-01"), Some(1_767_225_600_000));
        assert_eq!(parse_time("2026-01-01T00:00Z"), Some(1_767_225_600_000));
        assert_eq!(parse_time("2026-01-01T00:00:00.5Z"), Some(1_767_225_600_500));
        for wrong in ["", "2026", "2026-13-01", "2025-02-29", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00", "1h", "é"]
        {
            assert_eq!(parse_time(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn hexadecimal_is_lower_case_and_of_one_length() {
        assert_eq!(unhex::<2>("00ff"), Some([0, 255]));
        assert_eq!((unhex::<2>("00FF"), unhex::<2>("00f"), unhex::<2>("00ff00")), (None, None, None));
    }
}
