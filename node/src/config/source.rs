//! `keys.source.*` and `keys.decrypt.*`: where a node finds keys that the cluster shall hold.

use super::resolve::Resolver;
use super::sealer::AwsAccess;
use super::values;
use super::vault::VaultAccess;
use consigner_keys::source::{LooseFiles, Passwords};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// The sources of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceConfig {
    /// Directory of Web3Signer key configuration files.
    pub key_config: Option<PathBuf>,
    /// Directory of keystores.
    pub keystores: Option<KeystoresConfig>,
    /// AWS Secrets Manager.
    pub aws_secrets: Option<AwsSecretsConfig>,
    /// A Vault KV v2 engine.
    pub vault_kv: Option<VaultKvConfig>,
    /// Between two looks at the directories.
    pub poll_interval: Duration,
    /// Whether files with keys that other users may read are taken all the same.
    pub allow_loose_permissions: bool,
}

impl SourceConfig {
    /// What becomes of files with keys that other users may read.
    #[must_use]
    pub const fn loose_files(&self) -> LooseFiles {
        if self.allow_loose_permissions { LooseFiles::Warn } else { LooseFiles::Refuse }
    }
}

/// See `keys.source.keystores-*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeystoresConfig {
    /// The directory.
    pub path: PathBuf,
    /// Where its passwords are.
    pub passwords: Passwords,
}

/// See `keys.source.aws-secrets.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsSecretsConfig {
    /// How AWS is reached.
    pub access: AwsAccess,
    /// Beginnings of names; empty: any.
    pub prefixes: Vec<String>,
    /// Tags that a secret must have, all of them.
    pub tags: Vec<(String, String)>,
}

/// See `keys.source.vault-kv.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultKvConfig {
    /// How the server is reached.
    pub access: VaultAccess,
    /// Mount of the engine.
    pub mount: String,
    /// Folder below it; empty: everything.
    pub path: String,
}

/// See `keys.decrypt.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecryptConfig {
    /// Keystores at one time.
    pub threads: NonZeroUsize,
    /// Bytes of their key derivations together.
    pub memory_max: u64,
}

/// One keystore of the usual cost (scrypt, n = 2^18, r = 8) takes 256 MiB; less would refuse every such keystore.
const DECRYPT_MEMORY_LEAST: u64 = 256 << 20;

/// Names of a client's folder of passwords, as `consigner_keys::source` looks for them.
const PASSWORD_FOLDERS: [&str; 2] = ["secrets", "passwords"];

impl KeystoresConfig {
    /// Files and directories of passwords outside of the directory of keystores, whether they exist or not.
    #[must_use]
    pub fn password_paths(&self) -> Vec<PathBuf> {
        match &self.passwords {
            // Clients have them beside the keystores; what is below the path itself is seen with it.
            Passwords::Beside => {
                let beside = match self.path.parent() {
                    Some(parent) if self.path.file_name().is_some() => parent.to_owned(),
                    Some(_) | None => self.path.join(".."),
                };
                PASSWORD_FOLDERS.iter().map(|folder| beside.join(folder)).collect()
            }
            Passwords::Directory(path) | Passwords::File(path) => vec![path.clone()],
        }
    }
}

impl SourceConfig {
    /// Whether no source is set up.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.key_config.is_none() && self.keystores.is_none() && self.aws_secrets.is_none() && self.vault_kv.is_none()
    }
}

impl Resolver<'_> {
    pub(super) fn source(&mut self) -> Option<SourceConfig> {
        let key_config = self.path("keys.source.key-config-path");
        let keystores = self.keystores();
        let aws_secrets = self.aws_secrets();
        let vault_kv = self.vault_kv();
        let poll_interval = self.scalar("keys.source.poll-interval", values::duration);
        let allow_loose_permissions = self.scalar("keys.source.allow-loose-permissions", values::switch);
        Some(SourceConfig {
            key_config,
            keystores: keystores?,
            aws_secrets: aws_secrets?,
            vault_kv: vault_kv?,
            poll_interval: poll_interval?,
            allow_loose_permissions: allow_loose_permissions?,
        })
    }

    fn keystores(&mut self) -> Option<Option<KeystoresConfig>> {
        let path = self.path("keys.source.keystores-path");
        let directory = self.path("keys.source.keystores-passwords-path");
        let file = self.path("keys.source.keystores-password-file");
        let Some(path) = path else {
            for (key, set) in [("passwords-path", directory.is_some()), ("password-file", file.is_some())] {
                if set {
                    let what = "set without keys.source.keystores-path".to_owned();
                    self.complain(&format!("keys.source.keystores-{key}"), what);
                }
            }
            return Some(None);
        };
        let passwords = match (directory, file) {
            (Some(_), Some(_)) => {
                let what = "cannot be set together with keys.source.keystores-passwords-path";
                self.complain("keys.source.keystores-password-file", what.to_owned());
                return None;
            }
            (Some(directory), None) => Passwords::Directory(directory),
            (None, Some(file)) => Passwords::File(file),
            (None, None) => Passwords::Beside,
        };
        Some(Some(KeystoresConfig { path, passwords }))
    }

    fn aws_secrets(&mut self) -> Option<Option<AwsSecretsConfig>> {
        let enabled = self.scalar("keys.source.aws-secrets.enabled", values::switch);
        let access = self.aws_access("keys.source.aws-secrets");
        let prefixes = self.read("keys.source.aws-secrets.prefixes-filter", values::texts);
        let tags = self.read("keys.source.aws-secrets.tags", values::pairs);
        match enabled? {
            true if !cfg!(feature = "aws") => self.not_compiled("keys.source.aws-secrets.enabled", "aws"),
            true => Some(Some(AwsSecretsConfig { access, prefixes: prefixes?, tags: tags? })),
            false => Some(None),
        }
    }

    fn vault_kv(&mut self) -> Option<Option<VaultKvConfig>> {
        let mount = self.scalar("keys.source.vault-kv.mount", values::text);
        let path = self.scalar("keys.source.vault-kv.path", |path| Some(path.trim_matches('/').to_owned()));
        match self.vault_access("keys.source.vault-kv")? {
            Some(_) if !cfg!(feature = "vault") => self.not_compiled("keys.source.vault-kv.address", "vault"),
            Some(access) => Some(Some(VaultKvConfig { access, mount: mount?, path: path? })),
            None => Some(None),
        }
    }

    pub(super) fn decrypt(&mut self) -> Option<DecryptConfig> {
        let threads = self.number("keys.decrypt.threads", 1);
        let memory_max = self.scalar("keys.decrypt.memory-max", values::bytes);
        if memory_max.is_some_and(|bytes| bytes < DECRYPT_MEMORY_LEAST) {
            let what = format!("must be at least {} MiB, what one scrypt keystore takes", DECRYPT_MEMORY_LEAST >> 20);
            self.complain("keys.decrypt.memory-max", what);
        }
        Some(DecryptConfig {
            threads: usize::try_from(threads?).ok().and_then(NonZeroUsize::new)?,
            memory_max: memory_max?,
        })
    }
}
