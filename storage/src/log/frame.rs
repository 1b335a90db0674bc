//! One frame: the records of one write and one fsync (format version 1).
//!
//! ```text
//! header, 64 bytes:  0..8 magic | 8..16 log nonce | 16..24 sequence | 24..28 chain: CRC of the frame before
//!                    28..32 body length | 32..36 records | 36..40 all-zero sectors | 40..44 version | zero | CRC32 of 0..60
//! body:              records, then zeros up to the trailer
//! trailer, 24 bytes: 0..8 log nonce | 8..16 sequence | 16..20 CRC32 of all before it | 20..24 end magic
//! ```
//! A frame starts on a sector and fills whole sectors, so no write ever touches a sector with acknowledged bytes in
//! it. The header lies in one sector; the last byte is never zero; the number of all-zero sectors is recorded. These
//! three let [`super::tail`] tell a frame that was never wholly written from one that was and then went bad.

use bytes::Bytes;

use super::record::{BadRecord, Record, u32_at, u64_at};

/// Smallest unit a disk writes whole, bytes.
pub(crate) const SECTOR: usize = 512;
/// Bytes of a frame header.
pub(crate) const FRAME_HEADER: usize = 64;
/// Bytes of a frame trailer.
pub(crate) const FRAME_TRAILER: usize = 24;
/// Version of segment, frame and record layout. Readers: 1 reads 1. Writers: 1 writes 1.
pub(crate) const FORMAT_VERSION: u32 = 1;

const FRAME_MAGIC: [u8; 8] = *b"CNSGNfrm";
/// Its last byte (the last of every frame) has five bits set: no single flipped bit makes it zero.
const END_MAGIC: [u8; 4] = [0x46, 0x6E, 0x65, 0xE5];

/// What the next frame of a log must carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Expected {
    /// Random number of this log, so that bytes of another log never pass for ours.
    pub(crate) nonce: u64,
    /// Sequence number of the frame.
    pub(crate) sequence: u64,
    /// CRC of the frame before, 0 for the first.
    pub(crate) chain: u32,
}

/// The checked header of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) expected: Expected,
    pub(crate) body_len: usize,
    pub(crate) records: u32,
    pub(crate) zero_sectors: usize,
    pub(crate) version: u32,
}

impl Header {
    /// Bytes of the whole frame, a multiple of [`SECTOR`].
    pub(crate) fn extent(&self) -> usize {
        extent(self.body_len)
    }
}

/// Bytes of a frame with so long a body.
pub(crate) const fn extent(body_len: usize) -> usize {
    FRAME_HEADER.saturating_add(body_len).saturating_add(FRAME_TRAILER).next_multiple_of(SECTOR)
}

/// Encodes a frame; returns its bytes and its CRC, the chain value of the next one.
pub(crate) fn encode(expected: Expected, records: &[Record]) -> (Vec<u8>, u32) {
    let body_len: usize = records.iter().map(Record::encoded_len).sum();
    let extent = extent(body_len);
    let mut bytes = Vec::with_capacity(extent);
    bytes.resize(FRAME_HEADER, 0);
    for record in records {
        record.encode(&mut bytes);
    }
    bytes.resize(extent - FRAME_TRAILER, 0);
    let mut trailer = [0; FRAME_TRAILER];
    trailer[..8].copy_from_slice(&expected.nonce.to_le_bytes());
    trailer[8..16].copy_from_slice(&expected.sequence.to_le_bytes());
    trailer[20..].copy_from_slice(&END_MAGIC);
    bytes.extend_from_slice(&trailer);

    let mut header = [0; FRAME_HEADER];
    header[..8].copy_from_slice(&FRAME_MAGIC);
    header[8..16].copy_from_slice(&expected.nonce.to_le_bytes());
    header[16..24].copy_from_slice(&expected.sequence.to_le_bytes());
    header[24..28].copy_from_slice(&expected.chain.to_le_bytes());
    header[28..32].copy_from_slice(&u32::try_from(body_len).unwrap_or(u32::MAX).to_le_bytes());
    header[32..36].copy_from_slice(&u32::try_from(records.len()).unwrap_or(u32::MAX).to_le_bytes());
    // The header's own sector and the trailer's are never zero, whatever goes into them below.
    let zeros = zero_sectors(bytes.get(SECTOR..).unwrap_or_default());
    header[36..40].copy_from_slice(&u32::try_from(zeros).unwrap_or(u32::MAX).to_le_bytes());
    header[40..44].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    let crc = crc32fast::hash(&header[..60]);
    header[60..].copy_from_slice(&crc.to_le_bytes());
    if let Some(place) = bytes.get_mut(..FRAME_HEADER) {
        place.copy_from_slice(&header);
    }
    let crc = crc32fast::hash(bytes.get(..extent - 8).unwrap_or_default());
    if let Some(place) = bytes.get_mut(extent - 8..extent - 4) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
    (bytes, crc)
}

/// The header at the start of `bytes`, when magic and checksum are right. Nonce, sequence, chain and version are the
/// caller's to compare.
pub(crate) fn decode_header(bytes: &[u8]) -> Option<Header> {
    let header = bytes.get(..FRAME_HEADER)?;
    if header.get(..8) != Some(&FRAME_MAGIC[..]) || u32_at(header, 60) != crc32fast::hash(header.get(..60)?) {
        return None;
    }
    Some(Header {
        expected: Expected { nonce: u64_at(header, 8), sequence: u64_at(header, 16), chain: u32_at(header, 24) },
        body_len: usize::try_from(u32_at(header, 28)).ok()?,
        records: u32_at(header, 32),
        zero_sectors: usize::try_from(u32_at(header, 36)).ok()?,
        version: u32_at(header, 40),
    })
}

/// Checks the whole frame behind a checked header; returns its CRC (the next chain value).
pub(crate) fn check_body(header: &Header, bytes: &[u8]) -> Option<u32> {
    let frame = bytes.get(..header.extent())?;
    let (covered, _) = frame.split_at_checked(frame.len() - 8)?;
    let trailer = frame.get(frame.len() - FRAME_TRAILER..)?;
    let crc = u32_at(trailer, 16);
    (is_trailer(trailer, header.expected) && crc == crc32fast::hash(covered)).then_some(crc)
}

/// Whether `bytes` is the trailer of the expected frame, its CRC left aside.
pub(crate) fn is_trailer(bytes: &[u8], expected: Expected) -> bool {
    u64_at(bytes, 0) == expected.nonce
        && u64_at(bytes, 8) == expected.sequence
        && bytes.get(20..FRAME_TRAILER) == Some(&END_MAGIC[..])
}

/// Decodes the records of a checked frame, each with its offset in the frame.
pub(crate) fn decode_records(header: &Header, frame: &Bytes) -> Result<Vec<(usize, Record)>, BadRecord> {
    let end = FRAME_HEADER + header.body_len;
    let mut records = Vec::new();
    let mut at = FRAME_HEADER;
    while at < end {
        let rest = frame.slice(at..end.min(frame.len()));
        let (record, taken) = Record::decode(&rest)?;
        records.push((at, record));
        at += taken;
    }
    if u32::try_from(records.len()) != Ok(header.records) {
        return Err(BadRecord("number of records in the frame"));
    }
    Ok(records)
}

/// How many whole sectors of `bytes` hold nothing but zeros.
pub(crate) fn zero_sectors(bytes: &[u8]) -> usize {
    bytes.chunks(SECTOR).filter(|sector| sector.iter().all(|byte| *byte == 0)).count()
}

/// In how many of the 224 bits that are known beforehand (magic, nonce, sequence, chain) `bytes` differs from the
/// header we expect. Random bytes differ in about half.
pub(crate) fn header_distance(bytes: &[u8], expected: Expected) -> u32 {
    let known = [
        (u64_at(bytes, 0), u64::from_le_bytes(FRAME_MAGIC)),
        (u64_at(bytes, 8), expected.nonce),
        (u64_at(bytes, 16), expected.sequence),
        (u64::from(u32_at(bytes, 24)), u64::from(expected.chain)),
    ];
    known.iter().map(|(found, wanted)| (found ^ wanted).count_ones()).sum()
}
