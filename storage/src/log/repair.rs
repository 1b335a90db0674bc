//! Makes a recovered log durable before it is served, and remembers that a disk has failed.
//!
//! In: a log that was checked from end to end. Out: the same log, known to be on the disk.
//! Everything is written in place over allocated blocks, so a full disk does not keep a node down (DESIGN 8, trap 7).

use std::io;
use std::path::Path;

use super::recover::{Recovered, Segment, Torn};
use super::{WalError, segment};
use crate::disk::{self, Disk, OpenMode};

/// Stands in the log directory after a failed write or fsync, until the next start has rewritten the live segments.
const SUSPECT_MARK: &str = "suspect";
/// Extension of a copy of cut bytes.
const TORN_EXTENSION: &str = "torn";
/// Copies kept; each is at most one frame.
const TORN_COPIES: usize = 8;

/// Leaves the mark (DESIGN 8, trap 4). Best effort: on a disk that just failed this may fail too, which is why the
/// last segment is rewritten at every start, mark or no mark.
pub(crate) fn mark_suspect(disk: &dyn Disk, dir: &Path, reason: &str) {
    if let Err(error) = disk::write_file_durably(disk, &dir.join(SUSPECT_MARK), reason.as_bytes()) {
        tracing::error!(%error, reason, "could not leave the mark that the log's pages are not to be trusted");
    }
}

/// Whether the mark stands.
pub(crate) fn is_suspect(disk: &dyn Disk, dir: &Path) -> Result<bool, WalError> {
    disk.exists(&dir.join(SUSPECT_MARK)).map_err(WalError::io("looking for the suspect mark"))
}

/// Writes and syncs what must be on the disk before the log is served: the last segment always (a crash or a failed
/// fsync may have left its frames in the page cache only), every live segment behind a suspect mark, and the names.
pub(crate) fn make_durable(disk: &dyn Disk, dir: &Path, log: &Recovered) -> Result<(), WalError> {
    if let (Some(torn), Some(last)) = (&log.torn, log.segments.back()) {
        report_cut(last, log.valid_end, torn);
        keep_copy(disk, dir, last.number, log.valid_end, torn);
    }
    let fail = |number: u64| WalError::io(format!("making segment {number} durable"));
    let count = log.segments.len();
    if let Some(last) = log.segments.back() {
        rewrite_last(last, log).map_err(fail(last.number))?;
    }
    disk.sync_dir(dir).map_err(WalError::io("syncing the log directory"))?;
    // Only now: a seal promises a successor, so that must be on the disk, name and all.
    for segment in log.segments.iter().take(count.saturating_sub(1)) {
        let rewritten = if log.suspect { rewrite(disk, dir, segment) } else { Ok(()) };
        // The crash may have come between a segment and the seal of the one before it.
        let sealed = rewritten.and_then(|()| segment::seal(&*segment.file, segment.number, log.next.nonce));
        sealed.map_err(fail(segment.number))?;
    }
    if log.suspect {
        tracing::warn!(segments = count, "an earlier run met a failing disk: the live log was rewritten");
        disk.remove(&dir.join(SUSPECT_MARK)).map_err(WalError::io("removing the suspect mark"))?;
        disk.sync_dir(dir).map_err(WalError::io("syncing the log directory"))?;
    }
    Ok(())
}

/// Valid frames again, zeros over what is cut. A crash in the midst of it leaves a torn tail like the one before.
fn rewrite_last(segment: &Segment, log: &Recovered) -> io::Result<()> {
    segment.file.write_all_at(&log.valid, 0)?;
    if let Some(torn) = &log.torn {
        let end = log.valid_end + torn.bytes.len() as u64;
        let inside = usize::try_from(end.min(segment.size) - log.valid_end).map_err(io::Error::other)?;
        segment.file.write_all_at(&vec![0; inside], log.valid_end)?;
    }
    if segment.file.len()? != segment.size {
        segment.file.set_len(segment.size)?;
    }
    segment.file.sync_data()
}

fn rewrite(disk: &dyn Disk, dir: &Path, segment: &Segment) -> io::Result<()> {
    let bytes = disk::read_file(disk, &segment::path(dir, segment.number))?;
    segment.file.write_all_at(&bytes, 0)?;
    segment.file.sync_data()
}

fn report_cut(segment: &Segment, at: u64, torn: &Torn) {
    tracing::warn!(
        segment = segment.number,
        offset = at,
        bytes = torn.bytes.len(),
        why = torn.why,
        "the log ends in an interrupted write, which was never acknowledged: it is cut"
    );
}

/// Keeps the cut bytes for whoever wants to look. Best effort: they were never acknowledged, and a full disk must
/// not keep the node down.
fn keep_copy(disk: &dyn Disk, dir: &Path, number: u64, at: u64, torn: &Torn) {
    let path = dir.join(format!("{number:020}-{at:012}.{TORN_EXTENSION}"));
    let kept = write_copy(disk, &path, &torn.bytes).and_then(|()| drop_old_copies(disk, dir));
    if let Err(error) = kept {
        tracing::warn!(%error, path = %path.display(), "could not keep a copy of the cut bytes");
    }
}

fn write_copy(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = disk.open(path, OpenMode::Replace)?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()
}

fn drop_old_copies(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let names = disk.list(dir)?;
    let copies: Vec<_> = names.iter().filter(|name| name.ends_with(&format!(".{TORN_EXTENSION}"))).collect();
    let excess = copies.len().saturating_sub(TORN_COPIES);
    copies.iter().take(excess).try_for_each(|name| disk.remove(&dir.join(name)))
}
