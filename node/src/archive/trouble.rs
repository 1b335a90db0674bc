//! What keeps the export from going on, with the class that metrics and alerts tell apart.
//!
//! In: errors of database, cluster and disk. Out: a [`Trouble`]. Deliberately absent: troubles that end by giving up.
//! Each is looked at again, so that the export resumes by itself when its cause is gone.

use crate::report::one_line;
use consigner_raft::{AdvanceError, ProposeError, RecordedError};
use consigner_storage::archive::ArchiveError;

/// Why nothing moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Of [`ArchiveError::class`], or `hole`, `cluster`, `rules`.
    pub(super) class: &'static str,
    /// What exactly, for people.
    pub(super) reason: String,
    /// What follows.
    pub(super) cure: Cure,
}

/// What follows from a trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cure {
    /// Try again after a pause, with a new connection.
    Retry,
    /// Somebody else wrote meanwhile, as happens when leadership moves: look again at once.
    LookAgain,
    /// Nobody's fault: it comes by itself.
    Wait,
}

impl Trouble {
    pub(super) fn new(class: &'static str, reason: impl Into<String>) -> Self {
        Self { class, reason: reason.into(), cure: Cure::Retry }
    }

    /// Something that another look may find otherwise.
    pub(super) fn look_again(class: &'static str, reason: impl Into<String>) -> Self {
        Self { cure: Cure::LookAgain, ..Self::new(class, reason) }
    }

    /// Something that is not wrong, only not there yet.
    pub(super) fn waiting(class: &'static str, reason: impl Into<String>) -> Self {
        Self { cure: Cure::Wait, ..Self::new(class, reason) }
    }
}

impl From<ArchiveError> for Trouble {
    fn from(error: ArchiveError) -> Self {
        let cure = if matches!(error, ArchiveError::HeadMoved { .. }) { Cure::LookAgain } else { Cure::Retry };
        Self { cure, ..Self::new(error.class(), one_line(&error)) }
    }
}

impl From<AdvanceError> for Trouble {
    fn from(error: AdvanceError) -> Self {
        let reason = one_line(&error);
        match error {
            AdvanceError::Moved { .. } => Self { cure: Cure::LookAgain, ..Self::new("cluster", reason) },
            AdvanceError::Propose(ProposeError::NeedsRules { .. }) => Self::waiting("rules", reason),
            AdvanceError::NotApplied { .. } | AdvanceError::Propose(_) | AdvanceError::Unexpected(_) => {
                Self::new("cluster", reason)
            }
        }
    }
}

impl From<RecordedError> for Trouble {
    fn from(error: RecordedError) -> Self {
        Self::new("other", one_line(&error))
    }
}
