//! Holds the issuer's keys, keeps them fresh, and verifies tokens with them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::fetch::{self, FETCH_DEADLINE};
use super::jwk::Keys;
use super::token::{self, Claims, Expected};
use super::{JwtError, KeySet, OAuth, OAuthError};
use crate::causes::with_causes;
use crate::tls::stamps::Stamps;

/// While the issuer cannot be reached its keys are believed for this long: an outage over a day is rare, and a key that
/// was stolen and withdrawn must not live as long as somebody can keep us from hearing of it.
pub const KEYS_AGE_MAX: Duration = Duration::from_secs(86_400);

/// Tokens with key ids that nobody knows make us ask the issuer at most this often.
const REFETCH_INTERVAL: Duration = Duration::from_secs(10);

/// How long a token waits for such an answer: as long as a fetch may take, and for its turn.
const REFETCH_WAIT: Duration = FETCH_DEADLINE.saturating_add(Duration::from_secs(1));

/// The pause after a failed fetch, doubled with each further one ...
const RETRY_MIN: Duration = Duration::from_secs(1);

/// ... up to this.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// How often the file is looked at (one system call).
const FILE_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A file that could not be used is tried again after so many looks even if it looks the same.
const FILE_RETRY_POLLS: u64 = 10;

/// Verifies tokens. [`Self::run`] must run beside it: it fetches the keys.
pub struct TokenVerifier {
    settings: OAuth,
    expected: Expected,
    current: ArcSwapOption<Current>,
    /// The number of fetches that ended, well or not.
    fetches: watch::Sender<u64>,
    wanted: Notify,
    /// When a token last had a key fetched, and how many fetches had ended then.
    wanted_last: Mutex<Option<(Instant, u64)>>,
    error: Mutex<Option<String>>,
}

/// The keys in use.
struct Current {
    keys: Keys,
    fetched: Instant,
    fetched_unix: i64,
}

/// How the issuer's key set is doing, for readiness and `doctor`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthStatus {
    /// Usable keys in the set.
    pub keys: usize,
    /// When it was last read or fetched, in seconds since 1970; `None`: never.
    pub fetched_unix: Option<i64>,
    /// Why the last attempt failed, with its causes; `None`: it did not.
    pub error: Option<String>,
    /// Whether tokens can be verified: there is a set, and it is not too old.
    pub is_usable: bool,
}

impl TokenVerifier {
    /// Checks the settings and reads the file. A URL is first asked by [`Self::run`]: an issuer that is away must not
    /// keep a node from starting. Reads files: not for a thread of the runtime.
    ///
    /// # Errors
    /// See [`OAuthError`].
    pub fn new(settings: OAuth) -> Result<Arc<Self>, OAuthError> {
        settings.check()?;
        let current = match &settings.keys {
            KeySet::File(path) => Some(Arc::new(Current::now(fetch::read(path)?))),
            KeySet::Url { ca, .. } => {
                fetch::check_roots(ca.as_deref())?;
                None
            }
        };
        let leeway = i64::try_from(settings.leeway.as_secs()).unwrap_or_default();
        let expected = Expected { issuer: settings.issuer.clone(), audiences: settings.audiences.clone(), leeway };
        Ok(Arc::new(Self {
            settings,
            expected,
            current: ArcSwapOption::new(current),
            fetches: watch::Sender::new(0),
            wanted: Notify::new(),
            wanted_last: Mutex::default(),
            error: Mutex::default(),
        }))
    }

    /// What it was made with.
    pub const fn settings(&self) -> &OAuth {
        &self.settings
    }

    /// Fetches the keys and keeps them fresh until told to stop.
    pub async fn run(self: Arc<Self>, until: CancellationToken) {
        tokio::select! {
            () = until.cancelled() => {}
            () = async {
                match &self.settings.keys {
                    KeySet::File(path) => self.watch(std::slice::from_ref(path)).await,
                    KeySet::Url { .. } => self.refresh().await,
                }
            } => {}
        }
    }

    /// Verifies a token (the text after `Bearer `). A key that is not known is looked for at the issuer's once more, at
    /// most every 10 s for all callers together; only then this waits.
    ///
    /// # Errors
    /// Why the token is not believed, without any of it.
    pub async fn verify(&self, token: &str) -> Result<Claims, JwtError> {
        // Taken before the look, so that no fetch after it is missed.
        let mut fetches = self.fetches.subscribe();
        let mut verdict = self.verify_now(token);
        if matches!(verdict, Err(JwtError::UnknownKey | JwtError::NoKeys)) && self.may_look_again() {
            let _late = timeout(REFETCH_WAIT, fetches.changed()).await;
            verdict = self.verify_now(token);
        }
        let outcome = verdict.as_ref().map_or_else(|why| why.label(), |_claims| "accepted");
        metrics::counter!("consigner_oauth_tokens_total", "outcome" => outcome).increment(1);
        verdict
    }

    /// How the key set is doing.
    pub fn status(&self) -> OAuthStatus {
        let current = self.current.load();
        OAuthStatus {
            keys: current.as_ref().map_or(0, |current| current.keys.len()),
            fetched_unix: current.as_ref().map(|current| current.fetched_unix),
            error: lock(&self.error).clone(),
            is_usable: current.as_ref().is_some_and(|current| self.is_fresh(current, Instant::now())),
        }
    }

    fn verify_now(&self, token: &str) -> Result<Claims, JwtError> {
        let current = self.current.load();
        let current = current.as_ref().filter(|current| self.is_fresh(current, Instant::now()));
        token::verify(token, &current.ok_or(JwtError::NoKeys)?.keys, &self.expected, unix_now())
    }

    /// A file is as new as it is on the disk.
    fn is_fresh(&self, current: &Current, now: Instant) -> bool {
        matches!(self.settings.keys, KeySet::File(_)) || now.duration_since(current.fetched) < KEYS_AGE_MAX
    }

    /// Whether a fetch for the sake of a token is under way, or may begin.
    fn may_look_again(&self) -> bool {
        let (mut last, now, ended) = (lock(&self.wanted_last), Instant::now(), *self.fetches.borrow());
        if let Some((at, ended_then)) = *last
            && now.duration_since(at) < REFETCH_INTERVAL
        {
            return ended == ended_then;
        }
        *last = Some((now, ended));
        self.wanted.notify_one();
        true
    }

    async fn refresh(&self) {
        let mut failures = 0;
        loop {
            let pause = match self.fetch().await {
                Ok(()) => {
                    failures = 0;
                    self.settings.refresh
                }
                Err(()) => {
                    failures += 1;
                    retry_after(failures).min(self.settings.refresh)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    /// As the TLS files are watched: a change is read once it has stood still for a whole poll.
    async fn watch(&self, files: &[std::path::PathBuf]) {
        let mut tried = None;
        let (mut pending, mut has_failed, mut polls) = (None, false, 0_u64);
        loop {
            let is_wanted = tokio::select! {
                () = tokio::time::sleep(FILE_POLL_INTERVAL) => false,
                () = self.wanted.notified() => true,
            };
            let seen = Some(Stamps::of(files));
            polls += 1;
            let is_stable = pending.replace(seen.clone()) == Some(seen.clone());
            let is_retry = has_failed && polls.is_multiple_of(FILE_RETRY_POLLS);
            if is_wanted || is_retry || (is_stable && seen != tried) {
                tried = seen;
                has_failed = self.fetch().await.is_err();
            }
        }
    }

    /// Uses what is there now; keeps what it has if that cannot be used.
    async fn fetch(&self) -> Result<(), ()> {
        let fetched = fetch::fetch(&self.settings.keys).await;
        let outcome = match &fetched {
            Ok(_) => "fetched",
            Err(_) => "failed",
        };
        metrics::counter!("consigner_oauth_fetches_total", "outcome" => outcome).increment(1);
        let result = match fetched {
            Ok(keys) => {
                self.use_keys(Current::now(keys));
                Ok(())
            }
            Err(error) => {
                self.failed(with_causes(&error));
                Err(())
            }
        };
        self.fetches.send_modify(|ended| *ended += 1);
        result
    }

    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^52")]
    fn use_keys(&self, current: Current) {
        let (keys, left_out) = (current.keys.len(), current.keys.left_out);
        metrics::gauge!("consigner_oauth_keys").set(keys as f64);
        metrics::gauge!("consigner_oauth_keys_fetched_seconds").set(current.fetched_unix as f64);
        let issuer = &self.settings.issuer;
        if keys == 0 {
            tracing::warn!(issuer, left_out, "the issuer's key set has no key that signs tokens: all are refused");
        } else if lock(&self.error).is_some() || self.current.load().is_none() {
            tracing::info!(issuer, keys, left_out, "the issuer's keys are available");
        }
        self.current.store(Some(Arc::new(current)));
        *lock(&self.error) = None;
    }

    fn failed(&self, reason: String) {
        let mut last = lock(&self.error);
        if last.as_ref() != Some(&reason) {
            let (issuer, is_usable) = (&self.settings.issuer, self.current.load().is_some());
            tracing::warn!(issuer, reason, is_usable, "the issuer's keys were not renewed: the old ones stay in use");
        }
        *last = Some(reason);
    }
}

impl Current {
    fn now(keys: Keys) -> Self {
        Self { keys, fetched: Instant::now(), fetched_unix: unix_now() }
    }
}

impl std::fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenVerifier").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn retry_after(failures: u32) -> Duration {
    RETRY_MIN.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(RETRY_MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn keys_of_a_url_are_believed_for_a_day_without_news_and_those_of_a_file_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys.json");
        std::fs::write(&file, r#"{"keys":[]}"#).unwrap();
        let oauth = |keys| OAuth {
            issuer: "https://idp".to_owned(),
            audiences: vec!["consigner".to_owned()],
            keys,
            leeway: Duration::ZERO,
            refresh: super::super::REFRESH_MIN,
        };
        // A day from now, since nobody knows how long this machine has been running.
        let later = Instant::now() + KEYS_AGE_MAX + Duration::from_secs(1);
        let of_file = TokenVerifier::new(oauth(KeySet::File(file.clone()))).unwrap();
        let current = of_file.current.load_full().unwrap();
        assert!(of_file.is_fresh(&current, later));
        let ca = Some(dir.path().join("ca.pem"));
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        std::fs::write(ca.as_ref().unwrap(), params.self_signed(&key).unwrap().pem()).unwrap();
        let of_url = TokenVerifier::new(oauth(KeySet::Url { url: "https://idp/keys".to_owned(), ca })).unwrap();
        assert!(of_url.is_fresh(&current, later - Duration::from_secs(2)));
        assert!(!of_url.is_fresh(&current, later));
    }

    #[test]
    fn the_pause_after_failures_grows_and_is_bounded() {
        let pauses: Vec<u64> = [1, 2, 3, 6, 7, 100, u32::MAX].map(|count| retry_after(count).as_secs()).to_vec();
        assert_eq!(pauses, [1, 2, 4, 32, 60, 60, 60]);
    }
}
