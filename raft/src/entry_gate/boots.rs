//! The newest start of each peer that this node has let in, and the judgement of any other.
//!
//! In: the start that a caller, or an answer, names. Out: it is the one that was let in, or it may ask to be, or why not.
//! Deliberately absent: positions ([`super::floors`]): this tells disks and processes apart, not how old they are.

use super::way_out;
use consigner_storage::{Boot, PeerBook};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError, RwLock};

/// What is known of the starts of the others.
pub struct Boots {
    /// A copy of the book for readers: a fsync must not hold up calls.
    known: RwLock<BTreeMap<u64, Boot>>,
    book: Mutex<PeerBook>,
}

/// How a start compares with what is known of its node, when nothing speaks against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing was known of the node.
    First,
    /// It is the one that was let in.
    Same,
    /// It is a later one.
    Newer,
}

/// Why a start is not listened to.
#[derive(Debug, thiserror::Error)]
pub enum BootRefusal {
    /// Another disk.
    #[error(
        "node {node} comes with disk {told}, but disk {known} was admitted: it was wiped or exchanged; {}",
        way_out(*node)
    )]
    Wiped {
        /// The node.
        node: u64,
        /// The incarnation that it named.
        told: String,
        /// The one that was admitted.
        known: String,
    },
    /// An older start.
    #[error(
        "start {told} of node {node} comes after start {known}: an older copy of its disk, or a process that slept while \
         its successor started; if no successor runs, {}",
        way_out(*node)
    )]
    Older {
        /// The node.
        node: u64,
        /// Its counter.
        told: u64,
        /// The counter that was let in.
        known: u64,
    },
    /// Another start of the same number.
    #[error(
        "two starts of node {node} have the number {counter}: copies of one disk; if the other one does not run, {}",
        way_out(*node)
    )]
    Copied {
        /// The node.
        node: u64,
        /// The counter of both.
        counter: u64,
    },
    /// A later start that has not asked yet.
    #[error("start {told} of node {node} has not been let in yet")]
    NotLetIn {
        /// The node.
        node: u64,
        /// Its counter.
        told: u64,
    },
    /// This node's own disk.
    #[error("the start of a peer cannot be remembered")]
    Memory(#[source] io::Error),
}

impl BootRefusal {
    /// For the metric.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Wiped { .. } => "wiped",
            Self::Older { .. } => "older",
            Self::Copied { .. } => "copied",
            Self::NotLetIn { .. } => "not_let_in",
            Self::Memory(_) => "memory",
        }
    }

    /// Whether whoever started so must stop.
    pub const fn is_final(&self) -> bool {
        match self {
            Self::Wiped { .. } | Self::Older { .. } | Self::Copied { .. } => true,
            Self::NotLetIn { .. } | Self::Memory(_) => false,
        }
    }
}

impl Boots {
    /// Knows what the book knows.
    pub fn new(book: PeerBook) -> Self {
        Self { known: RwLock::new(book.boots().clone()), book: Mutex::new(book) }
    }

    /// Compares a start with what is known. `admitted` is the incarnation in the membership; empty when there is none.
    ///
    /// # Errors
    /// [`BootRefusal`], never `NotLetIn` or `Memory`.
    pub fn judge(&self, node: u64, told: &Boot, admitted: &str) -> Result<Known, BootRefusal> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        judge(node, told, admitted, known.get(&node))
    }

    /// Whether a start may call and be listened to. The first of a node that nothing is known of is remembered.
    ///
    /// # Errors
    /// [`BootRefusal`].
    pub fn check(&self, node: u64, told: &Boot, admitted: &str) -> Result<(), BootRefusal> {
        match self.judge(node, told, admitted)? {
            Known::Same => Ok(()),
            Known::First => self.let_in(node, told, admitted),
            Known::Newer => Err(BootRefusal::NotLetIn { node, told: told.counter }),
        }
    }

    /// Remembers a start, durably, in the place of what was known. Blocks for a disk write.
    ///
    /// # Errors
    /// [`BootRefusal`]: also when another start was let in meanwhile.
    pub fn let_in(&self, node: u64, told: &Boot, admitted: &str) -> Result<(), BootRefusal> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        judge(node, told, admitted, book.boots().get(&node))?;
        book.record([(node, *told)]).map_err(BootRefusal::Memory)?;
        self.publish(&book);
        Ok(())
    }

    /// Takes over what another node knows, where that is newer. Blocks for a disk write.
    ///
    /// # Errors
    /// The disk's.
    pub fn learn(&self, told: impl IntoIterator<Item = (u64, Boot)>) -> Result<(), BootRefusal> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let newer: Vec<_> = told.into_iter().filter(|(node, boot)| is_news(*node, boot, book.boots())).collect();
        book.record(newer).map_err(BootRefusal::Memory)?;
        self.publish(&book);
        Ok(())
    }

    /// Every node's newest start, for others to learn.
    pub fn all(&self) -> Vec<(u64, String, String)> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().map(|(node, boot)| (*node, boot.incarnation_hex(), boot.tag())).collect()
    }

    fn publish(&self, book: &PeerBook) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = book.boots().clone();
    }
}

fn judge(node: u64, told: &Boot, admitted: &str, known: Option<&Boot>) -> Result<Known, BootRefusal> {
    let wiped = |known: String| BootRefusal::Wiped { node, told: told.incarnation_hex(), known };
    if !admitted.is_empty() && told.incarnation_hex() != admitted {
        return Err(wiped(admitted.to_owned()));
    }
    let Some(known) = known else { return Ok(Known::First) };
    if known.incarnation != told.incarnation {
        // The membership's word counts more than what was heard before there was one.
        return if admitted.is_empty() { Err(wiped(known.incarnation_hex())) } else { Ok(Known::First) };
    }
    if told.counter < known.counter {
        return Err(BootRefusal::Older { node, told: told.counter, known: known.counter });
    }
    if told.counter > known.counter {
        return Ok(Known::Newer);
    }
    if told.nonce == known.nonce { Ok(Known::Same) } else { Err(BootRefusal::Copied { node, counter: told.counter }) }
}

/// Whether it is later than what is known. Two starts of one number are both kept out by those who know the other.
fn is_news(node: u64, told: &Boot, known: &BTreeMap<u64, Boot>) -> bool {
    let Some(known) = known.get(&node) else { return true };
    if known.incarnation == told.incarnation && known.counter == told.counter && known.nonce != told.nonce {
        tracing::error!(node, counter = told.counter, "two starts of a node have one number: copies of one disk");
    }
    known.incarnation == told.incarnation && known.counter < told.counter
}
