//! What the HTTP surface knows of an archive in a database: how it stands, what lies in it, how it is filled again.
//!
//! In: questions. Out: plain values. [`ArchiveAccess`] is a trait because `node` sits above this crate, and because this
//! crate knows no database. Deliberately absent: the replicated mark and the outbox, which the cluster knows.

use consigner_raft::Recorded;
use consigner_rules::archive::ArchiveMark;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

/// What a call of the archive becomes.
pub type ArchiveCall<'a, T> = Pin<Box<dyn Future<Output = Result<T, ArchiveFault>> + Send + 'a>>;

/// The archive of a node that has one in a database.
pub trait ArchiveAccess: Send + Sync {
    /// How the export stands. Must not wait.
    fn status(&self) -> ExporterStatus;

    /// What was recorded after log index `after`, up to and with `upto`, out of the database: whole entries in log order,
    /// at most about `rows` changes. Fewer than there are only if that bound was reached.
    ///
    /// # Errors
    /// The database is away, or holds something else.
    fn recorded(&self, after: u64, upto: u64, rows: usize) -> ArchiveCall<'_, Vec<Recorded>>;

    /// The log index after which the database misses nothing that was archived: the end of its last gap, 0 without one.
    ///
    /// # Errors
    /// As [`ArchiveAccess::recorded`].
    fn complete_after(&self) -> ArchiveCall<'_, u64>;

    /// Brings a database that lost something, or an outbox with a hole, to where the export goes on. Without
    /// `accept_gap` nothing is written for which a gap would have to be.
    ///
    /// # Errors
    /// This node does not lead, the database is away, or a gap was not accepted.
    fn backfill(&self, accept_gap: bool) -> ArchiveCall<'_, Backfilled>;
}

/// What the exporter of a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExporterState {
    /// Another node leads, and exports.
    #[default]
    Following,
    /// It exports, or has nothing to export.
    Exporting,
    /// It cannot yet, by nobody's fault: no cluster, older rules, no look at the database so far.
    Waiting,
    /// Something is wrong; it tries again by itself.
    Paused,
}

/// How the export stands, by the node that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExporterStatus {
    /// What it does.
    pub state: ExporterState,
    /// Why it does not export; `None` while it does.
    pub reason: Option<String>,
    /// Where the database is: `HOST:PORT/NAME`.
    pub database: String,
    /// Whether the connection is neither encrypted nor verified (`archive.postgres.insecure-no-tls`).
    pub insecure: bool,
    /// How far the database was when this node looked last; only the leader looks.
    pub head: Option<MarkView>,
    /// Entries of the log that wait for the archive.
    pub lag_entries: u64,
    /// How long the oldest of them has waited, by the clock of its proposer.
    pub lag_seconds: u64,
    /// What is wrong now.
    pub trouble: Option<ArchiveTrouble>,
    /// What was wrong last, and is over.
    pub last_trouble: Option<ArchiveTrouble>,
}

/// A series of failures of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveTrouble {
    /// As in `consigner_archive_errors_total`.
    pub class: String,
    /// What exactly, and what to do.
    pub reason: String,
    /// When it began, milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// When it was seen last, milliseconds since the Unix epoch.
    pub last_ms: u64,
    /// How often it was seen in this series.
    pub times: u64,
}

/// A mark, for people and programs that are not this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkView {
    /// All entries up to and with this log index are archived.
    pub index: u64,
    /// Rows so far.
    pub rows: u64,
    /// The chain over them, hexadecimal.
    pub chain: String,
}

impl From<&ArchiveMark> for MarkView {
    fn from(mark: &ArchiveMark) -> Self {
        Self { index: mark.index, rows: mark.rows, chain: mark.chain.to_string() }
    }
}

/// What a backfill did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backfilled {
    /// Where the database was before; `None`: it was empty.
    pub before: Option<MarkView>,
    /// Where it is now; the export goes on from there.
    pub after: Option<MarkView>,
    /// Rows that were written again.
    pub rows: u64,
    /// Ranges of the log whose rows no node has any more, each as (after, up to and with).
    pub gaps: Vec<(u64, u64)>,
    /// Validators whose greatest signed numbers were written in place of the rows of a gap.
    pub baseline: u64,
    /// Which rows below the mark nodes still had that the leader, too, was to let go of; they are among `rows`.
    #[serde(default)]
    pub given: Vec<GivenRows>,
    /// Nodes that were asked for such rows and gave none that could be used, by id, and why: they may still have some.
    #[serde(default)]
    pub unheard: BTreeMap<u64, String>,
}

/// Rows of a part of the log that nodes still had below the mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenRows {
    /// Who had them, by id, each the same. Of a single one nobody can tell whether it is right.
    pub nodes: Vec<u64>,
    /// They are those behind this log index ..
    pub after: u64,
    /// .. up to and with this one.
    pub upto: u64,
    /// How many.
    pub rows: u64,
}

impl Backfilled {
    /// Of a database that nothing was wrong with.
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            before: None,
            after: None,
            rows: 0,
            gaps: Vec::new(),
            baseline: 0,
            given: Vec::new(),
            unheard: BTreeMap::new(),
        }
    }
}

/// Why a call of the archive has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveFault {
    /// The database is away, or does not let this node in.
    #[error("the archive's database gives no answer: {0}")]
    Away(String),
    /// Only the leader can do it.
    #[error("this node does not lead; ask the leader: {0}")]
    NotLeader(String),
    /// It is not to be done as things are.
    #[error("{0}")]
    Refused(String),
}
