//! Tells whether files have changed without reading them.
//!
//! Polled, because inotify sees nothing on network file systems and misses the symlink swap by which Kubernetes renews
//! a mounted secret; links are followed here.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

/// How a set of files looks from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamps(Vec<Option<Stamp>>);

/// Device and inode tell a replaced file, size and modification time a written one, the change time one that was
/// made readable.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamps {
    /// Looks at each file; one that is not there (or not for us) is a state like any other.
    pub(crate) fn of(files: &[PathBuf]) -> Self {
        Self(files.iter().map(|path| std::fs::metadata(path).ok().map(|data| Stamp::of(&data))).collect())
    }
}

impl Stamp {
    fn of(data: &Metadata) -> Self {
        Self {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }
}
