//! Free ports for one cluster, and one cluster at a time.
//!
//! In: nothing. Out: a base port whose `base..base+25` a cluster of three can take; a turn. Test binaries of several
//! checkouts may run on one machine, hence the lock file in the system's directory for temporary files.

use crate::rng::Rng;
use std::fs::{File, TryLockError};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Below the range that Linux gives to outgoing connections (32768 up), above well-known services.
const FIRST: u16 = 20_000;

/// Distance between the bases that are tried; more than a cluster takes.
const STEP: u16 = 30;

/// How many bases there are.
const BASES: u16 = 400;

/// Offsets that a cluster of three listens on: API, peers and metrics of each node, and three more where a test gives its
/// nodes listeners of their own.
const OFFSETS: [u16; 18] = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 20, 21, 22, 23, 24, 25];

/// Distance between the ports of two nodes, as with `consigner dev`.
pub const PORTS_PER_NODE: u16 = 10;

/// Ports that each node listens on: API, peers, metrics.
const PORTS_OF_A_NODE: u16 = 3;

/// All scenarios of another run, twice over.
const TURN_DEADLINE: Duration = Duration::from_secs(3600);

/// How often the lock is tried.
const TURN_POLL: Duration = Duration::from_millis(200);

/// A base port that was free a moment ago; where the search begins differs from process to process.
#[must_use]
pub fn free_base() -> Option<u16> {
    let begin = Rng::new(u64::from(std::process::id())).below(u64::from(BASES));
    let begin = u16::try_from(begin).unwrap_or_default();
    (0..BASES).map(|step| FIRST + (begin + step) % BASES * STEP).find(|base| is_free(*base))
}

/// As [`free_base`], for so many nodes with three ports each, [`PORTS_PER_NODE`] apart.
#[must_use]
pub fn free_base_for(nodes: u16) -> Option<u16> {
    let begin = Rng::new(u64::from(std::process::id())).below(u64::from(BASES));
    let begin = u16::try_from(begin).unwrap_or_default();
    let are_free = |base: &u16| {
        (0..nodes).all(|node| (0..PORTS_OF_A_NODE).all(|door| can_bind(base + node * PORTS_PER_NODE + door)))
    };
    (0..BASES).map(|step| FIRST + (begin + step) % BASES * STEP).find(are_free)
}

fn is_free(base: u16) -> bool {
    OFFSETS.iter().all(|offset| can_bind(base + offset))
}

fn can_bind(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The right to run a cluster on this machine, until dropped. The system takes it back from a dead process.
#[derive(Debug)]
pub struct Turn {
    _held: File,
}

impl Turn {
    /// Waits for the turn.
    ///
    /// # Errors
    /// The lock file cannot be used, or others took too long.
    pub async fn wait() -> std::io::Result<Self> {
        let file = open(&lock_file())?;
        let until = Instant::now() + TURN_DEADLINE;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _held: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < until => tokio::time::sleep(TURN_POLL).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// To lock it, it need not be written: where it is another user's, Linux lets nobody else create or write it in `/tmp`.
fn open(file: &Path) -> std::io::Result<File> {
    match File::open(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            File::options().create(true).append(true).open(file)
        }
        other => other,
    }
}

fn lock_file() -> PathBuf {
    std::env::temp_dir().join("consigner-chaos.lock")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_taken_port_moves_the_base() {
        let base = free_base().unwrap();
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, base + 21)).unwrap();
        assert!(!is_free(base));
        assert_ne!(free_base().unwrap(), base);
    }
}
