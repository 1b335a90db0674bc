//! A passphrase instead of a key file: stretched with scrypt into the same 32 bytes on every node.
//!
//! In: a file that only its owner may read, and the cluster id. Out: a key. The salt is the cluster id, not random:
//! every node must derive the same key from the same passphrase without having met another node, and no two clusters
//! share a salt. Deliberately absent: what the key is used for.

use super::key_file::{self, KeyFileError};
use consigner_rules::primitives::ClusterId;
use std::path::Path;
use zeroize::Zeroizing;

/// The cost for whoever tries passphrases, and once per start for us: 128 MiB and about 0.4 s on one core.
//= OWASP Password Storage Cheat Sheet: scrypt with N=2^17, r=8, p=1
const LOG_N: u8 = 17;
const R: u32 = 8;
const P: u32 = 1;

/// Under this, scrypt alone is no protection for a backup in the wrong hands: use four words at least.
const PASSPHRASE_BYTES_MIN: usize = 16;
/// Nobody types more, and anything longer is another kind of file.
const PASSPHRASE_BYTES_MAX: usize = 1024;

const SALT_LABEL: &[u8; 29] = b"consigner passphrase, scrypt:";

/// Reads a passphrase (the file without its line end) and stretches it. Takes half a second and 128 MiB: not for the
/// threads of an asynchronous runtime.
///
/// # Errors
/// [`KeyFileError`] when the file cannot be read, is open to other users, or holds too short or too long a text.
pub(super) fn read(path: &Path, cluster_id: &ClusterId) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let content = key_file::read_private_file(path, PASSPHRASE_BYTES_MAX)?;
    let passphrase = without_line_end(&content);
    if !(PASSPHRASE_BYTES_MIN..=PASSPHRASE_BYTES_MAX).contains(&passphrase.len()) {
        return Err(KeyFileError::Passphrase { path: path.to_path_buf(), bytes_min: PASSPHRASE_BYTES_MIN });
    }
    Ok(stretch(passphrase, cluster_id, LOG_N))
}

fn without_line_end(content: &[u8]) -> &[u8] {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    content.strip_suffix(b"\r").unwrap_or(content)
}

fn stretch(passphrase: &[u8], cluster_id: &ClusterId, log_n: u8) -> Zeroizing<[u8; 32]> {
    let salt = [SALT_LABEL.as_slice(), cluster_id.as_bytes()].concat();
    let mut key = Zeroizing::new([0_u8; 32]);
    #[expect(clippy::expect_used, reason = "constants; every start with a passphrase runs this line")]
    let parameters = scrypt::Params::new(log_n, R, P).expect("parameters in scrypt's range");
    #[expect(clippy::expect_used, reason = "scrypt refuses outputs of no bytes and of more than 128 GiB only")]
    scrypt::scrypt(passphrase, &salt, &parameters, key.as_mut_slice()).expect("32 bytes");
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_depends_on_passphrase_and_cluster_and_on_nothing_else() {
        let key = |text: &[u8], cluster: u8| hex::encode(stretch(text, &ClusterId([cluster; 16]), 4).as_slice());
        assert_eq!(key(b"correct horse battery", 1), key(b"correct horse battery", 1));
        assert_ne!(key(b"correct horse battery", 1), key(b"correct horse battery", 2));
        assert_ne!(key(b"correct horse battery", 1), key(b"correct horse batterz", 1));
    }

    #[test]
    fn only_one_line_end_is_not_part_of_the_passphrase() {
        for (content, passphrase) in [("a b", "a b"), ("a b\n", "a b"), ("a b\r\n", "a b"), (" a b \n\n", " a b \n")] {
            assert_eq!(without_line_end(content.as_bytes()), passphrase.as_bytes());
        }
    }
}
