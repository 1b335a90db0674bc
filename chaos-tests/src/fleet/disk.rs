//! What happens to disks: copied, wiped, put back from an older copy.
//!
//! In: paths of directories of stopped nodes. Out: the same trees elsewhere. Deliberately absent: any knowledge of what
//! is in them.

use std::fs;
use std::io;
use std::path::Path;

/// Copies a tree of files and directories to a place where nothing is.
///
/// # Errors
/// What the system said; something is there already.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Takes a disk out and keeps it: the place is empty then.
///
/// # Errors
/// What the system said.
pub fn take_out(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Makes a place hold what `from` holds, whatever was there.
///
/// # Errors
/// What the system said.
pub fn put_in(from: &Path, to: &Path) -> io::Result<()> {
    wipe(to)?;
    copy(from, to)
}

/// Empties a disk.
///
/// # Errors
/// What the system said.
pub fn wipe(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_copy_keeps_what_the_original_held_when_it_was_made() {
        let home = tempfile::tempdir().unwrap();
        let (disk, old) = (home.path().join("disk"), home.path().join("old"));
        fs::create_dir_all(disk.join("log")).unwrap();
        fs::write(disk.join("log/1"), "before").unwrap();
        copy(&disk, &old).unwrap();
        assert!(copy(&disk, &old).is_err(), "never over something");
        fs::write(disk.join("log/1"), "after").unwrap();
        fs::write(disk.join("log/2"), "new").unwrap();
        put_in(&old, &disk).unwrap();
        assert_eq!(fs::read_to_string(disk.join("log/1")).unwrap(), "before");
        assert!(!disk.join("log/2").exists());
        wipe(&disk).unwrap();
        wipe(&disk).unwrap();
        assert!(!disk.exists());
    }
}
