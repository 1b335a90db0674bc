//! How much of a node a caller, a door and all of them together may use.
//!
//! | limit | beyond it | off by default |
//! |---|---|---|
//! | [`places`]: sign requests served at one time, by tiers | 503 at once | no |
//! | [`bucket`]: calls of one identity | 429, `Retry-After` | yes |
//! | [`bucket`]: calls through one door | 429, `Retry-After` | yes |
//! | [`back_off`]: failed credentials of one address, of callers without a certificate | 429, `Retry-After` | yes |
//!
//! In: what a request is, and whose. Out: a place, leave, or how long to wait; a count of each refusal.
//! Each door counts for itself, and each node: a cluster of three nodes takes three times as much. Endpoints of health
//! are limited by none of these: a balancer that is told 429 takes the node out of service. Deliberately absent: who the
//! caller is and what it may do (`admission`), connections and handshakes (`gate`), the key manager API's own rate
//! ([`crate::KeyManagerPolicy`]), which stands on top.

mod back_off;
mod bucket;
mod limiter;
mod places;

pub use back_off::BackOff;
pub(crate) use bucket::Buckets;
pub use bucket::RateLimit;
pub(crate) use limiter::{Limiter, UsedUp, too_many};
pub(crate) use places::{Place, Places, Tier};

/// How much of the node the HTTP surface may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Sign requests between their type known and their answer; beyond, 503. Of these places other duties take at most
    /// 60 %, attestations 85 %, RANDAO reveals and payload envelopes 95 %, blocks all.
    pub sign_requests_max: usize,
    /// Bytes of request bodies held in memory, all sign requests together; beyond, 503.
    pub body_bytes_in_flight_max: usize,
    /// Calls of one identity through one door: a client of the policy that has no `rate` of its own, without a policy a
    /// certificate's name. `None`: no limit.
    pub per_identity: Option<RateLimit>,
    /// Calls of everybody together, by door.
    pub per_door: DoorRates,
    /// Failed credentials of callers without a certificate, by address. `None`: no back-off.
    pub failed_credentials: Option<BackOff>,
}

/// Calls of everybody together through each door; `None`: no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DoorRates {
    /// `api.listen`.
    pub api: Option<RateLimit>,
    /// `keymanager.listen`.
    pub keymanager: Option<RateLimit>,
    /// `admin.listen`.
    pub admin: Option<RateLimit>,
    /// `token-door.listen`.
    pub token_door: Option<RateLimit>,
}

impl Default for Limits {
    /// As a development cluster has them: no rates, no back-off.
    fn default() -> Self {
        Self {
            // About 1.7 s of BLS signing on one core: what waits longer than that, its client has given up.
            sign_requests_max: 4096,
            // Sixteen bodies of the greatest size, or every one of the sign requests with 64 KiB.
            body_bytes_in_flight_max: 256 << 20,
            per_identity: None,
            per_door: DoorRates::default(),
            failed_credentials: None,
        }
    }
}
