//! Letting a node go.

use super::join_token::unexpected;
use super::{MembershipError, MembershipRefusal};
use crate::cluster::Cluster;
use consigner_rules::{Command, Outcome};
use openraft::ChangeMembers;
use std::collections::BTreeSet;

impl Cluster {
    /// Answers with what is odd about it.
    pub(super) async fn remove_here(&self, node: u64) -> Result<Option<String>, MembershipError> {
        let view = self.members_view();
        view.member(node)?;
        if view.is_learner(node) {
            self.agree_members(ChangeMembers::RemoveNodes(BTreeSet::from([node]))).await?;
            return Ok(self.retire(node).await);
        }
        let after: BTreeSet<u64> = view.voters.iter().copied().filter(|voter| *voter != node).collect();
        if after.is_empty() {
            return Err(MembershipRefusal::LastVoter { node }.into());
        }
        self.check_live_quorum(&after, &view.nodes).await?;
        if node == self.node_id() {
            return self.leave_the_lead().await;
        }
        self.agree_members(ChangeMembers::RemoveVoters(BTreeSet::from([node]))).await?;
        Ok(self.retire(node).await)
    }

    /// Uses up the id; answers with a warning if that failed. The node is out already.
    pub(super) async fn retire(&self, node: u64) -> Option<String> {
        let retired = match self.propose_one(Command::RetireNode { node }).await {
            Ok(Outcome::NodeRetired) => return None,
            Ok(other) => unexpected(&other),
            Err(error) => error,
        };
        Some(format!(
            "node {node} is out, but that its id is used up could not be noted; never use it again: {retired}"
        ))
    }
}
