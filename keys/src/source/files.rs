//! Reading of files that hold secrets: bounded, regular files only, erased from memory afterwards.
//!
//! In: paths. Out: bytes and lists of paths; files that others can read are refused or warned of. Deliberately absent:
//! what the files mean, and any writing.

use super::error::SourceError;
use rustix::fs::OFlags;
use rustix::process::{getegid, geteuid, getgroups};
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
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
    /// Keystores that other users can read or change: each needs its password, but a weak one can be guessed.
    KeystoresOpenToOthers {
        /// The first of them.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// How many there are.
        count: usize,
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
            Self::KeystoresOpenToOthers { path, mode, count } => {
                let path = path.display();
                write!(
                    formatter,
                    "{count} keystore(s) can be read by others, {path} (mode {mode:03o}) first: chmod 600 them"
                )
            }
            Self::BlankPassword { path } => write!(formatter, "the password file {} is blank", path.display()),
        }
    }
}

/// Any of these bits lets a user that is neither owner nor of the group read, change or enter.
const OTHERS_BITS: u32 = 0o007;
/// The same for the group.
const GROUP_BITS: u32 = 0o070;
/// The group may read.
const GROUP_READ: u32 = 0o040;

/// What becomes of a file with a key or a password that other users can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LooseFiles {
    /// It is not used; the error names it.
    #[default]
    Refuse,
    /// It is used, with a [`Warning`].
    Warn,
}

/// Who reads files: a user and the groups that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// Effective user.
    pub uid: u32,
    /// Effective and supplementary groups.
    pub groups: Vec<u32>,
}

impl Reader {
    /// This process.
    #[must_use]
    pub fn this_process() -> Self {
        let mut groups = vec![getegid().as_raw()];
        groups.extend(getgroups().unwrap_or_default().into_iter().map(rustix::process::Gid::as_raw));
        Self { uid: geteuid().as_raw(), groups }
    }

    /// The permission bits of a secret file that serve somebody else than its reader.
    ///
    /// The owner needs no bit of the group. Who is not the owner may need to read by the group: so Kubernetes mounts
    /// secrets for a pod with `fsGroup` (owner root, mode 0440). Nobody needs a bit of the others.
    #[must_use]
    pub fn foreign_bits(&self, mode: u32, owner: u32, group: u32) -> u32 {
        let by_group = owner != self.uid && self.uid != 0 && self.groups.contains(&group);
        let needed = if by_group { GROUP_READ } else { 0 };
        mode & (GROUP_BITS | OTHERS_BITS) & !needed
    }
}

/// The content of a file.
pub(super) struct Content {
    /// All bytes.
    pub(super) bytes: Zeroizing<Vec<u8>>,
    /// Permission bits.
    mode: u32,
    /// Whether they serve somebody else than this process.
    is_loose: bool,
}

impl Content {
    /// What is due if the content is a secret: nothing, a warning, or a refusal.
    pub(super) fn open_to_others(&self, path: &Path, loose: LooseFiles) -> Result<Option<Warning>, SourceError> {
        let (path, mode) = (path.to_path_buf(), self.mode);
        match (self.is_loose, loose) {
            (false, _) => Ok(None),
            (true, LooseFiles::Refuse) => Err(SourceError::OpenToOthers { path, mode }),
            (true, LooseFiles::Warn) => Ok(Some(Warning::OpenToOthers { path, mode })),
        }
    }

    /// The permission bits, if they serve somebody else than this process.
    pub(super) fn loose_mode(&self) -> Option<u32> {
        self.is_loose.then_some(self.mode)
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
    let mode = metadata.permissions().mode() & 0o777;
    let is_loose = Reader::this_process().foreign_bits(mode, metadata.uid(), metadata.gid()) != 0;
    Ok(Content { bytes, mode, is_loose })
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
