//! Paths, headers and messages between nodes. Bodies are in the form of [`consigner_rules::codec`].
//!
//! | protocol | spoken by |
//! |---|---|
//! | 1 | 0.1 before boots had counters; no longer read |
//! | 2 | 0.1 |

use crate::typ::AppendRequest;
use crate::types::{Logged, Member};
use consigner_rules::{Command, Outcome, SignIntent, Verdict};
use consigner_storage::LogPosition;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Version of this protocol; a peer of another version is refused with both versions named.
pub const PROTOCOL: &str = "2";
/// Header: [`PROTOCOL`].
pub const HEADER_PROTOCOL: &str = "x-consigner-protocol";
/// Header: the sender's cluster, hexadecimal.
pub const HEADER_CLUSTER: &str = "x-consigner-cluster";
/// Header, of calls and of answers: the sender's node id.
pub const HEADER_FROM: &str = "x-consigner-from";
/// Header: the node id that the sender means to reach.
pub const HEADER_TO: &str = "x-consigner-to";
/// Header, of calls and of answers: the incarnation of the sender's data directory, 32 hexadecimal digits.
pub const HEADER_INCARNATION: &str = "x-consigner-incarnation";
/// Header, of calls and of answers: counter and nonce of the sender's start ([`consigner_storage::Boot::tag`]).
pub const HEADER_BOOT: &str = "x-consigner-boot";
/// Header: the incarnation of the node that the sender means to reach; absent when the sender does not know it.
pub const HEADER_TO_INCARNATION: &str = "x-consigner-to-incarnation";
/// Header: number of the call, rising within one process.
pub const HEADER_SEQUENCE: &str = "x-consigner-sequence";

/// Largest body between nodes: one snapshot chunk or one full append, with room for framing.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Raft AppendEntries.
pub const APPEND: &str = "/raft/append";
/// Raft RequestVote.
pub const VOTE: &str = "/raft/vote";
/// Raft InstallSnapshot, one chunk.
pub const SNAPSHOT: &str = "/raft/snapshot";
/// Asks a follower to stand for election (graceful hand-over).
pub const ELECT: &str = "/raft/elect";
/// Asks whether a node, too, hears no leader.
pub const PRE_VOTE: &str = "/raft/pre-vote";
/// A node that stops says so.
pub const GOODBYE: &str = "/cluster/goodbye";
/// Forwarded intents.
pub const AUTHORIZE: &str = "/cluster/authorize";
/// Forwarded commands.
pub const PROPOSE: &str = "/cluster/propose";
/// The leader's commit index, confirmed by a quorum.
pub const BARRIER: &str = "/cluster/barrier";
/// Waits, a little, until a node has applied an index and its keyring follows.
pub const SETTLE: &str = "/cluster/settle";
/// Keeps a follower's serving lease alive.
pub const PING: &str = "/cluster/ping";
/// A node's own status.
pub const STATUS: &str = "/cluster/status";
/// Who a node is, asked before it becomes a member.
pub const IDENTIFY: &str = "/cluster/identify";
/// A change of the membership, for the leader.
pub const MEMBERSHIP: &str = "/cluster/membership";
/// A node that has started asks to be let in.
pub const HELLO: &str = "/cluster/hello";
/// Nothing but the headers of the answer: which start of a node serves at its address.
pub const WHO: &str = "/cluster/who";
/// Rows of a member's outbox, for one that misses some. Unknown to 0.1 before there was an archive: no such call.
pub const RECORDED: &str = "/cluster/recorded";

/// An append together with what its follower needs to notice a leader that lost its disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Append {
    /// The last position in the leader's own log when it sent this.
    pub leader_last: Option<LogPosition>,
    /// openraft's request.
    pub request: AppendRequest,
}

/// Whether a path is only for starts that were let in, on both ends of the call.
pub fn is_for_members_let_in(path: &str) -> bool {
    !matches!(path, HELLO | WHO | STATUS | IDENTIFY)
}

/// Whether a call takes part in agreement: nothing of it may come near Raft while the gate is shut.
pub fn is_raft(path: &str) -> bool {
    path.starts_with("/raft/")
}

/// What a node that has started says of its disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The newest position that its log or a snapshot holds.
    pub last: Option<LogPosition>,
    /// The term of its stored vote; 0 without one.
    pub term: u64,
    /// Whether its start is to be remembered. A first round only asks, so that a copy that is refused somewhere has not
    /// taken the place of the original elsewhere.
    pub register: bool,
}

/// The answer to [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Greeting {
    /// It may take part, as far as this node knows.
    Welcome(Welcome),
    /// Its disk does not hold what it acknowledged.
    Behind {
        /// What its log must reach: the newest position that this node knows it to have acknowledged.
        floor: Option<LogPosition>,
        /// The term that its vote must have.
        term: u64,
        /// The same for people, with the way out.
        reason: String,
    },
}

/// See [`Greeting::Welcome`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The newest starts that this node has let in, by node id: incarnation and tag.
    pub boots: Vec<(u64, String, String)>,
    /// The members as this node knows them.
    pub members: BTreeMap<u64, Member>,
}

/// Intents that arrived at a follower meanwhile.
pub type Authorize = Vec<SignIntent>;
/// One answer per intent, in order.
pub type Authorized = Vec<Result<Logged<Verdict>, Failure>>;

/// Commands for the leader.
pub type Propose = Vec<Command>;
/// One answer per command, in order.
pub type Proposed = Vec<Result<Logged<Outcome>, Failure>>;

/// Why the leader has no outcome. The same intent may be sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// The node asked does not lead (any more).
    #[error("node {node} does not lead")]
    NotLeader {
        /// The node that was asked.
        node: u64,
    },
    /// The outcome is unknown: leadership changed or the deadline passed on the way.
    #[error("no quorum agreed in time")]
    Unknown,
    /// Too much is waiting.
    #[error("too many requests are waiting")]
    Overloaded,
    /// The node stops.
    #[error("the node is stopping")]
    Stopping,
    /// The command can never fit in an entry.
    #[error("the command is too large")]
    TooLarge,
    /// The leader could not be reached.
    #[error("the leader cannot be reached: {0}")]
    Unreachable(String),
    /// The cluster, or the leader's binary, does not know the rules that the command needs.
    #[error("the command needs rules version {needed}, the leader applies version {current}")]
    NeedsRules {
        /// The version that the command needs.
        needed: u32,
        /// The version of the leader's state.
        current: u32,
    },
}

/// Asks whether a node has applied an index and its keyring follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    /// The index.
    pub index: Option<u64>,
    /// How long the node may wait before it answers, in milliseconds; it has a bound of its own.
    pub turn_ms: u64,
}

/// The answer to [`Settle`]. The text completes "node 2 ..".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Settling {
    /// Applied, and the keyring follows.
    #[error("has settled")]
    Done,
    /// The index is not applied yet.
    #[error("has not applied the newest commands yet")]
    Applying,
    /// Applied, but the keyring does not follow yet.
    #[error("has keys that are not opened, or calls that still sign with removed keys")]
    Keys,
    /// Too many wait there already.
    #[error("is asked this by too many callers")]
    Busy,
}

/// The leader's answer to a ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// Whether it leads with a quorum acknowledgement that is fresh enough to extend a lease.
    pub leads: bool,
    /// Its term.
    pub term: u64,
    /// Its commit index.
    pub commit_index: Option<u64>,
}

/// Asks for rows of the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskRows {
    /// Of entries after this log index ..
    pub after: u64,
    /// .. up to and with this one.
    pub upto: u64,
    /// How many at most; the answer has bounds of its own.
    pub max: u32,
}

/// The answer to [`AskRows`]. It says nothing about entries up to `since`, or after `upto`: there, rows may be missing.
/// Between holes of its own the node that answers may have rows all the same: the next question begins there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rows {
    /// The index asked for if no row of the entries right after it is missing on the node that answers; else the index
    /// after which the next such entries begin, and there are no rows in this answer. `u64::MAX`: it knows of none.
    pub since: u64,
    /// The last index that it had applied.
    pub applied: u64,
    /// The index up to which its rows are in this answer: the one asked for, unless it is not applied or rows are left.
    pub upto: u64,
    /// In log order; entries that changed nothing have none.
    pub rows: Vec<Row>,
}

/// What one entry changed, as it lies in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Log index of the entry.
    pub index: u64,
    /// Encoded time of the proposal and changes.
    #[serde(with = "serde_bytes")]
    pub content: Vec<u8>,
}
