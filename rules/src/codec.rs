//! The byte form of commands and records in the Raft log, on the wire and in the state store.
//!
//! One version byte, then MessagePack. Deliberately absent: compression, checksums and framing (storage and the peer
//! channel add theirs).
//!
//! | format version | written by | read by |
//! |---|---|---|
//! | 1 | 0.1 | 0.1 |

use serde::{Serialize, de::DeserializeOwned};

/// The format version that this binary writes.
pub const FORMAT_VERSION: u8 = 1;

/// Why bytes could not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("empty record")]
    Empty,
    /// Written by another version than this binary reads.
    #[error("record format {found} is not readable by this binary (it reads format {FORMAT_VERSION})")]
    Version {
        /// The version byte found.
        found: u8,
    },
    /// The body does not have the expected shape.
    #[error("malformed record")]
    Malformed(#[source] rmp_serde::decode::Error),
    /// Bytes follow the record.
    #[error("{0} bytes follow the record")]
    Trailing(usize),
}

/// Encodes a value: version byte, then MessagePack.
///
/// # Panics
/// Never for the types of this crate: they hold no map with non-string keys and no unsized sequence, the only values
/// that MessagePack cannot express, and writing to memory does not fail.
#[must_use]
#[expect(clippy::expect_used, reason = "writing plain data to memory cannot fail")]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = vec![FORMAT_VERSION];
    rmp_serde::encode::write(&mut bytes, value).expect("plain data encodes");
    bytes
}

/// Decodes what [`encode`] wrote.
///
/// # Errors
/// [`DecodeError`] on another version, a malformed body or trailing bytes; never a partial value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (version, body) = bytes.split_first().ok_or(DecodeError::Empty)?;
    if *version != FORMAT_VERSION {
        return Err(DecodeError::Version { found: *version });
    }
    let mut cursor = std::io::Cursor::new(body);
    let value = rmp_serde::decode::from_read(&mut cursor).map_err(DecodeError::Malformed)?;
    let read = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
    if read < body.len() {
        return Err(DecodeError::Trailing(body.len() - read));
    }
    Ok(value)
}
