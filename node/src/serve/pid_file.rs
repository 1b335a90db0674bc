//! The file that holds the process id while the node runs.

use crate::files;
use std::path::{Path, PathBuf};

/// Removed when dropped.
#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    /// Writes the file, over one that a killed node left behind.
    ///
    /// # Errors
    /// What the system said.
    pub fn write(path: &Path) -> std::io::Result<Self> {
        files::replace(path, format!("{}\n", std::process::id()).as_bytes(), files::PUBLIC)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_file(&self.0);
    }
}
