//! Brings all nodes to one order of commands, and mints permits from what was committed.
//!
//! In: sign requests and commands. Out: [`consigner_rules::SignPermit`]s, outcomes, and reads of the replicated state.
//! This crate alone knows openraft; its types do not leave. Deliberately absent: HTTP for clients, keys, configuration.
//!
//! | module | what it owns |
//! |---|---|
//! | [`cluster`] | the calls of the rest of the node; the one place where permits are minted |
//! | `archive` | the mark of the archive; the outbox is purged by it, spilled, healed, kept within its share of the disk |
//! | `authorize` | from a request to a verdict: here, at the leader, or "not now" |
//! | `backup`, [`restore`] | a copy of the state while the cluster signs; a new cluster out of what is left of a lost one |
//! | `batcher` | all writes of commands, at most two entries on their way |
//! | `election`, `hand_over` | when to stand for election, and how leadership moves on purpose |
//! | `entry_gate` | whether this node may take part as who it was, and which starts of the others may |
//! | `forward` | a follower's intents on their way to the leader |
//! | `disk_guard`, `disk_watch` | what a full disk means, and what bounds the log |
//! | `lease` | how long unslashable messages may be signed without hearing of a quorum |
//! | `log_store`, `machine` | openraft's storage on our log, state store and snapshots |
//! | `membership` | who belongs to the cluster, changed while it signs |
//! | `outbox` | what was recorded, entry by entry, as far as this node has it |
//! | `propose`, `status` | commands from any node, barriers, what a node tells about itself |
//! | `key_feed`, `settle` | keyrings follow the state, on this node at once, on all nodes when somebody waits for it |
//! | `rounds` | callers that ask the same question share one answer |
//! | `recover` | what a start must find before anything is served |
//! | `versions` | rules are raised once every member knows them, and used only then |
//! | `peer` | the channel between nodes |

mod archive;
mod authorize;
mod backup;
mod batcher;
mod clock;
mod cluster;
mod description;
mod disk_guard;
mod disk_watch;
mod election;
mod entry_gate;
mod forward;
mod hand_over;
mod key_feed;
mod lease;
mod lifecycle;
mod log_store;
mod machine;
#[cfg(test)]
mod machine_tests;
mod membership;
mod observe;
mod outbox;
mod peer;
mod propose;
mod recover;
pub mod restore;
mod rounds;
mod settle;
mod snapshot_body;
mod status;
#[cfg(test)]
mod suite_tests;
mod typ;
mod types;
mod versions;

pub use archive::{
    AdvanceError, Healing, MemberRows, OutboxLevel, OutboxMode, OutboxOptions, OutboxStatus, Retention, Salvaged,
    SpillLimits, Unheard,
};
pub use authorize::{Admit, AuthorizeError, Routing};
pub use backup::{BackupError, BackupMember, BackupSummary, Maxima, ReadBackupError, read_backup};
pub use cluster::{Cluster, ClusterOptions, OnFatal, OnPolicy, Release, Unavailable};
use consigner_gate::with_causes as chain;
pub use description::{CertificateEnd, Describe, Description, DiskUse, JoinTokenHash, SealerHealth};
pub use disk_guard::{DiskLevel, DiskOptions, DiskStatus};
pub use entry_gate::AcceptRestartError;
pub use hand_over::HandOverError;
pub use key_feed::{KeyFeed, OnKeys};
pub use membership::{
    AddMember, Change, MembershipChange, MembershipError, MembershipRefusal, NewJoinToken, join_token_hash,
};
pub use outbox::{Recorded, RecordedError};
pub use peer::service::PeerService;
pub use propose::{InitialiseError, ProposeError};
pub use recover::OpenError;
pub use settle::{OnSettle, Settlement};
pub use types::{Election, Leadership, Logged, Member, NodeStatus, Role, Timing};

/// Runs a task without which the node must not live on: a panic in it stops the node.
fn supervise(name: &'static str, on_fatal: &OnFatal, task: impl Future<Output = ()> + Send + 'static) {
    let on_fatal = OnFatal::clone(on_fatal);
    tokio::spawn(async move {
        if let Err(ended) = tokio::spawn(task).await
            && ended.is_panic()
        {
            on_fatal(&format!("the task \"{name}\" panicked"));
        }
    });
}
