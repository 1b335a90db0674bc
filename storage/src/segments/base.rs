//! The file `base`: the mark with which the removed part of the archive ended.
//!
//! ```text
//! 0..8 magic CNSGNarb | 8..12 version | 12..16 zero | 16..32 lineage | 32..40 index | 40..48 rows | 48..80 chain
//! 80..84 CRC32 of 0..80
//! ```
//! In: a mark, before the segments up to it are removed. Out: the mark, so that what was removed on purpose is not taken
//! for missing, and so that the chain goes on. Deliberately absent: why it was removed.

use std::path::{Path, PathBuf};

use consigner_rules::archive::ArchiveMark;
use consigner_rules::primitives::ClusterId;

use super::error::{SegmentError, SegmentFault, io_error};
use super::format;
use crate::disk::{self, Disk};

/// Writes it; durable when this returns.
pub(crate) fn write_base(
    disk: &dyn Disk,
    dir: &Path,
    lineage: &ClusterId,
    mark: &ArchiveMark,
) -> Result<(), SegmentError> {
    let mut bytes = [0; LEN];
    format::put(&mut bytes, 0, &MAGIC);
    format::put(&mut bytes, 8, &format::VERSION.to_le_bytes());
    format::put(&mut bytes, 16, lineage.as_bytes());
    format::put(&mut bytes, 32, &mark.index.to_le_bytes());
    format::put(&mut bytes, 40, &mark.rows.to_le_bytes());
    format::put(&mut bytes, 48, mark.chain.as_bytes());
    format::seal(&mut bytes);
    let path = path(dir);
    disk::write_file_durably(disk, &path, &bytes).map_err(io_error("writing", &path))
}

/// Reads it; one that is damaged or cannot be read is a fault, and as good as none.
pub(crate) fn read_base(disk: &dyn Disk, dir: &Path, lineage: &ClusterId) -> Result<Option<ArchiveMark>, SegmentFault> {
    let path = path(dir);
    let found = disk.exists(&path).and_then(|exists| exists.then(|| disk::read_file(disk, &path)).transpose());
    let checked = match found {
        Ok(None) => return Ok(None),
        Ok(Some(bytes)) => check(&bytes, lineage),
        Err(error) => Err(format!("it cannot be read: {error}")),
    };
    checked.map(Some).map_err(|why| SegmentFault { name: NAME.to_owned(), after: 0, upto: 0, why })
}

fn check(bytes: &[u8], lineage: &ClusterId) -> Result<ArchiveMark, String> {
    format::check(bytes, LEN, MAGIC, "content")?;
    let found = ClusterId(format::array(bytes, 16));
    if found != *lineage {
        return Err(format!("it is of another cluster, {found}"));
    }
    Ok(format::mark(bytes, 32, 40))
}

fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

const NAME: &str = "base";
const MAGIC: [u8; 8] = *b"CNSGNarb";
const LEN: usize = 84;
