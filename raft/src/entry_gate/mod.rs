//! Whether this node may take part as who it was, and which starts of the others may (DESIGN 9, S5).
//!
//! ```text
//! this node starts -> hello to all members: my start, my newest position, my vote's term
//!   a member       -> not let in: another disk, an older start, a copy, a position below what it acknowledged
//!                  -> let in: its start is remembered on the member's disk; back come floor and known starts
//! enough voters to form a quorum with this node have let it in, and none that answers has not -> the gate opens
//! ```
//! Until then this node grants no vote, does not stand, takes no append and no snapshot. A node that is not let in stops
//! with the reason and the way out. Nothing here needs a leader: all nodes may start at once.
//!
//! Deliberately absent: what no peer can know. A disk that went back by less than anybody noted, while everybody who saw
//! more is gone, comes in; so does a single node. That is what `restore` and its floor are for.
//!
//! | module | what it owns |
//! |---|---|
//! | [`boots`] | the newest start of each peer, durable, and the judgement of any other |
//! | [`floors`] | what each peer is known to have acknowledged |
//! | [`electorate`] | how many must let a node in |
//! | [`hello`] | both sides of the question |
//! | [`notes`] | the leader notes everybody's position in the replicated state |

pub mod boots;
pub mod electorate;
pub mod floors;
pub mod hello;
pub mod notes;

use crate::cluster::Cluster;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The gate of this node.
#[derive(Debug, Default)]
pub struct EntryGate {
    is_open: AtomicBool,
    waiting: Mutex<Waiting>,
    /// The gate opened or shut for good, or somebody is to be told again.
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// What the gate waits for, for people.
    reason: String,
    /// Members that gave no answer in the last round.
    silent: BTreeSet<u64>,
    /// A member answers and does not let this node in yet.
    is_held_back: bool,
    /// Why it will never open again.
    expelled: Option<String>,
    /// Members that may have forgotten this start.
    to_tell: BTreeSet<u64>,
    /// Somebody called whom this node does not know: the others may.
    stranger: bool,
}

/// Why there is nothing to override.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcceptRestartError {
    /// The node takes part already.
    #[error("this node waits for nobody: it takes part already")]
    NotWaiting,
    /// A member answers, and its answer is not to be overridden.
    #[error("a member that answers does not let this node in: {0}")]
    Refused(String),
}

impl EntryGate {
    /// Closed until it is opened, unless there is nobody to ask.
    pub fn new(is_open: bool) -> Self {
        let gate = Self { is_open: AtomicBool::new(is_open), ..Self::default() };
        gate.lock().reason = "this node has started and has not asked the other members yet".to_owned();
        gate
    }

    /// Whether this node may vote, stand, and take appends.
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// What it waits for; `None` when it is open.
    pub fn waits_for(&self) -> Option<String> {
        if self.is_open() {
            return None;
        }
        let waiting = self.lock();
        Some(waiting.expelled.clone().unwrap_or_else(|| waiting.reason.clone()))
    }

    /// Whether it will never open again.
    pub fn is_expelled(&self) -> bool {
        self.lock().expelled.is_some()
    }

    /// Shuts it for good.
    pub fn expel(&self, reason: &str) {
        let mut waiting = self.lock();
        waiting.expelled.get_or_insert_with(|| reason.to_owned());
        self.is_open.store(false, Ordering::Release);
        drop(waiting);
        self.news.notify_one();
    }

    /// Opens it, unless it is shut for good.
    fn open(&self) {
        let waiting = self.lock();
        if waiting.expelled.is_none() {
            self.is_open.store(true, Ordering::Release);
        }
        drop(waiting);
        self.news.notify_one();
    }

    fn wait(&self, reason: String, silent: BTreeSet<u64>, is_held_back: bool) {
        let mut waiting = self.lock();
        (waiting.reason, waiting.silent, waiting.is_held_back) = (reason, silent, is_held_back);
    }

    /// Opens the gate although too few answer.
    fn accept(&self) -> Result<BTreeSet<u64>, AcceptRestartError> {
        let waiting = self.lock();
        match &waiting.expelled {
            Some(reason) => return Err(AcceptRestartError::Refused(reason.clone())),
            None if self.is_open() => return Err(AcceptRestartError::NotWaiting),
            None if waiting.is_held_back => return Err(AcceptRestartError::Refused(waiting.reason.clone())),
            None => {}
        }
        let silent = waiting.silent.clone();
        drop(waiting);
        self.open();
        Ok(silent)
    }

    /// A member has started anew: it may not know this start.
    fn tell_again(&self, node: u64) {
        self.lock().to_tell.insert(node);
        self.news.notify_one();
    }

    /// Somebody called whom this node does not know. The members are asked with the next round: a stranger must not set
    /// the pace.
    pub fn note_stranger(&self) {
        self.lock().stranger = true;
    }

    fn take_stranger(&self) -> bool {
        std::mem::take(&mut self.lock().stranger)
    }

    fn take_to_tell(&self) -> BTreeSet<u64> {
        std::mem::take(&mut self.lock().to_tell)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// Lets this node take part although too few members answer to vouch for its disk: the operator vouches. To be
    /// audited. Members that come back later still judge it, and stop it if its disk went back.
    ///
    /// Answers the members, by node id, that gave no answer.
    ///
    /// # Errors
    /// [`AcceptRestartError`]; what a member that answers has refused is not overridden.
    pub fn accept_restart(&self) -> Result<BTreeSet<u64>, AcceptRestartError> {
        let silent = self.inner.entry.accept()?;
        tracing::warn!(?silent, "this node takes part by the operator's word");
        self.entered();
        Ok(silent)
    }

    /// What this node waits for before it takes part as who it was; `None` when it does.
    #[must_use]
    pub fn entry_waits_for(&self) -> Option<String> {
        self.inner.entry.waits_for()
    }
}

/// What to do with a node that must not go on as who it was.
pub fn way_out(node: u64) -> String {
    format!("give it an empty data directory and a new id, and `consigner cluster replace --id {node} --with NEW_ID`")
}

#[cfg(test)]
mod tests;
