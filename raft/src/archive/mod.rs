//! The archive as a node's cluster sees it: the replicated mark, and the outbox that is kept by it.
//!
//! ```text
//! apply -> outbox (rows in the store -> segments) -> exporter, on the leader -> archive -> AdvanceArchive -> mark
//!              ^-- filled from members                                                     on all nodes: purge
//! ```
//! In: options, the applied mark, rows of members. Out: an outbox that loses nothing before the archive has it, and that
//! says so before it takes more than its share of the disk. Deliberately absent: Postgres and the exporter (`node`).
//!
//! | module | what it owns |
//! |---|---|
//! | `advance` | the mark: where it stands, how it moves |
//! | `keeper` | purging, spilling, retention, once a second |
//! | `guard` | the share of the disk, and what a full outbox refuses |
//! | `heal`, `serve` | rows that this node misses, or that another one asks for |
//! | `salvage` | rows below the mark that any node still has |

mod advance;
pub(crate) mod guard;
mod heal;
mod keeper;
mod salvage;
mod serve;

pub use advance::AdvanceError;
pub use salvage::{Salvaged, Unheard};

use crate::cluster::{Cluster, Unavailable};
use consigner_storage::OutboxError;
pub use consigner_storage::outbox::{Retention, SpillLimits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a node keeps its outbox.
#[derive(Debug, Clone)]
pub struct OutboxOptions {
    /// Whether an archive elsewhere takes the rows.
    pub mode: OutboxMode,
    /// What rows and segments may take of the file system of the data directory, percent.
    pub share_percent: u8,
    /// From how many rows or bytes on the oldest rows in the store become a segment.
    pub spill: SpillLimits,
}

/// Where rows end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboxMode {
    /// In an archive elsewhere: they leave when the replicated mark has passed them, and at no other time.
    Archived,
    /// Here: the segments are the archive. They leave by retention alone, whatever the mark says.
    Embedded(Retention),
}

/// Some days of a thousand validators: what the store holds is read at every start, what a segment holds is not.
const SPILL: SpillLimits = SpillLimits { rows: 50_000, bytes: 16 * 1024 * 1024 };

/// A fifth of the file system: with the defaults of the disk's marks (80 and 95 %) there is room for the rest.
const SHARE_PERCENT: u8 = 20;

impl Default for OutboxOptions {
    fn default() -> Self {
        let mode = OutboxMode::Embedded(Retention::default());
        Self { mode, share_percent: SHARE_PERCENT, spill: SPILL }
    }
}

/// How much of its share the outbox takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutboxLevel {
    /// There is room.
    #[default]
    Fine,
    /// Half of it is taken.
    Half,
    /// Four fifths are.
    High,
    /// All of it: with an archive elsewhere that has taken rows before, no proposals and, where another node can, no
    /// leadership.
    Full,
}

/// What a node knows about its outbox; at most some seconds old.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxStatus {
    /// Entries with a row here, in the store and in segments.
    pub rows: u64,
    /// What they take, bytes.
    pub bytes: u64,
    /// What they may take, bytes; 0 while the disk was not looked at.
    pub limit_bytes: u64,
    /// What follows from it.
    pub level: OutboxLevel,
    /// Segments.
    pub segments: u64,
    /// Log index of the oldest row.
    pub oldest_index: Option<u64>,
    /// When it was proposed, milliseconds since the Unix epoch by its proposer's clock.
    pub oldest_ms: Option<u64>,
    /// The log index after which no row is missing here.
    pub since: u64,
    /// Ranges without their rows, as (after, up to and with), oldest first.
    pub holes: Vec<(u64, u64)>,
    /// Files and rows that are not what was written, for people; the first of them.
    pub faults: Vec<String>,
    /// The search for rows that are missing here and that the archive does not have; `None` when nothing is.
    pub healing: Option<Healing>,
}

/// A search for missing rows among the members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healing {
    /// Rows are missing after this log index ..
    pub after: u64,
    /// .. up to and with this one.
    pub upto: u64,
    /// What the other members said last, by node id, about this hole. Nobody can fill any of it once each is
    /// `Since(index)` with an index of `upto` or more.
    pub members: BTreeMap<u64, MemberRows>,
}

impl Healing {
    /// Whether every other member answered, and none has anything of what is missing.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        self.members.values().all(|member| match member {
            MemberRows::Since(since) => *since >= self.upto,
            MemberRows::Silent(_) | MemberRows::Contradicts(_) => false,
        })
    }
}

/// What a member said about the rows that are missing here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberRows {
    /// The first of the entries behind the hole's begin that it has all rows of are those after this log index.
    Since(u64),
    /// It gave no usable answer, and why.
    Silent(String),
    /// Its row of this log index is another one than ours: it is not believed.
    Contradicts(u64),
}

impl Cluster {
    /// What this node knows about its outbox.
    #[must_use]
    pub fn outbox_status(&self) -> OutboxStatus {
        self.inner.outbox.status()
    }
}

/// Why a turn with the outbox failed. The next one tries again; signing goes on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    /// The node is stopping.
    #[error(transparent)]
    Stopping(#[from] Unavailable),
    /// The outbox failed.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// Other members are answered.
    #[error("too many members ask for rows of the outbox at once")]
    Busy,
    /// A bug.
    #[error("working on the outbox panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

/// Runs what touches the disk on a thread that may block.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeepError> + Send + 'static,
) -> Result<T, KeepError> {
    tokio::task::spawn_blocking(work).await?
}
