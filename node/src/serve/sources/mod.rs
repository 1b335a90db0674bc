//! A node's own key sources: what is new there is imported, at the start, on `POST /reload`, when a directory changes.
//!
//! ```text
//! start, POST /reload, changed files -> gather -> skip what is held or was seen -> decrypt -> import_secrets
//! ```
//! In: `keys.source.*`. Out: keys in the cluster; the status of the last run; a line per key that cannot be imported.
//! Nothing is ever disabled or removed from here, whatever happens to a source. Every node may have sources, the same or
//! others: the cluster decides, and a duplicate is none. Deliberately absent: which keys the cluster should not have.

mod fingerprint;
mod run;
mod seen;

use super::assembly::Parts;
use crate::config::{Config, SourceConfig};
use consigner_api::{AlreadyRunning, ReloadState, ReloadStatus, Reloader};
use consigner_keys::{Custody, DecryptPool};
use consigner_raft::Cluster;
use consigner_rules::PublicKey;
use run::Summary;
use seen::Seen;
use std::collections::BTreeSet;
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
    /// Taken for moments, and by blocking threads while they write; never across an await.
    seen: Mutex<Seen>,
    deleted: Arc<Deleted>,
    status: Mutex<ReloadStatus>,
    asked: Notify,
}

/// Keys that were deleted from the cluster while this node watched: sources must not bring them back.
#[derive(Debug, Default)]
pub struct Deleted {
    /// Bounded by the keys that the cluster held.
    keys: Mutex<BTreeSet<PublicKey>>,
    came: Notify,
}

impl Deleted {
    /// Notes a deletion; called by `apply`, so it only notes.
    pub fn note(&self, public_key: PublicKey) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(public_key);
        self.came.notify_one();
    }

    fn take(&self) -> BTreeSet<PublicKey> {
        std::mem::take(&mut self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sources {
    /// Nothing happens before [`Self::run`].
    ///
    /// # Errors
    /// The list of keys that were seen cannot be read; going on would bring deleted keys back.
    pub(super) fn new(config: &Config, cluster: Cluster, parts: &Parts) -> std::io::Result<Arc<Self>> {
        let seen = Mutex::new(Seen::open(&config.node.data_dir)?);
        let (custody, decrypt) = (parts.custody.clone(), DecryptPool::clone(&parts.decrypt));
        let (config, deleted) = (config.keys.source.clone(), parts.deleted.clone());
        let (status, asked) = (Mutex::default(), Notify::new());
        Ok(Arc::new(Self { config, cluster, custody, decrypt, seen, deleted, status, asked }))
    }

    /// Whether there is anything to read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.config.is_empty()
    }

    /// Reads the sources whenever there is a reason to, for ever.
    pub async fn run(self: Arc<Self>) {
        if self.is_empty() {
            // Sources may be set up later; what is deleted meanwhile must not come back then.
            loop {
                self.deleted.came.notified().await;
                self.remember_deleted().await;
            }
        }
        while !self.cluster.read(|state| state.identity().is_some()) {
            tokio::time::sleep(POLL_CLUSTER).await;
        }
        self.set_running();
        loop {
            // Before the sources are read: what changes meanwhile counts as changed afterwards.
            let before = self.fingerprint().await;
            self.remember_deleted().await;
            let summary = self.import_new().await;
            let again = summary.may_pass;
            self.finish(&summary);
            self.wait(before, again).await;
            self.set_running();
        }
    }

    /// Returns when the sources should be read again.
    async fn wait(self: &Arc<Self>, before: [u8; 32], again: bool) {
        let mut poll = tokio::time::interval(self.config.poll_interval);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        poll.tick().await;
        loop {
            tokio::select! {
                () = self.asked.notified() => return,
                () = self.deleted.came.notified() => self.remember_deleted().await,
                _ = poll.tick() => if again || self.fingerprint().await != before { return },
            }
        }
    }

    async fn fingerprint(&self) -> [u8; 32] {
        let mut paths: Vec<PathBuf> = self.config.key_config.iter().cloned().collect();
        if let Some(keystores) = &self.config.keystores {
            paths.push(keystores.path.clone());
            paths.extend(keystores.password_path().cloned());
        }
        tokio::task::spawn_blocking(move || fingerprint::of(&paths)).await.unwrap_or_default()
    }

    async fn remember_deleted(self: &Arc<Self>) {
        self.remember(self.deleted.take().into_iter().collect()).await;
    }

    /// Durable before it returns; off the runtime's threads, because it waits for the disk.
    async fn remember(self: &Arc<Self>, public_keys: Vec<PublicKey>) {
        if public_keys.is_empty() {
            return;
        }
        let sources = self.clone();
        let written = tokio::task::spawn_blocking(move || sources.seen().remember(public_keys)).await;
        if let Err(error) = written.unwrap_or_else(|error| Err(std::io::Error::other(error))) {
            tracing::error!(%error, "sources cannot remember keys; once deleted, these could come back");
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
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
