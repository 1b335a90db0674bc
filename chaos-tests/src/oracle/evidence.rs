//! Everything that a run saw, as the invariants read it.

use super::custody::{Deletion, Import};
use super::history::{Exchange, History};
use super::observation::{ExportSample, StatusSample};
use super::release::{Release, releases};
use consigner_rules::PublicKey;
use std::time::Duration;

/// Something that was broken on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which.
    pub name: &'static str,
    /// To which nodes.
    pub nodes: Vec<u64>,
    /// To which processes.
    pub pids: Vec<u32>,
    /// When.
    pub at: Duration,
    /// From when on a quorum was there: the same instant, if a quorum stayed whole.
    pub quorum_at: Duration,
    /// When every node was ready again.
    pub healed_at: Option<Duration>,
}

/// Everything that a run saw.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Ids of the nodes.
    pub nodes: Vec<u64>,
    /// Every request and answer, in the order of sending.
    pub exchanges: Vec<Exchange>,
    /// Every signature in these answers.
    pub releases: Vec<Release>,
    /// Every export, in the order of asking.
    pub exports: Vec<ExportSample>,
    /// Every state of every node that was told.
    pub statuses: Vec<StatusSample>,
    /// Every key that was imported while the run went on.
    pub imports: Vec<Import>,
    /// Every key that was deleted, and what was promised.
    pub deletions: Vec<Deletion>,
    /// What was broken.
    pub faults: Vec<Fault>,
    /// Why the cluster did not come back after the last fault, if it did not.
    pub not_healed: Option<String>,
}

impl Evidence {
    /// Puts the parts together; verifies every signature, which takes about 1.3 ms each.
    #[must_use]
    pub fn new(
        nodes: Vec<u64>,
        history: &History,
        mut exports: Vec<ExportSample>,
        statuses: Vec<StatusSample>,
        faults: Vec<Fault>,
    ) -> Self {
        exports.sort_by_key(|export| export.asked_at);
        let exchanges = history.exchanges();
        let releases = releases(&exchanges);
        let (imports, deletions) = (history.imports(), history.deletions());
        Self { nodes, exchanges, releases, exports, statuses, imports, deletions, faults, not_healed: None }
    }

    /// Whether somebody tried to delete the validator's key.
    #[must_use]
    pub fn was_to_be_deleted(&self, validator: &PublicKey) -> bool {
        self.deletions.iter().any(|deletion| deletion.validator == *validator)
    }

    /// The signatures that are what they claim to be.
    pub fn genuine(&self) -> impl Iterator<Item = &Release> {
        self.releases.iter().filter(|release| release.is_genuine)
    }
}
