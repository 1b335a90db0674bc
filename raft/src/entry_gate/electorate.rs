//! How many must let a node in: so many voters that they form a quorum with it, in every set of voters that decides.
//!
//! In: a membership, and the log behind it. Out: whom to ask, and whether those who agreed are enough. Pure.

use crate::typ::{self, StoredMembership};
use crate::types::Member;
use consigner_rules::command::NodePosition;
use consigner_rules::{Command, CommandBatch};
use consigner_storage::log::{Wal, WalError};
use openraft::EntryPayload;
use std::collections::{BTreeMap, BTreeSet};

/// The members as a starting node knows them.
#[derive(Debug, Clone, Default)]
pub struct Electorate {
    me: u64,
    /// Sets of voters; a majority of each decides. More than one while the membership changes.
    configs: Vec<BTreeSet<u64>>,
    members: BTreeMap<u64, Member>,
    noted: BTreeMap<u64, NodePosition>,
}

impl Electorate {
    /// Out of the newest membership in state and log, committed or not: that is what Raft goes by.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn of(me: u64, applied: &StoredMembership, wal: &Wal) -> Result<Self, WalError> {
        let next = applied.log_id().map_or(0, |log_id| log_id.index + 1);
        let mut newest = Self::from_membership(me, applied.membership());
        let mut noted = BTreeMap::new();
        for (position, bytes) in wal.read(next.max(wal.first().map_or(0, |first| first.index)).., usize::MAX)? {
            // What this binary cannot read it stops at when it applies it.
            match typ::decode_entry(&position, &bytes).map(|entry| entry.payload) {
                Ok(EntryPayload::Membership(membership)) => newest = Self::from_membership(me, &membership),
                Ok(EntryPayload::Normal(proposal)) => note(&mut noted, &proposal.0),
                Ok(EntryPayload::Blank) | Err(_) => {}
            }
        }
        Ok(Self { noted, ..newest })
    }

    /// Out of one membership.
    pub fn from_membership(me: u64, membership: &openraft::Membership<u64, Member>) -> Self {
        let members = membership.nodes().map(|(id, member)| (*id, member.clone())).collect();
        Self { me, configs: membership.get_joint_config().clone(), members, noted: BTreeMap::new() }
    }

    /// The other members, voters and learners.
    pub fn others(&self) -> impl Iterator<Item = (u64, &Member)> {
        self.members.iter().filter(|(id, _)| **id != self.me).map(|(id, member)| (*id, member))
    }

    /// Positions that a leader noted in entries that are not applied yet. They were committed when it wrote them down,
    /// whatever becomes of the entry that says so.
    pub const fn noted(&self) -> &BTreeMap<u64, NodePosition> {
        &self.noted
    }

    /// The disk under which a member was admitted; empty if the membership does not say.
    pub fn incarnation(&self, node: u64) -> Option<&str> {
        self.members.get(&node).map(|member| member.incarnation.as_str())
    }

    /// Whether these form a quorum with this node. Learners among them do not count.
    pub fn is_enough(&self, welcomed: &BTreeSet<u64>) -> bool {
        self.configs.iter().all(|voters| {
            let with_me = voters.iter().filter(|id| **id == self.me || welcomed.contains(id)).count();
            with_me > voters.len() / 2
        })
    }

    /// Whether no membership is known: a node that was never in a cluster.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

fn note(noted: &mut BTreeMap<u64, NodePosition>, batch: &CommandBatch) {
    for command in &batch.commands {
        let Command::NotePositions(positions) = command else { continue };
        for (node, position) in positions {
            let held = noted.entry(*node).or_insert(*position);
            *held = (*held).max(*position);
        }
    }
}
