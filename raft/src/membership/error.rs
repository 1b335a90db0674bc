//! Why a membership is not changed. Refused and could-not never mix (DESIGN 10).

use super::VOTERS_MAX;
use serde::{Deserialize, Serialize};

/// Why a change of the membership was not made, or is not known to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum MembershipError {
    /// It must not be made; nothing was changed.
    #[error(transparent)]
    Refused(#[from] MembershipRefusal),
    /// The node asked does not lead (any more); the call goes on at the one that does.
    #[error("node {node} does not lead")]
    NotLeader {
        /// The node that was asked.
        node: u64,
    },
    /// One change at a time.
    #[error("another change of the membership is being made; wait for it (`consigner cluster status`)")]
    Busy,
    /// The node that should join gives no answer.
    #[error("node {node} gives no answer at {address}: {why}")]
    Silent {
        /// The node.
        node: u64,
        /// Where it was asked.
        address: String,
        /// What happened.
        why: String,
    },
    /// The node never caught up; it is no member (any more), or still a learner if it was one before.
    #[error(
        "node {node} did not catch up within {seconds} s: it has applied {applied} of {committed} entries{why}; {then}"
    )]
    NotLevel {
        /// The node.
        node: u64,
        /// How long it was waited for.
        seconds: u64,
        /// Its last applied index.
        applied: u64,
        /// The cluster's commit index then.
        committed: u64,
        /// Why it could not be asked, if so.
        why: String,
        /// What became of it.
        then: String,
    },
    /// The leadership did not move.
    #[error("leadership could not be handed over: {0}")]
    HandOver(String),
    /// No leader, no quorum, or no answer in time. Whether the change was made is not known.
    #[error("{0}; whether the membership changed is told by `consigner cluster status`")]
    Unavailable(String),
}

/// Why a change of the membership must not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum MembershipRefusal {
    /// Ids begin at 1.
    #[error("node ids begin at 1")]
    IdZero,
    /// It is a member.
    #[error("node {node} is a member already ({role}); {way_out}")]
    IsMember {
        /// The node.
        node: u64,
        /// `voter` or `learner`.
        role: String,
        /// What can be done.
        way_out: String,
    },
    /// Ids are used once.
    #[error("the id {node} was used by a node before and is never used again: choose one that never was")]
    IdUsed {
        /// The id.
        node: u64,
    },
    /// Two members must not be mistaken for each other.
    #[error("node {member} has the {what} {value} already")]
    Taken {
        /// Who has it.
        member: u64,
        /// `name`, `peer address` or `API URL`.
        what: String,
        /// The value.
        value: String,
    },
    /// There are enough.
    #[error("a cluster has at most {VOTERS_MAX} voters")]
    TooManyVoters,
    /// Somebody else answers there.
    #[error("at {address} another node answers than node {node}: {why}")]
    OtherIdentity {
        /// Who was meant.
        node: u64,
        /// Where.
        address: String,
        /// Who it is.
        why: String,
    },
    /// It is configured otherwise.
    #[error("node {node} is configured with the {what} {configured}, not {asked}: change one of the two")]
    Configured {
        /// The node.
        node: u64,
        /// `peer.advertise` or `api.advertise-url`.
        what: String,
        /// Its configuration's.
        configured: String,
        /// The operator's.
        asked: String,
    },
    /// It has a past, and whose is not known.
    #[error(
        "node {node} is not fresh: its data directory holds a log or a state; give it an empty one and an id that was \
         never used"
    )]
    NotFresh {
        /// The node.
        node: u64,
    },
    /// It could not apply what the cluster orders.
    #[error("node {node} runs {version}, which knows rules up to {knows}; the cluster judges by {needed}: upgrade it")]
    RulesTooOld {
        /// The node.
        node: u64,
        /// Its binary.
        version: String,
        /// What it knows.
        knows: u32,
        /// What the cluster uses.
        needed: u32,
    },
    /// It shows nothing.
    #[error(
        "node {node} shows no join token: make one with `consigner cluster join-token --id {node}` and name its file \
         in the node's cluster.join-token-file"
    )]
    NoToken {
        /// The node.
        node: u64,
    },
    /// What it shows is not held.
    #[error(
        "the join token of node {node} is not known: it was used, revoked or never made here; make another with \
         `consigner cluster join-token --id {node}`"
    )]
    TokenUnknown {
        /// The node.
        node: u64,
    },
    /// Too late.
    #[error("the join token of node {node} has expired; make another with `consigner cluster join-token --id {node}`")]
    TokenExpired {
        /// The node.
        node: u64,
    },
    /// Made for another.
    #[error("node {node} shows the join token of node {owner}: every node needs its own")]
    TokenOfOther {
        /// The node.
        node: u64,
        /// For whom it was made.
        owner: u64,
    },
    /// A lifetime out of bounds.
    #[error("a join token lives for {min} to {max} seconds, not {asked}")]
    TokenLifetime {
        /// Least.
        min: u64,
        /// Most.
        max: u64,
        /// Wanted.
        asked: u64,
    },
    /// There is no such member.
    #[error("node {node} is not a member; members are {members}")]
    NotMember {
        /// The node.
        node: u64,
        /// Who is.
        members: String,
    },
    /// It has no vote.
    #[error("node {node} is a learner; promote it first: `consigner cluster promote --id {node}`")]
    NotVoter {
        /// The node.
        node: u64,
    },
    /// Nobody would be left.
    #[error("node {node} is the only voter; add another node first, or stop this one for good")]
    LastVoter {
        /// The node.
        node: u64,
    },
    /// Too few of those that would vote are there.
    #[error(
        "afterwards {needed} of the voters {voters} would have to be up, and {down}; bring them back, or remove or \
         replace the ones that are gone first"
    )]
    QuorumLost {
        /// The voters afterwards.
        voters: String,
        /// How many of them it takes.
        needed: usize,
        /// Who is not, and why.
        down: String,
    },
    /// The state machine says no.
    #[error("{0}")]
    Rejected(String),
}
