//! Whether those that would vote are there: asked before every step that changes who votes.

use super::view::list;
use super::{MembershipError, MembershipRefusal};
use crate::cluster::Cluster;
use crate::peer::wire;
use crate::types::{Member, NodeStatus};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a voter may take to say that it is there. Far longer than it needs: who is late is taken for dead.
const LOOK: Duration = Duration::from_secs(2);

/// How many of so many voters agree on anything.
pub(super) const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// Whether these voters have a quorum although `down` (each with the reason) are not there.
///
/// # Errors
/// They have not.
pub(super) fn check_quorum(voters: &BTreeSet<u64>, down: &BTreeMap<u64, String>) -> Result<(), MembershipRefusal> {
    let missing: Vec<String> = down
        .iter()
        .filter(|(node, _)| voters.contains(node))
        .map(|(node, why)| format!("node {node} is down ({why})"))
        .collect();
    let needed = majority(voters.len());
    if voters.len() - missing.len() >= needed {
        return Ok(());
    }
    Err(MembershipRefusal::QuorumLost { voters: list(voters), needed, down: missing.join(", ") })
}

/// What an even number of voters is worth.
pub(super) fn warning(voters: usize) -> Option<String> {
    voters.is_multiple_of(2).then(|| {
        let (tolerated, fewer) = (voters - majority(voters), voters - 1);
        format!(
            "{voters} voters bear the loss of {tolerated}, as {fewer} do, and every signature waits for one more disk: \
             an odd number is better"
        )
    })
}

impl Cluster {
    /// Refuses a step after which these would vote, if too few of them answer.
    pub(super) async fn check_live_quorum(
        &self,
        voters: &BTreeSet<u64>,
        members: &BTreeMap<u64, Member>,
    ) -> Result<(), MembershipError> {
        let asked = voters.iter().filter_map(|node| Some((*node, members.get(node)?)));
        let asked = asked.map(|(node, member)| async move { (node, self.look_for_vote(node, member).await) });
        let answers = futures::future::join_all(asked).await;
        let down = answers.into_iter().filter_map(|(node, answer)| Some((node, answer.err()?))).collect();
        Ok(check_quorum(voters, &down)?)
    }

    /// A voter that answers and takes part; one that was not let in, or whose disk is full, agrees to nothing.
    async fn look_for_vote(&self, node: u64, member: &Member) -> Result<(), String> {
        match self.look_at(node, member).await?.agrees_to_nothing {
            None => Ok(()),
            Some(why) => Err(why),
        }
    }

    /// A member's status, or why there is none.
    pub(super) async fn look_at(&self, node: u64, member: &Member) -> Result<NodeStatus, String> {
        if node == self.node_id() {
            return Ok(self.status());
        }
        let called = self.inner.links.call((node, member), wire::STATUS, &(), LOOK).await;
        called.map_err(|error| crate::chain(&error))
    }
}
