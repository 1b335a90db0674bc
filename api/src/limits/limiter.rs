//! The limits of one door: who asks too often is told when to come again.

use super::back_off::Failures;
use super::{Buckets, DoorRates, Limits, RateLimit};
use crate::admission::Door;
use crate::error::ApiError;
use crate::metrics;
use consigner_gate::Peer;
use std::time::{Duration, Instant};

/// The one bucket of a door.
const EVERYBODY: &str = "everybody";

/// What one door counts.
pub(crate) struct Limiter {
    per_identity: Option<RateLimit>,
    identities: Buckets,
    door: Option<Buckets>,
    failures: Option<Failures>,
}

/// What was used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UsedUp {
    /// The calls of one identity.
    Identity,
    /// The calls of all who come through one door.
    Door,
    /// The patience with an address that showed wrong credentials.
    FailedCredentials,
    /// The calls of one caller of the key manager API.
    KeyManager,
}

impl UsedUp {
    /// A word for metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Door => "door",
            Self::FailedCredentials => "failed_credentials",
            Self::KeyManager => "keymanager",
        }
    }

    /// For the caller.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::Identity => "too many calls of this identity",
            Self::Door => "too many calls through this door",
            Self::FailedCredentials => "too many failed credentials from this address, and no certificate",
            Self::KeyManager => "too many calls",
        }
    }
}

impl Limiter {
    pub(crate) fn new(limits: &Limits, door: Door) -> Self {
        Self {
            per_identity: limits.per_identity,
            // Who has no limit is not counted, so this one is never used by itself.
            identities: Buckets::new(limits.per_identity.unwrap_or_default()),
            door: limits.per_door.of(door).map(Buckets::new),
            failures: limits.failed_credentials.map(Failures::new),
        }
    }

    /// Before the credentials of a request are looked at.
    ///
    /// # Errors
    /// 429 while its address has to wait after failed credentials; never for a caller with a certificate.
    pub(crate) fn before_credentials(&self, peer: &Peer) -> Result<(), ApiError> {
        let Some(failures) = self.failures.as_ref().filter(|_| peer.certificate.is_none()) else { return Ok(()) };
        let waits = failures.check(peer.addr.ip(), Instant::now());
        waits.map_err(|wait| too_many(UsedUp::FailedCredentials, whole_seconds(wait)))
    }

    /// The credentials of a request were wrong: an unknown or revoked token, a forged or expired access token. Not: none.
    pub(crate) fn credentials_failed(&self, peer: &Peer) {
        if let Some(failures) = self.failures.as_ref().filter(|_| peer.certificate.is_none()) {
            failures.failed(peer.addr.ip(), Instant::now());
        }
    }

    /// A call of somebody who is known. `own` is the rate that the policy has for `identity`. The identity's calls are
    /// taken first, so that who asks too often takes nothing from the others.
    ///
    /// # Errors
    /// 429.
    pub(crate) fn admit(&self, identity: &str, own: Option<RateLimit>) -> Result<(), ApiError> {
        let now = Instant::now();
        if let Some(limit) = own.or(self.per_identity) {
            let taken = self.identities.take_within(identity, limit, now);
            taken.map_err(|seconds| too_many(UsedUp::Identity, seconds))?;
        }
        let Some(door) = &self.door else { return Ok(()) };
        door.take(EVERYBODY, now).map_err(|seconds| too_many(UsedUp::Door, seconds))
    }
}

/// The answer to who asks too often, counted.
pub(crate) fn too_many(used_up: UsedUp, seconds: u64) -> ApiError {
    metrics::limited(used_up);
    ApiError::TooMany { seconds, used_up }
}

impl DoorRates {
    fn of(&self, door: Door) -> Option<RateLimit> {
        match door {
            Door::Api => self.api,
            Door::KeyManager { .. } => self.keymanager,
            Door::Admin { .. } => self.admin,
            Door::Token => self.token_door,
        }
    }
}

/// For `Retry-After`: rounded up, at least 1.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

#[cfg(test)]
#[path = "limiter_tests.rs"]
mod tests;
