//! The replicated mark of the archive: where it stands, and how it moves on.
//!
//! In: the mark that an exporter reached, after its rows were committed elsewhere. Out: the mark, agreed, by which every
//! node purges. Deliberately absent: writing rows to the archive, and any mark beyond what this node has applied.

use crate::cluster::Cluster;
use crate::propose::ProposeError;
use consigner_rules::archive::ArchiveMark;
use consigner_rules::command::Rejection;
use consigner_rules::primitives::ClusterId;
use consigner_rules::{Command, Outcome};
use std::time::Duration;

/// How long moving the mark may take, an election included; a proposal that came through late is found at the next try.
const ADVANCE_DEADLINE: Duration = Duration::from_secs(10);

/// Why the mark did not move.
#[derive(Debug, thiserror::Error)]
pub enum AdvanceError {
    /// It is not where the caller knew it, or would not move on: another exporter was there.
    #[error("the archive's mark stands at log index {index} already, and is not moved from another place")]
    Moved {
        /// Where it is, 0 before anything was archived.
        index: u64,
    },
    /// Nothing was proposed: whoever has not applied an entry cannot have archived it.
    #[error("log index {asked} is not applied here yet ({applied} is): the archive's mark is not moved beyond it")]
    NotApplied {
        /// The index of the mark that was asked for.
        asked: u64,
        /// The last applied index.
        applied: u64,
    },
    /// Whether it moved is unknown; asking for the same again is safe.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The leader answered something else.
    #[error("the cluster answered the move of the archive's mark with {0}")]
    Unexpected(String),
}

impl Cluster {
    /// How far the archive has come, by the applied state; `None` before anything was archived.
    #[must_use]
    pub fn archive_mark(&self) -> Option<ArchiveMark> {
        self.read(|state| state.archive_mark().copied())
    }

    /// The life of the cluster that rows belong to: its id. A restored cluster has another, and its log begins anew.
    #[must_use]
    pub fn lineage(&self) -> ClusterId {
        self.inner.links.me().cluster_id
    }

    /// Moves the mark on from `after`, the index of the mark that the caller knew (0 without one). All entries up to
    /// and with the new mark must be archived, durably, before the call: every node purges them afterwards. Comes
    /// through where a full disk or outbox keeps everything else out, since it is what empties the outbox.
    ///
    /// # Errors
    /// [`AdvanceError`].
    pub async fn advance_archive(&self, after: u64, mark: ArchiveMark) -> Result<(), AdvanceError> {
        let applied = self.applied_index();
        if mark.index > applied {
            return Err(AdvanceError::NotApplied { asked: mark.index, applied });
        }
        let command = Command::AdvanceArchive { after, mark };
        let outcome = self.propose(vec![command], ADVANCE_DEADLINE).await?.pop();
        match outcome {
            Some(Outcome::ArchiveAdvanced) => Ok(()),
            Some(Outcome::Rejected(Rejection::ArchiveMoved { index })) => Err(AdvanceError::Moved { index }),
            other => Err(AdvanceError::Unexpected(format!("{other:?}"))),
        }
    }
}
