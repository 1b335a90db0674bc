//! How long an address waits after failed credentials.
//!
//! In: failed credentials of callers without a certificate. Out: whether an address may show credentials now. After a
//! few failures each further one doubles the wait, up to a cap; an attempt during the wait is answered before anything
//! is checked, and neither counts nor prolongs it. Only time forgives: whoever holds one valid credential must not be
//! able to guess others faster. Deliberately absent: callers with a certificate, whom nothing here delays (behind one
//! address there may be many), and what a credential is.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Addresses remembered at one time: under 100 bytes each. Beyond, those whose wait ends first are forgotten.
const ADDRESSES_MAX: usize = 16_384;

/// Bits of an IPv6 address that tell sites apart: whoever has one address has its /64.
const SITE_BITS: u32 = 64;

/// How failed credentials are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// Failures of one address that cost nothing: a token mistyped, one rotated.
    pub free: u32,
    /// The wait after the first failure beyond those.
    pub first: Duration,
    /// The longest wait; an address that was quiet for as long again after its wait starts anew.
    pub longest: Duration,
}

impl Default for BackOff {
    /// Five attempts, then 1 s, 2 s, 4 s .. up to a minute: about a thousand guesses a day.
    fn default() -> Self {
        Self { free: 5, first: Duration::from_secs(1), longest: Duration::from_secs(60) }
    }
}

/// What is remembered of all addresses.
#[derive(Debug)]
pub(super) struct Failures {
    rules: BackOff,
    addresses: Mutex<HashMap<IpAddr, Failed>>,
}

#[derive(Debug, Clone, Copy)]
struct Failed {
    count: u32,
    until: Instant,
}

impl Failures {
    pub(super) fn new(rules: BackOff) -> Self {
        Self { rules, addresses: Mutex::default() }
    }

    /// Whether the address may show credentials.
    ///
    /// # Errors
    /// How long it has to wait, at least 1 ns.
    pub(super) fn check(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        match addresses.get(&site(address)) {
            Some(failed) if failed.until > now => Err(failed.until - now),
            Some(_) | None => Ok(()),
        }
    }

    /// The address has shown credentials that are wrong.
    pub(super) fn failed(&self, address: IpAddr, now: Instant) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let address = site(address);
        if addresses.len() >= ADDRESSES_MAX && !addresses.contains_key(&address) {
            self.forget(&mut addresses, now);
        }
        let failed = addresses.entry(address).or_insert(Failed { count: 0, until: now });
        if self.is_forgiven(failed, now) {
            failed.count = 0;
        }
        failed.count = failed.count.saturating_add(1);
        // Several that were on their way at once do not shorten a wait.
        failed.until = failed.until.max(now + self.wait(failed.count));
    }

    /// After so many failures.
    fn wait(&self, count: u32) -> Duration {
        let Some(doublings) = count.checked_sub(self.rules.free.saturating_add(1)) else { return Duration::ZERO };
        let factor = 2_u32.checked_pow(doublings).unwrap_or(u32::MAX);
        self.rules.first.saturating_mul(factor).min(self.rules.longest)
    }

    fn is_forgiven(&self, failed: &Failed, now: Instant) -> bool {
        now.saturating_duration_since(failed.until) > self.rules.longest
    }

    /// Makes room: who is forgiven anyhow, else the half whose wait ends first. Then nobody can shut out newcomers by
    /// filling the memory, and the cost is spread over as many failures.
    fn forget(&self, addresses: &mut HashMap<IpAddr, Failed>, now: Instant) {
        addresses.retain(|_, failed| !self.is_forgiven(failed, now));
        if addresses.len() < ADDRESSES_MAX {
            return;
        }
        let mut ends: Vec<Instant> = addresses.values().map(|failed| failed.until).collect();
        let middle = ends.len() / 2;
        let (_, median, _) = ends.select_nth_unstable(middle);
        let (median, mut surplus) = (*median, ADDRESSES_MAX / 2);
        addresses.retain(|_, failed| {
            let goes = failed.until <= median && surplus > 0;
            surplus -= usize::from(goes);
            !goes
        });
    }
}

/// What counts as one address.
fn site(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let site = u128::from(address) & (u128::MAX << (u128::BITS - SITE_BITS));
            IpAddr::V6(Ipv6Addr::from(site))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::net::Ipv4Addr;

    const RULES: BackOff = BackOff { free: 2, first: Duration::from_secs(1), longest: Duration::from_secs(10) };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_wait_doubles_up_to_a_cap_and_is_forgiven_by_time_alone() {
        let (failures, ours) = (Failures::new(RULES), address("192.0.2.1"));
        let mut now = Instant::now();
        for expected in [0, 0, 1, 2, 4, 8, 10, 10] {
            assert_eq!(failures.check(ours, now), Ok(()));
            failures.failed(ours, now);
            let wait = Duration::from_secs(expected);
            assert_eq!(failures.check(ours, now).err(), (expected > 0).then_some(wait), "{expected}");
            assert_eq!(failures.check(address("192.0.2.2"), now), Ok(()), "another address");
            now += wait;
        }
        now += RULES.longest;
        failures.failed(ours, now);
        assert_eq!(failures.check(ours, now), Err(RULES.longest), "not yet");
        now += RULES.longest * 2 + Duration::from_nanos(1);
        failures.failed(ours, now);
        assert_eq!(failures.check(ours, now), Ok(()), "started anew");
    }

    #[test]
    fn attempts_on_their_way_together_all_count() {
        let (failures, ours, now) = (Failures::new(RULES), address("192.0.2.1"), Instant::now());
        for _ in 0..100 {
            failures.failed(ours, now);
        }
        assert_eq!(failures.check(ours, now), Err(RULES.longest));
    }

    #[test]
    fn a_site_of_ipv6_is_one_address_and_a_mapped_one_is_what_it_maps() {
        let (failures, now) = (Failures::new(RULES), Instant::now());
        for number in 1..=3_u16 {
            failures.failed(address(&format!("2001:db8:0:1:{number}::1")), now);
            failures.failed(address(&format!("::ffff:192.0.2.{number}")), now);
        }
        assert!(failures.check(address("2001:db8:0:1::9"), now).is_err());
        assert_eq!(failures.check(address("2001:db8:0:2::9"), now), Ok(()));
        assert_eq!(failures.check(address("192.0.2.1"), now), Ok(()), "each of them once");
        for _ in 0..2 {
            failures.failed(address("192.0.2.1"), now);
        }
        assert!(failures.check(address("::ffff:192.0.2.1"), now).is_err());
    }

    #[test]
    fn memory_is_bounded_and_newcomers_are_remembered() {
        let (failures, start) = (Failures::new(RULES), Instant::now());
        let numbered = |number: u32| IpAddr::V4(Ipv4Addr::from(number));
        for number in 0..3 * u32::try_from(ADDRESSES_MAX).unwrap() {
            // Each later than the one before, so that the first ones are forgotten first.
            let now = start + Duration::from_micros(u64::from(number));
            for _ in 0..3 {
                failures.failed(numbered(number), now);
            }
            assert!(failures.check(numbered(number), now).is_err(), "{number}");
            assert!(failures.addresses.lock().unwrap().len() <= ADDRESSES_MAX);
        }
        failures.failed(numbered(7), start + Duration::from_secs(60));
        failures.failed(numbered(0), start + Duration::from_secs(120));
        assert!(failures.check(numbered(7), start + Duration::from_secs(120)).is_ok());
    }

    #[test]
    fn numbers_without_sense_do_no_harm() {
        let rules = BackOff { free: u32::MAX, first: Duration::MAX, longest: Duration::from_secs(1) };
        let failures = Failures::new(rules);
        failures.failed(address("192.0.2.1"), Instant::now());
        let failures = Failures { rules: BackOff { free: 0, ..rules }, ..failures };
        let now = Instant::now();
        failures.failed(address("192.0.2.1"), now);
        assert_eq!(failures.check(address("192.0.2.1"), now), Err(Duration::from_secs(1)));
    }
}
