//! The bearer token of the key manager API: only its hash is kept, and comparing takes the same time for any guess.
//!
//! In: the text of the operator's token file; what a request shows. Out: whether they agree. Deliberately absent:
//! reading the file (`node`), headers (`admission`), and the token itself after [`TokenHash::of`].

use sha2::{Digest as _, Sha256};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use subtle::ConstantTimeEq as _;

/// Shortest token that is taken, in characters. The specification of the API asks for 256 random bits; 32 characters of
/// an alphabet of 64 have 192, far beyond guessing, and what is shorter is rather a word.
pub const TOKEN_CHARS_MIN: usize = 32;

/// Longest token that is taken, in bytes: a header of that size is still cheap to hash.
pub const TOKEN_BYTES_MAX: usize = 4096;

/// SHA-256 over the token. Clones share it: [`TokenHash::replace`] counts for all of them.
#[derive(Clone)]
pub struct TokenHash(Arc<RwLock<[u8; 32]>>);

/// Why a text is no token. Never holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Too easy to guess.
    #[error(
        "the token has {chars} characters, fewer than {TOKEN_CHARS_MIN}; make one with: openssl rand -hex 32 \
         (surrounding white space does not count)"
    )]
    TooShort {
        /// Its length.
        chars: usize,
    },
    /// No header carries it.
    #[error("the token has {bytes} bytes, more than {TOKEN_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A header cannot carry it.
    #[error("the token holds other characters than visible ASCII; make one with: openssl rand -hex 32")]
    Characters,
}

impl TokenHash {
    /// Takes the content of a token file; white space around it, as an editor leaves it, does not belong to the token.
    ///
    /// # Errors
    /// [`TokenError`] for a token that is too short, too long, or cannot stand in a header.
    pub fn of(text: &str) -> Result<Self, TokenError> {
        let token = text.trim();
        if token.chars().any(|character| !character.is_ascii_graphic()) {
            return Err(TokenError::Characters);
        }
        if token.len() < TOKEN_CHARS_MIN {
            return Err(TokenError::TooShort { chars: token.len() });
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong { bytes: token.len() });
        }
        Ok(Self(Arc::new(RwLock::new(Sha256::digest(token.as_bytes()).into()))))
    }

    /// From now on the other token counts, and this one no more.
    pub fn replace(&self, other: &Self) {
        let hash = other.hash();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = hash;
    }

    fn hash(&self) -> [u8; 32] {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this is the token. Hashes of equal length are compared, without an early end.
    pub(crate) fn agrees(&self, guess: &[u8]) -> bool {
        let guess: [u8; 32] = Sha256::digest(guess).into();
        self.hash().ct_eq(&guess).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenHash(hidden)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn only_the_whole_token_is_right() {
        let hash = TokenHash::of(&format!("  {TOKEN}\r\n")).unwrap();
        assert!(hash.agrees(TOKEN.as_bytes()));
        for wrong in
            [TOKEN[1..].to_owned(), TOKEN.to_uppercase(), format!("{TOKEN}0"), format!(" {TOKEN}"), String::new()]
        {
            assert!(!hash.agrees(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn a_token_that_can_be_guessed_is_refused() {
        assert_eq!(TokenHash::of(&TOKEN[1..]).map(drop), Err(TokenError::TooShort { chars: 31 }));
        assert_eq!(TokenHash::of("").map(drop), Err(TokenError::TooShort { chars: 0 }));
        let long = "x".repeat(TOKEN_BYTES_MAX + 1);
        assert_eq!(TokenHash::of(&long).map(drop), Err(TokenError::TooLong { bytes: TOKEN_BYTES_MAX + 1 }));
        for foreign in [format!("{TOKEN} {TOKEN}"), format!("{TOKEN}é"), format!("{TOKEN}\n{TOKEN}")] {
            assert_eq!(TokenHash::of(&foreign).map(drop), Err(TokenError::Characters), "{foreign:?}");
        }
        let shown = format!("{:?} {}", TokenHash::of(TOKEN).unwrap(), TokenError::TooShort { chars: 3 });
        assert!(!shown.contains(TOKEN), "{shown}");
    }

    #[test]
    fn a_token_that_was_replaced_counts_no_more_for_nobody() {
        let (token, other) = (TokenHash::of(TOKEN).unwrap(), TokenHash::of(&TOKEN.replace('0', "1")).unwrap());
        let shared = token.clone();
        token.replace(&other);
        assert!(!shared.agrees(TOKEN.as_bytes()) && shared.agrees(TOKEN.replace('0', "1").as_bytes()));
    }
}
