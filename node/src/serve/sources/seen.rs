//! The public keys that sources do not import (again), remembered over restarts.
//!
//! In: keys that were imported from a source or seen in the cluster, keys that were deleted. Out: whether a key may be
//! imported from a source. A key is imported from sources once per data directory: what an operator deletes later must
//! not come back with the next start, least of all when it signs somewhere else by then. Deliberately absent: secrets.

use crate::files;
use consigner_rules::PublicKey;
use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Name of the file in the data directory.
const FILE: &str = "sources.seen";

/// First line of the file, with its version.
const HEAD: &str = "consigner: keys that sources do not import again, version 1\n";

/// The file and what it says.
#[derive(Debug)]
pub struct Seen {
    path: PathBuf,
    keys: HashSet<PublicKey>,
}

impl Seen {
    /// Reads the file, if there is one. A last line that a crash cut off is dropped.
    ///
    /// # Errors
    /// What the system said, or a line that no version of this program writes.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        if text.is_empty() {
            return Ok(Self { path, keys: HashSet::new() });
        }
        let Some(lines) = text.strip_prefix(HEAD) else {
            return Err(io::Error::other(format!("{} is not of this version", path.display())));
        };
        let whole = lines.rfind('\n').map_or("", |end| &lines[..=end]);
        let keys = whole.lines().enumerate().map(|(position, line)| {
            let wrong = |_| io::Error::other(format!("{}:{}: no public key", path.display(), position + 2));
            line.parse::<PublicKey>().map_err(wrong)
        });
        let seen = Self { keys: keys.collect::<io::Result<_>>()?, path };
        if whole.len() < lines.len() {
            // Appending would join the next key to the torn one.
            files::replace(&seen.path, format!("{HEAD}{whole}").as_bytes(), files::PUBLIC)?;
        }
        Ok(seen)
    }

    /// Whether sources leave this key alone.
    #[must_use]
    pub fn contains(&self, public_key: &PublicKey) -> bool {
        self.keys.contains(public_key)
    }

    /// Remembers keys, durably before it returns.
    ///
    /// # Errors
    /// What the system said; nothing is remembered then.
    pub fn remember(&mut self, public_keys: impl IntoIterator<Item = PublicKey>) -> io::Result<()> {
        let new: HashSet<PublicKey> = public_keys.into_iter().filter(|key| !self.keys.contains(key)).collect();
        if new.is_empty() {
            return Ok(());
        }
        if !self.path.exists() {
            files::create(&self.path, HEAD.as_bytes(), files::PUBLIC)?;
        }
        let lines: String = new.iter().map(|key| format!("{key}\n")).collect();
        let mut file = OpenOptions::new().append(true).open(&self.path)?;
        file.write_all(lines.as_bytes())?;
        file.sync_data()?;
        self.keys.extend(new);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_remembered_is_still_known_after_a_restart_and_a_torn_write() {
        let dir = tempfile::tempdir().unwrap();
        let keys = [PublicKey([1; 48]), PublicKey([2; 48]), PublicKey([3; 48])];
        let mut seen = Seen::open(dir.path()).unwrap();
        assert!(!dir.path().join(FILE).exists(), "no file before there is something to say");
        seen.remember([keys[0]]).unwrap();
        seen.remember([keys[0], keys[1]]).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join(FILE)).unwrap().lines().count(), 3);

        let mut file = OpenOptions::new().append(true).open(dir.path().join(FILE)).unwrap();
        file.write_all(b"0x0303").unwrap();
        let mut seen = Seen::open(dir.path()).unwrap();
        assert!(seen.contains(&keys[0]) && seen.contains(&keys[1]) && !seen.contains(&keys[2]));
        seen.remember([keys[2]]).unwrap();
        assert!(Seen::open(dir.path()).unwrap().contains(&keys[2]));
    }

    #[test]
    fn a_file_of_another_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), "consigner: version 2\n").unwrap();
        assert!(Seen::open(dir.path()).is_err());
        std::fs::write(dir.path().join(FILE), format!("{HEAD}0x12\n")).unwrap();
        assert!(Seen::open(dir.path()).unwrap_err().to_string().contains(":2: no public key"));
    }
}
