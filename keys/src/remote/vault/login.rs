//! A token, the client that holds it, and how long it is good for; and the ways to get one.
//!
//! In: what the server says of a token. Out: when it is due for renewal. Deliberately absent: renewing it (the session).

use super::super::failure::{CallError, Failure};
use rustify::Endpoint;
use rustify::enums::{RequestMethod, RequestType, ResponseType};
use rustify::errors::ClientError as RestError;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use vaultrs::api::AuthInfo;
use vaultrs::client::{Client as _, VaultClient};
use vaultrs::error::ClientError;
use zeroize::{Zeroize, Zeroizing};

/// A token that was refused within this time after its login is not the cause: the right is missing.
const LOGIN_TRUSTED_FOR: Duration = Duration::from_secs(5);
/// A token without end is looked at again after this time; nothing happens then.
const IDLE: Duration = Duration::from_secs(3600);
/// However short a token lives, it is not renewed more often.
const RENEWAL_INTERVAL_MIN: Duration = Duration::from_secs(1);
/// A token that could not be renewed is left alone for this time.
const POSTPONED_FOR: Duration = Duration::from_secs(5);

/// A client with a token.
pub(crate) struct Login {
    pub(crate) client: VaultClient,
    at: Instant,
    /// Whether the server has said that the token is good.
    proven: bool,
    lease: Mutex<Option<Lease>>,
}

/// How long a token lives; a token without a lease lives for ever.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    pub(super) lasts: Duration,
    due: Instant,
    expires: Instant,
    pub(super) renewable: bool,
}

pub(super) enum Stage {
    Fresh,
    Due(Lease),
    Expired,
}

impl Login {
    /// A client that has no token yet.
    pub(super) fn anonymous(client: VaultClient) -> Self {
        Self { client, at: Instant::now(), proven: true, lease: Mutex::new(None) }
    }

    pub(super) fn take(&mut self, token: &str) {
        self.client.set_token(token);
    }

    /// Nobody knows whether the token is good.
    pub(super) fn doubt(&mut self) {
        self.proven = false;
    }

    /// Whether a refusal may be about the token; a token that was good a moment ago is still good.
    pub(super) fn may_be_the_cause(&self) -> bool {
        !self.proven || self.at.elapsed() >= LOGIN_TRUSTED_FOR
    }

    /// Adds to the hint of a refusal that the token itself may be bad, if nobody knows.
    pub(super) fn doubted(&self, mut error: CallError) -> CallError {
        if !self.proven && error.failure == Failure::Denied {
            error.hint = format!("the token is expired or revoked, or {}", error.hint);
        }
        error
    }

    pub(super) fn stage(&self) -> Stage {
        let now = Instant::now();
        match *self.lease() {
            None => Stage::Fresh,
            Some(lease) if now >= lease.expires => Stage::Expired,
            Some(lease) if now >= lease.due => Stage::Due(lease),
            Some(_) => Stage::Fresh,
        }
    }

    pub(super) fn until_due(&self) -> Duration {
        self.lease().map_or(IDLE, |lease| lease.due.saturating_duration_since(Instant::now()))
    }

    /// Leaves a token alone for a while that could not be renewed; false if it is no longer valid.
    pub(super) fn postpone(&self) -> bool {
        let now = Instant::now();
        let mut lease = self.lease();
        let Some(valid) = lease.as_mut().filter(|lease| now < lease.expires) else { return false };
        let left = valid.expires.duration_since(now);
        valid.due = now + POSTPONED_FOR.min(left / 2).max(RENEWAL_INTERVAL_MIN);
        true
    }

    pub(super) fn set_lease(&self, lease: Option<Lease>) {
        *self.lease() = lease;
    }

    fn lease(&self) -> MutexGuard<'_, Option<Lease>> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        self.client.settings.token.zeroize();
        self.client.middle.token.zeroize();
    }
}

impl Lease {
    /// Vault says 0 for tokens without end.
    pub(super) fn of(lasts: Duration, renewable: bool) -> Option<Self> {
        if lasts.is_zero() {
            return None;
        }
        let now = Instant::now();
        Some(Self { lasts, due: now + (lasts * 2 / 3).max(RENEWAL_INTERVAL_MIN), expires: now + lasts, renewable })
    }
}

/// A login that gives a token, with what it shows.
pub(super) enum Method<'a> {
    AppRole { role_id: Zeroizing<String>, secret_id: Zeroizing<String> },
    Kubernetes { role: &'a str, jwt: Zeroizing<String> },
    Certificate { role: &'a str },
}

impl Method<'_> {
    pub(super) async fn log_in(&self, client: &VaultClient, mount: &str) -> Result<AuthInfo, ClientError> {
        match self {
            Self::AppRole { role_id, secret_id } => {
                vaultrs::auth::approle::login(client, mount, role_id, secret_id).await
            }
            Self::Kubernetes { role, jwt } => vaultrs::auth::kubernetes::login(client, mount, role, jwt).await,
            Self::Certificate { role } => vaultrs::api::auth(client, CertificateLogin { mount, role }).await,
        }
    }
}

/// vaultrs has this call with another name of the parameter, which the server ignores.
struct CertificateLogin<'a> {
    mount: &'a str,
    role: &'a str,
}

impl Endpoint for CertificateLogin<'_> {
    type Response = ();
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        format!("auth/{}/login", self.mount)
    }

    fn method(&self) -> RequestMethod {
        RequestMethod::POST
    }

    fn body(&self) -> Result<Option<Vec<u8>>, RestError> {
        let body = serde_json::json!({ "name": self.role });
        Ok((!self.role.is_empty()).then(|| body.to_string().into_bytes()))
    }
}
