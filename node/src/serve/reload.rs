//! What SIGHUP and `POST /reload` read again: TLS files, the token of the key manager API, key sources.
//!
//! In: the wish. Out: new generations of what could be read; what could not stays as it was, and the log and `GET
//! /reload` say so. TLS files that change are noticed without this. Deliberately absent: the rest of the configuration,
//! which needs a restart.

use super::sources::Sources;
use super::token::TokenFile;
use crate::report::one_line;
use consigner_api::audit::{Actor, Auditor, Event, Operation, Outcome};
use consigner_api::{AlreadyRunning, ReloadState, ReloadStatus, Reloader};
use consigner_gate::tls::TlsHandle;
use consigner_gate::{TlsReload, TlsWatcher};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

/// Everything that can be read again.
pub(super) struct Reload {
    /// Without sources there are none to read.
    sources: Option<Arc<Sources>>,
    token: Option<TokenFile>,
    audit: Auditor,
    /// Set once the doors are open.
    tls: OnceLock<Arc<TlsWatcher>>,
    files: Mutex<Files>,
}

/// How it went with the files.
#[derive(Default)]
struct Files {
    is_running: bool,
    ended: Option<SystemTime>,
    error: Option<String>,
}

impl Reload {
    pub(super) fn new(sources: &Arc<Sources>, token: Option<TokenFile>, audit: Auditor) -> Arc<Self> {
        let sources = (!sources.is_empty()).then(|| sources.clone());
        Arc::new(Self { sources, token, audit, tls: OnceLock::new(), files: Mutex::default() })
    }

    /// Takes the doors that are open, and watches their files from now on.
    pub(super) fn watch(&self, handles: Vec<(String, TlsHandle)>) -> Arc<TlsWatcher> {
        let audit = self.audit.clone();
        let made = || TlsWatcher::telling(handles, Arc::new(move |reload: &TlsReload| told(&audit, reload)));
        self.tls.get_or_init(made).clone()
    }

    /// Reads certificates, keys, CAs, revocation lists and the token again, changed or not.
    pub(super) async fn files(&self) {
        self.state().is_running = true;
        let reloads = match self.tls.get() {
            Some(tls) => tls.reload_now().await,
            None => Vec::new(),
        };
        let failed = reloads.into_iter().find_map(|reload| Some(format!("{}: {}", reload.door, reload.result.err()?)));
        let error = failed.or(self.token_again());
        *self.state() = Files { is_running: false, ended: Some(SystemTime::now()), error };
    }

    /// What is wrong with the token's file, if anything is.
    fn token_again(&self) -> Option<String> {
        let token = self.token.as_ref()?;
        let result = token.read_again().map_err(|error| one_line(&error));
        let (outcome, reason) = match &result {
            Ok(()) => (Outcome::Done, "keymanager.token-file read again".to_owned()),
            Err(why) => (Outcome::Failed, format!("{why}: the old token stays in use")),
        };
        self.audit.record(&Event::new(&Actor::node(), Operation::ConfigReload, outcome, &reason));
        result.err()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For `POST /reload`: what is told of both is told as one.
pub(super) struct OnRequest(pub(super) Arc<Reload>);

impl Reloader for OnRequest {
    fn start(&self) -> Result<(), AlreadyRunning> {
        {
            let mut files = self.0.state();
            if files.is_running {
                return Err(AlreadyRunning);
            }
            files.is_running = true;
        }
        let reload = self.0.clone();
        tokio::spawn(async move { reload.files().await });
        self.0.sources.as_ref().map_or(Ok(()), |sources| sources.start())
    }

    fn status(&self) -> ReloadStatus {
        let files = self.0.state();
        let own = files.status();
        let Some(sources) = &self.0.sources else { return own };
        let mut status = sources.status();
        if files.is_running {
            status.state = ReloadState::Running;
        }
        if own.state == ReloadState::Failed && status.state == ReloadState::Completed {
            status.state = ReloadState::CompletedWithErrors;
        }
        status.last_operation = status.last_operation.max(own.last_operation);
        status.last_error = own.last_error.or(status.last_error);
        status
    }
}

impl Files {
    fn status(&self) -> ReloadStatus {
        let state = match (self.is_running, &self.ended, &self.error) {
            (true, ..) => ReloadState::Running,
            (false, None, _) => ReloadState::Idle,
            (false, Some(_), None) => ReloadState::Completed,
            (false, Some(_), Some(_)) => ReloadState::Failed,
        };
        ReloadStatus { state, last_operation: self.ended, last_error: self.error.clone() }
    }
}

fn told(audit: &Auditor, reload: &TlsReload) {
    let (outcome, reason) = match &reload.result {
        Ok(()) => (Outcome::Done, format!("the {} door: TLS files read again", reload.door)),
        Err(why) => (Outcome::Failed, format!("the {} door: {why}; the old files stay in use", reload.door)),
    };
    audit.record(&Event::new(&Actor::node(), Operation::TlsReload, outcome, &reason));
}
