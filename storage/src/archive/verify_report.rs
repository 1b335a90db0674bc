//! What a verification found, and where.

use std::fmt;

use consigner_rules::Root;
use consigner_rules::archive::ArchiveMark;
use consigner_rules::primitives::ClusterId;
use serde::{Serialize, Serializer};
use thiserror::Error;

use super::read::Gap;
use super::rows::RowFault;

/// Faults that are named one by one; of an archive with more, people need the first ones.
pub const FAULTS_NAMED: usize = 1_000;

/// How far a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows read.
    pub rows: u64,
    /// Rows there should be.
    pub total: u64,
    /// Log index of the last batch that was read.
    pub index: u64,
}

/// What was found. Nothing is wrong if and only if [`VerifyReport::is_complete`].
#[derive(Debug, Clone, Serialize)]
pub struct VerifyReport {
    /// Of which cluster.
    pub lineage: ClusterId,
    /// Where the archive ended when the verification began; `None`: nothing was ever written.
    pub head: Option<ArchiveMark>,
    /// Batches and gaps that were read.
    pub batches: u64,
    /// Rows that were read.
    pub rows: u64,
    /// Rows by table.
    pub tables: Vec<(&'static str, u64)>,
    /// What is known to be lost. No fault: the archive says so itself.
    pub gaps: Vec<Gap>,
    /// The first [`FAULTS_NAMED`] faults, in log order.
    pub faults: Vec<Fault>,
    /// How many more there are.
    pub more_faults: u64,
}

impl VerifyReport {
    pub(super) fn new(lineage: ClusterId) -> Self {
        let (tables, gaps, faults) = Default::default();
        Self { lineage, head: None, batches: 0, rows: 0, tables, gaps, faults, more_faults: 0 }
    }

    /// Whether nothing is missing (but for the gaps that the archive names), altered or doubled.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.faults.is_empty()
    }

    pub(super) fn add(&mut self, place: Place, kind: FaultKind) {
        if self.faults.len() < FAULTS_NAMED {
            self.faults.push(Fault { place, kind });
        } else {
            self.more_faults = self.more_faults.saturating_add(1);
        }
    }
}

/// Where a fault is, as far as that can be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The table.
    pub table: Option<&'static str>,
    /// The log index.
    pub index: Option<i64>,
    /// The place within the entry.
    pub ordinal: Option<i32>,
    /// The batch: it holds the entries behind the first and up to the second log index.
    pub batch: Option<(u64, u64)>,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What.
    #[serde(serialize_with = "as_text")]
    pub kind: FaultKind,
}

fn as_text<S: Serializer>(kind: &FaultKind, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(kind)
}

/// What is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FaultKind {
    /// A row by itself.
    #[error(transparent)]
    Row(#[from] RowFault),
    /// Two rows in one place.
    #[error("there is another row in the same place")]
    Doubled,
    /// A row is not there, for the next one of its entry is.
    #[error("the rows of this entry from place {from} on, before this one, are missing")]
    Missing {
        /// The first place that is empty.
        from: i64,
    },
    /// Rows of one entry are of one time.
    #[error("its time is another than that of the row before it, which is of the same entry")]
    TwoTimes,
    /// A row where the archive says that there is none.
    #[error("it lies in a gap")]
    InGap,
    /// A row that nobody wrote in a batch.
    #[error("it lies in no batch")]
    Outside,
    /// A batch has another number of rows than it was written with.
    #[error("it was written with {written} rows and has {found}")]
    Rows {
        /// When it was written.
        written: u64,
        /// Now.
        found: u64,
    },
    /// The numbers of rows do not add up.
    #[error("its rows and those before it are {found}, the batch says {written}")]
    Count {
        /// By the batch.
        written: u64,
        /// By the batch before it, and its own number of rows.
        found: u64,
    },
    /// A row of the batch was altered, deleted, added or moved; or the chain itself was altered.
    #[error("its rows give the chain {found}, it was written with {written}: a row or the batch itself was altered")]
    Chain {
        /// When it was written.
        written: Root,
        /// By its rows as they are now.
        found: Root,
    },
    /// The chain of a batch begins where that of the one before it ends.
    #[error("its chain does not begin where that of the batch before it ends")]
    Broken,
    /// A batch is not there.
    #[error("no batch has the entries ({after}, {upto}]: a batch was deleted")]
    Hole {
        /// The last entry before it.
        after: u64,
        /// The last entry in it.
        upto: u64,
    },
    /// Two batches hold the same entries.
    #[error("it begins at log index {after}, before the end of the batch before it, {upto}")]
    Overlap {
        /// Where it begins.
        after: u64,
        /// Where the one before it ends.
        upto: u64,
    },
    /// A gap without its reason.
    #[error("the batch is a gap, and the table gaps does not have it")]
    Unexplained,
    /// A reason without its gap.
    #[error("the table gaps has it, and no batch is a gap there")]
    NoGap,
    /// What stands for a gap was altered.
    #[error("the baseline of validator number {validator} was altered: {why}")]
    Baseline {
        /// Its number in the table `validators`.
        validator: i32,
        /// In what way.
        why: String,
    },
    /// Rows that belong to nobody.
    #[error("rows lie there under the cluster number {number}, which the table clusters does not have")]
    Unlisted {
        /// The number.
        number: i32,
    },
    /// What the archive says of the cluster is not what the cluster wrote about itself.
    #[error("the table clusters says {listed}, the row by which the cluster began says {began}")]
    OtherCluster {
        /// By the table `clusters`.
        listed: String,
        /// By the log.
        began: String,
    },
    /// The archive is shorter than the cluster knows it to be.
    #[error("the archive ends at log index {head}, but it was confirmed up to {mark}: its end was lost")]
    Behind {
        /// Where it ends.
        head: u64,
        /// The cluster's mark.
        mark: u64,
    },
    /// The archive is not the one that the cluster knows.
    #[error(
        "at log index {} the cluster knows {} rows with the chain {}, the archive has {rows} with {chain}",
        .mark.index, .mark.rows, .mark.chain
    )]
    OtherMark {
        /// The cluster's mark.
        mark: ArchiveMark,
        /// Rows of the archive up to there.
        rows: u64,
        /// Their chain.
        chain: Root,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { table, index, ordinal, batch } = self.place;
        let mut parts = Vec::new();
        parts.extend(table.map(ToOwned::to_owned));
        parts.extend(index.map(|index| format!("log index {index}")));
        parts.extend(ordinal.map(|ordinal| format!("place {ordinal}")));
        parts.extend(batch.map(|(after, upto)| format!("batch ({after}, {upto}]")));
        if parts.is_empty() {
            parts.push("archive".to_owned());
        }
        write!(out, "{}: {}", parts.join(", "), self.kind)
    }
}
