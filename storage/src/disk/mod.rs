//! The seam under log, snapshots and markers: everything the crate asks of a file system.
//!
//! In: paths and bytes. Out: bytes, or the operating system's error. Two implementations live behind it: [`RealDisk`]
//! (Linux) and [`SimDisk`] (in memory, with power cuts and injected errors), so that every recovery rule is tested
//! against the failures it was written for.
//! Deliberately absent: sled, which does its own file access and is only ever a rebuildable copy.

mod real;
mod sim;

use std::io;
use std::path::Path;

pub use real::RealDisk;
pub use sim::{Fault, SimDisk};

/// How [`Disk::open`] treats what it finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// The file exists and is only read.
    Read,
    /// The file exists and is read and written in place.
    ReadWrite,
    /// The file is created; what stood there before is dropped.
    Replace,
    /// The same, with these permission bits whatever the process's umask says.
    ReplaceWith(u32),
}

/// A file system, as small as this crate needs it.
///
/// No method makes anything durable except [`Disk::sync_dir`] (names) and [`DiskFile::sync_data`] (contents).
pub trait Disk: Send + Sync + 'static {
    /// Opens `path` as `mode` says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>>;
    /// Creates one directory; its parent exists. An existing directory is an `AlreadyExists` error.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Names of the entries of a directory, sorted. Names that are not UTF-8 are left out: none of ours is.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Whether a file or directory stands at `path`. An error other than "not found" is reported, never read as absent.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// Atomically gives `from` the name `to`, replacing what stood there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes one file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in `dir` durable (fsync of the directory).
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Takes the exclusive lock on the file at `path`, creating it; `None` when another process holds it.
    /// The lock ends when the returned value is dropped, or with the process.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>>;
}

/// An open file. Methods take `&self`: the log reads old entries while its writer appends.
pub trait DiskFile: Send + Sync {
    /// Reads exactly `buffer.len()` bytes at `offset`; `UnexpectedEof` when the file ends earlier.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`. An error may leave any part of them written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes contents and length durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Current length, bytes.
    fn len(&self) -> io::Result<u64>;
    /// Cuts or extends (with zeros) to `len` bytes.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A held lock; dropping it releases.
pub trait DiskLock: Send + Sync {}

/// Reads a whole file.
pub fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, OpenMode::Read)?;
    let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Puts `bytes` at `path` so that after any crash either the old file or the whole new one stands there:
/// temporary file, fdatasync, rename, fsync of the directory (DESIGN 8, trap 6).
pub fn write_file_durably(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension(TEMPORARY_EXTENSION);
    let file = disk.open(&temporary, OpenMode::Replace)?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()?;
    drop(file);
    disk.rename(&temporary, path)?;
    disk.sync_dir(parent(path)?)
}

/// Creates `path` and all missing parents, each name durable before the next is made.
pub fn create_dir_durably(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || disk.exists(path)? {
        return Ok(());
    }
    let parent = parent(path)?;
    create_dir_durably(disk, parent)?;
    match disk.create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    disk.sync_dir(parent)
}

/// The directory that holds `path`; "." for a bare name.
pub fn parent(path: &Path) -> io::Result<&Path> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(parent) => Ok(parent),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "the path has no parent directory")),
    }
}

/// Extension of files that are not yet what they will be; removed at open.
pub const TEMPORARY_EXTENSION: &str = "tmp";
