//! A login at a Vault server that is kept alive.
//!
//! ```text
//! no token --log in--> token --two thirds of its time passed--> renew, or log in again
//!                        '--expired, or refused although it was good--> log in again
//! ```
//! In: [`VaultConfig`]. Out: calls with a token. A call looks at the token first and logs in or renews if needed; a task
//! does the same while nobody calls, because a token that nobody renews for an hour is gone. Deliberately absent: a
//! call at set-up: a node starts while Vault is away.

use super::super::config::{self, ConfigError};
use super::super::failure::{CallError, Failure};
use super::super::guard::{Call, Guard, below};
use super::login::{Lease, Login, Method, Stage};
use super::{Pins, Place, VaultAuth, VaultConfig, client, failed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use tokio::task::AbortHandle;
use vaultrs::api::AuthInfo;
use vaultrs::client::Client as _;
use zeroize::{Zeroize, Zeroizing};

/// A renewal or login that failed is tried again after this time, doubled up to the longest.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// A server and the token that is valid there now.
pub(crate) struct Session {
    config: VaultConfig,
    pins: Option<Pins>,
    guard: Guard,
    deadline: Duration,
    login: Mutex<Option<Arc<Login>>>,
    /// There is a new login or lease.
    changed: Arc<Notify>,
    keeper: OnceLock<AbortHandle>,
}

impl Session {
    /// Checks the configuration and starts the task that keeps the login alive until the session is dropped. Must be
    /// called on a runtime.
    ///
    /// # Errors
    /// [`ConfigError`] for an address, namespace or CA file that cannot be used.
    pub(crate) fn open(
        config: VaultConfig,
        service: &'static str,
        deadline: Duration,
    ) -> Result<Arc<Self>, ConfigError> {
        Self::open_pinned(config, None, service, deadline)
    }

    /// As [`open`](Self::open), but trusts the server's certificate by its fingerprint if there are pins.
    pub(crate) fn open_pinned(
        config: VaultConfig,
        pins: Option<Pins>,
        service: &'static str,
        deadline: Duration,
    ) -> Result<Arc<Self>, ConfigError> {
        client::check(&config, pins.as_ref())?;
        let guard = Guard::new(service, &config.address, deadline);
        let changed = Arc::new(Notify::new());
        let (login, keeper) = (Mutex::new(None), OnceLock::new());
        let session = Arc::new(Self { config, pins, guard, deadline, login, changed: Arc::clone(&changed), keeper });
        let task = tokio::spawn(keep(Arc::downgrade(&session), changed));
        let _ = session.keeper.set(task.abort_handle());
        Ok(session)
    }

    /// The server, for people.
    pub(crate) fn endpoint(&self) -> &str {
        self.guard.endpoint()
    }

    /// What a call touches, for hints.
    pub(crate) fn place<'a>(&'a self, path: &'a str, capability: &'a str) -> Place<'a> {
        Place { path, capability, endpoint: self.endpoint(), deadline: self.deadline }
    }

    /// Makes a call with a valid token, with a new one if the server refuses one that was good.
    pub(crate) async fn call<T, F>(&self, call: Call<'_>, attempt: impl Fn(Arc<Login>) -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, CallError>>,
    {
        let login = self.login().await?;
        let result = self.guard.call(call, || attempt(Arc::clone(&login))).await;
        match result {
            // The server does not tell a revoked token from a missing right.
            Err(error) if error.failure == Failure::Denied && login.may_be_the_cause() => {
                self.forget(&login).await;
                let login = self.login().await?;
                let result = self.guard.call(call, || attempt(Arc::clone(&login))).await;
                result.map_err(|error| login.doubted(error))
            }
            other => other,
        }
    }

    /// A valid login: the present one, renewed if that is due, or a new one.
    pub(crate) async fn login(&self) -> Result<Arc<Login>, CallError> {
        let mut slot = self.login.lock().await;
        if let Some(login) = slot.as_ref() {
            match login.stage() {
                Stage::Fresh => return Ok(Arc::clone(login)),
                Stage::Due(lease) if lease.renewable && self.renew(login, lease).await => {
                    self.changed.notify_one();
                    return Ok(Arc::clone(login));
                }
                Stage::Due(_) | Stage::Expired => {}
            }
        }
        match (self.log_in().await, slot.as_ref()) {
            (Ok(login), _) => {
                self.changed.notify_one();
                Ok(Arc::clone(slot.insert(Arc::new(login))))
            }
            (Err(error), Some(login)) if login.postpone() => {
                tracing::warn!(error = error.chain(), "a Vault token could not be renewed; it is still valid");
                Ok(Arc::clone(login))
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn forget(&self, login: &Arc<Login>) {
        let mut slot = self.login.lock().await;
        if slot.as_ref().is_some_and(|present| Arc::ptr_eq(present, login)) {
            *slot = None;
        }
    }

    /// Whether the token lives longer now.
    async fn renew(&self, login: &Login, before: Lease) -> bool {
        let call = Call { name: "vault:auth/token/renew-self", key: "the token" };
        let place = self.place("auth/token/renew-self", "update");
        let attempt = || async { login.client.renew(None).await.map_err(|error| failed(call, &place, &error)) };
        match self.guard.call(call, attempt).await {
            Ok(answer) => {
                let lasts = Duration::from_secs(answer.lease_duration);
                wipe(answer);
                // At the end of its longest life a token is renewed to less and less: then a new login is due.
                let renewable = lasts >= before.lasts / 2;
                login.set_lease(Lease::of(lasts, renewable));
                true
            }
            Err(error) => {
                tracing::info!(error = error.chain(), "a Vault token was not renewed; logging in again");
                false
            }
        }
    }

    async fn log_in(&self) -> Result<Login, CallError> {
        match &self.config.auth {
            VaultAuth::Token { file: Some(file) } => {
                let token = config::text("Vault token", file);
                self.with_token(token.map_err(|error| self.unread("vault:auth/token/lookup-self", &error))?).await
            }
            VaultAuth::Token { file: None } => {
                let token = std::env::var("VAULT_TOKEN").map(Zeroizing::new).unwrap_or_default();
                self.with_token(token).await
            }
            VaultAuth::TokenText(token) => self.with_token(token.clone()).await,
            VaultAuth::AppRole { mount, role_id_file, secret_id_file } => {
                const NAME: &str = "vault:auth/approle/login";
                let unread = |error: ConfigError| self.unread(NAME, &error);
                let role_id = config::text("AppRole role id", role_id_file).map_err(unread)?;
                let secret_id = config::text("AppRole secret id", secret_id_file).map_err(unread)?;
                self.with_method(NAME, mount, &Method::AppRole { role_id, secret_id }).await
            }
            VaultAuth::Kubernetes { mount, role, jwt_file } => {
                const NAME: &str = "vault:auth/kubernetes/login";
                let jwt = config::text("service account token", jwt_file).map_err(|error| self.unread(NAME, &error))?;
                self.with_method(NAME, mount, &Method::Kubernetes { role, jwt }).await
            }
            VaultAuth::Certificate { mount, role, .. } => {
                let role = role.as_deref().unwrap_or_default();
                self.with_method("vault:auth/cert/login", mount, &Method::Certificate { role }).await
            }
        }
    }

    /// A token that somebody else made: asks how long it lives.
    async fn with_token(&self, token: Zeroizing<String>) -> Result<Login, CallError> {
        let call = Call { name: "vault:auth/token/lookup-self", key: "the token" };
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let hint = "no token: set VAULT_TOKEN or a token file, one line of printable text";
            return Err(call.failed(Failure::Unauthenticated, hint, None));
        }
        let mut login = self.anonymous(call.name)?;
        login.take(&token);
        let place = self.place("auth/token/lookup-self", "read");
        let attempt = || async { login.client.lookup().await.map_err(|error| failed(call, &place, &error)) };
        match self.guard.call(call, attempt).await {
            Ok(mut answer) => {
                login.set_lease(Lease::of(Duration::from_secs(answer.ttl), answer.renewable == Some(true)));
                answer.id.zeroize();
            }
            // Expired, or without the policy `default`: then it may not look itself up and may still be good.
            Err(error) if error.failure == Failure::Denied => login.doubt(),
            Err(error) => return Err(error),
        }
        Ok(login)
    }

    async fn with_method(&self, name: &'static str, mount: &str, method: &Method<'_>) -> Result<Login, CallError> {
        let path = format!("auth/{mount}");
        let call = Call { name, key: &path };
        let mut login = self.anonymous(name)?;
        let place = self.place(&path, "update");
        let attempt = || async {
            let answer = method.log_in(&login.client, mount).await;
            answer.map_err(|error| refused(failed(call, &place, &error)))
        };
        let answer = self.guard.call(call, attempt).await?;
        login.set_lease(Lease::of(Duration::from_secs(answer.lease_duration), answer.renewable));
        login.take(&answer.client_token);
        wipe(answer);
        Ok(login)
    }

    fn anonymous(&self, name: &'static str) -> Result<Login, CallError> {
        let client = client::build(&self.config, self.pins.as_ref()).map_err(|error| self.unread(name, &error))?;
        Ok(Login::anonymous(client))
    }

    /// A login that cannot be tried: a file is missing. It may appear later.
    fn unread(&self, name: &'static str, error: &ConfigError) -> CallError {
        let call = Call { name, key: self.endpoint() };
        let reason = match error {
            ConfigError::Read { source, .. } => format!("{error}: {source}"),
            ConfigError::Content { .. } | ConfigError::Value { .. } => error.to_string(),
        };
        call.failed(Failure::Unauthenticated, reason, None)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.abort();
        }
    }
}

/// Renews the login in time as long as there is a session.
async fn keep(session: Weak<Session>, changed: Arc<Notify>) {
    let mut retry = RETRY_MIN;
    loop {
        let wait = {
            let Some(session) = session.upgrade() else { return };
            match session.login().await {
                Ok(login) => {
                    retry = RETRY_MIN;
                    login.until_due()
                }
                Err(error) => {
                    tracing::warn!(error = error.chain(), "no login at Vault; trying again");
                    retry = (retry * 2).min(RETRY_MAX);
                    retry / 2 + below(retry / 2)
                }
            }
        };
        let _ = tokio::time::timeout(wait, changed.notified()).await;
    }
}

/// Whatever the server calls it, a login that is refused is about who we are.
fn refused(mut error: CallError) -> CallError {
    if matches!(error.failure, Failure::Denied | Failure::Refused) {
        error.failure = Failure::Unauthenticated;
        "is the role, secret or token right, not expired and not used up?".clone_into(&mut error.hint);
    }
    error
}

fn wipe(mut answer: AuthInfo) {
    answer.client_token.zeroize();
}
