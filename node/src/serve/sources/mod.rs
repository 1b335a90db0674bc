//! A node's own key sources: what is new there is imported, at the start, on `POST /reload`, when a directory changes.
//!
//! ```text
//! start, POST /reload, changed files -> gather -> skip what is held or was deleted -> decrypt -> import_secrets
//! ```
//! In: `keys.source.*`. Out: keys in the cluster; the status of the last run; a line per key that cannot be imported.
//! Nothing is ever disabled or removed from here, whatever happens to a source, and a key that was ever deleted from the
//! cluster does not come back from one. Every node may have sources, the same or others: the cluster decides, and a
//! duplicate is none. Deliberately absent: histories; and which keys the cluster should not have.

mod access;
mod fingerprint;
mod run;

use super::assembly::Parts;
use crate::config::{Config, SourceConfig};
use consigner_api::audit::Auditor;
use consigner_api::{AlreadyRunning, ReloadState, ReloadStatus, Reloader};
use consigner_keys::{Custody, DecryptPool};
use consigner_raft::Cluster;
use run::Summary;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;

/// Before the cluster has its identity it takes no keys; how often that is looked at.
const POLL_CLUSTER: Duration = Duration::from_millis(100);

/// The sources of a node.
pub struct Sources {
    config: SourceConfig,
    cluster: Cluster,
    custody: Arc<Custody>,
    decrypt: DecryptPool,
    audit: Auditor,
    status: Mutex<ReloadStatus>,
    asked: Notify,
}

impl Sources {
    /// Tells the audit which secret files the start has opened; nothing else happens before [`Self::run`].
    pub(super) fn new(config: &Config, cluster: Cluster, parts: &Parts) -> Arc<Self> {
        access::of_start(&parts.audit, config);
        let (custody, decrypt) = (parts.custody.clone(), DecryptPool::clone(&parts.decrypt));
        let (config, status, asked) = (config.keys.source.clone(), Mutex::default(), Notify::new());
        Arc::new(Self { config, cluster, custody, decrypt, audit: parts.audit.clone(), status, asked })
    }

    /// Whether there is anything to read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.config.is_empty()
    }

    /// Reads the sources whenever there is a reason to, for ever.
    pub async fn run(self: Arc<Self>) {
        if self.is_empty() {
            return std::future::pending().await;
        }
        while !self.cluster.read(|state| state.identity().is_some()) {
            tokio::time::sleep(POLL_CLUSTER).await;
        }
        self.set_running();
        loop {
            // Before the sources are read: what changes meanwhile counts as changed afterwards.
            let before = self.fingerprint().await;
            let summary = self.import_new().await;
            let again = summary.may_pass;
            self.finish(&summary);
            self.wait(before, again).await;
            self.set_running();
        }
    }

    /// Returns when the sources should be read again.
    async fn wait(&self, before: [u8; 32], again: bool) {
        let mut poll = tokio::time::interval(self.config.poll_interval);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        poll.tick().await;
        loop {
            tokio::select! {
                () = self.asked.notified() => return,
                _ = poll.tick() => if again || self.fingerprint().await != before { return },
            }
        }
    }

    async fn fingerprint(&self) -> [u8; 32] {
        let mut paths: Vec<PathBuf> = self.config.key_config.iter().cloned().collect();
        if let Some(keystores) = &self.config.keystores {
            paths.push(keystores.path.clone());
            paths.extend(keystores.password_paths());
        }
        tokio::task::spawn_blocking(move || fingerprint::of(&paths)).await.unwrap_or_default()
    }

    fn set_running(&self) {
        let mut status = self.reload_status();
        status.state = ReloadState::Running;
        status.last_operation = Some(SystemTime::now());
    }

    fn finish(&self, summary: &Summary) {
        summary.tell();
        *self.reload_status() = ReloadStatus {
            state: summary.state(),
            last_operation: Some(SystemTime::now()),
            last_error: summary.error_text(),
        };
    }

    fn reload_status(&self) -> MutexGuard<'_, ReloadStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reloader for Sources {
    fn start(&self) -> Result<(), AlreadyRunning> {
        let mut status = self.reload_status();
        if status.state == ReloadState::Running {
            return Err(AlreadyRunning);
        }
        status.state = ReloadState::Running;
        status.last_operation = Some(SystemTime::now());
        self.asked.notify_one();
        Ok(())
    }

    fn status(&self) -> ReloadStatus {
        self.reload_status().clone()
    }
}
