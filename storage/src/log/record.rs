//! One record of the log and its bytes (format version 1).
//!
//! ```text
//! 0 kind u8 | 1..4 zero | 4..8 payload length u32 | 8..16 index | 16..24 term | 24..32 node | 32..36 CRC32 of 0..32
//! payload | CRC32 of header and payload
//! ```
//! Integers are little-endian. In: a [`Record`]. Out: bytes, and back with every byte checked.
//! Deliberately absent: what the payload means.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Where an entry stands in the log, as Raft orders it: the leader's term and id, then the index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LogPosition {
    /// Term of the leader that proposed the entry.
    pub term: u64,
    /// That leader's node id.
    pub node: u64,
    /// Index of the entry; the first is 0.
    pub index: u64,
}

/// What the log remembers, in the order it was asked to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Record {
    /// One entry.
    Entry(LogPosition, Bytes),
    /// The newest vote, opaque.
    Vote(Bytes),
    /// Entries from this index on are gone.
    Truncate(u64),
    /// Entries up to and with this one are gone from the front.
    Purge(LogPosition),
    /// How far the cluster had agreed.
    Committed(Option<LogPosition>),
    /// Checkpoint at the head of a segment: the index before the segment's first entry.
    Last(Option<u64>),
}

const KIND_ENTRY: u8 = 1;
const KIND_VOTE: u8 = 2;
const KIND_TRUNCATE: u8 = 3;
const KIND_PURGE: u8 = 4;
const KIND_COMMITTED: u8 = 5;
const KIND_COMMITTED_NONE: u8 = 6;
const KIND_LAST: u8 = 7;
const KIND_LAST_NONE: u8 = 8;

/// Bytes before a record's payload.
pub(crate) const RECORD_HEADER: usize = 36;
/// Bytes after a record's payload.
pub(crate) const RECORD_TRAILER: usize = 4;

/// A record that did not decode: where and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BadRecord(pub(crate) &'static str);

impl Record {
    /// Bytes this record takes in a frame.
    pub(crate) fn encoded_len(&self) -> usize {
        RECORD_HEADER + self.payload().len() + RECORD_TRAILER
    }

    fn payload(&self) -> &[u8] {
        match self {
            Record::Entry(_, payload) | Record::Vote(payload) => payload,
            Record::Truncate(_) | Record::Purge(_) | Record::Committed(_) | Record::Last(_) => &[],
        }
    }

    /// Kind, index, term, node.
    fn head(&self) -> (u8, u64, u64, u64) {
        let at = |kind, position: &LogPosition| (kind, position.index, position.term, position.node);
        match self {
            Record::Entry(position, _) => at(KIND_ENTRY, position),
            Record::Vote(_) => (KIND_VOTE, 0, 0, 0),
            Record::Truncate(from) => (KIND_TRUNCATE, *from, 0, 0),
            Record::Purge(position) => at(KIND_PURGE, position),
            Record::Committed(Some(position)) => at(KIND_COMMITTED, position),
            Record::Committed(None) => (KIND_COMMITTED_NONE, 0, 0, 0),
            Record::Last(Some(index)) => (KIND_LAST, *index, 0, 0),
            Record::Last(None) => (KIND_LAST_NONE, 0, 0, 0),
        }
    }

    /// Appends the record's bytes. The payload fits a `u32`: callers are held to `MAX_PAYLOAD_BYTES`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let (kind, index, term, node) = self.head();
        let payload = self.payload();
        out.extend_from_slice(&[kind, 0, 0, 0]);
        out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&index.to_le_bytes());
        out.extend_from_slice(&term.to_le_bytes());
        out.extend_from_slice(&node.to_le_bytes());
        let crc = crc32fast::hash(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(payload);
        let crc = crc32fast::hash(out.get(start..).unwrap_or_default());
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// Decodes the record at the start of `bytes`; returns it with the bytes it took.
    pub(crate) fn decode(bytes: &Bytes) -> Result<(Record, usize), BadRecord> {
        let header = bytes.get(..RECORD_HEADER).ok_or(BadRecord("record header cut short"))?;
        if u32_at(header, 32) != crc32fast::hash(header.get(..32).unwrap_or_default()) {
            return Err(BadRecord("record header checksum"));
        }
        let len = usize::try_from(u32_at(header, 4)).map_err(|_| BadRecord("record length"))?;
        let end = RECORD_HEADER.checked_add(len).ok_or(BadRecord("record length"))?;
        let body = bytes.get(..end).ok_or(BadRecord("record longer than its frame"))?;
        let crc = bytes.get(end..end + RECORD_TRAILER).ok_or(BadRecord("record longer than its frame"))?;
        if u32_at(crc, 0) != crc32fast::hash(body) {
            return Err(BadRecord("record checksum"));
        }
        let record = Record::from_parts(header, bytes.slice(RECORD_HEADER..end))?;
        Ok((record, end + RECORD_TRAILER))
    }

    fn from_parts(header: &[u8], payload: Bytes) -> Result<Record, BadRecord> {
        let position = LogPosition { index: u64_at(header, 8), term: u64_at(header, 16), node: u64_at(header, 24) };
        let kind = header.first().copied().unwrap_or_default();
        if header.get(1..4) != Some(&[0, 0, 0]) {
            return Err(BadRecord("reserved record bytes are set"));
        }
        if !payload.is_empty() && kind != KIND_ENTRY && kind != KIND_VOTE {
            return Err(BadRecord("payload on a record without one"));
        }
        match kind {
            KIND_ENTRY => Ok(Record::Entry(position, payload)),
            KIND_VOTE => Ok(Record::Vote(payload)),
            KIND_TRUNCATE => Ok(Record::Truncate(position.index)),
            KIND_PURGE => Ok(Record::Purge(position)),
            KIND_COMMITTED => Ok(Record::Committed(Some(position))),
            KIND_COMMITTED_NONE => Ok(Record::Committed(None)),
            KIND_LAST => Ok(Record::Last(Some(position.index))),
            KIND_LAST_NONE => Ok(Record::Last(None)),
            _ => Err(BadRecord("unknown record kind")),
        }
    }
}

/// The little-endian `u32` at `offset`; 0 when out of range (callers check lengths first).
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

/// The little-endian `u64` at `offset`; 0 when out of range (callers check lengths first).
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..).and_then(|rest| rest.first_chunk()).map_or(0, |chunk| u64::from_le_bytes(*chunk))
}
