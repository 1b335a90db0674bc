//! What the tests of keystores share.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stderr, reason = "tests; not every test uses all of it")]

use consigner_keys::SecretKey;
use consigner_keys::development::interop_secret;
use consigner_keys::keystore::{Kdf, Keystore, KeystoreError, Password};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Cheap enough for hundreds of keystores in a debug build.
pub const WEAK: Kdf = Kdf::Pbkdf2 { c: 2 };

/// The password of ERC-2335's test cases.
pub const ERC_PASSWORD: &str = "𝔱𝔢𝔰𝔱𝔭𝔞𝔰𝔰𝔴𝔬𝔯𝔡🔑";
/// The secret of ERC-2335's test cases.
pub const ERC_SECRET: &str = "0x000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f";

/// A folder of the official vectors, or nothing (said plainly) when there are none here.
pub fn vectors(folder: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors");
    let folder = std::env::var_os("CONSIGNER_VECTORS").map_or_else(beside, PathBuf::from).join(folder);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: no vectors at {} (set CONSIGNER_VECTORS)", folder.display());
    None
}

/// A keystore of an interop key, cheap to open.
pub fn keystore(index: u64, password: &str) -> Keystore {
    Keystore::encrypt(&interop_secret(index), &Password::new(password), "", WEAK).unwrap()
}

/// The public key of an interop key as folders and files are named after it.
pub fn name(index: u64) -> String {
    interop_secret(index).public_key().to_string()
}

/// Whether two secrets are the same key; outside the crate that shows in their public keys alone.
pub fn same(one: &SecretKey, other: &SecretKey) -> bool {
    one.public_key() == other.public_key()
}

/// Writes a file that only its owner may read, with its directories.
pub fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A keystore that opens with "password"; tests break one thing at a time.
pub fn document() -> Value {
    serde_json::from_str(&keystore(0, "password").to_json()).unwrap()
}

/// Reads a document as if it were a file.
pub fn parse(document: &Value) -> Result<Keystore, KeystoreError> {
    Keystore::parse(document.to_string().as_bytes())
}
