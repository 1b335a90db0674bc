//! The token with which this node may join a cluster: its hash, read from the file when a leader asks for it.
//!
//! Read late because the operator may put the file there after the start, and take it away after the node has joined.

use crate::files::open_private;
use consigner_raft::{JoinTokenHash, join_token_hash};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Far longer than a token.
const FILE_BYTES_MAX: usize = 1024;

/// The hash of what lies in the file now; `None` with a line in the log, if there is nothing.
pub(super) fn reader(file: Option<PathBuf>) -> JoinTokenHash {
    std::sync::Arc::new(move || {
        let file = file.as_deref()?;
        read(file).inspect_err(|why| tracing::warn!(why, "cluster.join-token-file cannot be used")).ok()
    })
}

fn read(file: &Path) -> Result<[u8; 32], String> {
    // Reserved at once: a growing text would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX + 1));
    let opened = open_private(file).map_err(|error| crate::report::one_line(&error))?;
    let length = opened.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text);
    match length.map_err(|error| error.to_string())? {
        0 => Err(format!("{} is empty", file.display())),
        length if length > FILE_BYTES_MAX => Err(format!("{} holds no join token", file.display())),
        _ => Ok(join_token_hash(&text)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::files;

    #[test]
    fn what_lies_in_the_file_when_it_is_asked_for_counts() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("join-token");
        let hash = reader(Some(file.clone()));
        assert_eq!(hash(), None, "not there yet");
        files::create(&file, b"cjt_0011_2233\n", files::SECRET).unwrap();
        assert_eq!(hash(), Some(join_token_hash("cjt_0011_2233")));
        std::fs::remove_file(&file).unwrap();
        files::create(&file, b"cjt_0011_2233", files::PUBLIC).unwrap();
        assert_eq!(hash(), None, "open to others");
        assert_eq!(reader(None)(), None);
    }
}
