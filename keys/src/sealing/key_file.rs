//! The key file: 32 random bytes that only their owner may read.
//!
//! In: a path. Out: the key, in memory that erases itself. Deliberately absent: what the key is used for.

use rustix::fs::OFlags;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// 64 digits, `0x` and a line end fit; anything longer is not a key file and is not read into memory.
const BYTES_MAX: usize = 128;
/// Any of these bits would let another user read or change the file.
const FOREIGN_MODE_BITS: u32 = 0o077;

/// Why a key file cannot be used. Never holds its content.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It could not be read.
    #[error("cannot read the key file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It could not be created; an existing file is never overwritten.
    #[error("cannot create the key file {}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others can read or change it.
    #[error("the key file {} has mode {mode:03o}; only its owner may have access: chmod 600 it", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is a directory, a device, a socket.
    #[error("the key file {} is not a regular file", path.display())]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// Neither 32 bytes nor 64 digits.
    #[error("the key file {} holds neither 32 raw bytes nor 64 hexadecimal digits", path.display())]
    Content {
        /// The file.
        path: PathBuf,
    },
    /// All bytes are equal: a placeholder, not a random key.
    #[error("the key file {} holds one byte repeated, not a random key", path.display())]
    NotRandom {
        /// The file.
        path: PathBuf,
    },
    /// Not what a passphrase file holds.
    #[error("the passphrase in {} is shorter than {bytes_min} bytes, or no passphrase at all", path.display())]
    Passphrase {
        /// The file.
        path: PathBuf,
        /// Bytes that a passphrase has at least.
        bytes_min: usize,
    },
    /// No key without randomness.
    #[error("the operating system gives no random bytes")]
    Randomness(#[source] getrandom::Error),
}

/// Creates a key file with 32 random bytes in hexadecimal, mode 600, durable before the call returns.
///
/// # Errors
/// [`KeyFileError::Create`] when the file exists or cannot be made durable; a partial file is removed.
pub(super) fn create(path: &Path) -> Result<(), KeyFileError> {
    let mut key = Zeroizing::new([0_u8; 32]);
    getrandom::fill(key.as_mut_slice()).map_err(KeyFileError::Randomness)?;
    let text = Zeroizing::new(format!("{}\n", Zeroizing::new(hex::encode(key.as_slice())).as_str()));
    let failed = |source| KeyFileError::Create { path: path.to_path_buf(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| sync_parent(path));
    written.map_err(|error| {
        // Ours alone: `create_new` made it a moment ago. What the first error says matters more than this one.
        let _ = fs::remove_file(path);
        failed(error)
    })
}

/// Reads a key file: 32 raw bytes, or 64 hexadecimal digits with an optional `0x` and line end.
///
/// # Errors
/// [`KeyFileError`] when it cannot be read, is open to other users, or holds something else.
pub(super) fn read(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let content = read_private_file(path, BYTES_MAX)?;
    let key = parse_key(&content).ok_or_else(|| KeyFileError::Content { path: path.to_path_buf() })?;
    if key.iter().all(|byte| *byte == key[0]) {
        return Err(KeyFileError::NotRandom { path: path.to_path_buf() });
    }
    Ok(key)
}

/// The content of a file that nobody but its owner may read, cut one byte after `bytes_max`. The checks are made on the
/// open file, so nobody can exchange it between check and use.
pub(super) fn read_private_file(path: &Path, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let failed = |source| KeyFileError::Read { path: path.to_path_buf(), source };
    // Without NONBLOCK, opening a pipe would wait for a writer for ever; for files it changes nothing.
    let no_wait = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(no_wait).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(KeyFileError::NotAFile { path: path.to_path_buf() });
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & FOREIGN_MODE_BITS != 0 {
        return Err(KeyFileError::Mode { path: path.to_path_buf(), mode });
    }
    // Reserved at once: a growing vector would leave copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(bytes_max + 1));
    file.take(bytes_max as u64 + 1).read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

fn parse_key(content: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    if let Ok(raw) = <[u8; 32]>::try_from(content) {
        // 32 letters or digits are half of a key in hexadecimal, or a password: not 32 random bytes.
        let text = content.iter().all(u8::is_ascii_graphic);
        return (!text).then(|| Zeroizing::new(raw));
    }
    let digits = content.trim_ascii();
    let digits = digits.strip_prefix(b"0x").unwrap_or(digits);
    let mut key = Zeroizing::new([0_u8; 32]);
    hex::decode_to_slice(digits, key.as_mut_slice()).ok()?;
    Some(key)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}
