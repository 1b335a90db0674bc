//! Settings of services that cannot be used, and files with credentials.
//!
//! In: paths. Out: their content in memory that erases itself, or why not. Deliberately absent: what the content means.

use std::io;
use std::path::PathBuf;

/// Settings with which no call can be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("cannot read the {what} {}", path.display())]
    Read {
        /// What should stand there.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file holds something else. Its content is never part of the error.
    #[error("{} is not a {what}: {problem}", path.display())]
    Content {
        /// What should stand there.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A value is wrong.
    #[error("{what}: {problem}")]
    Value {
        /// The setting.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

#[cfg(feature = "vault")]
pub(super) use files::{bytes, text};

#[cfg(feature = "vault")]
mod files {
    use super::ConfigError;
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use zeroize::Zeroizing;

    /// Tokens, secret ids and PEM chains are far shorter; anything longer is another kind of file.
    const BYTES_MAX: u64 = 64 * 1024;
    /// The bit that lets everybody read.
    const WORLD_READABLE: u32 = 0o004;

    /// The content of a file. Who may read it is the operator's business (a projected volume has a group), but all
    /// the world is worth a warning.
    pub(crate) fn bytes(what: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        let failed = |source| ConfigError::Read { what, path: path.to_path_buf(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let content_error = |problem| ConfigError::Content { what, path: path.to_path_buf(), problem };
        if !metadata.is_file() {
            return Err(content_error("not a regular file"));
        }
        if metadata.len() > BYTES_MAX {
            return Err(content_error("longer than 64 KiB"));
        }
        if metadata.permissions().mode() & WORLD_READABLE != 0 {
            tracing::debug!(file = %path.display(), what, "every user of this machine can read it");
        }
        // Reserved at once: a growing vector would leave copies behind.
        let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(BYTES_MAX).unwrap_or(0) + 1));
        file.take(BYTES_MAX).read_to_end(&mut content).map_err(failed)?;
        Ok(content)
    }

    /// One line of visible ASCII: what fits into a header and a JSON string.
    pub(crate) fn text(what: &'static str, path: &Path) -> Result<Zeroizing<String>, ConfigError> {
        let content = bytes(what, path)?;
        let line = content.trim_ascii();
        let text = std::str::from_utf8(line).ok().filter(|text| !text.is_empty() && text.bytes().all(is_visible));
        let problem = "not one line of printable text";
        let text = text.ok_or_else(|| ConfigError::Content { what, path: path.to_path_buf(), problem })?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    const fn is_visible(byte: u8) -> bool {
        byte.is_ascii_graphic()
    }
}
