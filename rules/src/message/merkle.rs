//! Merkle trees of the SSZ specification, built chunk by chunk.
//!
//! In: 32-byte chunks in order. Out: roots. Two shapes: the bounded tree of phase 0 (a power of two of leaves, padded
//! with zero), and the progressive tree of EIP-7916. Deliberately absent: types, text, limits (see `schema`), proofs.

use ethereum_hashing::{ZERO_HASHES, hash_fixed};

/// One leaf or inner node of a Merkle tree.
pub(super) type Chunk = [u8; CHUNK_BYTES];

/// Bytes of a chunk (SSZ: `BYTES_PER_CHUNK`).
pub(super) const CHUNK_BYTES: usize = 32;

/// Levels of a tree that hold data. A body of 16 MiB has less than 2^20 chunks; higher levels are zero padding and
/// need no memory.
const DATA_LEVELS: usize = 26;

/// Hashes two nodes into their parent.
pub(super) fn hash_pair(left: &Chunk, right: &Chunk) -> Chunk {
    let mut both = [0_u8; 2 * CHUNK_BYTES];
    both[..CHUNK_BYTES].copy_from_slice(left);
    both[CHUNK_BYTES..].copy_from_slice(right);
    hash_fixed(&both)
}

/// Mixes a length into the root of a list (SSZ: `mix_in_length`).
pub(super) fn mix_in_length(root: &Chunk, length: u64) -> Chunk {
    hash_pair(root, &uint64_chunk(length))
}

/// A number as a leaf: little-endian, padded with zero.
pub(super) fn uint64_chunk(value: u64) -> Chunk {
    let mut chunk = [0_u8; CHUNK_BYTES];
    chunk[..8].copy_from_slice(&value.to_le_bytes());
    chunk
}

/// The depth of the smallest tree that has `leaves` leaves.
pub(super) fn depth_of(leaves: u64) -> u32 {
    leaves.checked_next_power_of_two().map_or(u64::BITS, u64::trailing_zeros)
}

/// A tree under construction.
pub(super) enum Tree {
    /// A tree of a fixed depth.
    Bounded {
        /// Levels above the leaves.
        depth: u32,
        /// The chunks so far.
        nodes: Nodes,
    },
    /// EIP-7916: a spine of bounded trees of 1, 4, 16, ... leaves, closed by a zero node.
    Progressive {
        /// Depth of the bounded tree that is being filled.
        depth: u32,
        /// The chunks of that tree.
        nodes: Nodes,
        /// Roots of the full trees before it.
        full: Vec<Chunk>,
    },
}

impl Tree {
    /// A bounded tree for up to `leaves` chunks.
    pub(super) fn bounded(leaves: u64) -> Self {
        Self::Bounded { depth: depth_of(leaves), nodes: Nodes::new() }
    }

    /// A progressive tree.
    pub(super) fn progressive() -> Self {
        Self::Progressive { depth: 0, nodes: Nodes::new(), full: Vec::new() }
    }

    /// Adds the next chunk. The caller has checked the limit of a bounded tree.
    pub(super) fn push(&mut self, chunk: Chunk) {
        match self {
            Self::Bounded { nodes, .. } => nodes.push(chunk),
            Self::Progressive { depth, nodes, full } => {
                // A tree is closed only when a chunk follows it: an empty tree must not open.
                if nodes.count == 1 << *depth {
                    full.push(nodes.root(*depth));
                    *nodes = Nodes::new();
                    *depth += 2;
                }
                nodes.push(chunk);
            }
        }
    }

    /// The root of all chunks.
    pub(super) fn root(&self) -> Chunk {
        match self {
            Self::Bounded { depth, nodes } => nodes.root(*depth),
            Self::Progressive { depth, nodes, full } => {
                let zero = [0_u8; CHUNK_BYTES];
                if nodes.count == 0 {
                    return zero;
                }
                let last = hash_pair(&nodes.root(*depth), &zero);
                full.iter().rev().fold(last, |rest, tree| hash_pair(tree, &rest))
            }
        }
    }
}

/// The inner nodes that are complete but have no complete sibling yet: at most one per level.
pub(super) struct Nodes {
    pending: [Chunk; DATA_LEVELS],
    count: u64,
}

impl Nodes {
    fn new() -> Self {
        Self { pending: [[0; CHUNK_BYTES]; DATA_LEVELS], count: 0 }
    }

    fn push(&mut self, chunk: Chunk) {
        // The trailing ones of the count are the levels whose left sibling waits for this node.
        let level = self.count.trailing_ones() as usize;
        let node = self.pending[..level].iter().fold(chunk, |node, left| hash_pair(left, &node));
        self.pending[level] = node;
        self.count += 1;
    }

    fn root(&self, depth: u32) -> Chunk {
        let mut right: Option<Chunk> = None;
        for level in 0..depth as usize {
            let waits = self.count >> level & 1 == 1;
            right = match (waits, right) {
                (true, right) => Some(hash_pair(&self.pending[level], right.as_ref().unwrap_or(zero_hash(level)))),
                (false, Some(node)) => Some(hash_pair(&node, zero_hash(level))),
                (false, None) => None,
            };
        }
        match right {
            Some(root) => root,
            None if self.count == 0 => *zero_hash(depth as usize),
            // Exactly full: the one node at the top.
            None => self.pending[depth as usize],
        }
    }
}

/// The root of a tree of `level` levels over zero leaves.
fn zero_hash(level: usize) -> &'static Chunk {
    &ZERO_HASHES[level]
}
