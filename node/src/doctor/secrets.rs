//! Which files of a configuration are secret.

use super::plan::Plan;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Keys that name one secret file each.
const SECRET_FILES: &[&str] = &[
    "api.tls.key",
    "api.tls.pkcs12",
    "api.tls.pkcs12-password-file",
    "peer.tls.key",
    "keymanager.tls.key",
    "keymanager.tls.pkcs12",
    "keymanager.tls.pkcs12-password-file",
    "keymanager.token-file",
    "admin.tls.key",
    "admin.tls.pkcs12",
    "admin.tls.pkcs12-password-file",
    "token-door.tls.key",
    "token-door.tls.pkcs12",
    "token-door.tls.pkcs12-password-file",
    "keys.sealer.vault-transit.token-file",
    "keys.sealer.vault-transit.secret-id-file",
    "keys.sealer.vault-transit.cert-key",
    "keys.source.vault-kv.token-file",
    "keys.source.vault-kv.secret-id-file",
    "keys.source.vault-kv.cert-key",
    "keys.source.keystores-password-file",
    "keys.import.raw-keys-file",
    "archive.postgres.key",
    "archive.postgres.password-file",
];

/// Files of one source that are looked at; as many keystores as a source may have, with their passwords.
const FILES_MAX: usize = 2 * consigner_keys::source::KEYSTORES_MAX;

/// Folders below a source: no client's layout is deeper.
const DEPTH_MAX: usize = 4;

/// Key files and passphrases of the local sealer, the one in use first.
#[must_use]
pub fn local_sealer(plan: &Plan) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = plan.path("keys.sealer.local.key-file").into_iter().collect();
    files.extend(plan.path("keys.sealer.local.passphrase-file"));
    files.extend(plan.paths("keys.sealer.local.previous-key-files"));
    files.extend(plan.paths("keys.sealer.local.previous-passphrase-files"));
    files
}

/// Every secret file that the configuration names, with the key that names it.
#[must_use]
pub fn named(plan: &Plan) -> Vec<(&'static str, PathBuf)> {
    let one = SECRET_FILES.iter().filter_map(|key| Some((*key, plan.path(key)?)));
    one.chain(local_sealer(plan).into_iter().map(|file| ("keys.sealer.local", file))).collect()
}

/// Files of the key sources.
#[derive(Debug, Default)]
pub struct SourceFiles {
    /// Keystores, passwords, key configuration.
    pub files: Vec<PathBuf>,
    /// Directories that cannot be read, and why.
    pub unread: Vec<String>,
}

/// Every keystore, password and key configuration file below the sources.
#[must_use]
pub fn sources(plan: &Plan) -> SourceFiles {
    let mut found = SourceFiles::default();
    if let Some(directory) = plan.path("keys.source.key-config-path") {
        found.add(&directory, 0, &|path| {
            matches!(path.extension().and_then(OsStr::to_str), Some("yaml" | "yml" | "json" | "txt" | "password"))
        });
    }
    if let Some(directory) = plan.path("keys.source.keystores-path") {
        found.add(&directory, 0, &|_| true);
    }
    if let Some(directory) = plan.path("keys.source.keystores-passwords-path") {
        found.add(&directory, 0, &|_| true);
    }
    found
}

impl SourceFiles {
    fn add(&mut self, path: &Path, depth: usize, is_wanted: &dyn Fn(&Path) -> bool) {
        if path.is_file() {
            self.files.push(path.to_owned());
            return;
        }
        let entries = match std::fs::read_dir(path) {
            Ok(entries) => entries,
            Err(error) => return self.unread.push(format!("{} cannot be listed: {error}", path.display())),
        };
        for entry in entries.flatten().map(|entry| entry.path()) {
            let hidden = entry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if hidden || self.files.len() >= FILES_MAX {
                continue;
            }
            if entry.is_dir() && depth < DEPTH_MAX {
                self.add(&entry, depth + 1, is_wanted);
            } else if entry.is_file() && is_wanted(&entry) {
                self.files.push(entry);
            }
        }
    }
}
