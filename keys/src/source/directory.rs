//! A directory of keystores, of whichever client.
//!
//! In: a directory and the place of its passwords. Out: one candidate for each keystore, readable or not. Deliberately
//! absent: decryption (see `loading`), and the layouts themselves (see `layout`).

use super::error::SourceError;
use super::files::{self, LooseFiles, Warning};
use super::layout::{self, Found, KeystoreFile, LOOKED_FOR};
use super::passwords::{Finder, Passwords};
use super::{Candidate, Material};
use crate::keystore::{KEYSTORE_BYTES_MAX, Keystore, KeystoreError, Password, WALLET_BYTES_MAX};
use consigner_rules::PublicKey;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Keystores in a directory (or one keystore file), with the place of their passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectorySource {
    /// The directory; the client's layout is recognised.
    pub keystores: PathBuf,
    /// Where their passwords are.
    pub passwords: Passwords,
}

impl DirectorySource {
    /// As [`Self::read_with`], with a warning for files that other users can read: for an operator's own machine.
    ///
    /// # Errors
    /// As [`Self::read_with`].
    pub fn read(&self) -> Result<Vec<Candidate>, SourceError> {
        self.read_with(LooseFiles::Warn)
    }

    /// Reads all keystores and passwords; decrypts nothing. Blocks on files: not for a thread of the runtime.
    ///
    /// A keystore or password that cannot be used becomes a failed candidate; so does one that other users can read,
    /// unless `loose` lets it pass. Documents that are evidently something
    /// else (a JSON list, an EIP-3076 interchange) are passed over.
    ///
    /// # Errors
    /// [`SourceError`] when the directory, the one password file or the directory of passwords cannot be read, and
    /// [`SourceError::NoKeystores`] when there is nothing to read.
    pub fn read_with(&self, loose: LooseFiles) -> Result<Vec<Candidate>, SourceError> {
        let (files, bytes_max, pack): (_, _, Pack) = match layout::find(&self.keystores)? {
            Found::Keystores(files) => (files, KEYSTORE_BYTES_MAX, keystore_material),
            Found::Wallets(files) => (files, WALLET_BYTES_MAX, wallet_material),
        };
        let finder = self.passwords.finder(files.iter().map(|file| file.root.as_path()), loose)?;
        let mut open = OpenKeystores { loose, first: None, count: 0 };
        let mut candidates = Vec::with_capacity(files.len());
        for file in &files {
            candidates.extend(read_one(file, bytes_max, (&finder, pack), &mut open));
        }
        if candidates.is_empty() {
            return Err(SourceError::NoKeystores { path: self.keystores.clone(), looked_for: LOOKED_FOR });
        }
        if matches!(finder, Finder::One(_)) {
            // One file serves all: what is to be said about it is said once.
            candidates.iter_mut().skip(1).for_each(|candidate| candidate.warnings.clear());
        }
        if let Some(first) = candidates.first_mut() {
            first.warnings.extend(open.warning());
        }
        Ok(candidates)
    }
}

/// Keystores that others can read: what is to be said of them is said once.
struct OpenKeystores {
    loose: LooseFiles,
    first: Option<(PathBuf, u32)>,
    count: usize,
}

impl OpenKeystores {
    fn note(&mut self, path: &Path, mode: Option<u32>) -> Result<(), SourceError> {
        let Some(mode) = mode else { return Ok(()) };
        if self.loose == LooseFiles::Refuse {
            return Err(SourceError::OpenToOthers { path: path.to_path_buf(), mode });
        }
        self.first.get_or_insert_with(|| (path.to_path_buf(), mode));
        self.count += 1;
        Ok(())
    }

    fn warning(self) -> Option<Warning> {
        let Self { first, count, .. } = self;
        first.map(|(path, mode)| Warning::KeystoresOpenToOthers { path, mode, count })
    }
}

type Pack = fn(Box<Keystore>, Password) -> Material;

fn keystore_material(keystore: Box<Keystore>, password: Password) -> Material {
    Material::Keystore { keystore, password }
}

fn wallet_material(keystore: Box<Keystore>, password: Password) -> Material {
    Material::Wallet { keystore, password }
}

/// A candidate, or nothing if the file is evidently no keystore.
fn read_one(
    file: &KeystoreFile,
    bytes_max: usize,
    (finder, pack): (&Finder, Pack),
    open: &mut OpenKeystores,
) -> Option<Candidate> {
    let origin = file.path.display().to_string();
    let named = file.name.parse::<PublicKey>().ok();
    let read = read_keystore(&file.path, bytes_max).and_then(|read| match read {
        Some((keystore, mode)) => open.note(&file.path, mode).map(|()| Some(keystore)),
        None => Ok(None),
    });
    let keystore = match read {
        Ok(Some(keystore)) => keystore,
        Ok(None) => {
            tracing::debug!(file = origin, "passed over: JSON, but no keystore");
            return None;
        }
        Err(error) => return Some(Candidate::failed(origin, named, error)),
    };
    let public_key = keystore.public_key().or(named);
    let found = match finder.find(file, public_key.as_ref()) {
        Ok(found) => found,
        Err(error) => return Some(Candidate::failed(origin, public_key, error)),
    };
    let material = pack(Box::new(keystore), found.password);
    Some(Candidate { warnings: found.warnings, ..Candidate::new(origin, public_key, material) })
}

/// The keystore, and its permission bits if they are loose.
fn read_keystore(path: &Path, bytes_max: usize) -> Result<Option<(Keystore, Option<u32>)>, SourceError> {
    let content = files::read(path, bytes_max as u64)?;
    match Keystore::parse_up_to(&content.bytes, bytes_max) {
        Ok(keystore) => Ok(Some((keystore, content.loose_mode()))),
        Err(KeystoreError::Missing { .. } | KeystoreError::Field { .. }) if is_something_else(&content.bytes) => {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// A JSON list (public keys, deposit data), or an interchange: operators keep them beside their keystores.
fn is_something_else(json: &[u8]) -> bool {
    serde_json::from_slice::<Value>(json).is_ok_and(|document| {
        let interchange = document.pointer("/metadata/interchange_format_version").is_some();
        document.is_array() || interchange && document.get("crypto").is_none()
    })
}

/// Reads one keystore and its password, for sources that name both.
pub(super) fn read_named(
    keystore: &Path,
    password: &Path,
    loose: LooseFiles,
) -> Result<(Keystore, Password, Vec<Warning>), SourceError> {
    let content = files::read(keystore, KEYSTORE_BYTES_MAX as u64)?;
    if loose == LooseFiles::Refuse {
        content.open_to_others(keystore, loose)?;
    }
    let keystore = Keystore::parse(&content.bytes)?;
    let found = super::passwords::read_first_line(password, loose)?;
    Ok((keystore, found.password, found.warnings))
}
