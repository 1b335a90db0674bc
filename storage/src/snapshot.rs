//! Snapshots of the state, one file each: `NNNNNNNNNNNNNNNNNNNN.snapshot`, numbered in the order they were written.
//!
//! ```text
//! 0..8 magic | 8..12 version | 12..16 zero | 16..24 number | 24 has position | 25..32 zero | 32..40 term | 40..48 node
//! 48..56 index | 56..64 meta length | 64..72 body length | 72..76 CRC32 of meta and body | 76..80 CRC32 of 0..76
//! meta | body
//! ```
//! In: opaque meta and body. Out: the same after any crash: temporary file, fdatasync, rename, fsync of the directory.
//! The newest two are kept. A damaged one is never served: [`SnapshotStore::latest`] answers with the newest good one
//! and [`crate::check_start`] refuses when the log does not continue from there.
//! Deliberately absent: what a snapshot means, and streaming (a state is O(validators) and in memory anyway).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use crate::disk::{self, Disk, TEMPORARY_EXTENSION};
use crate::log::LogPosition;

/// What is known of one snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotInfo {
    /// Rises with every snapshot written here.
    pub number: u64,
    /// The last log position it covers; `None` before any entry.
    pub position: Option<LogPosition>,
    /// Bytes of meta.
    pub meta_len: u64,
    /// Bytes of body.
    pub body_len: u64,
}

/// A snapshot read back.
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What it covers.
    pub info: SnapshotInfo,
    /// The caller's description of it, opaque.
    pub meta: Vec<u8>,
    /// The state, opaque; may hold sealed keys, so it is never printed.
    pub body: Vec<u8>,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").field("info", &self.info).finish_non_exhaustive()
    }
}

/// A file that failed its checks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DamagedSnapshot {
    /// Its name.
    pub name: String,
    /// What is wrong.
    pub why: String,
}

/// Why snapshots cannot be read or written.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// The file system failed: stop the node.
    #[error("snapshots: {action} {} failed", .path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// A snapshot that was good when it was opened is not any more.
    #[error("snapshots: {name} is damaged: {why}")]
    Damaged {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
}

/// The snapshots of one node.
pub struct SnapshotStore {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    damaged: Vec<DamagedSnapshot>,
    inner: Mutex<Inner>,
}

struct Inner {
    /// Good ones, oldest first.
    good: Vec<SnapshotInfo>,
    next: u64,
}

impl fmt::Debug for SnapshotStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotStore").field("dir", &self.dir).field("damaged", &self.damaged).finish_non_exhaustive()
    }
}

impl SnapshotStore {
    /// Opens the snapshots in `dir` (which exists): removes half-written ones, checks every byte of the others and
    /// makes them durable (a restarted node may see what a crash left in the page cache only).
    ///
    /// # Errors
    /// The file system failed. A damaged file is no error here; see [`SnapshotStore::damaged`].
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<SnapshotStore, SnapshotError> {
        let names = disk.list(dir).map_err(io_error("listing", dir))?;
        let (mut good, mut damaged, mut next) = (Vec::new(), Vec::new(), 1);
        for name in names {
            let path = dir.join(&name);
            if name.ends_with(&format!(".{TEMPORARY_EXTENSION}")) {
                disk.remove(&path).map_err(io_error("removing", &path))?;
                continue;
            }
            let Some(number) = name.strip_suffix(SUFFIX).and_then(|number| number.parse::<u64>().ok()) else {
                continue;
            };
            next = next.max(number.saturating_add(1));
            let bytes = disk::read_file(&*disk, &path).map_err(io_error("reading", &path))?;
            match decode(&bytes, number) {
                Ok(info) => {
                    sync_file(&*disk, &path).map_err(io_error("syncing", &path))?;
                    good.push(info);
                }
                Err(why) => {
                    tracing::error!(name, why, "a snapshot is damaged and will not be used");
                    damaged.push(DamagedSnapshot { name, why: why.to_owned() });
                }
            }
        }
        disk.sync_dir(dir).map_err(io_error("syncing", dir))?;
        Ok(SnapshotStore { disk, dir: dir.to_path_buf(), damaged, inner: Mutex::new(Inner { good, next }) })
    }

    /// Files that failed their checks at open.
    pub fn damaged(&self) -> &[DamagedSnapshot] {
        &self.damaged
    }

    /// Writes a snapshot; it is durable when this returns. All but the newest two are then removed.
    ///
    /// # Errors
    /// The file system failed: the snapshots of before are unharmed, and the node should stop (a failed fsync).
    pub fn write(
        &self,
        position: Option<LogPosition>,
        meta: &[u8],
        body: &[u8],
    ) -> Result<SnapshotInfo, SnapshotError> {
        let mut inner = self.lock();
        let number = inner.next;
        let info = SnapshotInfo { number, position, meta_len: meta.len() as u64, body_len: body.len() as u64 };
        let path = self.path(number);
        let mut bytes = encode_header(&info, meta, body);
        bytes.extend_from_slice(meta);
        bytes.extend_from_slice(body);
        disk::write_file_durably(&*self.disk, &path, &bytes).map_err(io_error("writing", &path))?;
        inner.next = number.saturating_add(1);
        inner.good.push(info);
        self.remove_old(&mut inner)?;
        Ok(info)
    }

    fn remove_old(&self, inner: &mut Inner) -> Result<(), SnapshotError> {
        while inner.good.len() > KEPT {
            let oldest = inner.good.remove(0);
            let path = self.path(oldest.number);
            self.disk.remove(&path).map_err(io_error("removing", &path))?;
        }
        // No crash can harm by bringing an old snapshot back, yet names are kept in step with the disk.
        self.disk.sync_dir(&self.dir).map_err(io_error("syncing", &self.dir))
    }

    /// The newest good snapshot.
    ///
    /// # Errors
    /// It can no longer be read as it was written.
    pub fn latest(&self) -> Result<Option<Snapshot>, SnapshotError> {
        let Some(info) = self.lock().good.last().copied() else { return Ok(None) };
        self.read(info).map(Some)
    }

    /// The newest good snapshot, without reading it.
    pub fn latest_info(&self) -> Option<SnapshotInfo> {
        self.lock().good.last().copied()
    }

    /// All good snapshots, oldest first.
    pub fn list(&self) -> Vec<SnapshotInfo> {
        self.lock().good.clone()
    }

    fn read(&self, info: SnapshotInfo) -> Result<Snapshot, SnapshotError> {
        let path = self.path(info.number);
        let bytes = disk::read_file(&*self.disk, &path).map_err(io_error("reading", &path))?;
        let damaged = |why: &str| SnapshotError::Damaged { name: file_name(info.number), why: why.to_owned() };
        if decode(&bytes, info.number).map_err(damaged)? != info {
            return Err(damaged("another snapshot stands in its place"));
        }
        let mut meta = bytes.get(HEADER..).unwrap_or_default().to_vec();
        let body = meta.split_off(usize::try_from(info.meta_len).unwrap_or(usize::MAX).min(meta.len()));
        Ok(Snapshot { info, meta, body })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(file_name(number))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SnapshotError {
    move |source| SnapshotError::Io { action, path: path.to_path_buf(), source }
}

fn sync_file(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    disk.open(path, disk::OpenMode::ReadWrite)?.sync_data()
}

fn file_name(number: u64) -> String {
    format!("{number:020}{SUFFIX}")
}

fn encode_header(info: &SnapshotInfo, meta: &[u8], body: &[u8]) -> Vec<u8> {
    let mut header = vec![0; HEADER];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = header.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(0, &MAGIC);
    put(8, &VERSION.to_le_bytes());
    put(16, &info.number.to_le_bytes());
    if let Some(position) = info.position {
        put(24, &[1]);
        put(32, &position.term.to_le_bytes());
        put(40, &position.node.to_le_bytes());
        put(48, &position.index.to_le_bytes());
    }
    put(56, &info.meta_len.to_le_bytes());
    put(64, &info.body_len.to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(meta);
    crc.update(body);
    put(72, &crc.finalize().to_le_bytes());
    let crc = crc32fast::hash(header.get(..76).unwrap_or_default());
    if let Some(place) = header.get_mut(76..) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
    header
}

/// Checks a whole file.
fn decode(bytes: &[u8], number: u64) -> Result<SnapshotInfo, &'static str> {
    let header: &[u8; HEADER] = bytes.first_chunk().ok_or("shorter than its header")?;
    let word =
        |at: usize| header.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word));
    let half =
        |at: usize| header.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |half| u32::from_le_bytes(*half));
    if header[..8] != MAGIC {
        return Err("not a snapshot");
    }
    if half(76) != crc32fast::hash(&header[..76]) {
        return Err("header checksum");
    }
    if half(8) != VERSION {
        return Err("another format version");
    }
    if word(16) != number {
        return Err("its number is not its name");
    }
    let position = (header[24] == 1).then(|| LogPosition { term: word(32), node: word(40), index: word(48) });
    let info = SnapshotInfo { number, position, meta_len: word(56), body_len: word(64) };
    let content = bytes.get(HEADER..).unwrap_or_default();
    if info.meta_len.checked_add(info.body_len) != Some(content.len() as u64) {
        return Err("length");
    }
    if half(72) != crc32fast::hash(content) {
        return Err("checksum");
    }
    Ok(info)
}

const HEADER: usize = 80;
const MAGIC: [u8; 8] = *b"CNSGNsnp";
/// Version of the file layout. Readers: 1 reads 1. Writers: 1 writes 1.
const VERSION: u32 = 1;
const SUFFIX: &str = ".snapshot";
/// The newest, and the one before in case the newest turns out damaged while the log still continues from there.
const KEPT: usize = 2;
