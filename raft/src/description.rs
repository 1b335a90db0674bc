//! What the process around a node's part in the cluster knows about itself, for `cluster status`.
//!
//! In: the answers of whoever assembled the node ([`crate::ClusterOptions::describe`]). Out: plain values that travel
//! between nodes. Deliberately absent: anything secret, and waiting: it is asked for every status.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How a node describes what this crate does not know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Why the process does not serve although its cluster does: keys are imported or not open, it is stopping.
    #[serde(default)]
    pub not_ready: Option<String>,
    /// The sealers that are set up.
    #[serde(default)]
    pub sealers: Vec<SealerHealth>,
    /// Keys of the cluster that are open here.
    #[serde(default)]
    pub keys_open: u64,
    /// Keys of the cluster that are not.
    #[serde(default)]
    pub keys_waiting: u64,
    /// The certificate that ends first.
    #[serde(default)]
    pub certificate: Option<CertificateEnd>,
    /// The file system of the data directory.
    #[serde(default)]
    pub disk: Option<DiskUse>,
}

/// A sealer and whether it opens what it should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealerHealth {
    /// Its kind.
    pub kind: String,
    /// Why data keys that it wrapped are not open; `None`: all are.
    pub error: Option<String>,
}

/// When a certificate ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateEnd {
    /// Which: the door and the file.
    pub what: String,
    /// Seconds since the Unix epoch.
    pub not_after: i64,
}

/// How full a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskUse {
    /// Bytes that this process may still write.
    pub free_bytes: u64,
    /// All bytes.
    pub total_bytes: u64,
}

/// See [`crate::ClusterOptions::describe`].
pub type Describe = Arc<dyn Fn() -> Description + Send + Sync>;

/// See [`crate::ClusterOptions::join_token`].
pub type JoinTokenHash = Arc<dyn Fn() -> Option<[u8; 32]> + Send + Sync>;
