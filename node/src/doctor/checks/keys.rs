//! Validator keys and what seals them.

use super::super::finding::Verdict;
use crate::client::keys::DataKeyEntry;
use std::path::{Path, PathBuf};

/// A master key that is older should be exchanged. Cryptographic periods of key-wrapping keys are one to two years
/// (NIST SP 800-57 part 1, 5.3.6).
const MASTER_KEY_DAYS_MAX: u64 = 365;

/// What wraps the data keys, by its word in the configuration.
#[must_use]
pub fn sealer(kind: &str, passphrase: bool) -> Verdict {
    let fix = "set up keys.sealer.aws-kms or keys.sealer.vault-transit beside it, set keys.sealer.use, then run \
               `consigner keys rewrap`";
    match (kind, passphrase) {
        ("local", true) => Verdict::warn("a passphrase file on the node opens all keys of a copied disk", fix),
        ("local", false) => Verdict::warn("a key file on the node opens all keys of a copied disk", fix),
        (other, _) => Verdict::pass(format!("{other} wraps the data keys; whoever copies the disk needs its consent")),
    }
}

/// Whether a copy of the data directory would hold what opens it.
#[must_use]
pub fn at_rest(kind: &str, local_secrets: &[PathBuf], data_dir: Option<&Path>) -> Verdict {
    let Some(data_dir) = data_dir else { return Verdict::skip("node.data-dir is not set") };
    match local_secrets.iter().find(|file| file.starts_with(data_dir)) {
        Some(file) => Verdict::fail(
            format!("{} lies in the data directory: every copy of it holds the key as well", file.display()),
            "move the key file to other media and keep it out of the backup of the data directory",
        ),
        None => Verdict::pass(format!("keys lie in the data directory under AES-256-GCM only, wrapped by {kind}")),
    }
}

/// Keys that everybody knows, or that lie in the clear.
#[must_use]
pub fn development(interop: u64, raw_keys: Option<&Path>, only_this_machine: bool) -> Verdict {
    let fix = "take keys.import away; bring real keys with `consigner keys import`";
    match (interop, raw_keys) {
        (_, Some(file)) => Verdict::fail(format!("{} holds validator keys in the clear", file.display()), fix),
        (0, None) => Verdict::pass("no key of keys.import"),
        (count, None) if only_this_machine => Verdict::warn(
            format!(
                "{count} interop keys, which everybody knows (all doors are of this machine only: a development node)"
            ),
            fix,
        ),
        (count, None) => Verdict::fail(format!("{count} interop keys, which everybody knows"), fix),
    }
}

/// How keys were made.
#[must_use]
pub fn generation(development: bool) -> Verdict {
    if development {
        return Verdict::warn(
            "keys of keys.import were not made in secret",
            "make keys with `consigner keys generate`, away from the network",
        );
    }
    Verdict::skip(
        "nobody can see afterwards how a key was made; `consigner keys generate` takes the system's randomness",
    )
}

/// Earlier keys that still open, and the age of the key file.
#[must_use]
pub fn rotation(previous: usize, age_days: Option<u64>, kind: &str) -> Verdict {
    if previous > 0 {
        return Verdict::warn(
            format!("{previous} earlier key files or passphrases still open keys"),
            "finish with `consigner keys rewrap`, then take keys.sealer.local.previous-* away",
        );
    }
    match age_days {
        Some(days) if days > MASTER_KEY_DAYS_MAX => Verdict::warn(
            format!("the local key file is {days} days old"),
            "put a new key-file beside it (the old one to previous-key-files), restart, `consigner keys rewrap`",
        ),
        Some(days) => Verdict::pass(format!("the local key file is {days} days old, none is left from before")),
        None if kind == "local" => Verdict::skip("the age of the local key is not to be seen"),
        None => Verdict::skip(format!("{kind} rotates its master key by its own rules, which are not asked from here")),
    }
}

/// Whether every data key of the cluster is open on the asked node and wrapped by what is in use. When a data key was
/// made, the cluster does not record.
#[must_use]
pub fn data_keys(in_use: &str, keys: &[DataKeyEntry]) -> Verdict {
    let fix = "`consigner keys rewrap`";
    let look = |key: &DataKeyEntry| {
        let id: String = key.id.chars().take(8).collect();
        if !key.open {
            let why = key.error.as_deref().unwrap_or("no reason given");
            return Verdict::fail(format!("data key {id} is not open: {why}"), "mend the sealer that it names");
        }
        if key.sealer != in_use {
            let reason = format!("data key {id} is wrapped by {}, but {in_use} is in use", key.sealer);
            return Verdict::warn(reason, fix);
        }
        if !key.current {
            return Verdict::warn(format!("data key {id} is not under the current master key of {in_use}"), fix);
        }
        Verdict::pass("")
    };
    let count = keys.len();
    let good = format!("{count} data key(s), all under the current master key of {in_use}; their age is not recorded");
    Verdict::worst(keys.iter().map(look), good)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::super::finding::Status::{self, Fail, Pass, Skip, Warn};
    use super::*;

    #[test]
    fn sealers() {
        for (kind, passphrase, status) in
            [("local", false, Warn), ("local", true, Warn), ("aws-kms", false, Pass), ("vault-transit", false, Pass)]
        {
            assert_eq!(sealer(kind, passphrase).status, status, "{kind}");
        }
    }

    #[test]
    fn a_key_file_beside_what_it_opens_is_no_encryption() {
        for (file, status) in [("/var/lib/c/sealing.key", Fail), ("/etc/c/sealing.key", Pass), ("/var/lib/c2/k", Pass)]
        {
            let verdict = at_rest("local", &[file.into()], Some(Path::new("/var/lib/c")));
            assert_eq!(verdict.status, status, "{file}");
        }
        assert_eq!(at_rest("local", &[], None).status, Skip);
    }

    #[test]
    fn development_keys() {
        let raw = Path::new("/k");
        for (interop, raw, local, status) in
            [(0, None, false, Pass), (64, None, true, Warn), (64, None, false, Fail), (0, Some(raw), true, Fail)]
        {
            assert_eq!(development(interop, raw, local).status, status, "{interop} {raw:?} {local}");
        }
        assert_eq!((generation(true).status, generation(false).status), (Warn, Skip));
    }

    #[test]
    fn rotations() {
        for (previous, age, kind, status) in [
            (0, Some(3), "local", Pass),
            (0, Some(366), "local", Warn),
            (1, Some(3), "local", Warn),
            (0, None, "local", Skip),
            (0, None, "aws-kms", Skip),
        ] {
            assert_eq!(rotation(previous, age, kind).status, status, "{previous} {age:?} {kind}");
        }
    }

    #[test]
    fn data_keys_that_are_closed_or_left_behind() {
        let key = |sealer: &str, current, open| DataKeyEntry {
            id: "0011223344556677".into(),
            sealer: sealer.into(),
            current,
            open,
            keys: 1,
            waiting_keys: 0,
            error: None,
        };
        let cases: [(&[DataKeyEntry], Status); 5] = [
            (&[], Pass),
            (&[key("local", true, true)], Pass),
            (&[key("local", true, true), key("local", false, true)], Warn),
            (&[key("aws-kms", true, true)], Warn),
            (&[key("local", false, true), key("local", true, false)], Fail),
        ];
        for (keys, status) in cases {
            assert_eq!(data_keys("local", keys).status, status, "{keys:?}");
        }
    }
}
