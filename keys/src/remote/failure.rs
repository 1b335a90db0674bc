//! Why a call to a service failed, in words that name the call, the key and what the operator can do.
//!
//! In: what the client library says. Out: [`CallError`]. Deliberately absent: repeating calls (the guard).

use std::error::Error;
use std::time::Duration;

/// What went wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection, no TLS, or it broke before the answer was whole.
    #[error("is not reachable")]
    Unreachable,
    /// No answer in time.
    #[error("gave no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// Too many calls, says the service.
    #[error("is throttled")]
    Throttled,
    /// The service failed: 5xx.
    #[error("failed on the side of the service")]
    Service,
    /// A Vault that nobody has unsealed yet.
    #[error("was refused: the Vault is sealed")]
    Sealed,
    /// The service does not accept who we are.
    #[error("was refused: the credentials are not accepted")]
    Unauthenticated,
    /// The service knows us and says no.
    #[error("was refused: access denied")]
    Denied,
    /// The key is disabled or about to be deleted.
    #[error("was refused: the key cannot be used in its present state")]
    Disabled,
    /// There is no such key, mount or secret.
    #[error("was refused: not found")]
    NotFound,
    /// Any other refusal: the request itself is wrong.
    #[error("was refused")]
    Refused,
    /// The answer cannot be understood.
    #[error("gave an answer that makes no sense")]
    Malformed,
    /// Not called at all: the last calls all failed, and the service is given time.
    #[error("was not made: the service failed repeatedly; the next attempt is made in {} ms", .0.as_millis())]
    CircuitOpen(Duration),
}

impl Failure {
    /// Its word in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::TimedOut(_) => "timed-out",
            Self::Throttled => "throttled",
            Self::Service => "service-failure",
            Self::Sealed => "sealed",
            Self::Unauthenticated => "unauthenticated",
            Self::Denied => "denied",
            Self::Disabled => "disabled",
            Self::NotFound => "not-found",
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::CircuitOpen(_) => "circuit-open",
        }
    }

    /// Whether the same call can succeed a moment later, without anybody's doing.
    #[must_use]
    pub const fn retry_helps(self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut(_) | Self::Throttled | Self::Service)
    }

    /// Whether the same call can succeed later, perhaps after somebody restored the service or the access to it.
    #[must_use]
    pub const fn may_pass(self) -> bool {
        match self {
            Self::Unreachable
            | Self::TimedOut(_)
            | Self::Throttled
            | Self::Service
            | Self::Sealed
            | Self::Unauthenticated
            | Self::Denied
            | Self::Disabled
            | Self::NotFound
            | Self::CircuitOpen(_) => true,
            Self::Refused | Self::Malformed => false,
        }
    }
}

/// A failed call. Never holds a secret: neither request nor response bodies, nor headers.
#[derive(Debug, thiserror::Error)]
#[error("{call} for {key} {failure}{}", Self::cure(hint))]
pub struct CallError {
    /// The exact call, e.g. `kms:Decrypt`.
    pub call: String,
    /// The key or secret that was asked for.
    pub key: String,
    /// What went wrong.
    pub failure: Failure,
    /// What the operator can do; may be empty.
    pub hint: String,
    /// What the client library or the service says.
    #[source]
    pub cause: Option<Box<dyn Error + Send + Sync>>,
}

impl CallError {
    /// As [`Failure::may_pass`].
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        self.failure.may_pass()
    }

    /// The error and its cause on one line.
    #[must_use]
    pub fn chain(&self) -> String {
        self.cause.as_ref().map_or_else(|| self.to_string(), |cause| format!("{self}: {cause}"))
    }

    fn cure(hint: &str) -> String {
        if hint.is_empty() { String::new() } else { format!("; {hint}") }
    }
}
