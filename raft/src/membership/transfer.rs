//! Moving the leadership on purpose.

use super::{MembershipError, MembershipRefusal};
use crate::cluster::Cluster;
use std::time::Duration;

/// How long the leadership may take to move.
const HAND_OVER_DEADLINE: Duration = Duration::from_secs(5);

impl Cluster {
    /// Who leads afterwards.
    pub(super) async fn transfer_here(&self, to: Option<u64>) -> Result<u64, MembershipError> {
        let view = self.members_view();
        if let Some(to) = to {
            view.member(to)?;
            if view.is_learner(to) {
                return Err(MembershipRefusal::NotVoter { node: to }.into());
            }
            if to == self.node_id() {
                return Ok(to);
            }
        }
        if view.voters.len() < 2 {
            return Err(MembershipRefusal::LastVoter { node: self.node_id() }.into());
        }
        self.check_live_quorum(&view.voters, &view.nodes).await?;
        self.hand_over(to, HAND_OVER_DEADLINE).await.map_err(|error| MembershipError::HandOver(crate::chain(&error)))
    }

    /// A leader that is to leave lets another lead; the change goes on there.
    pub(super) async fn leave_the_lead<T>(&self) -> Result<T, MembershipError> {
        let node = self.node_id();
        let handed = self.hand_over(None, HAND_OVER_DEADLINE).await;
        handed.map_err(|error| MembershipError::HandOver(crate::chain(&error)))?;
        Err(MembershipError::NotLeader { node })
    }
}
