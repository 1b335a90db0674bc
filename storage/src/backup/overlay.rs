//! A disk that is read from below and written in memory: opening a log repairs it, and evidence must not be repaired.
//!
//! In and out as [`Disk`]. What is written, renamed or removed is so for this value alone; the files below stay as they
//! are. The lock is the real one: a node that still runs must not be read. Deliberately absent: durability.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{self, Disk, DiskFile, DiskLock, OpenMode, RealDisk};

/// See the head of this file.
#[derive(Default)]
pub(super) struct OverlayDisk {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    files: BTreeMap<PathBuf, Arc<Mutex<Vec<u8>>>>,
    removed: BTreeSet<PathBuf>,
    dirs: BTreeSet<PathBuf>,
}

impl OverlayDisk {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// The file's content in memory, copied from below at its first use.
    fn copied(&mut self, path: &Path) -> io::Result<Arc<Mutex<Vec<u8>>>> {
        if let Some(file) = self.files.get(path) {
            return Ok(Arc::clone(file));
        }
        if self.removed.contains(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = Arc::new(Mutex::new(disk::read_file(&RealDisk, path)?));
        self.files.insert(path.to_path_buf(), Arc::clone(&file));
        Ok(file)
    }
}

impl Disk for OverlayDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.lock();
        match mode {
            OpenMode::Read if !inner.files.contains_key(path) && !inner.removed.contains(path) => {
                RealDisk.open(path, OpenMode::Read)
            }
            OpenMode::Read | OpenMode::ReadWrite => Ok(Box::new(MemoryFile(inner.copied(path)?))),
            OpenMode::Replace | OpenMode::ReplaceWith(_) => {
                let file = Arc::new(Mutex::new(Vec::new()));
                inner.files.insert(path.to_path_buf(), Arc::clone(&file));
                inner.removed.remove(path);
                Ok(Box::new(MemoryFile(file)))
            }
        }
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        if self.exists(path)? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.lock().dirs.insert(path.to_path_buf());
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let inner = self.lock();
        let below = if inner.dirs.contains(dir) { Vec::new() } else { RealDisk.list(dir)? };
        let mut names: BTreeSet<String> =
            below.into_iter().filter(|name| !inner.removed.contains(&dir.join(name))).collect();
        let above = inner.files.keys().chain(&inner.dirs).filter(|path| path.parent() == Some(dir));
        names.extend(above.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)));
        Ok(names.into_iter().collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let inner = self.lock();
        if inner.files.contains_key(path) || inner.dirs.contains(path) {
            return Ok(true);
        }
        if inner.removed.contains(path) { Ok(false) } else { RealDisk.exists(path) }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        let file = inner.copied(from)?;
        inner.files.remove(from);
        inner.removed.insert(from.to_path_buf());
        inner.removed.remove(to);
        inner.files.insert(to.to_path_buf(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.exists(path)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut inner = self.lock();
        inner.files.remove(path);
        inner.removed.insert(path.to_path_buf());
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        RealDisk.lock(path)
    }
}

struct MemoryFile(Arc<Mutex<Vec<u8>>>);

impl MemoryFile {
    fn content(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFile for MemoryFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let content = self.content();
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let bytes = content.get(at..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = self.content();
        let at = usize::try_from(offset).map_err(io::Error::other)?;
        let end = at.checked_add(bytes.len()).ok_or(io::ErrorKind::InvalidInput)?;
        if content.len() < end {
            content.resize(end, 0);
        }
        content.get_mut(at..end).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(bytes);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.content().len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.content().resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        Ok(())
    }
}
