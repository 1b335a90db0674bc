//! An order-independent digest over records, updated in O(1) when one record changes.
//!
//! The sum, lane by lane modulo 2^64, of the SHA-256 of every record. It detects divergence between honest nodes and
//! damaged disks; it is no defence against somebody who may choose records at will.

use super::records::Record;
use crate::primitives::Root;
use ethereum_hashing::hash;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Digest([u64; 4]);

impl Digest {
    pub(super) fn add(&mut self, record: &Record) {
        self.combine(record, u64::wrapping_add);
    }

    pub(super) fn remove(&mut self, record: &Record) {
        self.combine(record, u64::wrapping_sub);
    }

    pub(super) fn value(&self) -> Root {
        let mut bytes = [0_u8; 32];
        for (chunk, lane) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&lane.to_le_bytes());
        }
        Root(bytes)
    }

    fn combine(&mut self, record: &Record, operation: fn(u64, u64) -> u64) {
        let mut preimage = Vec::with_capacity(8 + record.key.len() + record.value.len());
        preimage.extend_from_slice(&(record.key.len() as u64).to_le_bytes());
        preimage.extend_from_slice(&record.key);
        preimage.extend_from_slice(&record.value);
        for (lane, chunk) in self.0.iter_mut().zip(hash(&preimage).chunks_exact(8)) {
            let mut word = [0_u8; 8];
            word.copy_from_slice(chunk);
            *lane = operation(*lane, u64::from_le_bytes(word));
        }
    }
}
