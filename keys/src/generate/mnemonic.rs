//! Mnemonics of BIP-39.
//!
//! In: randomness or words. Out: words for a person to write down, and the seed of a tree of keys. Deliberately absent:
//! storage; nobody but the operator keeps a mnemonic.

use super::error::GenerateError;
use super::validator::ValidatorKeys;
use crate::bls::SecretKey;
use bip39::Language;
use std::fmt;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// Randomness of a new mnemonic: 256 bits, 24 words.
const ENTROPY_BYTES: usize = 32;
//= BIP-39: "PBKDF2 [...] derived key 512 bits (= 64 bytes)"
const SEED_BYTES: usize = 64;

/// A mnemonic whose checksum was verified; erased when dropped.
pub struct Mnemonic(bip39::Mnemonic);

impl Mnemonic {
    /// A new one of 24 English words from the system's randomness.
    ///
    /// # Errors
    /// [`GenerateError::Randomness`].
    pub fn generate() -> Result<Self, GenerateError> {
        let mut entropy = Zeroizing::new([0_u8; ENTROPY_BYTES]);
        getrandom::fill(entropy.as_mut_slice()).map_err(GenerateError::Randomness)?;
        // The length is one that BIP-39 knows, so nothing else can be wrong.
        bip39::Mnemonic::from_entropy(entropy.as_slice()).map(Self).map_err(|error| refusal(&error))
    }

    /// Reads words in any case and of any of BIP-39's languages, separated by any space.
    ///
    /// # Errors
    /// [`GenerateError`] that names the number of words, the place of the wrong word, or the checksum.
    pub fn parse(text: &str) -> Result<Self, GenerateError> {
        let lower = Zeroizing::new(text.to_lowercase());
        let normal = normalize(&lower);
        // Word lists share words, so a mnemonic may be one of several languages; its seed depends on the words alone.
        // The refusal that says most is the one of the language that knows the most words.
        let mut nearest = GenerateError::UnknownWord { position: 1 };
        for language in Language::ALL {
            match bip39::Mnemonic::parse_in_normalized(*language, &normal) {
                Ok(mnemonic) => return Ok(Self(mnemonic)),
                Err(error) => nearest = further(nearest, refusal(&error)),
            }
        }
        Err(nearest)
    }

    /// The words, separated by spaces.
    #[must_use]
    pub fn words(&self) -> Zeroizing<String> {
        // Reserved at once: a growing text would leave copies behind.
        let bytes = self.0.words().map(|word| word.len() + 1).sum();
        let mut words = Zeroizing::new(String::with_capacity(bytes));
        for word in self.0.words() {
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
        words
    }

    /// The seed under a passphrase, which may be empty. Another passphrase gives other keys, never an error.
    #[must_use]
    pub fn seed(&self, passphrase: &str) -> Seed {
        Seed(Zeroizing::new(self.0.to_seed_normalized(&normalize(passphrase))))
    }
}

impl fmt::Debug for Mnemonic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Mnemonic(hidden)")
    }
}

/// The root of all keys of a mnemonic; erased when dropped.
pub struct Seed(Zeroizing<[u8; SEED_BYTES]>);

impl Seed {
    /// The keys of one validator.
    ///
    /// # Errors
    /// [`GenerateError::Unreliable`], which a sound machine never reports.
    pub fn validator(&self, index: u32) -> Result<ValidatorKeys, GenerateError> {
        let master = SecretKey::derive_master(self.0.as_slice()).ok_or(GenerateError::Unreliable)?;
        ValidatorKeys::derive(&master, index).ok_or(GenerateError::Unreliable)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Seed(hidden)")
    }
}

//= BIP-39: "the mnemonic sentence (in UTF-8 NFKD)", "the string "mnemonic" + passphrase (again in UTF-8 NFKD)"
fn normalize(text: &str) -> Zeroizing<String> {
    // As in `Password`: NFKD makes at most 11 bytes of one, so no copy is left behind.
    let mut normal = Zeroizing::new(String::with_capacity(text.len() * 11));
    normal.extend(text.nfkd());
    normal
}

fn refusal(error: &bip39::Error) -> GenerateError {
    match *error {
        bip39::Error::BadWordCount(words) => GenerateError::WordCount { words },
        bip39::Error::UnknownWord(index) => GenerateError::UnknownWord { position: index + 1 },
        bip39::Error::InvalidChecksum => GenerateError::MnemonicChecksum,
        // Neither a length nor a language is guessed here.
        bip39::Error::BadEntropyBitCount(_) | bip39::Error::AmbiguousLanguages(_) => GenerateError::Unreliable,
    }
}

/// The refusal that is nearer to a mnemonic: any other one than an unknown word, else the later word.
fn further(one: GenerateError, other: GenerateError) -> GenerateError {
    let place = |error: &GenerateError| match error {
        GenerateError::UnknownWord { position } => Some(*position),
        GenerateError::WordCount { .. }
        | GenerateError::MnemonicChecksum
        | GenerateError::Randomness(_)
        | GenerateError::Amount { .. }
        | GenerateError::Unreliable
        | GenerateError::Keystore(_)
        | GenerateError::Write { .. } => None,
    };
    match (place(&one), place(&other)) {
        (Some(_), None) => other,
        (Some(first), Some(second)) if second > first => other,
        (Some(_) | None, Some(_) | None) => one,
    }
}

#[cfg(test)]
#[path = "mnemonic_tests.rs"]
mod tests;
