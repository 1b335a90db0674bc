//! A file system in memory that loses what a power cut may lose, and fails when it is told to.
//!
//! In and out as [`Disk`]. What it models, because the log's rules rest on it:
//! - contents are durable after `sync_data`, names after `sync_dir`; [`SimDisk::power_cut`] keeps a seeded random part
//!   of everything else: writes whole, not at all, by sector, or up to some byte; renames, creations and removals each
//!   or not;
//! - after a *failed* fsync the kernel calls the pages clean: they are still read back, a later fsync succeeds, and
//!   they are not on the disk (the trap that "fsyncgate" made known);
//! - a full disk: a write that needs new blocks writes what fits and fails.
//!
//! Deliberately absent: permissions, links, concurrency of its own (one mutex).

mod file;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::file::{SimFile, SimLock};
use self::world::{Inode, NameOp, Node, Pending, World, apply_name};
use super::{Disk, DiskFile, DiskLock, OpenMode};

/// An operation that can be made to fail.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// A write to a file: nothing of it is written.
    Write,
    /// A write to a file: its first half is written.
    ShortWrite,
    /// An fdatasync: the pages are dropped from what is to be written, as Linux does.
    Sync,
    /// An fsync of a directory: the names stay unsynced.
    SyncDir,
    /// A rename.
    Rename,
    /// A removal.
    Remove,
}

/// The simulated disk. Clones share it.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<World>>);

impl SimDisk {
    /// An empty disk with a root directory; all its randomness comes from `seed`.
    pub fn new(seed: u64) -> SimDisk {
        let names = BTreeMap::from([(PathBuf::from("/"), Node::Dir)]);
        SimDisk(Arc::new(Mutex::new(World {
            inodes: Vec::new(),
            durable_names: names.clone(),
            names,
            pending_names: Vec::new(),
            locks: BTreeSet::new(),
            life: 0,
            random: seed,
            capacity: None,
            faults: BTreeMap::new(),
            operations: 0,
            dies_at: None,
        })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power fails and comes back: open files and locks are gone, and so is a random part of what was not synced.
    pub fn power_cut(&self) {
        self.world().power_cut();
    }

    /// The process dies and starts again: open files and locks are gone, the page cache stays.
    pub fn process_restart(&self) {
        let mut world = self.world();
        world.life += 1;
        world.locks.clear();
        world.faults.clear();
        world.dies_at = None;
    }

    /// Every operation fails from `operations` operations on, until the next cut or restart.
    pub fn die_after(&self, operations: u64) {
        let mut world = self.world();
        world.dies_at = Some(world.operations + operations);
    }

    /// Operations that change something, so far.
    pub fn operations(&self) -> u64 {
        self.world().operations
    }

    /// Lets `successes` operations of the kind pass, then fails one.
    pub fn inject(&self, fault: Fault, successes: u64) {
        self.world().faults.insert(fault, successes);
    }

    /// Whether an injected fault is still waiting to happen.
    pub fn is_armed(&self, fault: Fault) -> bool {
        self.world().faults.contains_key(&fault)
    }

    /// Bytes that all files together may have; `None`: no limit.
    pub fn set_capacity(&self, bytes: Option<usize>) {
        self.world().capacity = bytes;
    }

    /// Bytes all files have.
    pub fn used(&self) -> usize {
        self.world().used()
    }

    /// Changes bytes behind everybody's back, in the cache and on the platter.
    ///
    /// # Errors
    /// No such file.
    pub fn corrupt(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut world = self.world();
        let inode = world.file(path)?;
        let inode = world.inode(inode)?;
        change(&mut inode.current);
        inode.durable = inode.current.clone();
        inode.pending.clear();
        Ok(())
    }

    /// A copy of the disk as it is, page cache and all.
    pub fn fork(&self) -> SimDisk {
        let world = self.world();
        let inodes = world.inodes.iter().map(|inode| Inode {
            durable: inode.durable.clone(),
            current: inode.current.clone(),
            pending: inode.pending.clone(),
        });
        SimDisk(Arc::new(Mutex::new(World {
            inodes: inodes.collect(),
            names: world.names.clone(),
            durable_names: world.durable_names.clone(),
            pending_names: world.pending_names.clone(),
            locks: BTreeSet::new(),
            life: 0,
            random: world.random,
            capacity: world.capacity,
            faults: BTreeMap::new(),
            operations: 0,
            dies_at: None,
        })))
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.world();
        let inode = match (mode, world.file(path)) {
            (OpenMode::Replace | OpenMode::ReplaceWith(_), Err(error)) if error.kind() == ErrorKind::NotFound => {
                world.step(None)?;
                world.inodes.push(Inode::default());
                let inode = world.inodes.len() - 1;
                world.change_name(NameOp::Set(path.to_path_buf(), Node::File(inode)));
                inode
            }
            (OpenMode::Replace | OpenMode::ReplaceWith(_), Ok(inode)) => {
                world.step(None)?;
                let file = world.inode(inode)?;
                file.current.clear();
                file.pending.push(Pending::SetLen(0));
                inode
            }
            (_, found) => found?,
        };
        Ok(Box::new(SimFile { disk: self.clone(), inode, life: world.life }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step(None)?;
        if world.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        world.change_name(NameOp::Set(path.to_path_buf(), Node::Dir));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let world = self.world();
        if world.names.get(dir) != Some(&Node::Dir) {
            return Err(ErrorKind::NotFound.into());
        }
        let inside = world.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.world().names.contains_key(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step(Some(Fault::Rename))?;
        world.file(from)?;
        world.change_name(NameOp::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step(Some(Fault::Remove))?;
        world.file(path)?;
        world.change_name(NameOp::Remove(path.to_path_buf()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step(Some(Fault::SyncDir))?;
        let pending = std::mem::take(&mut world.pending_names);
        for op in pending {
            if op.is_in(dir) {
                apply_name(&mut world.durable_names, &op);
            } else {
                world.pending_names.push(op);
            }
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        drop(match self.open(path, OpenMode::ReadWrite) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.open(path, OpenMode::Replace)?,
            found => found?,
        });
        let mut world = self.world();
        if !world.locks.insert(path.to_path_buf()) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimLock { disk: self.clone(), path: path.to_path_buf(), life: world.life })))
    }
}
