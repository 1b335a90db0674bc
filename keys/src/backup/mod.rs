//! What lets a backup lie anywhere, and what makes its keys another cluster's.
//!
//! In: the plain content of a backup and a passphrase; keys that were sealed for one cluster. Out: a file that tells
//! nothing and in which nothing can be changed unnoticed; the same keys sealed for another cluster. Deliberately absent:
//! what the content means (`storage` has its form, `raft` its meaning), and files: the caller reads and writes them.

mod container;
#[cfg(test)]
mod container_tests;
mod reseal;
#[cfg(test)]
mod reseal_tests;

pub use container::{BackupFileError, BackupPassphrase, PASSPHRASE_FILE_BYTES_MAX, decrypt, encrypt};
pub use reseal::{ResealError, Resealed, Side, reseal_for};
