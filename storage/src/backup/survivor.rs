//! The data directory of a node of a lost cluster, opened to be read.
//!
//! In: a path. Out: whose it is, its log to the very end, its snapshots. Nothing below the path is changed but for the
//! lock file, by which a node that still runs is noticed. Deliberately absent: the state store, which can always be
//! rebuilt from snapshot and log, and any belief that the end of the log was agreed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

use super::overlay::OverlayDisk;
use crate::disk::{self, Disk, DiskLock, RealDisk};
use crate::identity::NodeIdentity;
use crate::log::{Wal, WalError, WalOptions};
use crate::snapshot::{SnapshotError, SnapshotStore};

/// A node's past, open for reading.
pub struct Survivor {
    /// Whose it is.
    pub identity: NodeIdentity,
    /// The whole log, uncommitted end included; what is asked of it to write stays in memory.
    pub wal: Wal,
    /// The snapshots.
    pub snapshots: SnapshotStore,
    dir: PathBuf,
    _lock: Box<dyn DiskLock>,
}

impl fmt::Debug for Survivor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Survivor").field("dir", &self.dir).field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Why a directory cannot be read as a node's past.
#[derive(Debug, Error)]
pub enum SurvivorError {
    /// No marker in it.
    #[error("{} is no data directory of a node: it has no readable `initialized` marker: {why}", .dir.display())]
    NotADataDir {
        /// The directory.
        dir: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A node runs on it.
    #[error("{} is in use: stop the node first, for good; a cluster that still runs must not be restored", .0.display())]
    InUse(PathBuf),
    /// The file system failed.
    #[error("{}: {action} failed", .dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What was being done.
        action: &'static str,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The log cannot be trusted.
    #[error("the log of {}", .dir.display())]
    Log {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        #[source]
        source: WalError,
    },
    /// The snapshots cannot be read.
    #[error("the snapshots of {}", .dir.display())]
    Snapshots {
        /// The directory.
        dir: PathBuf,
        /// Why not.
        #[source]
        source: SnapshotError,
    },
}

impl Survivor {
    /// Opens the data directory of a node that is stopped.
    ///
    /// # Errors
    /// [`SurvivorError`].
    pub fn open(dir: &Path) -> Result<Survivor, SurvivorError> {
        let io = |action| move |source| SurvivorError::Io { dir: dir.to_path_buf(), action, source };
        let identity = read_identity(dir)?;
        let lock = RealDisk.lock(&dir.join(LOCK)).map_err(io("locking it"))?;
        let lock = lock.ok_or_else(|| SurvivorError::InUse(dir.to_path_buf()))?;
        let disk: Arc<dyn Disk> = Arc::new(OverlayDisk::default());
        let options = WalOptions { create: false, ..WalOptions::default() };
        let wal = Wal::open(Arc::clone(&disk), &dir.join(LOG), options)
            .map_err(|source| SurvivorError::Log { dir: dir.to_path_buf(), source })?;
        let snapshots = SnapshotStore::open(disk, &dir.join(SNAPSHOTS))
            .map_err(|source| SurvivorError::Snapshots { dir: dir.to_path_buf(), source })?;
        Ok(Survivor { identity, wal, snapshots, dir: dir.to_path_buf(), _lock: lock })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

/// Reads the marker that [`crate::DataDir`] writes, format 1.
fn read_identity(dir: &Path) -> Result<NodeIdentity, SurvivorError> {
    let refuse = |why: String| SurvivorError::NotADataDir { dir: dir.to_path_buf(), why };
    let bytes = disk::read_file(&RealDisk, &dir.join(INITIALIZED)).map_err(|error| refuse(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| refuse("it is not text".into()))?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    if text.lines().next() != Some(MAGIC) {
        return Err(refuse("it is not a consigner marker".into()));
    }
    match field("format") {
        Some(FORMAT) => {}
        other => return Err(refuse(format!("format {}, this version reads {FORMAT}", other.unwrap_or("missing")))),
    }
    let sound = text.rfind("crc ").is_some_and(|at| {
        let (content, crc) = text.split_at(at);
        crc.trim_end() == format!("crc {:08x}", crc32fast::hash(content.as_bytes()))
    });
    if !sound {
        return Err(refuse("its checksum does not fit".into()));
    }
    let node_id = field("node").and_then(|value| value.parse().ok()).ok_or_else(|| refuse("node id".into()))?;
    let cluster_id = field("cluster").and_then(|value| u128::from_str_radix(value, 16).ok());
    let cluster_id = cluster_id.ok_or_else(|| refuse("cluster id".into()))?.to_be_bytes();
    Ok(NodeIdentity { node_id, cluster_id })
}

const MAGIC: &str = "consigner-data";
const FORMAT: &str = "1";
const INITIALIZED: &str = "initialized";
const LOCK: &str = "lock";
const LOG: &str = "log";
const SNAPSHOTS: &str = "snapshots";
