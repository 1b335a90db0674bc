//! What a backup holds before it is encrypted, and a look at the disk of a node that is gone.
//!
//! ```text
//! 0..8 magic "CNSGNbks" | 8..12 version u32 | 12..16 bytes of meta u32 | meta
//! number of records u64 | each record: length u32, key, length u32, value | SHA-256 of everything before
//! ```
//! Integers are little-endian. In: an opaque description and records. Out: the same, or the reason why not; a
//! [`Survivor`], which is read and never written. Deliberately absent: what the bytes mean (`raft`), encryption (`keys`).

mod overlay;
mod survivor;
#[cfg(test)]
mod tests;

use aws_lc_rs::digest::{Context, SHA256};
use thiserror::Error;

pub use survivor::{Survivor, SurvivorError};

/// Key and value of one record.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// What a backup holds.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// The caller's description of it, opaque.
    pub meta: Vec<u8>,
    /// In the order in which they were written.
    pub records: Vec<KeyValue>,
}

/// Why bytes are no content of a backup.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ContentError {
    /// Something else.
    #[error("this is no content of a backup")]
    NotABackup,
    /// Written by a later version.
    #[error("the content of the backup has format {found}; this version reads {VERSION}: use a newer version")]
    Version {
        /// What it says.
        found: u32,
    },
    /// A bit flipped, or bytes are missing.
    #[error("the content of the backup does not have its checksum: it is damaged or cut short")]
    Checksum,
    /// The checksum fits and the lengths do not: written by something else.
    #[error("the content of the backup is malformed at byte {at}")]
    Malformed {
        /// Where.
        at: usize,
    },
}

/// Version of the content. Readers: 1 reads 1. Writers: 1 writes 1.
const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"CNSGNbks";
const SUM: usize = 32;

/// Puts a description and records into the form of a backup.
pub fn encode(meta: &[u8], records: impl IntoIterator<Item = KeyValue>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4096);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    put_field(&mut bytes, meta);
    let count_at = bytes.len();
    bytes.extend_from_slice(&[0; 8]);
    let mut count = 0_u64;
    for (key, value) in records {
        put_field(&mut bytes, &key);
        put_field(&mut bytes, &value);
        count += 1;
    }
    for (place, byte) in bytes.iter_mut().skip(count_at).zip(count.to_le_bytes()) {
        *place = byte;
    }
    let sum = sum(&bytes);
    bytes.extend_from_slice(&sum);
    bytes
}

/// Back from [`encode`]: everything or nothing.
///
/// # Errors
/// [`ContentError`], the version before the checksum, so that a newer form is told from damage.
pub fn decode(bytes: &[u8]) -> Result<Content, ContentError> {
    if bytes.get(..8) != Some(MAGIC.as_slice()) {
        return Err(ContentError::NotABackup);
    }
    let mut reader = Reader { bytes, at: 8 };
    let found = u32::from_le_bytes(reader.array()?);
    if found != VERSION {
        return Err(ContentError::Version { found });
    }
    let end = bytes.len().checked_sub(SUM).ok_or(ContentError::Checksum)?;
    let (content, expected) = bytes.split_at(end);
    if sum(content) != expected {
        return Err(ContentError::Checksum);
    }
    let mut reader = Reader { bytes: content, at: reader.at };
    let meta = reader.field()?.to_vec();
    let count = u64::from_le_bytes(reader.array()?);
    let mut records = Vec::new();
    for _ in 0..count {
        records.push((reader.field()?.to_vec(), reader.field()?.to_vec()));
    }
    if reader.at == content.len() {
        Ok(Content { meta, records })
    } else {
        Err(ContentError::Malformed { at: reader.at })
    }
}

/// A field is far below 4 GiB: commands, and thus records, are capped at 256 KiB, and a description is smaller.
fn put_field(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(field);
}

fn sum(bytes: &[u8]) -> [u8; SUM] {
    let mut context = Context::new(&SHA256);
    context.update(bytes);
    let mut sum = [0; SUM];
    sum.copy_from_slice(context.finish().as_ref());
    sum
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], ContentError> {
        let end = self.at.checked_add(count).ok_or(ContentError::Malformed { at: self.at })?;
        let taken = self.bytes.get(self.at..end).ok_or(ContentError::Malformed { at: self.at })?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ContentError> {
        let at = self.at;
        self.take(N)?.try_into().map_err(|_| ContentError::Malformed { at })
    }

    fn field(&mut self) -> Result<&'a [u8], ContentError> {
        let length = u32::from_le_bytes(self.array()?);
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }
}
