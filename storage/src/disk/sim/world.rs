//! What is on the simulated platter, what is only in its cache, and what a power cut leaves of that.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::Fault;

#[derive(Clone, Debug)]
pub(super) enum Pending {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Default, Debug)]
pub(super) struct Inode {
    /// On the platter.
    pub(super) durable: Vec<u8>,
    /// As read back.
    pub(super) current: Vec<u8>,
    /// Written since the last sync, in order.
    pub(super) pending: Vec<Pending>,
}

#[derive(Clone, Debug)]
pub(super) enum NameOp {
    Set(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Node {
    File(usize),
    Dir,
}

pub(super) struct World {
    pub(super) inodes: Vec<Inode>,
    pub(super) names: BTreeMap<PathBuf, Node>,
    pub(super) durable_names: BTreeMap<PathBuf, Node>,
    pub(super) pending_names: Vec<NameOp>,
    pub(super) locks: BTreeSet<PathBuf>,
    /// Counts restarts: handles of an earlier life are dead.
    pub(super) life: u64,
    pub(super) random: u64,
    /// Bytes all files together may have.
    pub(super) capacity: Option<usize>,
    /// Which operation fails, and after how many more of its kind that do not.
    pub(super) faults: BTreeMap<Fault, u64>,
    pub(super) operations: u64,
    /// Every operation fails from this one on: the machine is off.
    pub(super) dies_at: Option<u64>,
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

    pub(super) fn used(&self) -> usize {
        let files = self.names.values().filter_map(|node| match node {
            Node::File(inode) => self.inodes.get(*inode),
            Node::Dir => None,
        });
        files.map(|inode| inode.current.len()).sum()
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Dir) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn inode(&mut self, inode: usize) -> io::Result<&mut Inode> {
        self.inodes.get_mut(inode).ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// Counts an operation; fails when the machine is off or a fault is due.
    pub(super) fn step(&mut self, fault: Option<Fault>) -> io::Result<()> {
        self.operations += 1;
        if self.is_off() {
            return Err(io::Error::other("simulated: the machine is off"));
        }
        fault.map_or(Ok(()), |fault| self.trip(fault))
    }

    /// Whether the machine was switched off: nothing happens any more, not even the loss of a page.
    pub(super) fn is_off(&self) -> bool {
        self.dies_at.is_some_and(|at| self.operations > at)
    }

    /// Fails when a fault of this kind is due.
    pub(super) fn trip(&mut self, fault: Fault) -> io::Result<()> {
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

    pub(super) fn change_name(&mut self, op: NameOp) {
        apply_name(&mut self.names, &op);
        self.pending_names.push(op);
    }

    pub(super) fn power_cut(&mut self) {
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

pub(super) fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end && !bytes.is_empty() {
        content.resize(end, 0);
    }
    if let Some(place) = content.get_mut(offset..end) {
        place.copy_from_slice(bytes);
    }
}

pub(super) fn apply_name(names: &mut BTreeMap<PathBuf, Node>, op: &NameOp) {
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
    pub(super) fn is_in(&self, dir: &Path) -> bool {
        match self {
            NameOp::Set(path, _) | NameOp::Remove(path) | NameOp::Rename(path, _) => path.parent() == Some(dir),
        }
    }
}

const SECTOR: usize = 512;
/// Linux error numbers, as the kernel gives them.
pub(super) const EIO: i32 = 5;
pub(super) const ENOSPC: i32 = 28;
