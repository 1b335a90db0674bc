//! The data directory: whose it is, in which format, and that one process uses it.
//!
//! ```text
//! DIR/lock          flock of the running process
//! DIR/initialized   format version, node id, cluster id, checksum; written once everything below stands
//! DIR/incarnation, DIR/boot, DIR/peers   which life and which start of it this is ([`crate::boot`])
//! DIR/past          written before the first record of the log counts: from then on an empty log is a lost one
//! DIR/log/          the write-ahead log          DIR/snapshots/    snapshots          DIR/state/    sled
//! ```
//! In: a path and who we are. Out: a directory that is ours, or a refusal that says what to do (S5).
//! Deliberately absent: what tells a copied or an older directory from this one ([`crate::boot`]; DESIGN 9).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;

use crate::boot::{self, Boot, BootError, PeerBook};
use crate::disk::{self, Disk, DiskLock};
use crate::log::{self, Wal, WalError, WalOptions};
use crate::snapshot::{SnapshotError, SnapshotStore};

/// Who a node is. Node ids are never reused; the cluster id is random.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeIdentity {
    /// The node's id in its cluster.
    pub node_id: u64,
    /// The cluster's id.
    pub cluster_id: [u8; 16],
}

/// Why a data directory cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// Another process holds the lock.
    #[error("{} is in use by another process (its lock file is held); two nodes must never share a data directory", .0.display())]
    InUse(PathBuf),
    /// Another data format.
    #[error("{} holds data of format {found}; this program reads format {FORMAT}: use the program version that wrote it", .dir.display())]
    Format {
        /// The directory.
        dir: PathBuf,
        /// Version found.
        found: u32,
    },
    /// Another cluster's data.
    #[error("{} holds another cluster's data: cluster {found}, configured {wanted}", .dir.display())]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// Cluster id found, hex.
        found: String,
        /// Cluster id wanted, hex.
        wanted: String,
    },
    /// Another node's data.
    #[error("{} holds another node's data: node {found}, configured {wanted}", .dir.display())]
    OtherNode {
        /// The directory.
        dir: PathBuf,
        /// Node id found.
        found: u64,
        /// Node id wanted.
        wanted: u64,
    },
    /// The `initialized` marker cannot be read as one.
    #[error("{} has a damaged `initialized` marker: {why}", .dir.display())]
    Marker {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Initialized, but the log is gone (DESIGN 8, trap 5).
    #[error("{} is initialized but its log is missing: the disk lost data; replace this node, it must not vote as before", .0.display())]
    LogMissing(PathBuf),
    /// A log with records, a snapshot or a state, and no marker.
    #[error("{} holds data but no `initialized` marker: not a fresh directory, and nothing says whose data it is", .0.display())]
    MarkerMissing(PathBuf),
    /// One of the files by which other nodes know this directory again is gone or damaged.
    #[error(
        "{} has lost its `{file}`, by which the other nodes know it again: replace this node (`consigner cluster replace`)",
        .dir.display()
    )]
    Boot {
        /// The directory.
        dir: PathBuf,
        /// Which file.
        file: &'static str,
        /// What is wrong with it.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file system failed.
    #[error("data directory {}: {action} failed", .dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What was being done.
        action: &'static str,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// The new log could not be made.
    #[error("data directory: the log")]
    Log(#[from] WalError),
}

/// A locked data directory of this node. Keep it as long as anything below it is open.
pub struct DataDir {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    identity: NodeIdentity,
    fresh: bool,
    incarnation: [u8; 16],
    _lock: Box<dyn DiskLock>,
}

impl fmt::Debug for DataDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataDir").field("dir", &self.dir).field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl DataDir {
    /// Locks `dir` and checks that it is ours; a fresh one is initialized durably, its empty log included.
    ///
    /// # Errors
    /// A [`DataDirError`] that names what was found and what was expected.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, identity: NodeIdentity) -> Result<DataDir, DataDirError> {
        let io = |action| move |source| DataDirError::Io { dir: dir.to_path_buf(), action, source };
        disk::create_dir_durably(&*disk, dir).map_err(io("creating it"))?;
        let lock = disk.lock(&dir.join(LOCK)).map_err(io("locking it"))?;
        let lock = lock.ok_or_else(|| DataDirError::InUse(dir.to_path_buf()))?;
        let marker = dir.join(INITIALIZED);
        let has_log = log::holds_segments(&*disk, &dir.join(LOG)).map_err(io("looking for the log"))?;
        let fresh = !disk.exists(&marker).map_err(io("looking for the marker"))?;
        let mut data = DataDir { disk, dir: dir.to_path_buf(), identity, fresh, incarnation: [0; 16], _lock: lock };
        if fresh {
            data.incarnation = data.initialize(has_log)?;
        } else {
            let bytes = disk::read_file(&*data.disk, &marker).map_err(io("reading the marker"))?;
            data.check(&bytes)?;
            if !has_log {
                return Err(DataDirError::LogMissing(data.dir));
            }
            data.make_dirs()?;
            data.incarnation = boot::incarnation(&*data.disk, dir).map_err(|error| data.boot_error(error))?;
        }
        Ok(data)
    }

    /// Makes everything that the marker promises, then the marker. Answers the new incarnation.
    fn initialize(&self, has_log: bool) -> Result<[u8; 16], DataDirError> {
        self.make_dirs()?;
        let wal = self.wal(WalOptions::default(), true)?;
        // A crash may have come between the log and the marker: an empty log is still a fresh start.
        if has_log && (wal.vote().is_some() || wal.last().is_some() || wal.committed().is_some()) {
            return Err(DataDirError::MarkerMissing(self.dir.clone()));
        }
        drop(wal);
        for name in [SNAPSHOTS, STATE] {
            let io = |source| DataDirError::Io { dir: self.dir.clone(), action: "looking for a past", source };
            if !self.disk.list(&self.dir.join(name)).map_err(io)?.is_empty() {
                return Err(DataDirError::MarkerMissing(self.dir.clone()));
            }
        }
        if boot::has_started(&*self.disk, &self.dir).map_err(|error| self.boot_error((boot::BOOT, error)))? {
            return Err(DataDirError::MarkerMissing(self.dir.clone()));
        }
        // Always a new one: what is left of an earlier life must not be taken for this one.
        let incarnation = boot::initialize(&*self.disk, &self.dir).map_err(|error| self.boot_error(error))?;
        let io = |source| DataDirError::Io { dir: self.dir.clone(), action: "writing the marker", source };
        let marker = marker(self.identity);
        disk::write_file_durably(&*self.disk, &self.dir.join(INITIALIZED), marker.as_bytes()).map_err(io)?;
        Ok(incarnation)
    }

    fn boot_error(&self, (file, error): (&'static str, BootError)) -> DataDirError {
        match error {
            BootError::Io(source) => {
                DataDirError::Io { dir: self.dir.clone(), action: "reading or writing who it is", source }
            }
            BootError::Lost | BootError::Damaged(_) | BootError::Format(_) => {
                DataDirError::Boot { dir: self.dir.clone(), file, source: Box::new(error) }
            }
        }
    }

    fn make_dirs(&self) -> Result<(), DataDirError> {
        for name in [LOG, SNAPSHOTS, STATE] {
            let io = |source| DataDirError::Io { dir: self.dir.clone(), action: "creating a directory", source };
            disk::create_dir_durably(&*self.disk, &self.dir.join(name)).map_err(io)?;
        }
        Ok(())
    }

    fn check(&self, bytes: &[u8]) -> Result<(), DataDirError> {
        let dir = || self.dir.clone();
        let found = read_marker(bytes).map_err(|bad| match bad {
            BadMarker::Format(found) => DataDirError::Format { dir: dir(), found },
            BadMarker::Damaged(why) => DataDirError::Marker { dir: dir(), why },
        })?;
        if found.cluster_id != self.identity.cluster_id {
            let (found, wanted) = (hex(&found.cluster_id), hex(&self.identity.cluster_id));
            return Err(DataDirError::OtherCluster { dir: dir(), found, wanted });
        }
        if found.node_id != self.identity.node_id {
            return Err(DataDirError::OtherNode { dir: dir(), found: found.node_id, wanted: self.identity.node_id });
        }
        Ok(())
    }

    /// Whether this open initialized the directory.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// Whose directory it is.
    pub fn identity(&self) -> NodeIdentity {
        self.identity
    }

    /// Random, the same as long as the directory lives; a wiped one comes back with another.
    pub fn incarnation(&self) -> [u8; 16] {
        self.incarnation
    }

    /// Counts this start. To be called once per start, after the directory's content was found good and before a socket
    /// opens; durable on return.
    ///
    /// # Errors
    /// [`DataDirError::Boot`], [`DataDirError::Io`].
    pub fn next_boot(&self) -> Result<Boot, DataDirError> {
        boot::next(&*self.disk, &self.dir, self.incarnation).map_err(|error| self.boot_error(error))
    }

    /// The newest starts of the other nodes.
    ///
    /// # Errors
    /// [`DataDirError::Boot`], [`DataDirError::Io`].
    pub fn peers(&self) -> Result<PeerBook, DataDirError> {
        PeerBook::open(Arc::clone(&self.disk), &self.dir).map_err(|error| self.boot_error((boot::PEERS, error)))
    }

    /// Opens the log. An `initialized` directory without one is refused, whatever `options.create` says.
    ///
    /// # Errors
    /// As [`Wal::open`].
    pub fn open_wal(&self, options: WalOptions) -> Result<Wal, WalError> {
        self.wal(options, false)
    }

    fn wal(&self, options: WalOptions, create: bool) -> Result<Wal, WalError> {
        Wal::open(Arc::clone(&self.disk), &self.dir.join(LOG), WalOptions { create, ..options })
    }

    /// Opens the snapshots.
    ///
    /// # Errors
    /// As [`SnapshotStore::open`].
    pub fn open_snapshots(&self) -> Result<SnapshotStore, SnapshotError> {
        SnapshotStore::open(Arc::clone(&self.disk), &self.dir.join(SNAPSHOTS))
    }

    /// Directory for [`crate::StateStore::open`].
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join(STATE)
    }

    /// The marker of a past, beside the log.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn past(&self) -> Result<PastMarker, DataDirError> {
        let path = self.dir.join(PAST);
        let io = |source| DataDirError::Io { dir: self.dir.clone(), action: "looking for the past", source };
        let written = AtomicBool::new(self.disk.exists(&path).map_err(io)?);
        Ok(PastMarker { disk: Arc::clone(&self.disk), path, written })
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

/// Whether this node ever voted or took an entry, remembered outside of the log (S5).
///
/// A log that was emptied beside a state that had applied nothing yet looks like a fresh one. Its node would vote a
/// second time in a term, and acknowledge again what it had acknowledged and lost.
pub struct PastMarker {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    written: AtomicBool,
}

impl PastMarker {
    /// Whether the log held a record at any time.
    pub fn is_written(&self) -> bool {
        self.written.load(Ordering::Acquire)
    }

    /// Remembers durably that the log holds a record; free after the first call.
    ///
    /// # Errors
    /// The operating system's error; the record must not be acknowledged then.
    pub fn write(&self) -> io::Result<()> {
        if !self.is_written() {
            disk::write_file_durably(&*self.disk, &self.path, PAST_TEXT)?;
            self.written.store(true, Ordering::Release);
        }
        Ok(())
    }
}

/// Whose `dir` is, without a lock and without a change: beside a running node, or on a copy.
///
/// # Errors
/// There is no marker, or it is not one that this program reads.
pub fn identity_of(dir: &Path) -> Result<NodeIdentity, DataDirError> {
    let read = std::fs::read(dir.join(INITIALIZED));
    let bytes =
        read.map_err(|source| DataDirError::Io { dir: dir.to_path_buf(), action: "reading whose it is", source })?;
    read_marker(&bytes).map_err(|bad| match bad {
        BadMarker::Format(found) => DataDirError::Format { dir: dir.to_path_buf(), found },
        BadMarker::Damaged(why) => DataDirError::Marker { dir: dir.to_path_buf(), why },
    })
}

#[derive(Debug)]
enum BadMarker {
    Format(u32),
    Damaged(&'static str),
}

/// The marker's text: readable with `cat`, checked by machine.
fn marker(identity: NodeIdentity) -> String {
    let text = format!("{MAGIC}\nformat {FORMAT}\nnode {}\ncluster {}\n", identity.node_id, hex(&identity.cluster_id));
    format!("{text}crc {:08x}\n", crc32fast::hash(text.as_bytes()))
}

fn read_marker(bytes: &[u8]) -> Result<NodeIdentity, BadMarker> {
    let damaged = BadMarker::Damaged;
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("not text"))?;
    let mut lines = text.lines();
    if lines.next() != Some(MAGIC) {
        return Err(damaged("it is not a consigner marker"));
    }
    let mut field = |name: &str| lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
    // The version comes first and is read first: another version may continue in another way.
    let format: u32 = field("format").and_then(|value| value.parse().ok()).ok_or(damaged("format version"))?;
    if format != FORMAT {
        return Err(BadMarker::Format(format));
    }
    let node_id = field("node").and_then(|value| value.parse().ok()).ok_or(damaged("node id"))?;
    let cluster_id = field("cluster").and_then(unhex).ok_or(damaged("cluster id"))?;
    let identity = NodeIdentity { node_id, cluster_id };
    if text == marker(identity) { Ok(identity) } else { Err(damaged("checksum")) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32).map(u128::to_be_bytes)
}

/// Version of the data directory's layout. Readers: 1 reads 1. Writers: 1 writes 1.
pub const FORMAT: u32 = 1;
const MAGIC: &str = "consigner-data";
const LOCK: &str = "lock";
const INITIALIZED: &str = "initialized";
const PAST: &str = "past";
const PAST_TEXT: &[u8] = b"this node has voted or taken entries; without its log it must not start\n";
const LOG: &str = "log";
const SNAPSHOTS: &str = "snapshots";
const STATE: &str = "state";
