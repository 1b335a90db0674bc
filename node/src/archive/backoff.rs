//! How long the exporter waits after a trouble.

use std::time::Duration;

/// The first pause: a database that restarts is back in a few seconds.
const FIRST: Duration = Duration::from_secs(1);

/// The longest: an operator who mended something does not want to wait longer for the proof.
const LONGEST: Duration = Duration::from_secs(60);

/// Doubles the pause from trouble to trouble, until something went well.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    troubles: u32,
}

impl Backoff {
    /// The next pause: between half and all of the doubled time, by `chance` (0: half, 255: all), so that nodes that
    /// lost the same database do not come back together.
    pub(super) fn next(&mut self, chance: u8) -> Duration {
        let whole = FIRST.saturating_mul(2_u32.saturating_pow(self.troubles)).min(LONGEST);
        self.troubles = self.troubles.saturating_add(1);
        whole / 2 + whole / 2 * u32::from(chance) / 255
    }

    /// Something was written and confirmed.
    pub(super) fn reset(&mut self) {
        self.troubles = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_with_a_share_of_chance_and_begin_anew() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..8).map(|_| backoff.next(255).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.next(0), Duration::from_secs(30));
        let middle = backoff.next(128);
        assert!(middle > Duration::from_secs(30) && middle < Duration::from_secs(60), "{middle:?}");
        backoff.reset();
        assert_eq!(backoff.next(0), Duration::from_millis(500));
    }
}
