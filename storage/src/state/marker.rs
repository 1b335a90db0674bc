//! The clean-stop marker: `clean`, with the digest the store had.
//!
//! In: the digest. Out: the digest, if the last stop was clean. Removed, durably, before the first write of a run.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{self, Disk, RealDisk};

fn path(dir: &Path) -> PathBuf {
    dir.join("clean")
}

/// Leaves the marker; durable when this returns.
pub(super) fn write(dir: &Path, digest: &[u8; 32]) -> io::Result<()> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(digest);
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    disk::write_file_durably(&RealDisk, &path(dir), &bytes)
}

/// The digest at the last stop, when that was clean and the marker is whole.
pub(super) fn read(dir: &Path) -> io::Result<Option<[u8; 32]>> {
    if !RealDisk.exists(&path(dir))? {
        return Ok(None);
    }
    let bytes = disk::read_file(&RealDisk, &path(dir))?;
    let Some((content, crc)) = bytes.split_last_chunk::<4>() else { return Ok(None) };
    let digest = content.strip_prefix(&MAGIC).filter(|_| u32::from_le_bytes(*crc) == crc32fast::hash(content));
    Ok(digest.and_then(|digest| digest.try_into().ok()))
}

/// Takes the marker away; durable when this returns.
pub(super) fn remove(dir: &Path) -> io::Result<()> {
    if RealDisk.exists(&path(dir))? {
        RealDisk.remove(&path(dir))?;
    }
    RealDisk.sync_dir(dir)
}

/// Names the file and its version, 1.
const MAGIC: [u8; 8] = *b"CNSGNcl1";
