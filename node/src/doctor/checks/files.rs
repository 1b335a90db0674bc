//! Permissions and owners.

use super::super::finding::Verdict;
use consigner_keys::source::Reader;
use std::path::PathBuf;

/// Bits by which the group or anybody may change a file.
const FOREIGN_WRITE_BITS: u32 = 0o022;

/// Bits by which anybody may look into a directory.
const FOREIGN_BITS: u32 = 0o077;

/// A file or directory as the system describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What a file must keep to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Its content is secret.
    Secret,
    /// Others may read it, but nobody else may change it.
    Unchanged,
    /// A directory that others have no business in.
    OwnDirectory,
}

/// The permissions of a file, for the user that the node runs as.
#[must_use]
pub fn permissions(what: &str, entry: &Entry, need: Need, node: &Reader) -> Verdict {
    let Entry { path, mode, uid, gid } = entry;
    let path = path.display();
    let foreign = match need {
        Need::Secret => node.foreign_bits(*mode, *uid, *gid),
        Need::Unchanged => mode & FOREIGN_WRITE_BITS,
        Need::OwnDirectory => mode & FOREIGN_BITS,
    };
    let reason = format!("{what}: {path} has mode {mode:03o}");
    if foreign == 0 {
        return Verdict::pass(reason);
    }
    match need {
        Need::Secret => Verdict::fail(format!("{reason}; others can read or change it"), format!("chmod 600 {path}")),
        Need::Unchanged => Verdict::fail(format!("{reason}; others can change it"), format!("chmod go-w {path}")),
        Need::OwnDirectory if foreign & FOREIGN_WRITE_BITS != 0 => {
            Verdict::fail(format!("{reason}; others can exchange files in it"), format!("chmod 700 {path}"))
        }
        Need::OwnDirectory => Verdict::warn(
            format!("{reason}; others can see and maybe read what lies in it (histories, public keys, addresses)"),
            format!("chmod 700 {path}"),
        ),
    }
}

/// Whether a file belongs to the node's user or to root: every other owner could exchange it.
#[must_use]
pub fn owner(entry: &Entry, node_uid: u32) -> Verdict {
    let Entry { path, uid, .. } = entry;
    let path = path.display();
    if *uid == node_uid || *uid == 0 {
        return Verdict::pass("");
    }
    Verdict::fail(
        format!("{path} belongs to user {uid}, the node runs as {node_uid}: that user can exchange it"),
        format!("chown root or {node_uid}: {path}"),
    )
}

/// A file that is named and cannot be looked at.
#[must_use]
pub fn missing(what: &str, path: &std::path::Path, error: &std::io::Error) -> Verdict {
    let reason = format!("{what}: {} cannot be looked at: {error}", path.display());
    if error.kind() == std::io::ErrorKind::PermissionDenied {
        return Verdict::skip(format!("{reason} (run doctor as the node's user)"));
    }
    Verdict::fail(reason, "name a file that is there")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::super::finding::Status::{Fail, Pass, Skip, Warn};
    use super::*;
    use std::io::{Error, ErrorKind};

    #[test]
    fn modes() {
        let node = Reader { uid: 1000, groups: vec![1000, 2000] };
        for (mode, uid, gid, need, status) in [
            (0o600, 1000, 1000, Need::Secret, Pass),
            (0o400, 1000, 1000, Need::Secret, Pass),
            (0o640, 1000, 1000, Need::Secret, Fail),
            (0o604, 1000, 1000, Need::Secret, Fail),
            // A Kubernetes volume with fsGroup: the node reads by the group, and only so.
            (0o440, 0, 2000, Need::Secret, Pass),
            (0o444, 0, 2000, Need::Secret, Fail),
            (0o440, 0, 3000, Need::Secret, Fail),
            (0o644, 1000, 1000, Need::Unchanged, Pass),
            (0o664, 1000, 1000, Need::Unchanged, Fail),
            (0o646, 1000, 1000, Need::Unchanged, Fail),
            (0o700, 1000, 1000, Need::OwnDirectory, Pass),
            (0o755, 1000, 1000, Need::OwnDirectory, Warn),
            (0o777, 1000, 1000, Need::OwnDirectory, Fail),
        ] {
            let entry = Entry { path: "/x".into(), mode, uid, gid };
            assert_eq!(permissions("x", &entry, need, &node).status, status, "{mode:o} {uid}:{gid} {need:?}");
        }
    }

    #[test]
    fn owners_and_what_is_not_there() {
        for (uid, status) in [(1000, Pass), (0, Pass), (1001, Fail)] {
            let entry = Entry { path: "/x".into(), mode: 0o600, uid, gid: 0 };
            assert_eq!(owner(&entry, 1000).status, status, "{uid}");
        }
        for (kind, status) in [(ErrorKind::NotFound, Fail), (ErrorKind::PermissionDenied, Skip)] {
            assert_eq!(missing("x", std::path::Path::new("/x"), &Error::from(kind)).status, status);
        }
    }
}
