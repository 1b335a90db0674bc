//! Writing small files so that a reader sees the old content or the new one, never half of either; opening those that
//! are their owner's alone.

use consigner_keys::source::{LooseFiles, Reader, Warning};
use rustix::fs::OFlags;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Mode of files that anybody may read.
pub const PUBLIC: u32 = 0o644;

/// Mode of keys.
pub const SECRET: u32 = 0o600;

/// Any of these bits would let somebody else than the owner read or change the file.
const FOREIGN_MODE_BITS: u32 = 0o077;

/// Who may read, write and enter; without the bits that say what a file is.
const MODE_BITS: u32 = 0o777;

/// Why a file with a secret is not read.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// It cannot be opened.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is a directory, a pipe, a device.
    #[error("{} is no file", .0.display())]
    NotAFile(PathBuf),
    /// Other users have access.
    #[error("{0} has mode {mode:03o}; only its owner may have access: chmod 600 {0}", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
}

/// Opens a file that nobody but this process's user may read or change, by the rule of [`Reader::foreign_bits`]. The
/// checks are made on the open file, so nobody can exchange it between check and use.
///
/// # Errors
/// See [`PrivateFileError`].
pub fn open_private(path: &Path) -> Result<File, PrivateFileError> {
    open_secret(path, LooseFiles::Refuse).map(|(file, _)| file)
}

/// As [`open_private`]; what others may read is opened, too, with a warning, if `loose` says so.
///
/// # Errors
/// See [`PrivateFileError`].
pub fn open_secret(path: &Path, loose: LooseFiles) -> Result<(File, Option<Warning>), PrivateFileError> {
    let (file, metadata) = open(path)?;
    match (loose_mode(&metadata), loose) {
        (None, _) => Ok((file, None)),
        (Some(mode), LooseFiles::Warn) => Ok((file, Some(Warning::OpenToOthers { path: path.to_owned(), mode }))),
        (Some(mode), LooseFiles::Refuse) => Err(PrivateFileError::Mode { path: path.to_owned(), mode }),
    }
}

/// Opens a file that has permission bits for its owner only, whoever that is: so the sealer's files are read.
///
/// # Errors
/// See [`PrivateFileError`].
pub fn open_owners_alone(path: &Path) -> Result<File, PrivateFileError> {
    let (file, metadata) = open(path)?;
    let mode = metadata.permissions().mode() & MODE_BITS;
    if mode & FOREIGN_MODE_BITS != 0 {
        return Err(PrivateFileError::Mode { path: path.to_owned(), mode });
    }
    Ok(file)
}

/// The permission bits, if they serve somebody else than this process.
fn loose_mode(metadata: &Metadata) -> Option<u32> {
    let mode = metadata.permissions().mode() & MODE_BITS;
    (Reader::this_process().foreign_bits(mode, metadata.uid(), metadata.gid()) != 0).then_some(mode)
}

fn open(path: &Path) -> Result<(File, Metadata), PrivateFileError> {
    let failed = |source| PrivateFileError::Read { path: path.to_owned(), source };
    // Without NONBLOCK, opening a pipe would wait for a writer for ever; for files it changes nothing.
    let no_wait = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(no_wait).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(PrivateFileError::NotAFile(path.to_owned()));
    }
    Ok((file, metadata))
}

/// Writes beside the file, makes that durable, renames it over the file, makes the name durable.
///
/// # Errors
/// What the system said; the old content then still stands.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = write_new(&temporary, content, mode).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _gone_or_never_there = std::fs::remove_file(&temporary);
    }
    written?;
    sync_directory(path)
}

/// Writes a file that must not exist yet.
///
/// # Errors
/// What the system said.
pub fn create(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    write(OpenOptions::new().write(true).create_new(true), path, content, mode)?;
    sync_directory(path)
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    write(OpenOptions::new().write(true).create(true).truncate(true), path, content, mode)
}

fn write(options: &mut OpenOptions, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = options.mode(mode).open(path)?;
    // A file left over from before keeps its mode otherwise.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    file.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    File::open(parent)?.sync_all()
}
