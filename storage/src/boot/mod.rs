//! Which life of a node this is: its directory's incarnation, the counter and nonce of this start, and the newest start
//! that this node has let in of each of the others (DESIGN 9, S5).
//!
//! ```text
//! DIR/incarnation   random, written when the directory was initialised: another one means "the disk was wiped"
//! DIR/boot          counter and nonce of the newest start, durable before a socket opens: a copy or an older image of a
//!                   directory comes back with a lower counter, or with a second nonce for the same one
//! DIR/peers         the same of the other nodes ([`PeerBook`])
//! ```
//! In: a locked directory. Out: a [`Boot`] that no earlier start had. Deliberately absent: who compares them (`raft`), and
//! repair: a directory that had these files and lost one has lost data, and must not go on as who it was.

mod peers;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;
use std::io;
use std::path::Path;

use crate::disk::{self, Disk};

pub use peers::PeerBook;

/// One start of a node. Equal to no other start of any node, ever.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Boot {
    /// Random, the same as long as the directory lives.
    pub incarnation: [u8; 16],
    /// Starts of this directory so far, this one included; from 1.
    pub counter: u64,
    /// Random, of this start alone.
    pub nonce: [u8; 16],
}

impl Boot {
    /// The incarnation, 32 hexadecimal digits.
    #[must_use]
    pub fn incarnation_hex(&self) -> String {
        hex::encode(self.incarnation)
    }

    /// Counter and nonce for a header: `<counter>-<32 hexadecimal digits>`.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("{}-{}", self.counter, hex::encode(self.nonce))
    }

    /// Back from [`Boot::incarnation_hex`] and [`Boot::tag`]; `None` unless both are exactly of that form.
    #[must_use]
    pub fn parse(incarnation: &str, tag: &str) -> Option<Boot> {
        let (counter, nonce) = tag.split_once('-')?;
        let counter = counter.parse().ok().filter(|parsed: &u64| parsed.to_string() == counter)?;
        Some(Boot { incarnation: text::unhex(incarnation)?, counter, nonce: text::unhex(nonce)? })
    }
}

impl fmt::Debug for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Boot({} of {})", self.tag(), self.incarnation_hex())
    }
}

/// Why one of the three files cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    /// It was there and is gone.
    #[error("it is missing")]
    Lost,
    /// It is not what was written.
    #[error("{0}")]
    Damaged(&'static str),
    /// Written by another version.
    #[error("it has format {0}, this program reads format {FORMAT}")]
    Format(u32),
    /// The file system failed.
    #[error("it cannot be read or written")]
    Io(#[from] io::Error),
}

/// Names the file with the error.
pub(crate) type Named<T> = Result<T, (&'static str, BootError)>;

/// Gives a directory an incarnation, and counts its starts from 0. The incarnation comes last: it says that the other two
/// are there.
pub(crate) fn initialize(disk: &dyn Disk, dir: &Path) -> Named<[u8; 16]> {
    peers::create(disk, dir).map_err(|error| (PEERS, error))?;
    write_boot(disk, dir, 0, [0; 16]).map_err(|error| (BOOT, error))?;
    let incarnation = random().map_err(|error| (INCARNATION, error))?;
    let body = format!("incarnation {}\n", hex::encode(incarnation));
    text::write(disk, &dir.join(INCARNATION), INCARNATION_MAGIC, &body).map_err(|error| (INCARNATION, error))?;
    Ok(incarnation)
}

/// The incarnation of an initialised directory. One that was made before directories had one gets it now.
pub(crate) fn incarnation(disk: &dyn Disk, dir: &Path) -> Named<[u8; 16]> {
    let named = |error: io::Error| (INCARNATION, BootError::from(error));
    if disk.exists(&dir.join(INCARNATION)).map_err(named)? {
        for file in [BOOT, PEERS] {
            if !disk.exists(&dir.join(file)).map_err(|error| (file, error.into()))? {
                return Err((file, BootError::Lost));
            }
        }
        return read_incarnation(disk, dir).map_err(|error| (INCARNATION, error));
    }
    if has_started(disk, dir).map_err(|error| (BOOT, error))? {
        return Err((INCARNATION, BootError::Lost));
    }
    initialize(disk, dir)
}

/// Whether a start of this directory was ever counted.
pub(crate) fn has_started(disk: &dyn Disk, dir: &Path) -> Result<bool, BootError> {
    Ok(disk.exists(&dir.join(BOOT))? && read_boot(disk, dir)?.0 > 0)
}

/// Counts one more start, durably.
pub(crate) fn next(disk: &dyn Disk, dir: &Path, incarnation: [u8; 16]) -> Named<Boot> {
    let next = || {
        let (counter, _) = read_boot(disk, dir)?;
        let counter = counter.checked_add(1).ok_or(BootError::Damaged("the counter is at its end"))?;
        let nonce = random()?;
        write_boot(disk, dir, counter, nonce)?;
        Ok(Boot { incarnation, counter, nonce })
    };
    next().map_err(|error| (BOOT, error))
}

fn read_incarnation(disk: &dyn Disk, dir: &Path) -> Result<[u8; 16], BootError> {
    let body = text::read(disk, &dir.join(INCARNATION), INCARNATION_MAGIC)?;
    let value = body.strip_prefix("incarnation ").and_then(|rest| rest.strip_suffix('\n'));
    value.and_then(text::unhex).ok_or(BootError::Damaged("it holds no incarnation"))
}

fn read_boot(disk: &dyn Disk, dir: &Path) -> Result<(u64, [u8; 16]), BootError> {
    let body = text::read(disk, &dir.join(BOOT), BOOT_MAGIC)?;
    let fields = || {
        let (counter, nonce) = body.strip_suffix('\n')?.split_once('\n')?;
        Some((counter.strip_prefix("counter ")?.parse().ok()?, text::unhex(nonce.strip_prefix("nonce ")?)?))
    };
    fields().ok_or(BootError::Damaged("it holds no counter and nonce"))
}

fn write_boot(disk: &dyn Disk, dir: &Path, counter: u64, nonce: [u8; 16]) -> Result<(), BootError> {
    let body = format!("counter {counter}\nnonce {}\n", hex::encode(nonce));
    text::write(disk, &dir.join(BOOT), BOOT_MAGIC, &body)
}

fn random() -> Result<[u8; 16], BootError> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| BootError::Io(io::Error::other("no randomness")))?;
    Ok(bytes)
}

/// Version of the three files. Readers: 1 reads 1. Writers: 1 writes 1. They are written whole through a temporary
/// file, so that after any crash the old one or the new one stands there.
pub(crate) const FORMAT: u32 = 1;
pub(crate) const INCARNATION: &str = "incarnation";
pub(crate) const BOOT: &str = "boot";
pub(crate) const PEERS: &str = "peers";
const INCARNATION_MAGIC: &str = "consigner-incarnation";
const BOOT_MAGIC: &str = "consigner-boot";
