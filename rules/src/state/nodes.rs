//! Who may join, whose id is used up, and how far each node is known to have come (DESIGN 9).
//!
//! In: the commands about nodes. Out: outcomes, changes, records. An id is used once: it stays with the first disk that
//! was admitted under it, and with nobody after that one left. Deliberately absent: the membership itself, which is
//! Raft's, and clocks (who admits a node looks at the token's expiry).

use super::State;
use super::apply::Step;
use super::records;
use crate::command::{Change, JoinToken, NodePosition, Outcome, Rejection};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most join tokens held at once: an operator makes one per node, just before it joins.
pub const JOIN_TOKENS_MAX: usize = 64;

/// Most nodes, present and past, that are remembered: ids are used once, and a cluster of seven that replaces a node
/// every week gets there in twenty years.
pub const NODES_MAX: usize = 1_024;

/// What is known of a node id that was used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// What tells its disk from others; `None` for a member of the first hour, whose incarnation is in the membership.
    #[serde(with = "serde_bytes")]
    pub incarnation: Option<[u8; 16]>,
    /// Whether it left for good.
    pub retired: bool,
}

impl State {
    /// A join token by its id, expired or not.
    #[must_use]
    pub fn join_token(&self, id: &[u8; 8]) -> Option<&JoinToken> {
        self.join_tokens.get(id)
    }

    /// All join tokens, by id.
    pub fn join_tokens(&self) -> impl ExactSizeIterator<Item = &JoinToken> {
        self.join_tokens.values()
    }

    /// What is known of a node id, if it was admitted or retired.
    #[must_use]
    pub fn node_record(&self, node: u64) -> Option<&NodeRecord> {
        self.nodes.get(&node)
    }

    /// All node ids that were admitted or retired.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = (u64, &NodeRecord)> {
        self.nodes.iter().map(|(node, record)| (*node, record))
    }

    /// The highest committed position that a node is known to have acknowledged.
    #[must_use]
    pub fn position_of(&self, node: u64) -> Option<NodePosition> {
        self.positions.get(&node).copied()
    }

    /// All known positions, by node.
    #[must_use]
    pub const fn positions(&self) -> &BTreeMap<u64, NodePosition> {
        &self.positions
    }
}

impl Step<'_> {
    pub(super) fn add_join_token(&mut self, token: &JoinToken) -> Outcome {
        match self.state.join_tokens.get(&token.id) {
            Some(held) if held == token => return Outcome::JoinTokenHeld,
            Some(_) => return Outcome::Rejected(Rejection::TokenConflict),
            None => {}
        }
        if self.state.nodes.contains_key(&token.node) {
            return Outcome::Rejected(Rejection::NodeIdUsed { node: token.node });
        }
        if self.state.join_tokens.len() >= JOIN_TOKENS_MAX {
            return Outcome::Rejected(Rejection::TooManyJoinTokens);
        }
        self.write(None, records::join_token_record(token));
        self.state.join_tokens.insert(token.id, token.clone());
        self.changes.push(Change::JoinTokenAdded { id: token.id, node: token.node });
        Outcome::JoinTokenHeld
    }

    pub(super) fn revoke_join_token(&mut self, id: &[u8; 8]) -> Outcome {
        let Some(token) = self.state.join_tokens.remove(id) else {
            return Outcome::JoinTokenRevoked { was_held: false };
        };
        self.erase(records::join_token_record(&token));
        self.changes.push(Change::JoinTokenRevoked { id: *id, node: token.node });
        Outcome::JoinTokenRevoked { was_held: true }
    }

    pub(super) fn admit_node(&mut self, node: u64, name: &str, incarnation: &[u8; 16], token: &[u8; 8]) -> Outcome {
        let admitted = NodeRecord { incarnation: Some(*incarnation), retired: false };
        match self.state.nodes.get(&node) {
            // The same proposal, sent again because its answer was lost; its token is used up.
            Some(record) if *record == admitted => return Outcome::NodeAdmitted,
            Some(_) => return Outcome::Rejected(Rejection::NodeIdUsed { node }),
            None => {}
        }
        match self.state.join_tokens.get(token) {
            None => return Outcome::Rejected(Rejection::JoinTokenUnknown),
            Some(held) if held.node != node => {
                return Outcome::Rejected(Rejection::JoinTokenOfOtherNode { node: held.node });
            }
            Some(_) => {}
        }
        if self.state.nodes.len() >= NODES_MAX {
            return Outcome::Rejected(Rejection::TooManyNodes);
        }
        self.forget_join_tokens_of(node);
        self.replace_node(node, admitted);
        self.changes.push(Change::NodeAdmitted { node, name: name.to_owned(), incarnation: *incarnation });
        Outcome::NodeAdmitted
    }

    pub(super) fn retire_node(&mut self, node: u64) -> Outcome {
        let before = self.state.nodes.get(&node).copied();
        if before.is_some_and(|record| record.retired) {
            return Outcome::NodeRetired;
        }
        if before.is_none() && self.state.nodes.len() >= NODES_MAX {
            return Outcome::Rejected(Rejection::TooManyNodes);
        }
        self.forget_join_tokens_of(node);
        if let Some(position) = self.state.positions.remove(&node) {
            self.erase(records::position_record(node, &position));
        }
        self.replace_node(node, NodeRecord { retired: true, ..before.unwrap_or_default() });
        self.changes.push(Change::NodeRetired { node });
        Outcome::NodeRetired
    }

    /// Positions only rise, and what left has none: a note that arrives late must not bring it back. No [`Change`]: this
    /// comes every few seconds and says nothing to an archive.
    pub(super) fn note_positions(&mut self, positions: &BTreeMap<u64, NodePosition>) -> Outcome {
        for (node, position) in positions {
            let held = self.state.positions.get(node).copied();
            let retired = self.state.nodes.get(node).is_some_and(|record| record.retired);
            let full = held.is_none() && self.state.positions.len() >= NODES_MAX;
            if retired || full || held >= Some(*position) {
                continue;
            }
            let before = held.map(|held| records::position_record(*node, &held));
            self.write(before, records::position_record(*node, position));
            self.state.positions.insert(*node, *position);
        }
        Outcome::PositionsNoted
    }

    fn replace_node(&mut self, node: u64, record: NodeRecord) {
        let before = self.state.nodes.insert(node, record).map(|before| records::node_record(node, &before));
        self.write(before, records::node_record(node, &record));
    }

    /// An id that is used up needs no leave to join.
    fn forget_join_tokens_of(&mut self, node: u64) {
        let ids: Vec<[u8; 8]> =
            self.state.join_tokens.values().filter(|token| token.node == node).map(|token| token.id).collect();
        for token in ids.iter().filter_map(|id| self.state.join_tokens.remove(id)).collect::<Vec<_>>() {
            self.erase(records::join_token_record(&token));
        }
    }
}
