//! Room for callers who have proved nothing yet, so shared that nobody can keep the others out.
//!
//! ```text
//! accept -> lobby "waiting" (first byte) -> lobby "shaking" (TLS handshake) -> the cap of open connections
//! ```
//!
//! In: a source address. Out: a [`Place`], and for whoever had to make room the news of it. A newcomer is never turned
//! away for a silent caller: an honest one sends its first byte at once and shakes hands within milliseconds, so who
//! has been here longest is who should go. One source holds at most a quarter of the places and beyond that competes
//! with itself alone. Deliberately absent: sockets, TLS, addresses to block.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// One source holds at most this part of the places: a few sources together cannot fill a lobby, and a whole site
/// behind one address still gets many.
const SOURCE_PART: usize = 4;

/// Places for unproved callers.
pub(super) struct Lobby {
    places_max: usize,
    /// Who has been here for less is not asked to leave; zero: everybody may be.
    grace: Duration,
    guests: Mutex<Guests>,
    left: Notify,
}

/// In order of arrival. A scan of a thousand entries takes about a microsecond, an accept takes ten.
#[derive(Default)]
struct Guests {
    next_id: u64,
    all: Vec<Guest>,
}

struct Guest {
    id: u64,
    source: IpAddr,
    since: Instant,
    has_spoken: bool,
    evicted: CancellationToken,
}

/// A place in a lobby, given back when dropped.
pub(super) struct Place {
    lobby: Arc<Lobby>,
    id: u64,
    evicted: CancellationToken,
}

impl Lobby {
    /// `places_max` is taken as one at least. Nobody is evicted within `grace` of entering.
    pub(super) fn new(places_max: usize, grace: Duration) -> Arc<Self> {
        Arc::new(Self { places_max: places_max.max(1), grace, guests: Mutex::default(), left: Notify::new() })
    }

    /// Takes a place, of the longest waiting if none is free; waits only while all that could go are within grace.
    pub(super) async fn enter(self: &Arc<Self>, addr: IpAddr) -> Place {
        loop {
            // Made before the look, so that no departure after it is missed.
            let left = self.left.notified();
            match self.try_enter(addr, Instant::now()) {
                Ok(place) => return place,
                Err(look_again) => tokio::select! {
                    () = left => {}
                    () = tokio::time::sleep_until(look_again.into()) => {}
                },
            }
        }
    }

    /// # Errors
    /// When to try again: nobody may be evicted before.
    pub(super) fn try_enter(self: &Arc<Self>, addr: IpAddr, now: Instant) -> Result<Place, Instant> {
        let source = source_of(addr);
        let mut guests = self.guests();
        if let Some(victim) = guests.in_the_way_of(source, self.places_max) {
            let may_go = guests.all[victim].since + self.grace;
            if may_go > now {
                return Err(may_go);
            }
            guests.all.remove(victim).evicted.cancel();
        }
        guests.next_id += 1;
        let (id, evicted) = (guests.next_id, CancellationToken::new());
        guests.all.push(Guest { id, source, since: now, has_spoken: false, evicted: evicted.clone() });
        Ok(Place { lobby: self.clone(), id, evicted })
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.guests().all.len()
    }
}

impl Guests {
    /// Who must go before this source may enter: the silent before those who have spoken, the oldest of them; of the
    /// source itself if it has its part, else of the source that holds most.
    fn in_the_way_of(&self, source: IpAddr, places_max: usize) -> Option<usize> {
        let part = (places_max / SOURCE_PART).max(1);
        let crowded = if self.held_by(source) >= part {
            source
        } else if self.all.len() >= places_max {
            self.greediest()?
        } else {
            return None;
        };
        let of_crowded = self.all.iter().enumerate().filter(|(_, guest)| guest.source == crowded);
        of_crowded.min_by_key(|(_, guest)| (guest.has_spoken, guest.id)).map(|(index, _)| index)
    }

    fn held_by(&self, source: IpAddr) -> usize {
        self.all.iter().filter(|guest| guest.source == source).count()
    }

    /// The source with most places; among equals the one that came first.
    fn greediest(&self) -> Option<IpAddr> {
        let mut counts = std::collections::HashMap::new();
        for guest in &self.all {
            counts.entry(guest.source).or_insert((0_usize, std::cmp::Reverse(guest.id))).0 += 1;
        }
        counts.into_iter().max_by_key(|(_, rank)| *rank).map(|(source, _)| source)
    }
}

impl Place {
    /// Once another caller got this place.
    pub(super) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// The caller sent a byte: the silent go before it.
    pub(super) fn has_spoken(&self) {
        if let Some(guest) = self.lobby.guests().all.iter_mut().find(|guest| guest.id == self.id) {
            guest.has_spoken = true;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lobby.guests().all.retain(|guest| guest.id != self.id);
        self.lobby.left.notify_waiters();
    }
}

/// Whom an address stands for: the owner of one IPv6 address has at least the whole /64 (RFC 6177).
fn source_of(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V4(addr) => IpAddr::V4(addr),
        IpAddr::V6(addr) => IpAddr::V6(Ipv6Addr::from_bits(addr.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
#[path = "lobby_tests.rs"]
mod tests;
