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

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

#[derive(Clone, Debug)]
enum Pending {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Default, Debug)]
struct Inode {
    /// On the platter.
    durable: Vec<u8>,
    /// As read back.
    current: Vec<u8>,
    /// Written since the last sync, in order.
    pending: Vec<Pending>,
}

#[derive(Clone, Debug)]
enum NameOp {
    Set(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node {
    File(usize),
    Dir,
}

struct World {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    pending_names: Vec<NameOp>,
    locks: BTreeSet<PathBuf>,
    /// Counts restarts: handles of an earlier life are dead.
    life: u64,
    random: u64,
    /// Bytes all files together may have.
    capacity: Option<usize>,
    /// Which operation fails, and after how many more of its kind that do not.
    faults: BTreeMap<Fault, u64>,
    operations: u64,
    /// Every operation fails from this one on: the machine is off.
    dies_at: Option<u64>,
}

const SECTOR: usize = 512;

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

impl World {
    /// splitmix64.
    fn random(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % below.max(1)
    }

    fn used(&self) -> usize {
        let files = self.names.values().filter_map(|node| match node {
            Node::File(inode) => self.inodes.get(*inode),
            Node::Dir => None,
        });
        files.map(|inode| inode.current.len()).sum()
    }

    fn file(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Dir) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn inode(&mut self, inode: usize) -> io::Result<&mut Inode> {
        self.inodes.get_mut(inode).ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Counts an operation; fails when the machine is off or a fault is due.
    fn step(&mut self, fault: Option<Fault>) -> io::Result<()> {
        self.operations += 1;
        if self.dies_at.is_some_and(|at| self.operations > at) {
            return Err(io::Error::other("simulated: the machine is off"));
        }
        let Some(fault) = fault else { return Ok(()) };
        match self.faults.get_mut(&fault) {
            Some(0) => {
                self.faults.remove(&fault);
                Err(io::Error::from_raw_os_error(EIO))
            }
            Some(successes) => {
                *successes -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn change_name(&mut self, op: NameOp) {
        apply_name(&mut self.names, &op);
        self.pending_names.push(op);
    }

    fn power_cut(&mut self) {
        self.life += 1;
        self.locks.clear();
        self.faults.clear();
        self.dies_at = None;
        for op in std::mem::take(&mut self.pending_names) {
            if self.random(2) == 0 {
                apply_name(&mut self.durable_names, &op);
            }
        }
        self.names = self.durable_names.clone();
        for number in 0..self.inodes.len() {
            let pending =
                self.inodes.get_mut(number).map(|inode| std::mem::take(&mut inode.pending)).unwrap_or_default();
            for op in pending {
                self.tear(number, op);
            }
            if let Some(inode) = self.inodes.get_mut(number) {
                inode.current = inode.durable.clone();
            }
        }
    }

    /// Lets a random part of one unsynced operation reach the platter.
    fn tear(&mut self, number: usize, op: Pending) {
        let mode = self.random(4);
        let (offset, bytes) = match op {
            Pending::SetLen(len) => {
                if mode < 2
                    && let Some(inode) = self.inodes.get_mut(number)
                {
                    inode.durable.resize(len, 0);
                }
                return;
            }
            Pending::Write { offset, bytes } => (offset, bytes),
        };
        let kept: Vec<(usize, usize)> = match mode {
            0 => Vec::new(),
            1 => vec![(0, bytes.len())],
            2 => vec![(0, usize::try_from(self.random(bytes.len() as u64 + 1)).unwrap_or(0))],
            _ => {
                let sectors = sectors(offset, bytes.len());
                sectors.into_iter().filter(|_| self.random(2) == 0).collect()
            }
        };
        if let Some(inode) = self.inodes.get_mut(number) {
            for (from, to) in kept {
                put(&mut inode.durable, offset + from, bytes.get(from..to).unwrap_or_default());
            }
        }
    }
}

/// The pieces of a write that lie in one sector each, as ranges of its bytes.
fn sectors(offset: usize, len: usize) -> Vec<(usize, usize)> {
    let mut pieces = Vec::new();
    let mut from = 0;
    while from < len {
        let to = (from + SECTOR - (offset + from) % SECTOR).min(len);
        pieces.push((from, to));
        from = to;
    }
    pieces
}

fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end && !bytes.is_empty() {
        content.resize(end, 0);
    }
    if let Some(place) = content.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

fn apply_name(names: &mut BTreeMap<PathBuf, Node>, op: &NameOp) {
    match op {
        NameOp::Set(path, node) => {
            names.insert(path.clone(), *node);
        }
        NameOp::Remove(path) => {
            names.remove(path);
        }
        NameOp::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}

impl NameOp {
    fn is_in(&self, dir: &Path) -> bool {
        match self {
            NameOp::Set(path, _) | NameOp::Remove(path) | NameOp::Rename(path, _) => path.parent() == Some(dir),
        }
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.world();
        let inode = match (mode, world.file(path)) {
            (OpenMode::Replace, Err(error)) if error.kind() == ErrorKind::NotFound => {
                world.step(None)?;
                world.inodes.push(Inode::default());
                let inode = world.inodes.len() - 1;
                world.change_name(NameOp::Set(path.to_path_buf(), Node::File(inode)));
                inode
            }
            (OpenMode::Replace, Ok(inode)) => {
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
        let taken = world.locks.insert(path.to_path_buf());
        let lock = SimLock { disk: self.clone(), path: path.to_path_buf(), life: world.life };
        Ok(taken.then(|| Box::new(lock) as Box<dyn DiskLock>))
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
    life: u64,
}

impl SimFile {
    /// The file's own world, unless the process that opened it is gone.
    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.disk.world();
        if world.life != self.life {
            return Err(io::Error::other("simulated: a file of a dead process"));
        }
        Ok(world)
    }
}

impl DiskFile for SimFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut world = self.world()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let content = &world.inode(self.inode)?.current;
        let end = offset.checked_add(buffer.len()).ok_or(ErrorKind::InvalidInput)?;
        buffer.copy_from_slice(content.get(offset..end).ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut world = self.world()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        world.step(Some(Fault::Write))?;
        let short = world.step(Some(Fault::ShortWrite)).err();
        let room = world.capacity.map(|capacity| capacity.saturating_sub(world.used()));
        let inode = world.inode(self.inode)?;
        let fits = room.map_or(usize::MAX, |room| (inode.current.len() + room).saturating_sub(offset));
        let wanted = if short.is_some() { bytes.len() / 2 } else { bytes.len() };
        let written = bytes.get(..wanted.min(fits)).unwrap_or(bytes);
        put(&mut inode.current, offset, written);
        inode.pending.push(Pending::Write { offset, bytes: written.to_vec() });
        match short {
            Some(error) => Err(error),
            None if written.len() < bytes.len() => Err(io::Error::from_raw_os_error(ENOSPC)),
            None => Ok(()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut world = self.world()?;
        let failed = world.step(Some(Fault::Sync));
        let inode = world.inode(self.inode)?;
        let pending = std::mem::take(&mut inode.pending);
        if let Err(error) = failed {
            // What Linux does: the pages are marked clean although they are not on the disk.
            return Err(error);
        }
        for op in pending {
            match op {
                Pending::Write { offset, bytes } => put(&mut inode.durable, offset, &bytes),
                Pending::SetLen(len) => inode.durable.resize(len, 0),
            }
        }
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.world()?.inode(self.inode)?.current.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut world = self.world()?;
        world.step(None)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let inode = world.inode(self.inode)?;
        inode.current.resize(len, 0);
        inode.pending.push(Pending::SetLen(len));
        Ok(())
    }
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    life: u64,
}

impl DiskLock for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut world = self.disk.world();
        if world.life == self.life {
            world.locks.remove(&self.path);
        }
    }
}

/// Linux error numbers, as the kernel gives them.
const EIO: i32 = 5;
const ENOSPC: i32 = 28;
