//! The plain values that cross the border of this crate.

use crate::description::Description;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A member of the cluster as it advertises itself to the others; part of the replicated membership.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Name in the node's certificate (common name).
    pub name: String,
    /// Where the other nodes reach it, `host:port`.
    pub peer_addr: String,
    /// Where clients reach it, `https://host:port`, without a trailing slash; empty if it must not be redirected to.
    pub api_url: String,
    /// Which life of its disk was admitted, 32 hexadecimal digits; empty in memberships from before there was one. Left
    /// out of the encoded form when empty: old entries keep their bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub incarnation: String,
}

/// Raft timers and what follows from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// Heartbeat interval of the leader.
    pub heartbeat: Duration,
    /// Lower bound of the election timeout; for [`Election::Builtin`].
    pub election_min: Duration,
    /// Upper bound of the election timeout; for [`Election::Builtin`].
    pub election_max: Duration,
    /// How long a node may sign unslashable messages after it last heard of a leader with a quorum (DESIGN 4a, X).
    pub lease: Duration,
    /// How long a request waits for a leader before it is answered "unavailable" (Nimbus gives up at 3 s).
    pub leader_wait: Duration,
    /// Deadline of one try to forward an intent.
    pub forward_try: Duration,
    /// Who decides when to stand for election.
    pub election: Election,
}

/// Who decides when a node stands for election (DESIGN 7a).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Election {
    /// This crate: a silent leader is suspected after [`Timing::lease`], a dead process at once; peers are asked first.
    #[default]
    Driver,
    /// openraft's timers, between [`Timing::election_min`] and [`Timing::election_max`].
    Builtin,
}

impl Timing {
    /// How long a voter keeps faith in a leader after its last append: openraft's lease, its upper election timeout.
    #[must_use]
    pub fn voters_faith(&self) -> Duration {
        match self.election {
            // Longer than openraft's ticks (1.5 heartbeats) are apart, and no longer: it bounds every failover.
            Election::Driver => self.heartbeat * 8 / 5,
            Election::Builtin => self.election_max,
        }
    }

    /// openraft's lower election timeout; under the driver only the deadline of a vote.
    #[must_use]
    pub fn vote_deadline(&self) -> Duration {
        match self.election {
            Election::Driver => self.heartbeat * 6 / 5,
            Election::Builtin => self.election_min,
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(350),
            election_max: Duration::from_millis(400),
            lease: Duration::from_millis(750),
            leader_wait: Duration::from_millis(2_000),
            forward_try: Duration::from_millis(150),
            election: Election::Driver,
        }
    }
}

/// What a node is to its cluster right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Orders commands.
    Leader,
    /// Follows a leader.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Receives the log without a vote.
    Learner,
    /// Stopped or stopping.
    Stopped,
}

/// Who leads, as far as this node knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leadership {
    /// This node leads and has applied an entry of its own term.
    This,
    /// Another node leads.
    Other {
        /// Its node id.
        id: u64,
        /// How it is reached.
        member: Member,
    },
    /// No leader is known, or this node leads but has not applied an entry of its term yet.
    Unknown,
}

/// What one node knows about itself; what `cluster status` prints per member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node.
    pub id: u64,
    /// How it advertises itself.
    pub member: Member,
    /// What it is right now.
    pub role: Role,
    /// Raft term.
    pub term: u64,
    /// The leader it follows.
    pub leader: Option<u64>,
    /// Last log index on its disk.
    pub last_log_index: Option<u64>,
    /// Last index known to be committed.
    pub commit_index: Option<u64>,
    /// Last applied index.
    pub applied_index: Option<u64>,
    /// Last index that a durable snapshot covers.
    pub snapshot_index: Option<u64>,
    /// State digest after `applied_index`, `0x` hexadecimal (equal on all nodes at equal index).
    pub digest: String,
    /// Validators whose key is held.
    pub keys: u64,
    /// Whether it can serve.
    pub ready: bool,
    /// Why not, if not.
    pub not_ready: Option<String>,
    /// Version of the binary.
    pub version: String,
    /// Ids of the voting members as it knows them.
    pub voters: Vec<u64>,
    /// The rules by which its applied state judges.
    #[serde(default)]
    pub rules: u32,
    /// The newest rules that its binary knows; 0 from a binary that does not say.
    #[serde(default)]
    pub rules_max: u32,
    /// Which start of its data directory this is, counted from 1.
    #[serde(default)]
    pub boot_counter: u64,
    /// Ids of the members without a vote as it knows them.
    #[serde(default)]
    pub learners: Vec<u64>,
    /// Rows that wait for the archive.
    #[serde(default)]
    pub outbox_rows: u64,
    /// Why it agrees to nothing, although it answers: it was not let in yet, or its disk is full.
    #[serde(default)]
    pub agrees_to_nothing: Option<String>,
    /// What the process around it knows.
    #[serde(default)]
    pub description: Description,
}

/// An answer of the replicated state, and the log index of the entry that it answers: for records, never for a decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged<T> {
    /// Log index.
    pub index: u64,
    /// The answer.
    pub answer: T,
}
