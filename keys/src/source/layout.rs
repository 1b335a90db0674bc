//! Finds the keystores in a directory of any client.
//!
//! | client | keystores | passwords |
//! |---|---|---|
//! | Lighthouse, Lodestar | `<public key>/voting-keystore.json` or an imported file's name | `secrets/<public key>` |
//! | Nimbus | `<public key>/keystore.json` | `secrets/<public key>` |
//! | Teku, Web3Signer | `<name>.json` | `<name>.txt` in a directory of passwords |
//! | deposit CLI | `keystore-m_....json` beside `deposit_data-....json` | none |
//! | Prysm | `direct/accounts/all-accounts.keystore.json`, all keys in one file | one file |
//!
//! In: a path. Out: paths of keystores. Deliberately absent: reading them.

use super::error::SourceError;
use super::files::list;
use consigner_rules::PublicKey;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Keystores that one directory may have; twice what the largest operators are known to run in one place.
pub const KEYSTORES_MAX: usize = 200_000;

/// What [`find`] takes, for the error of an empty directory.
pub(super) const LOOKED_FOR: &str = "*.json, <public key>/*.json, both also below validators, keystores, keys and \
                                     validator_keys, and Prysm's all-accounts.keystore.json";

/// Folders of a client's data directory that hold its keystores.
const FOLDERS: &[&str] = &["validators", "keystores", "keys", "validator_keys"];
/// Where Prysm's wallet has its one file, below the wallet, below `direct`, or right there.
const WALLET_PLACES: &[&str] = &["", "accounts", "direct/accounts", "imported/accounts"];
const WALLET_FILE: &str = "all-accounts.keystore.json";
/// Nimbus: a key that lies with another signer.
const REMOTE_KEYSTORE_FILE: &str = "remote_keystore.json";
/// What the deposit CLI writes beside its keystores.
const DEPOSIT_DATA_PREFIX: &str = "deposit_data";

/// A file that should be a keystore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeystoreFile {
    /// The file.
    pub(super) path: PathBuf,
    /// What password files are named after: the folder of the key, or the file without `.json`.
    pub(super) name: String,
    /// The directory beside which clients have their folder of passwords.
    pub(super) root: PathBuf,
}

/// What a directory holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// One keystore for each key.
    Keystores(Vec<KeystoreFile>),
    /// Wallets of Prysm.
    Wallets(Vec<KeystoreFile>),
}

/// Looks for keystores in a directory, or takes a single file.
pub(super) fn find(path: &Path) -> Result<Found, SourceError> {
    if path.is_file() {
        let file = keystore_file(path.to_path_buf(), None);
        return Ok(if is_named(path, WALLET_FILE) { Found::Wallets(vec![file]) } else { Found::Keystores(vec![file]) });
    }
    let wallets = wallets(path);
    if !wallets.is_empty() {
        return Ok(Found::Wallets(wallets));
    }
    let mut keystores = keystores(path)?;
    for folder in FOLDERS {
        let folder = path.join(folder);
        if keystores.is_empty() && folder.is_dir() {
            keystores = self::keystores(&folder)?;
        }
    }
    if keystores.is_empty() {
        return Err(SourceError::NoKeystores { path: path.to_path_buf(), looked_for: LOOKED_FOR });
    }
    Ok(Found::Keystores(keystores))
}

fn wallets(path: &Path) -> Vec<KeystoreFile> {
    let files = WALLET_PLACES.iter().map(|place| path.join(place).join(WALLET_FILE));
    files.filter(|file| file.is_file()).map(|file| keystore_file(file, None)).collect()
}

fn keystores(directory: &Path) -> Result<Vec<KeystoreFile>, SourceError> {
    let mut files = Vec::new();
    for entry in list(directory)? {
        if is_candidate(&entry) {
            files.push(keystore_file(entry, None));
        } else if let Some(name) = key_folder(&entry) {
            let inner = list(&entry)?.into_iter().filter(|file| is_candidate(file));
            files.extend(inner.map(|file| keystore_file(file, Some(&name))));
        }
        if files.len() > KEYSTORES_MAX {
            return Err(SourceError::TooMany { path: directory.to_path_buf(), files_max: KEYSTORES_MAX });
        }
    }
    Ok(files)
}

/// Anything that ends in `.json` and is no directory: a damaged link must become an error, not be passed over.
fn is_candidate(path: &Path) -> bool {
    let other = is_named(path, REMOTE_KEYSTORE_FILE) || name(path).starts_with(DEPOSIT_DATA_PREFIX);
    path.extension() == Some(OsStr::new("json")) && !other && !path.is_dir()
}

/// The name of a folder that is named after a validator.
fn key_folder(path: &Path) -> Option<String> {
    let name = name(path);
    (name.parse::<PublicKey>().is_ok() && path.is_dir()).then_some(name)
}

fn keystore_file(path: PathBuf, folder: Option<&str>) -> KeystoreFile {
    let stem = || path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let name = folder.map_or_else(stem, str::to_owned);
    let parent = path.parent().unwrap_or(Path::new(""));
    let root = if folder.is_some() { parent.parent().unwrap_or(Path::new("")) } else { parent };
    KeystoreFile { root: root.to_path_buf(), name, path }
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn is_named(path: &Path, expected: &str) -> bool {
    path.file_name() == Some(OsStr::new(expected))
}
