//! What can be changed, and the way of a wish from any node to the leader, which makes one change at a time.

use super::quorum::warning;
use super::{MembershipError, VOTERS_MAX};
use crate::cluster::Cluster;
use crate::peer::wire;
use crate::typ::TypeConfig;
use crate::types::{Leadership, Member};
use openraft::ChangeMembers;
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;

/// A node that should become a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddMember {
    /// Its id, which no node ever had.
    pub node: u64,
    /// Where the other nodes reach it, `host:port`.
    pub peer_addr: String,
    /// Where clients reach it; empty: as it advertises itself.
    pub api_url: String,
    /// How long it may take to catch up.
    pub catch_up: Duration,
    /// Whether it votes once it has; else it stays a learner.
    pub promote: bool,
}

/// A change of the membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Takes a node in.
    Add(AddMember),
    /// Gives a learner a vote, once it has caught up.
    Promote {
        /// The learner.
        node: u64,
        /// How long it may take to catch up.
        catch_up: Duration,
    },
    /// Lets a node go.
    Remove {
        /// The member.
        node: u64,
    },
    /// Takes a node in and lets another go, in one step.
    Replace {
        /// Who goes.
        old: u64,
        /// Who comes.
        new: AddMember,
    },
    /// Another node shall lead.
    Transfer {
        /// Which; `None`: the most advanced.
        to: Option<u64>,
    },
}

/// The membership after a change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembershipChange {
    /// Who votes.
    pub voters: Vec<u64>,
    /// Who receives the log without a vote.
    pub learners: Vec<u64>,
    /// Who leads.
    pub leader: u64,
    /// What is odd about it.
    pub warnings: Vec<String>,
}

/// How long a change waits for a leader while none is known.
const LEADER_WAIT: Duration = Duration::from_secs(15);

/// Pause between two looks for a leader.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Everything about a change but the wait for a learner: identification, two agreements of each kind, a hand-over.
const CHANGE_DEADLINE: Duration = Duration::from_secs(60);

/// How long one entry of the membership may take to be agreed; openraft waits for ever.
const AGREE_DEADLINE: Duration = Duration::from_secs(15);

impl Change {
    fn deadline(&self) -> Duration {
        let catch_up = match self {
            Self::Add(new) | Self::Replace { new, .. } => new.catch_up,
            Self::Promote { catch_up, .. } => *catch_up,
            Self::Remove { .. } | Self::Transfer { .. } => Duration::ZERO,
        };
        CHANGE_DEADLINE + catch_up
    }
}

impl Cluster {
    /// Takes a node in: as a learner, and once it is level as a voter.
    ///
    /// # Errors
    /// [`MembershipError`]; after a refusal nothing was changed.
    pub async fn add_member(&self, new: AddMember) -> Result<MembershipChange, MembershipError> {
        self.change(Change::Add(new)).await
    }

    /// Gives a learner a vote.
    ///
    /// # Errors
    /// As [`Cluster::add_member`].
    pub async fn promote(&self, node: u64, catch_up: Duration) -> Result<MembershipChange, MembershipError> {
        self.change(Change::Promote { node, catch_up }).await
    }

    /// Lets a node go; its id is used up.
    ///
    /// # Errors
    /// As [`Cluster::add_member`].
    pub async fn remove_member(&self, node: u64) -> Result<MembershipChange, MembershipError> {
        self.change(Change::Remove { node }).await
    }

    /// Takes a node in, in place of another.
    ///
    /// # Errors
    /// As [`Cluster::add_member`].
    pub async fn replace_member(&self, old: u64, new: AddMember) -> Result<MembershipChange, MembershipError> {
        self.change(Change::Replace { old, new }).await
    }

    /// Lets another node lead.
    ///
    /// # Errors
    /// As [`Cluster::add_member`].
    pub async fn transfer_leadership(&self, to: Option<u64>) -> Result<MembershipChange, MembershipError> {
        self.change(Change::Transfer { to }).await
    }

    /// Makes a change at whoever leads.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn change(&self, change: Change) -> Result<MembershipChange, MembershipError> {
        let deadline = change.deadline();
        let until = Instant::now() + deadline;
        let mut leader_seen = Instant::now();
        loop {
            let tried = match self.leadership() {
                Leadership::This => self.change_here(change.clone()).await,
                Leadership::Other { id, member } => self.change_there((id, &member), &change, deadline).await,
                Leadership::Unknown => Err(MembershipError::NotLeader { node: self.node_id() }),
            };
            match tried {
                // The leadership moves, perhaps because the change asks for it; it goes on at the next leader.
                Err(MembershipError::NotLeader { .. }) => {}
                answered => return answered,
            }
            if self.leadership() != Leadership::Unknown {
                leader_seen = Instant::now();
            }
            if leader_seen.elapsed() >= LEADER_WAIT || Instant::now() >= until {
                return Err(MembershipError::Unavailable("no leader is known".to_owned()));
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn change_there(
        &self,
        (leader, member): (u64, &Member),
        change: &Change,
        deadline: Duration,
    ) -> Result<MembershipChange, MembershipError> {
        let called = self.inner.links.call((leader, member), wire::MEMBERSHIP, change, deadline).await;
        match called {
            Ok(answer) => answer,
            // Certainly not begun there.
            Err(error) if error.is_unreachable() => Err(MembershipError::NotLeader { node: leader }),
            Err(error) => Err(MembershipError::Unavailable(crate::chain(&error))),
        }
    }

    /// Makes a change here, to its end: a caller that goes away must not leave it half made.
    pub(crate) async fn change_here(&self, change: Change) -> Result<MembershipChange, MembershipError> {
        let cluster = self.clone();
        let made = tokio::spawn(async move { cluster.change_alone(change).await });
        made.await.unwrap_or_else(|_| Err(MembershipError::Unavailable("the change ended unexpectedly".to_owned())))
    }

    async fn change_alone(&self, change: Change) -> Result<MembershipChange, MembershipError> {
        let _turn = self.inner.changing.try_lock().map_err(|_| MembershipError::Busy)?;
        self.check_leads()?;
        tracing::info!(?change, "membership change begins");
        let made = self.change_in_turn(change).await;
        match &made {
            Ok(made) => tracing::info!(?made, "membership changed"),
            Err(error) => tracing::warn!(%error, "membership change ended"),
        }
        made
    }

    async fn change_in_turn(&self, change: Change) -> Result<MembershipChange, MembershipError> {
        let mut warnings = Vec::new();
        let leader = match change {
            Change::Transfer { to } => self.transfer_here(to).await?,
            Change::Add(new) => {
                self.finish_joint().await?;
                self.add_here(&new, &mut warnings).await?;
                self.node_id()
            }
            Change::Promote { node, catch_up } => {
                self.finish_joint().await?;
                self.promote_here(node, catch_up).await?;
                self.node_id()
            }
            Change::Remove { node } => {
                self.finish_joint().await?;
                warnings.extend(self.remove_here(node).await?);
                self.node_id()
            }
            Change::Replace { old, new } => {
                self.finish_joint().await?;
                self.replace_here(old, &new, &mut warnings).await?;
                self.node_id()
            }
        };
        let view = self.members_view();
        warnings.extend(warning(view.voters.len()));
        let learners = view.learners();
        Ok(MembershipChange { voters: view.voters.into_iter().collect(), learners, leader, warnings })
    }

    pub(super) fn check_leads(&self) -> Result<(), MembershipError> {
        match self.leadership() {
            Leadership::This => Ok(()),
            Leadership::Other { .. } | Leadership::Unknown => Err(MembershipError::NotLeader { node: self.node_id() }),
        }
    }

    /// Proposes one change to openraft (two entries if voters change) and waits until it is agreed.
    pub(super) async fn agree_members(&self, change: ChangeMembers<u64, Member>) -> Result<(), MembershipError> {
        let late = |_| MembershipError::Unavailable("no quorum agreed on the membership in time".to_owned());
        // Whom a change drops from the voters, it drops altogether.
        let agreed = tokio::time::timeout(AGREE_DEADLINE, self.raft().change_membership(change, false)).await;
        agreed.map_err(late)?.map(drop).map_err(|error| self.refused_by_raft(error))
    }

    fn refused_by_raft(
        &self,
        error: RaftError<u64, ClientWriteError<u64, <TypeConfig as openraft::RaftTypeConfig>::Node>>,
    ) -> MembershipError {
        match error {
            RaftError::APIError(ClientWriteError::ForwardToLeader(_)) => {
                MembershipError::NotLeader { node: self.node_id() }
            }
            RaftError::APIError(ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_))) => {
                MembershipError::Busy
            }
            error @ (RaftError::APIError(_) | RaftError::Fatal(_)) => {
                MembershipError::Unavailable(crate::chain(&error))
            }
        }
    }
}

const _: () = assert!(VOTERS_MAX % 2 == 1, "an even number of voters only adds a node that can fail");
