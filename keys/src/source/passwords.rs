//! Finds the password of a keystore.
//!
//! In: a keystore's file and its public key. Out: a password, or the files that were looked for. Deliberately absent:
//! passwords from the command line or the environment, where other processes see them.

use super::error::SourceError;
use super::files::{self, LooseFiles, Warning};
use super::layout::KeystoreFile;
use crate::keystore::Password;
use consigner_rules::PublicKey;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Bytes of a password file that are read at most. Clients generate 44 to 48 characters.
pub(super) const PASSWORD_BYTES_MAX: u64 = 4096;

/// Where the passwords of keystores are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passwords {
    /// A directory with one file for each keystore: `<name>.txt` (Teku, Web3Signer) or named after the public key
    /// (Lighthouse, Nimbus, Lodestar).
    Directory(PathBuf),
    /// One file for all; its whole content.
    File(PathBuf),
    /// Where the client's own layout has them: `<name>.txt` beside the keystore, or a folder `secrets` or `passwords`
    /// in or beside the directory of keystores.
    Beside,
}

/// [`Passwords`] at work: directories that exist, or the one password.
pub(super) enum Finder {
    /// Every keystore has the same.
    One(Found),
    /// One file for each keystore, in any of these directories.
    Each(Vec<PathBuf>, LooseFiles),
}

/// A password and what is to be said about its file.
#[derive(Clone)]
pub(super) struct Found {
    /// The password.
    pub(super) password: Password,
    /// What an operator should repair.
    pub(super) warnings: Vec<Warning>,
}

impl Passwords {
    /// Prepares the search for keystores of `roots`.
    ///
    /// # Errors
    /// [`SourceError`] when the one file or the given directory cannot be read: that concerns every keystore.
    pub(super) fn finder<'r>(
        &self,
        roots: impl Iterator<Item = &'r Path>,
        loose: LooseFiles,
    ) -> Result<Finder, SourceError> {
        match self {
            Self::File(path) => read(path, loose).map(Finder::One),
            Self::Directory(path) => {
                files::list(path)?;
                Ok(Finder::Each(vec![path.clone()], loose))
            }
            Self::Beside => {
                let roots: BTreeSet<&Path> = roots.collect();
                let directories = roots.into_iter().flat_map(beside).filter(|path| path.is_dir());
                Ok(Finder::Each(directories.collect(), loose))
            }
        }
    }
}

impl Finder {
    /// The password of a keystore.
    ///
    /// # Errors
    /// [`SourceError::NoPassword`] with all files that were looked for, or why the file that is there is not readable.
    pub(super) fn find(&self, file: &KeystoreFile, public_key: Option<&PublicKey>) -> Result<Found, SourceError> {
        let (directories, loose) = match self {
            Self::One(found) => return Ok(found.clone()),
            Self::Each(directories, loose) => (directories, *loose),
        };
        let names = names(file, public_key);
        let looked_for: Vec<PathBuf> =
            directories.iter().flat_map(|directory| names.iter().map(|name| directory.join(name))).collect();
        // A folder is the key's own, named as a password file would be; a dangling link is an error worth seeing.
        let there = looked_for.iter().find(|path| path.symlink_metadata().is_ok() && !path.is_dir());
        match there {
            Some(path) => read(path, loose),
            None => Err(SourceError::NoPassword { looked_for }),
        }
    }
}

fn names(file: &KeystoreFile, public_key: Option<&PublicKey>) -> Vec<String> {
    let mut names = vec![format!("{}.txt", file.name), file.name.clone()];
    if let Some(public_key) = public_key.map(ToString::to_string).filter(|public_key| *public_key != file.name) {
        names.extend([public_key.clone(), format!("{public_key}.txt")]);
    }
    names
}

/// Folders with passwords of a client whose keystores are in `root`, the nearest first.
fn beside(root: &Path) -> Vec<PathBuf> {
    let parent = match root.parent() {
        Some(parent) if root.file_name().is_some() => parent.to_path_buf(),
        Some(_) | None => root.join(".."),
    };
    let nested = [root, &parent].into_iter().flat_map(|base| FOLDERS.iter().map(move |folder| base.join(folder)));
    std::iter::once(root.to_path_buf()).chain(nested).collect()
}

const FOLDERS: &[&str] = &["secrets", "passwords"];

/// The whole file: EIP-2335 strips control codes, so a line end at the end of the file does no harm.
fn read(path: &Path, loose: LooseFiles) -> Result<Found, SourceError> {
    let content = files::read(path, PASSWORD_BYTES_MAX)?;
    let password = Password::new(content.text(path)?);
    let mut warnings: Vec<Warning> = content.open_to_others(path, loose)?.into_iter().collect();
    if password.is_empty() {
        warnings.push(Warning::BlankPassword { path: path.to_path_buf() });
    }
    Ok(Found { password, warnings })
}

/// The first line of a password file, as Web3Signer's `file-keystore` has it.
pub(super) fn read_first_line(path: &Path, loose: LooseFiles) -> Result<Found, SourceError> {
    let content = files::read(path, PASSWORD_BYTES_MAX)?;
    let line = content.text(path)?.lines().next().unwrap_or_default();
    if line.trim().is_empty() {
        return Err(SourceError::BlankPassword { path: path.to_path_buf() });
    }
    let warnings = content.open_to_others(path, loose)?.into_iter().collect();
    Ok(Found { password: Password::new(line), warnings })
}
