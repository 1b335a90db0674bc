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
    /// The body holds a command, or another variant, that this binary does not know.
    #[error("written by a newer binary, or damaged: run a newer binary ({0})")]
    Unknown(String),
    /// Bytes follow the record.
    #[error("{0} bytes follow the record")]
    Trailing(usize),
}

impl DecodeError {
    /// serde tells of a variant that it does not know by text alone.
    fn classify(error: rmp_serde::decode::Error) -> Self {
        if let rmp_serde::decode::Error::Syntax(text) = &error
            && text.starts_with("unknown variant")
        {
            return Self::Unknown(text.clone());
        }
        Self::Malformed(error)
    }

    /// Whether a newer binary may be able to read it.
    #[must_use]
    pub const fn is_newer(&self) -> bool {
        match self {
            Self::Unknown(_) => true,
            Self::Version { found } => *found > FORMAT_VERSION,
            Self::Empty | Self::Malformed(_) | Self::Trailing(_) => false,
        }
    }
}

/// Encodes a value: version byte, then MessagePack.
///
/// # Panics
/// Never for the types of this crate: they hold no sequence of unknown length, the only value that MessagePack cannot
/// express, and writing to memory does not fail.
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
    let value = rmp_serde::decode::from_read(&mut cursor).map_err(DecodeError::classify)?;
    let read = usize::try_from(cursor.position()).unwrap_or(usize::MAX);
    if read < body.len() {
        return Err(DecodeError::Trailing(body.len() - read));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::command::{Command, CommandBatch, HistoryImport, ImportedAttestation, ImportedBlock};
    use crate::primitives::{PublicKey, Root};
    use crate::slashing::{AttestationMark, BlockMark, History, NewestAttestation};

    #[test]
    fn what_is_no_record_is_refused_with_the_reason() {
        let bytes = encode(&7_u64);
        assert_eq!(decode::<u64>(&bytes).unwrap(), 7);
        assert!(matches!(decode::<u64>(&[]), Err(DecodeError::Empty)));
        assert!(matches!(decode::<u64>(&[2, 7]), Err(DecodeError::Version { found: 2 })));
        assert!(matches!(decode::<u64>(&[0, 7]), Err(DecodeError::Version { found: 0 })));
        assert!(matches!(decode::<u64>(&bytes[..1]), Err(DecodeError::Malformed(_))));
        assert!(matches!(decode::<u64>(&[1, 7, 7, 7]), Err(DecodeError::Trailing(2))));
    }

    #[test]
    fn a_length_without_bytes_behind_it_allocates_nothing_and_fails() {
        // An array, a text and a byte string that claim 4 GiB each.
        for marker in [0xdd, 0xdb, 0xc6] {
            let bytes = [FORMAT_VERSION, marker, 0xff, 0xff, 0xff, 0xff];
            assert!(decode::<CommandBatch>(&bytes).is_err());
            assert!(decode::<Vec<u8>>(&bytes).is_err());
            assert!(decode::<String>(&bytes).is_err());
            assert!(decode::<PublicKey>(&bytes).is_err());
        }
        let mut deep = vec![0x91; 100_000];
        deep.insert(0, FORMAT_VERSION);
        assert!(decode::<CommandBatch>(&deep).is_err());
    }

    /// Format 1 lies on disks: these bytes must be read for as long as the matrix above says so.
    #[test]
    fn format_1_is_pinned() {
        let history = History {
            block: Some(BlockMark { max_slot: 7, signed_root: None }),
            attestation: Some(AttestationMark {
                max_source: 3,
                max_target: 300,
                newest: Some(NewestAttestation { source: 3, root: Root([0xaa; 32]) }),
            }),
        };
        let expected = format!("01929207c09303cd012c9203c420{}", "aa".repeat(32));
        assert_eq!(hex::encode(encode(&history)), expected);
        assert_eq!(decode::<History>(&hex::decode(expected).unwrap()).unwrap(), history);

        let import = HistoryImport {
            public_key: PublicKey([1; 48]),
            block: Some(ImportedBlock { slot: 9, signing_root: Some(Root([0xbb; 32])) }),
            attestation: Some(ImportedAttestation { max_source_epoch: 1, max_target_epoch: 2, at_max_target: None }),
        };
        let commands = vec![Command::ImportHistory(import), Command::RenewPolicy];
        let batch = CommandBatch { proposed_at_ms: 1, checkpoint: None, commands };
        let (name, key, root) = (hex::encode("ImportHistory"), "01".repeat(48), "bb".repeat(32));
        let renew = hex::encode("RenewPolicy");
        let expected = format!("019301c09281ad{name}93c430{key}9209c420{root}930102c0ab{renew}");
        assert_eq!(hex::encode(encode(&batch)), expected);
    }
}
