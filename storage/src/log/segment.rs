//! Segment files: `NNNNNNNNNNNNNNNNNNNN.wal`, numbered without gaps.
//!
//! ```text
//! sector 0  header: magic | version | number | size | log nonce | first sequence | chain | CRC32
//! sector 1  seal: zeros while this is the last segment; written once the next one stands
//! sector 2  first frame: a checkpoint (vote, purged, committed, last), so that older segments can go
//! ...       frames, then zeros to the end
//! ```
//! A segment is zero-filled, given header and checkpoint, and synced under a temporary name before its rename is made
//! durable: a `.wal` file is never half-made, and an fdatasync of it never has to write metadata (DESIGN 8).
//! The seal is how a *missing* last segment is noticed: a sealed segment without its successor is a shortened log.
//! Deliberately absent: reuse of old files; stale frames cannot be met.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::WalError;
use super::frame::{Expected, FORMAT_VERSION, SECTOR};
use super::record::{u32_at, u64_at};
use crate::disk::{Disk, DiskFile, OpenMode, TEMPORARY_EXTENSION};

/// Offset of the first frame.
pub(crate) const FRAMES_START: u64 = 2 * SECTOR as u64;
/// Extension of a segment file.
pub(crate) const EXTENSION: &str = "wal";

const HEADER_MAGIC: [u8; 8] = *b"CNSGNseg";
const SEAL_MAGIC: [u8; 8] = *b"CNSGNend";
const CRC_AT: usize = SECTOR - 4;
/// Zeros are written in pieces of this size.
const FILL_BYTES: usize = 1024 * 1024;

/// What a segment's header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHead {
    /// Number of the segment, from 1.
    pub(crate) number: u64,
    /// Size of the file, bytes.
    pub(crate) size: u64,
    /// What its first frame carries.
    pub(crate) first: Expected,
}

/// Path of a segment.
pub(crate) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:020}.{EXTENSION}"))
}

/// Numbers of the segments in `dir`, ascending.
pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<u64>> {
    let names = disk.list(dir)?;
    let numbers = names.iter().filter_map(|name| name.strip_suffix(EXTENSION)?.strip_suffix('.')?.parse().ok());
    Ok(numbers.collect())
}

/// Whether `dir` exists and holds any segment.
pub(crate) fn holds_segments(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
    Ok(disk.exists(dir)? && !list(disk, dir)?.is_empty())
}

/// Creates a segment whose first frame is `checkpoint`, durable under its name when this returns.
pub(crate) fn create(
    disk: &dyn Disk,
    dir: &Path,
    head: SegmentHead,
    checkpoint: &[u8],
) -> Result<Arc<dyn DiskFile>, WalError> {
    let name = path(dir, head.number);
    let temporary = name.with_extension(TEMPORARY_EXTENSION);
    let fail = |what: &str| WalError::io(format!("{what} segment {}", name.display()));
    let file = disk.open(&temporary, OpenMode::Replace).map_err(fail("creating"))?;
    fill(&*file, head.size).map_err(fail("filling"))?;
    file.write_all_at(&head.encode(), 0).map_err(fail("writing the header of"))?;
    file.write_all_at(checkpoint, FRAMES_START).map_err(fail("writing the checkpoint of"))?;
    file.sync_data().map_err(fail("syncing"))?;
    disk.rename(&temporary, &name).map_err(fail("renaming"))?;
    disk.sync_dir(dir).map_err(fail("syncing the directory of"))?;
    Ok(Arc::from(file))
}

fn fill(file: &dyn DiskFile, size: u64) -> io::Result<()> {
    let zeros = vec![0; FILL_BYTES.min(usize::try_from(size).unwrap_or(FILL_BYTES))];
    let mut at = 0;
    while at < size {
        let left = usize::try_from(size - at).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all_at(zeros.get(..left).unwrap_or(&zeros), at)?;
        at += left as u64;
    }
    Ok(())
}

/// Marks a segment as having a successor; durable when this returns.
pub(crate) fn seal(file: &dyn DiskFile, number: u64, nonce: u64) -> io::Result<()> {
    file.write_all_at(&seal_bytes(number, nonce), SECTOR as u64)?;
    file.sync_data()
}

fn seal_bytes(number: u64, nonce: u64) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    bytes[..8].copy_from_slice(&SEAL_MAGIC);
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    bytes[16..24].copy_from_slice(&nonce.to_le_bytes());
    with_crc(bytes)
}

/// Whether the segment in `bytes` is sealed. A seal whose writing was interrupted counts: the successor was durable
/// before the first byte of it.
pub(crate) fn is_sealed(bytes: &[u8], head: &SegmentHead) -> Result<bool, WalError> {
    let sector = bytes.get(SECTOR..2 * SECTOR).unwrap_or_default();
    let Some(last) = sector.iter().rposition(|byte| *byte != 0) else { return Ok(false) };
    if sector.get(..=last) == seal_bytes(head.number, head.first.nonce).get(..=last) {
        return Ok(true);
    }
    Err(WalError::Corrupt(format!("the seal of segment {} is damaged", head.number)))
}

fn with_crc(mut bytes: [u8; SECTOR]) -> [u8; SECTOR] {
    let crc = crc32fast::hash(&bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

impl SegmentHead {
    fn encode(&self) -> [u8; SECTOR] {
        let mut bytes = [0; SECTOR];
        bytes[..8].copy_from_slice(&HEADER_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.size.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first.nonce.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first.sequence.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.first.chain.to_le_bytes());
        with_crc(bytes)
    }

    /// Decodes and checks the header of segment `number`.
    pub(crate) fn decode(bytes: &[u8], number: u64) -> Result<SegmentHead, WalError> {
        let bad = |why: &str| WalError::Corrupt(format!("segment {number}: {why}"));
        let sector = bytes.get(..SECTOR).ok_or_else(|| {
            WalError::Incomplete(format!("segment {number} has {} bytes, less than its header", bytes.len()))
        })?;
        if sector.get(..8) != Some(&HEADER_MAGIC[..]) {
            return Err(bad("not a log segment, or its header is damaged"));
        }
        if u32_at(sector, CRC_AT) != crc32fast::hash(sector.get(..CRC_AT).unwrap_or_default()) {
            return Err(bad("header checksum"));
        }
        let version = u32_at(sector, 8);
        if version != FORMAT_VERSION {
            return Err(WalError::Format { found: version, supported: FORMAT_VERSION });
        }
        let first = Expected { nonce: u64_at(sector, 32), sequence: u64_at(sector, 40), chain: u32_at(sector, 48) };
        let head = SegmentHead { number: u64_at(sector, 16), size: u64_at(sector, 24), first };
        if head.number != number {
            return Err(bad(&format!("the file is segment {}", head.number)));
        }
        Ok(head)
    }
}
