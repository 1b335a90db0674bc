//! Who answers at an address: asked of every node before it becomes a member, and answered by nodes that are none yet.
//!
//! The join token's text never travels. The node shows that it has it: a hash over the token's hash, a challenge of the
//! leader, and who the node says it is, so that what one node shows is of no use to another.

use super::{MembershipError, MembershipRefusal};
use crate::cluster::Cluster;
use crate::peer::link::CallError;
use crate::peer::wire;
use crate::types::Member;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// How long a node may take to say who it is.
const IDENTIFY_DEADLINE: Duration = Duration::from_secs(5);

/// Keeps this proof apart from any other use of a token's hash.
const PROOF_DOMAIN: &[u8] = b"consigner join 1";

/// Asks a node who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identify {
    /// Random; a proof is for this question only.
    pub challenge: [u8; 32],
}

/// A node's answer to [`Identify`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identified {
    /// Its id.
    pub node: u64,
    /// How it advertises itself, with the incarnation of its disk.
    pub member: Member,
    /// The newest rules that it can apply.
    pub rules_max: u32,
    /// Whether its data directory has no past: no vote, no log, no state.
    pub fresh: bool,
    /// Version of its binary.
    pub version: String,
    /// Shows that it has a join token; absent if it has none.
    pub join_proof: Option<[u8; 32]>,
}

/// What a node that has the token of this hash answers.
pub(super) fn join_proof(token_hash: &[u8; 32], challenge: &[u8; 32], node: u64, member: &Member) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(PROOF_DOMAIN);
    hash.update(token_hash);
    hash.update(challenge);
    hash.update(node.to_le_bytes());
    // Hexadecimal of one length, so that no name can be taken for a part of it.
    hash.update(member.incarnation.as_bytes());
    hash.update(member.name.as_bytes());
    hash.finalize().into()
}

impl Cluster {
    /// This node's answer.
    pub(crate) fn identify_myself(&self, question: Identify) -> Identified {
        let inner = &self.inner;
        let member = inner.member.clone();
        let node = self.node_id();
        let join_proof =
            (inner.join_token)().map(|token_hash| join_proof(&token_hash, &question.challenge, node, &member));
        Identified {
            node,
            member,
            rules_max: consigner_rules::RULES_VERSION,
            fresh: self.is_fresh(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            join_proof,
        }
    }

    /// Whether nothing was ever voted, logged or applied here.
    pub(crate) fn is_fresh(&self) -> bool {
        let applied = self.inner.shared.read_standing(|state, standing| {
            standing.applied.is_some() || state.identity().is_some() || standing.membership.nodes().next().is_some()
        });
        !applied && self.inner.wal.vote().is_none() && self.inner.wal.last().is_none()
    }

    /// Asks whoever answers at `address` whether it is node `node` of this cluster.
    ///
    /// # Errors
    /// It gives no answer, or it is somebody else.
    pub(super) async fn ask_who(&self, node: u64, address: &str) -> Result<(Identified, Identify), MembershipError> {
        let mut question = Identify { challenge: [0; 32] };
        getrandom::fill(&mut question.challenge)
            .map_err(|_| MembershipError::Unavailable("the system has no randomness".to_owned()))?;
        if node == self.node_id() {
            return Ok((self.identify_myself(question), question));
        }
        let target = Member { peer_addr: address.to_owned(), ..Member::default() };
        let called = self.inner.links.call_seen((node, &target), wire::IDENTIFY, &question, IDENTIFY_DEADLINE).await;
        let other = |why: String| MembershipRefusal::OtherIdentity { node, address: address.to_owned(), why };
        let (identified, server): (Identified, _) = called.map_err(|error| match error {
            // It answers, and says why it is not the one.
            CallError::Refused { status: StatusCode::FORBIDDEN, reason, .. } => other(reason).into(),
            CallError::Stranger { .. } => other(crate::chain(&error)).into(),
            CallError::Refused { .. }
            | CallError::Expelled { .. }
            | CallError::Decode { .. }
            | CallError::Channel { .. } => {
                MembershipError::Silent { node, address: address.to_owned(), why: crate::chain(&error) }
            }
        })?;
        if identified.node != node {
            return Err(other(format!("this is node {}", identified.node)).into());
        }
        let certificate = server.map(|server| server.name()).unwrap_or_default();
        // Every call that it makes as a member is judged by this name: it would have a vote and be refused by all others.
        if certificate != identified.member.name {
            let name = &identified.member.name;
            return Err(other(format!(
                "its certificate (peer.tls.cert) names {certificate}, but its node.name is {name}: make them equal and \
                 start it again"
            ))
            .into());
        }
        Ok((identified, question))
    }
}
