//! Notices that certificate files have changed and reloads them, by itself and when told to.
//!
//! In: handles of doors and outgoing connections, a poll every [`TLS_POLL_INTERVAL`], SIGHUP and `/reload` through
//! [`TlsWatcher::reload_now`]. Out: new generations, one log line per change, metrics. A change is read once it has
//! stood still for a whole poll, so that a file that is just being written is not taken for a new one.

mod alarm;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use super::stamps::Stamps;
use super::{Expiry, ReloadableClientTls, ReloadableTls, TlsError, What};
use crate::causes::with_causes;
use alarm::Alarm;

/// How often the files are looked at: two looks and the closing of connections fit into the 2 s within which a revoked
/// client is out. A look at one file is one system call.
pub const TLS_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Files that could not be used are tried again after this even if they look the same: a certificate may have become
/// valid meanwhile, or a lack of descriptors have passed.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Who uses the files.
#[derive(Debug, Clone)]
pub enum TlsHandle {
    /// A listening socket.
    Door(Arc<ReloadableTls>),
    /// Outgoing connections.
    Outgoing(Arc<ReloadableClientTls>),
}

/// How one reload went.
#[derive(Debug)]
pub struct TlsReload {
    /// The name that the handle was given.
    pub door: String,
    /// The error with its causes; the generation in use before stays.
    pub result: Result<(), String>,
}

/// Hears of every reload, for the audit. Called on a thread that may block.
pub type OnTlsReload = Arc<dyn Fn(&TlsReload) + Send + Sync>;

/// Watches the files of every door.
pub struct TlsWatcher {
    watched: Vec<Watched>,
}

struct Watched {
    door: String,
    handle: TlsHandle,
    on_reload: Option<OnTlsReload>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// As they were at the last attempt; `None`: there was none yet, what counts is what the handle has loaded.
    tried: Option<Stamps>,
    /// Seen to differ at the last look, to be read if they stay so.
    pending: Option<Stamps>,
    /// When the last attempt failed, and what was logged about it.
    failed: Option<(Instant, String)>,
    alarm: Alarm,
}

impl TlsWatcher {
    /// Watches nothing that the handles did not load already; begins with [`Self::run`].
    pub fn new(handles: Vec<(String, TlsHandle)>) -> Arc<Self> {
        Self::make(handles, None)
    }

    /// [`Self::new`], and every reload is told: a failed one that repeats by itself only when its reason changes.
    pub fn telling(handles: Vec<(String, TlsHandle)>, on_reload: OnTlsReload) -> Arc<Self> {
        Self::make(handles, Some(on_reload))
    }

    fn make(handles: Vec<(String, TlsHandle)>, on_reload: Option<OnTlsReload>) -> Arc<Self> {
        let watched = handles
            .into_iter()
            .map(|(door, handle)| Watched { door, handle, on_reload: on_reload.clone(), state: Mutex::default() })
            .collect();
        Arc::new(Self { watched })
    }

    /// Looks at the files every [`TLS_POLL_INTERVAL`], and at the days to expiry, until told to stop.
    pub async fn run(self: Arc<Self>, until: CancellationToken) {
        let mut ticks = tokio::time::interval(TLS_POLL_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = until.cancelled() => return,
                _ = ticks.tick() => {}
            }
            self.clone().on_a_thread(|watched| watched.look(Instant::now(), unix_now())).await;
        }
    }

    /// Reloads everything now, changed or not: for SIGHUP and `POST /reload`.
    pub async fn reload_now(self: &Arc<Self>) -> Vec<TlsReload> {
        self.clone().on_a_thread(Watched::reload_now).await
    }

    /// Reading files blocks.
    async fn on_a_thread<R: Send + 'static>(self: Arc<Self>, act: fn(&Watched) -> R) -> Vec<R> {
        let acting = tokio::task::spawn_blocking(move || self.watched.iter().map(act).collect());
        acting.await.unwrap_or_else(|error| {
            tracing::error!(%error, "looking at the TLS files broke off");
            Vec::new()
        })
    }
}

impl Watched {
    fn look(&self, now: Instant, unix: i64) {
        let mut state = self.state();
        let seen = Stamps::of(&self.handle.files());
        if state.is_due(&seen, &self.handle, now, unix) {
            let _logged = self.reload(&mut state, seen, now);
        }
        state.alarm.look(&self.door, &self.handle.expiries(), unix);
        metrics::gauge!("consigner_tls_reload_failed", "door" => self.door.clone())
            .set(f64::from(state.failed.is_some()));
    }

    fn reload_now(&self) -> TlsReload {
        let mut state = self.state();
        // A wish from outside deserves an answer in the log even if it is the same as before.
        state.failed = None;
        let seen = Stamps::of(&self.handle.files());
        let result = self.reload(&mut state, seen, Instant::now());
        state.alarm.look(&self.door, &self.handle.expiries(), unix_now());
        TlsReload { door: self.door.clone(), result }
    }

    fn reload(&self, state: &mut State, seen: Stamps, now: Instant) -> Result<(), String> {
        let is_change = state.tried.as_ref() != Some(&seen);
        (state.tried, state.pending) = (Some(seen), None);
        let result = self.handle.reload().map_err(|error| with_causes(&error));
        let outcome = if result.is_ok() { "reloaded" } else { "failed" };
        metrics::counter!("consigner_tls_reloads_total", "door" => self.door.clone(), "outcome" => outcome)
            .increment(1);
        metrics::gauge!("consigner_tls_reload_failed", "door" => self.door.clone()).set(f64::from(result.is_err()));
        match &result {
            Ok(()) => {
                state.failed = None;
                tracing::info!(door = %self.door, "TLS files reloaded");
                self.tell(&result);
            }
            Err(reason) => {
                if is_change || state.failed.as_ref().is_none_or(|(_, logged)| logged != reason) {
                    tracing::error!(door = %self.door, reason, "TLS files not reloaded: the old ones stay in use");
                    self.tell(&result);
                }
                state.failed = Some((now, reason.clone()));
            }
        }
        result
    }

    fn tell(&self, result: &Result<(), String>) {
        if let Some(on_reload) = &self.on_reload {
            on_reload(&TlsReload { door: self.door.clone(), result: result.clone() });
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_due(&mut self, seen: &Stamps, handle: &TlsHandle, now: Instant, unix: i64) -> bool {
        let known = self.tried.clone().unwrap_or_else(|| handle.stamps());
        if *seen != known {
            return self.pending.replace(seen.clone()).as_ref() == Some(seen);
        }
        self.pending = None;
        match &self.failed {
            Some((at, _)) => now.duration_since(*at) >= RETRY_INTERVAL,
            // webpki does not look at the dates of a CA: a reload leaves out the one that has just expired.
            None => handle.expiries().iter().any(|end| end.what == What::Ca && end.unix < unix),
        }
    }
}

impl TlsHandle {
    fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Door(door) => door.settings().files(),
            Self::Outgoing(outgoing) => outgoing.settings().files(),
        }
    }

    fn stamps(&self) -> Stamps {
        match self {
            Self::Door(door) => door.stamps(),
            Self::Outgoing(outgoing) => outgoing.stamps(),
        }
    }

    fn reload(&self) -> Result<(), TlsError> {
        match self {
            Self::Door(door) => door.reload(),
            Self::Outgoing(outgoing) => outgoing.reload(),
        }
    }

    fn expiries(&self) -> Vec<Expiry> {
        match self {
            Self::Door(door) => door.expiries(),
            Self::Outgoing(outgoing) => outgoing.expiries(),
        }
    }
}

impl From<Arc<ReloadableTls>> for TlsHandle {
    fn from(door: Arc<ReloadableTls>) -> Self {
        Self::Door(door)
    }
}

impl From<Arc<ReloadableClientTls>> for TlsHandle {
    fn from(outgoing: Arc<ReloadableClientTls>) -> Self {
        Self::Outgoing(outgoing)
    }
}

fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
