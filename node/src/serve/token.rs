//! The bearer token of the key manager API, from its file to its hash.

use super::ServeError;
use crate::files::{PrivateFileError, open_private};
use consigner_api::{TOKEN_BYTES_MAX, TokenError, TokenHash};
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
    /// It is no file, or not its owner's alone.
    #[error("keymanager.token-file")]
    Private(#[from] PrivateFileError),
    /// It holds no token.
    #[error("keymanager.token-file: {}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TokenError,
    },
}

/// A token and its file. Clones share the token.
#[derive(Debug, Clone)]
pub(super) struct TokenFile {
    path: PathBuf,
    hash: TokenHash,
}

impl TokenFile {
    pub(super) fn open(path: &Path) -> Result<Self, ServeError> {
        Ok(Self { path: path.to_owned(), hash: read(path)? })
    }

    /// What callers are held against, also after it was read again.
    pub(super) fn hash(&self) -> TokenHash {
        self.hash.clone()
    }

    /// Takes the token that lies in the file now; if there is none, the old one stays.
    pub(super) fn read_again(&self) -> Result<(), ServeError> {
        self.hash.replace(&read(&self.path)?);
        Ok(())
    }
}

/// Reads the token; its text is erased.
fn read(path: &Path) -> Result<TokenHash, ServeError> {
    let failed = |source| TokenFileError::Read { path: path.to_owned(), source };
    // Reserved at once: a growing text would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX + 1));
    let file = open_private(path).map_err(TokenFileError::from)?;
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text).map_err(failed)?;
    Ok(TokenHash::of(&text).map_err(|source| TokenFileError::Token { path: path.to_owned(), source })?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::report::one_line;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_token_that_others_may_read_is_refused_with_the_cure() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
        for mode in [0o640, 0o604, 0o620] {
            std::fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            let error = one_line(&read(&file).err().unwrap());
            let (name, mode) = (file.display(), format!("{mode:o}"));
            assert!(error.contains("keymanager.token-file") && error.contains(&mode), "{error}");
            assert!(error.contains(&format!("chmod 600 {name}")), "{error}");
        }
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        assert!(read(&file).is_ok());
    }

    #[test]
    fn what_is_no_file_is_said_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for path in [&pipe, dir.path()] as [&Path; 2] {
            let error = one_line(&read(path).err().unwrap());
            assert!(error.contains("is no file"), "{error}");
        }
    }
}
