//! Which rules judge: a version in the state, raised by a command alone (DESIGN 10).
//!
//! In: a batch before it is applied; the command that raises the version. Out: whether this binary may apply it.
//! Deliberately absent: who is asked before the command is proposed; that is the leader's business.

use super::apply::Step;
use super::{Cluster, State};
use crate::command::{Change, Command, CommandBatch, Outcome, Rejection};

/// The newest rules that this binary knows; a state that asks for more must not be applied to.
///
/// | rules | what came with them |
/// |---|---|
/// | 1 | keys, histories, policy, tokens, audit anchors |
/// | 2 | join tokens, node records, positions, the floor after a restore |
/// | 3 | the mark of the archive; records say through which node a request came |
/// | 4 | nothing: the cargo feature `next-rules` builds the "next" binary of the tests |
pub const RULES_VERSION: u32 = if cfg!(feature = "next-rules") { 4 } else { 3 };

/// The version of the rules under which every cluster is born; never raised with [`RULES_VERSION`].
///
/// A newer binary must replay an old log, and join a cluster of older binaries, to the same bytes: what a new state
/// holds may depend on the commands alone, never on the binary that applies them.
pub(super) const RULES_VERSION_AT_BIRTH: u32 = 1;

/// A batch that this binary must not apply: it would judge differently from the others afterwards.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the cluster moves to rules version {found}, this binary knows up to {RULES_VERSION}; run a newer binary")]
pub struct TooNew {
    /// The version that the batch asks for.
    pub found: u32,
}

impl State {
    /// The rules by which `apply` judges.
    #[must_use]
    pub const fn rules_version(&self) -> u32 {
        self.cluster.rules_version
    }

    /// Whether this binary can apply a batch; to be asked before [`State::apply`].
    ///
    /// # Errors
    /// [`TooNew`]: the node must stop with the batch unapplied.
    pub fn knows(batch: &CommandBatch) -> Result<(), TooNew> {
        let asked = batch.commands.iter().filter_map(|command| match command {
            Command::RaiseRules { version } => Some(*version),
            Command::Initialise(_)
            | Command::Sign(_)
            | Command::AddDataKey(_)
            | Command::ImportKey { .. }
            | Command::ImportHistory(_)
            | Command::SetHighWatermark(_)
            | Command::RenewPolicy
            | Command::DeleteKey { .. }
            | Command::Reseal(_)
            | Command::RemoveDataKey(_)
            | Command::SetPolicy { .. }
            | Command::AddToken { .. }
            | Command::RevokeToken { .. }
            | Command::AnchorAudit(_)
            | Command::AddJoinToken(_)
            | Command::RevokeJoinToken { .. }
            | Command::AdmitNode { .. }
            | Command::RetireNode { .. }
            | Command::NotePositions(_)
            | Command::Resume(_)
            | Command::AdvanceArchive { .. } => None,
        });
        match asked.max() {
            Some(found) if found > RULES_VERSION => Err(TooNew { found }),
            Some(_) | None => Ok(()),
        }
    }
}

impl Step<'_> {
    /// Says so again when the version holds already: the same proposal, sent again because its answer was lost.
    pub(super) fn raise_rules(&mut self, version: u32) -> Outcome {
        let current = self.state.rules_version();
        if version < current {
            return Outcome::Rejected(Rejection::RulesWentBack { current });
        }
        if version > current {
            self.replace_cluster(Cluster { rules_version: version, ..self.state.cluster.clone() });
            self.changes.push(Change::RulesRaised(version));
        }
        Outcome::RulesRaised(version)
    }
}
