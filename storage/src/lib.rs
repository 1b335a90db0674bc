//! Makes log, state, snapshots, outbox and audit log durable.
//!
//! In: opaque bytes with positions (log entries, votes, state writes, snapshots), audit entries. Out: the same bytes
//! after any crash, or a refusal that says why. Nothing is reported as done before it would survive a power cut.
//! Deliberately absent: what the bytes mean (`rules`), who orders them (`raft`), and every attempt to go on after the
//! first failed write or fsync: the log poisons itself and tells the node to stop.

#[cfg(feature = "postgres")]
pub mod archive;
/// Without `postgres`: what the rows say, for those that lie in segments.
#[cfg(not(feature = "postgres"))]
pub mod archive {
    pub mod project;
    mod text;
}
pub mod audit;
pub mod backup;
pub mod boot;
pub mod disk;
pub mod disk_space;
pub mod identity;
pub mod log;
pub mod outbox;
#[cfg(feature = "postgres")]
mod postgres;
pub mod segments;
pub mod snapshot;
pub mod start;
pub mod state;
#[cfg(feature = "postgres")]
pub mod web3signer;

pub use audit::{AuditEntry, AuditError, AuditHead, AuditLog, AuditOptions, AuditStats};
pub use boot::{Boot, PeerBook};
pub use disk::{Disk, DiskFile, RealDisk, SimDisk};
pub use disk_space::{DataUse, DiskSpace, SpaceProbe, data_use, disk_space};
pub use identity::{DataDir, DataDirError, NodeIdentity, PastMarker, identity_of};
pub use log::{Done, FatalHook, LogPosition, Wal, WalError, WalOptions, WalStats};
pub use outbox::{Outbox, OutboxError};
pub use segments::{SegmentError, SegmentFault, SegmentReader, SegmentsReport, verify_segments};
pub use snapshot::{SnapshotError, SnapshotInfo, SnapshotStore};
pub use start::{StartFacts, StartRefusal, check_start};
pub use state::{Loaded, Opened, StateError, StateStore, StateWrite};
