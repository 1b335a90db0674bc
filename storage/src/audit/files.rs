//! Names in the audit directory, and how its small files are replaced.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{self, Disk, DiskFile, OpenMode, TEMPORARY_EXTENSION};

/// Whether a directory holds lines of an audit log.
///
/// # Errors
/// The directory cannot be read.
pub fn holds_lines(disk: &dyn Disk, dir: &Path) -> io::Result<bool> {
    Ok(disk.exists(dir)? && !list(disk, dir)?.is_empty())
}

/// Name of a file of lines.
pub(crate) fn name(number: u64) -> String {
    format!("{PREFIX}{number:08}{SUFFIX}")
}

/// Numbers of the files of lines, ascending.
pub(crate) fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> = disk.list(dir)?.iter().filter_map(|name| number(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The number in a name that [`name`] made.
fn number(file: &str) -> Option<u64> {
    let number = file.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()?;
    (name(number) == file).then_some(number)
}

/// What was cut from a file before the line `sequence`: a name that is free.
pub(crate) fn torn_name(disk: &dyn Disk, dir: &Path, number: u64, sequence: u64) -> io::Result<String> {
    let base = format!("{}.torn-{sequence}", name(number));
    let mut free = base.clone();
    let mut further = 1;
    while disk.exists(&dir.join(&free))? {
        further += 1;
        free = format!("{base}-{further}");
    }
    Ok(free)
}

/// Removes what an interrupted replacement left.
pub(crate) fn remove_temporary(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    for name in disk.list(dir)? {
        if Path::new(&name).extension().is_some_and(|extension| extension == TEMPORARY_EXTENSION) {
            disk.remove(&dir.join(name))?;
        }
    }
    Ok(())
}

/// Creates a file with its first bytes, content and name durable when this returns.
pub(crate) fn create(disk: &dyn Disk, path: &Path, bytes: &[u8], mode: u32) -> io::Result<Box<dyn DiskFile>> {
    let file = disk.open(path, OpenMode::ReplaceWith(mode))?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()?;
    disk.sync_dir(disk::parent(path)?)?;
    Ok(file)
}

/// As [`disk::write_file_durably`], with permission bits.
pub(crate) fn write_durably(disk: &dyn Disk, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".");
    temporary.push(TEMPORARY_EXTENSION);
    let temporary = PathBuf::from(temporary);
    let file = disk.open(&temporary, OpenMode::ReplaceWith(mode))?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()?;
    drop(file);
    disk.rename(&temporary, path)?;
    disk.sync_dir(disk::parent(path)?)
}

const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";

/// Locked by the process that writes.
pub(crate) const LOCK: &str = "lock";
