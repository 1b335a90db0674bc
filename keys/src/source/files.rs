//! Reading of files that hold secrets: bounded, regular files only, erased from memory afterwards.
//!
//! In: paths. Out: bytes, lists of paths, and warnings about files that others can read. Deliberately absent: what the
//! files mean, and any writing.

use super::error::SourceError;
use rustix::fs::OFlags;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What an operator should repair although the key is usable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A file with a secret that other users can read or change.
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A password file without a password; the empty password is a password, but hardly a wanted one.
    BlankPassword {
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenToOthers { path, mode } => {
                let path = path.display();
                write!(formatter, "{path} holds a secret and has mode {mode:03o}; others can read it: chmod 600 it")
            }
            Self::BlankPassword { path } => write!(formatter, "the password file {} is blank", path.display()),
        }
    }
}

/// Any of these bits lets another user read or change the file.
const FOREIGN_MODE_BITS: u32 = 0o077;

/// The content of a file.
pub(super) struct Content {
    /// All bytes.
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// Permission bits.
    mode: u32,
}

impl Content {
    /// The warning that is due if the content is a secret.
    pub(super) fn open_to_others(&self, path: &Path) -> Option<Warning> {
        let open = self.mode & FOREIGN_MODE_BITS != 0;
        open.then(|| Warning::OpenToOthers { path: path.to_path_buf(), mode: self.mode })
    }

    /// The content as text.
    pub(super) fn text(&self, path: &Path) -> Result<&str, SourceError> {
        std::str::from_utf8(&self.bytes).map_err(|_| SourceError::NotText { path: path.to_path_buf() })
    }
}

/// Reads a file of at most `bytes_max`. Links are followed: mounted Kubernetes secrets are links.
pub(super) fn read(path: &Path, bytes_max: u64) -> Result<Content, SourceError> {
    let failed = |source| SourceError::Read { path: path.to_path_buf(), source };
    // Without NONBLOCK, opening a pipe would wait for a writer for ever; for files it changes nothing.
    let no_wait = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(no_wait).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(SourceError::NotAFile { path: path.to_path_buf() });
    }
    let too_large = || SourceError::TooLarge { path: path.to_path_buf(), bytes_max };
    if metadata.len() > bytes_max {
        return Err(too_large());
    }
    // Reserved at once: a growing vector would leave copies behind. One byte more shows a file that grew meanwhile.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0) + 1));
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_large());
    }
    Ok(Content { bytes, mode: metadata.permissions().mode() & 0o777 })
}

/// The entries of a directory in the order of their names, without hidden ones (`..data` of Kubernetes, `.DS_Store`,
/// editors' swap files).
pub(super) fn list(directory: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let failed = |source| SourceError::Read { path: directory.to_path_buf(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort_unstable();
    Ok(paths)
}
