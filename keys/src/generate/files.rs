//! Files as the deposit command line tool names them, readable by their owner only.
//!
//! In: names and contents. Out: files that are durable when the call returns. Deliberately absent: overwriting.

use super::error::GenerateError;
use super::validator::ValidatorKeys;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The name of a keystore file, such as `keystore-m_12381_3600_0_0_0-1700000000.json`; the time is in seconds since the
/// Unix epoch.
#[must_use]
pub fn keystore_file_name(keys: &ValidatorKeys, unix_time_s: u64) -> String {
    format!("keystore-{}-{unix_time_s}.json", keys.path().replace('/', "_"))
}

/// The name of the launchpad's file, such as `deposit_data-1700000000.json`.
#[must_use]
pub fn deposit_data_file_name(unix_time_s: u64) -> String {
    format!("deposit_data-{unix_time_s}.json")
}

/// Writes a new file of mode 600, durable before the call returns.
///
/// # Errors
/// [`GenerateError::Write`] when the file exists or cannot be written; a partial file is removed.
pub fn write_private(path: &Path, content: &[u8]) -> Result<(), GenerateError> {
    let failed = |source| GenerateError::Write { path: path.to_path_buf(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let written = file.write_all(content).and_then(|()| file.sync_all()).and_then(|()| sync_parent(path));
    written.map_err(|error| {
        // Ours alone: `create_new` made it a moment ago. What the first error says matters more than this one.
        let _ = fs::remove_file(path);
        failed(error)
    })
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}
