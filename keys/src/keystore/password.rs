//! Passwords as EIP-2335 wants them.
//!
//! In: text as a person or a file gives it. Out: the bytes that go into the key derivation, erased when dropped.
//! Deliberately absent: any rule on strength (operators import what they have).

use std::fmt;
use std::sync::Arc;
use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

/// A normalised password; clones share one piece of memory, which is erased with the last of them.
#[derive(Clone)]
pub struct Password(Arc<Zeroizing<Vec<u8>>>);

impl Password {
    /// Normalises a text. The caller erases its own copy.
    //= EIP-2335: "The password is a string of arbitrary unicode characters. The password is first converted to its
    //= NFKD representation, then the control codes (specified below) are stripped from the password and finally it is
    //= UTF-8 encoded." "The control codes that should be stripped from the password are the C0, C1, and Delete control
    //= codes."
    #[must_use]
    pub fn new(text: &str) -> Self {
        // NFKD makes at most 11 scalars of one (U+FDFA: 18 characters of 33 bytes out of 3), so nothing is reallocated
        // and no copy is left behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() * NFKD_GROWTH_MAX));
        let mut utf8 = [0_u8; 4];
        for character in text.nfkd().filter(|character| !character.is_control()) {
            bytes.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
        }
        utf8.fill(0);
        Self(Arc::new(bytes))
    }

    /// Whether nothing is left after normalisation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes for the key derivation.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(hidden)")
    }
}

/// Bytes of UTF-8 that NFKD makes at most of one byte of UTF-8: Unicode Technical Report 36 gives a factor of 11.
const NFKD_GROWTH_MAX: usize = 11;
