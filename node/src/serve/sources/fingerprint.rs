//! Whether a directory changed: names, sizes and times of the files below it, in one number.
//!
//! In: directories. Out: a hash that differs when a file came, went or was written. Deliberately absent: contents, and
//! notifications of the system, which network file systems and mounted volumes do not send.

use sha2::{Digest as _, Sha256};
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Every layout that is read is at most this deep.
const DEPTH_MAX: usize = 6;

/// More entries than the largest source has files; a directory such as `/` must not keep a thread busy for ever.
const ENTRIES_MAX: usize = 400_000;

/// A hash over everything below the paths. Blocks on the file system.
#[must_use]
pub fn of(paths: &[PathBuf]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut left = ENTRIES_MAX;
    for path in paths {
        add(path, 0, &mut left, &mut hash);
    }
    hash.finalize().into()
}

/// What cannot be read counts as what it says of itself: nothing. That, too, is a change when it ends.
fn add(path: &Path, depth: usize, left: &mut usize, hash: &mut Sha256) {
    if *left == 0 {
        return;
    }
    *left -= 1;
    hash.update(path.as_os_str().as_bytes());
    hash.update([0]);
    // Follows links: Kubernetes swaps a link when it changes a mounted volume.
    let Ok(metadata) = std::fs::metadata(path) else { return };
    if metadata.is_dir() {
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        entries.sort_unstable();
        if depth < DEPTH_MAX {
            entries.iter().for_each(|entry| add(entry, depth + 1, left, hash));
        }
    } else {
        add_file(&metadata, hash);
    }
}

fn add_file(metadata: &Metadata, hash: &mut Sha256) {
    for number in [metadata.mtime(), metadata.mtime_nsec()] {
        hash.update(number.to_le_bytes());
    }
    for number in [metadata.len(), metadata.ino()] {
        hash.update(number.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::config::source::KeystoresConfig;
    use consigner_keys::source::Passwords;

    #[test]
    fn files_that_come_change_or_go_are_seen_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().to_owned(), dir.path().join("gone")];
        let empty = of(&paths);
        std::fs::create_dir(dir.path().join("below")).unwrap();
        let file = dir.path().join("below/keystore.json");
        std::fs::write(&file, "1").unwrap();
        let came = of(&paths);
        assert_ne!(came, empty);
        assert_eq!(of(&paths), came);
        std::fs::write(&file, "12").unwrap();
        let changed = of(&paths);
        assert_ne!(changed, came);
        std::fs::remove_file(&file).unwrap();
        assert_ne!(of(&paths), changed);
    }

    #[test]
    fn a_password_that_arrives_beside_its_keystore_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("validators");
        std::fs::create_dir(&path).unwrap();
        let config = KeystoresConfig { path: path.clone(), passwords: Passwords::Beside };
        let look = || of(&[vec![path.clone()], config.password_paths()].concat());
        for folder in ["secrets", "passwords"] {
            let before = look();
            std::fs::create_dir(dir.path().join(folder)).unwrap();
            std::fs::write(dir.path().join(folder).join("0x93"), "password").unwrap();
            assert_ne!(look(), before, "{folder}");
        }
        let before = look();
        std::fs::write(dir.path().join("other"), "").unwrap();
        assert_eq!(look(), before);
    }
}
