//! The membership as this node's Raft has it, which may not be agreed yet.

use super::MembershipRefusal;
use crate::cluster::Cluster;
use crate::types::Member;
use std::collections::{BTreeMap, BTreeSet};

/// Voters and members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// Who votes; in a joint membership, who will.
    pub voters: BTreeSet<u64>,
    /// Voters and learners.
    pub nodes: BTreeMap<u64, Member>,
    /// Whether a change is half made.
    pub joint: bool,
}

impl View {
    pub fn is_learner(&self, node: u64) -> bool {
        self.nodes.contains_key(&node) && !self.voters.contains(&node)
    }

    pub fn learners(&self) -> Vec<u64> {
        self.nodes.keys().copied().filter(|node| !self.voters.contains(node)).collect()
    }

    /// # Errors
    /// It is no member.
    pub fn member(&self, node: u64) -> Result<&Member, MembershipRefusal> {
        self.nodes.get(&node).ok_or_else(|| MembershipRefusal::NotMember { node, members: list(self.nodes.keys()) })
    }
}

/// `1, 2, 3`.
pub(super) fn list<'n>(nodes: impl IntoIterator<Item = &'n u64>) -> String {
    nodes.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Cluster {
    pub(super) fn members_view(&self) -> View {
        let metrics = self.raft().metrics();
        let now = metrics.borrow();
        let membership = now.membership_config.membership();
        let configs = membership.get_joint_config();
        View {
            voters: configs.last().cloned().unwrap_or_default(),
            nodes: membership.nodes().map(|(node, member)| (*node, member.clone())).collect(),
            joint: configs.len() > 1,
        }
    }
}
