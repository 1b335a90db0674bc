//! `keys.sealer.*`: what wraps the data keys of the cluster.
//!
//! In: settings. Out: one section per kind that is set up, and which one wraps what is new. Every section that is set
//! up can open; deliberately absent is every secret: sections name files, or leave it to the environment.

use super::keys::SEALERS;
use super::resolve::Resolver;
use super::values;
use super::vault::VaultAccess;
use std::path::PathBuf;

/// The sealers of a node; the one in use is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealerConfig {
    /// Which one wraps new data keys.
    pub in_use: SealerKind,
    /// `keys.sealer.local`.
    pub local: Option<LocalConfig>,
    /// `keys.sealer.aws-kms`.
    pub aws_kms: Option<AwsKmsConfig>,
    /// `keys.sealer.vault-transit`.
    pub vault_transit: Option<VaultTransitConfig>,
}

/// A kind of sealer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealerKind {
    /// A key file or a passphrase.
    Local,
    /// AWS KMS.
    AwsKms,
    /// The transit engine of a Vault server.
    VaultTransit,
}

/// See `keys.sealer.local.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalConfig {
    /// What wraps.
    pub secret: LocalSecret,
    /// Key files that open what was wrapped before.
    pub previous_key_files: Vec<PathBuf>,
    /// Files with passphrases that open what was wrapped before.
    pub previous_passphrase_files: Vec<PathBuf>,
}

/// Where the local sealer's key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalSecret {
    /// 32 random bytes.
    KeyFile(PathBuf),
    /// A passphrase, stretched.
    PassphraseFile(PathBuf),
}

/// See `keys.sealer.aws-kms.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsKmsConfig {
    /// Id, ARN or alias.
    pub key_id: String,
    /// How AWS is reached.
    pub access: AwsAccess,
}

/// How AWS is reached; credentials come from the standard chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AwsAccess {
    /// If not the chain's.
    pub region: Option<String>,
    /// If not the region's.
    pub endpoint: Option<String>,
    /// Profile of the configuration files.
    pub profile: Option<String>,
}

#[cfg(feature = "aws")]
impl AwsAccess {
    /// As `keys` takes it.
    #[must_use]
    pub fn to_config(&self) -> consigner_keys::remote::AwsConfig {
        let Self { region, endpoint, profile } = self.clone();
        consigner_keys::remote::AwsConfig { region, endpoint, profile }
    }
}

/// See `keys.sealer.vault-transit.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultTransitConfig {
    /// How the server is reached.
    pub access: VaultAccess,
    /// Mount of the engine.
    pub mount: String,
    /// Name of the key.
    pub key: String,
}

impl SealerKind {
    /// By its word in the configuration.
    fn from_word(word: &str) -> Option<Self> {
        match word {
            "local" => Some(Self::Local),
            "aws-kms" => Some(Self::AwsKms),
            "vault-transit" => Some(Self::VaultTransit),
            _ => None,
        }
    }

    /// Its word in the configuration and in the replicated state.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Local => SEALERS[0],
            Self::AwsKms => SEALERS[1],
            Self::VaultTransit => SEALERS[2],
        }
    }
}

impl Resolver<'_> {
    pub(super) fn sealer(&mut self) -> Option<SealerConfig> {
        let in_use = self.word("keys.sealer.use").and_then(SealerKind::from_word);
        let local = self.local_sealer(in_use);
        let aws_kms = self.aws_kms(in_use);
        let vault_transit = self.vault_transit(in_use);
        Some(SealerConfig { in_use: in_use?, local: local?, aws_kms: aws_kms?, vault_transit: vault_transit? })
    }

    /// `None` after a complaint, `Some(None)` when the section is not set up. The same below.
    fn local_sealer(&mut self, in_use: Option<SealerKind>) -> Option<Option<LocalConfig>> {
        let key_file = self.path("keys.sealer.local.key-file");
        let passphrase_file = self.path("keys.sealer.local.passphrase-file");
        let previous_key_files = self.paths("keys.sealer.local.previous-key-files");
        let previous_passphrase_files = self.paths("keys.sealer.local.previous-passphrase-files");
        let secret = match (key_file, passphrase_file) {
            (Some(_), Some(_)) => {
                let what = "cannot be set together with keys.sealer.local.key-file: a node has one local key";
                self.complain("keys.sealer.local.passphrase-file", what.to_owned());
                return None;
            }
            (Some(file), None) => LocalSecret::KeyFile(file),
            (None, Some(file)) => LocalSecret::PassphraseFile(file),
            (None, None) if in_use == Some(SealerKind::Local) => {
                let what = "missing; keys.sealer.use is local, which needs a path here or a \
                            keys.sealer.local.passphrase-file (a new key file: openssl rand -hex 32)";
                self.complain("keys.sealer.local.key-file", what.to_owned());
                return None;
            }
            (None, None) => return Some(None),
        };
        let (previous_key_files, previous_passphrase_files) = (previous_key_files?, previous_passphrase_files?);
        Some(Some(LocalConfig { secret, previous_key_files, previous_passphrase_files }))
    }

    fn aws_kms(&mut self, in_use: Option<SealerKind>) -> Option<Option<AwsKmsConfig>> {
        let access = self.aws_access("keys.sealer.aws-kms");
        let key_id = self.optional("keys.sealer.aws-kms.key-id", values::text);
        match key_id {
            Some(_) if !cfg!(feature = "aws") => self.not_compiled("keys.sealer.aws-kms.key-id", "aws"),
            Some(key_id) => Some(Some(AwsKmsConfig { key_id, access })),
            None if in_use == Some(SealerKind::AwsKms) => {
                let what = "missing; keys.sealer.use is aws-kms, which needs a key id, ARN or alias here";
                self.complain("keys.sealer.aws-kms.key-id", what.to_owned());
                None
            }
            None => Some(None),
        }
    }

    /// Region, endpoint and profile of a section.
    pub(super) fn aws_access(&mut self, section: &str) -> AwsAccess {
        AwsAccess {
            region: self.optional(&format!("{section}.region"), values::text),
            endpoint: self.optional(&format!("{section}.endpoint"), values::service_url),
            profile: self.optional(&format!("{section}.profile"), values::text),
        }
    }

    fn vault_transit(&mut self, in_use: Option<SealerKind>) -> Option<Option<VaultTransitConfig>> {
        const ADDRESS: &str = "keys.sealer.vault-transit.address";
        const KEY: &str = "keys.sealer.vault-transit.key";
        let mount = self.scalar("keys.sealer.vault-transit.mount", values::text);
        let key = self.optional(KEY, values::text);
        let access = self.vault_access("keys.sealer.vault-transit");
        match (access?, key) {
            (None, None) if in_use == Some(SealerKind::VaultTransit) => {
                let what = "missing; keys.sealer.use is vault-transit, which needs the server's URL here";
                self.complain(ADDRESS, what.to_owned());
                None
            }
            (None, None) => Some(None),
            (None, Some(_)) => {
                self.complain(ADDRESS, "missing; keys.sealer.vault-transit.key is set".to_owned());
                None
            }
            (Some(_), None) => {
                let what = "missing; the name of the transit key (vault write -f transit/keys/NAME)";
                self.complain(KEY, what.to_owned());
                None
            }
            (Some(_), Some(_)) if !cfg!(feature = "vault") => self.not_compiled(ADDRESS, "vault"),
            (Some(access), Some(key)) => Some(Some(VaultTransitConfig { access, mount: mount?, key })),
        }
    }

    /// Complains that the section needs a program with this Cargo feature.
    pub(super) fn not_compiled<T>(&mut self, path: &str, feature: &str) -> Option<T> {
        let what = format!("this program was built without `{feature}`; build it with --features {feature}");
        self.complain(path, what);
        None
    }
}
