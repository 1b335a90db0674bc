//! Why keys or deposits could not be made. Never holds a word of a mnemonic.

use crate::keystore::KeystoreError;
use std::io;
use std::path::PathBuf;

/// Why keys or deposits could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// No mnemonic without randomness.
    #[error("the operating system gives no random bytes")]
    Randomness(#[source] getrandom::Error),
    /// Too many or too few words.
    #[error("a mnemonic has 12, 15, 18, 21 or 24 words, not {words}")]
    WordCount {
        /// Words found.
        words: usize,
    },
    /// A word of no list, or of the list of another language than the words before it.
    #[error("word {position} of the mnemonic is in no word list of BIP-39 that has the words before it")]
    UnknownWord {
        /// Its place, from 1.
        position: usize,
    },
    /// All words are known, but they do not belong together.
    #[error("the checksum of the mnemonic does not match: a word is wrong, or two are exchanged")]
    MnemonicChecksum,
    /// An amount that the deposit contract or the protocol would not take.
    #[error("{amount_gwei} Gwei is no deposit for these withdrawal credentials; {least} to {most} Gwei")]
    Amount {
        /// What was asked for.
        amount_gwei: u64,
        /// The least amount.
        least: u64,
        /// The greatest amount.
        most: u64,
    },
    /// The machine computes wrong results.
    #[error("what was computed does not verify; this machine is not reliable, use another one")]
    Unreliable,
    /// The keystore could not be made.
    #[error("the keystore could not be made")]
    Keystore(#[from] KeystoreError),
    /// A file could not be written; an existing file is never overwritten.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}
