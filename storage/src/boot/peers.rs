//! The newest start of every other node that this one has let in.
//!
//! In: a node and its boot. Out: the same after any crash. Deliberately absent: the comparison (`raft`): this is the memory
//! alone. It grows by one line per node that was ever a member; ids are never used again.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Boot, BootError, PEERS, text};
use crate::disk::Disk;

const MAGIC: &str = "consigner-peers";

/// `DIR/peers`.
pub struct PeerBook {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    boots: BTreeMap<u64, Boot>,
}

impl fmt::Debug for PeerBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerBook").field("path", &self.path).field("boots", &self.boots).finish_non_exhaustive()
    }
}

impl PeerBook {
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, BootError> {
        let path = dir.join(PEERS);
        let body = text::read(&*disk, &path, MAGIC)?;
        let mut boots = BTreeMap::new();
        for line in body.lines() {
            let (node, boot) = parse(line).ok_or(BootError::Damaged("a line is not a node's boot"))?;
            boots.insert(node, boot);
        }
        Ok(Self { disk, path, boots })
    }

    /// Every node with its newest boot.
    #[must_use]
    pub fn boots(&self) -> &BTreeMap<u64, Boot> {
        &self.boots
    }

    /// Remembers these, each in the place of what was known of its node; durable on return, all or none of them.
    ///
    /// # Errors
    /// The operating system's; nothing counts as remembered then.
    pub fn record(&mut self, boots: impl IntoIterator<Item = (u64, Boot)>) -> std::io::Result<()> {
        let mut next = self.boots.clone();
        next.extend(boots);
        if next == self.boots {
            return Ok(());
        }
        write(&*self.disk, &self.path, &next).map_err(|error| match error {
            BootError::Io(error) => error,
            BootError::Lost | BootError::Damaged(_) | BootError::Format(_) => std::io::Error::other(error),
        })?;
        self.boots = next;
        Ok(())
    }
}

/// An empty one.
pub fn create(disk: &dyn Disk, dir: &Path) -> Result<(), BootError> {
    write(disk, &dir.join(PEERS), &BTreeMap::new())
}

fn write(disk: &dyn Disk, path: &Path, boots: &BTreeMap<u64, Boot>) -> Result<(), BootError> {
    let mut body = String::new();
    for (node, boot) in boots {
        // Writing to memory does not fail.
        let _written = writeln!(body, "node {node} {} {}", boot.incarnation_hex(), boot.tag());
    }
    text::write(disk, path, MAGIC, &body)
}

fn parse(line: &str) -> Option<(u64, Boot)> {
    let mut words = line.split(' ');
    if words.next() != Some("node") {
        return None;
    }
    let (node, incarnation, tag) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    words.next().is_none().then_some((node, Boot::parse(incarnation, tag)?))
}
