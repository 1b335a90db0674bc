//! The bearer token of the key manager API, from its file to its hash.

use super::ServeError;
use consigner_api::{TOKEN_BYTES_MAX, TokenError, TokenHash};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Room for white space around the longest token.
const FILE_BYTES_MAX: usize = TOKEN_BYTES_MAX + 64;

/// Why a token file cannot be used. Never holds the token.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// It cannot be read.
    #[error("keymanager.token-file: {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It holds no token.
    #[error("keymanager.token-file: {}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TokenError,
    },
}

/// Reads the token; its text is erased.
pub(super) fn read(path: &Path) -> Result<TokenHash, ServeError> {
    let failed = |source| TokenFileError::Read { path: path.to_owned(), source };
    // Reserved at once: a growing text would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX + 1));
    let file = File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    Ok(TokenHash::of(&text).map_err(|source| TokenFileError::Token { path: path.to_owned(), source })?)
}
