//! The flags of `consigner keys import`, and the sources that they name.

use crate::cli::access::AccessArgs;
use crate::config::sealer::AwsAccess;
use crate::config::source::{AwsSecretsConfig, KeystoresConfig, VaultKvConfig};
use crate::config::vault::{VaultAccess, VaultAuth};
use crate::config::{SourceConfig, values};
use clap::Args;
use consigner_keys::source::Passwords;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// `consigner keys import`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli::keys) struct ImportArgs {
    #[command(flatten)]
    pub(super) access: AccessArgs,
    /// A keystore, or a directory of keystores in the layout of any client (Lighthouse, Teku, Nimbus, Lodestar, Prysm,
    /// Web3Signer, staking-deposit-cli)
    #[arg(long, value_name = "DIR|FILE")]
    from: Option<PathBuf>,
    /// Directory with one password file per keystore [default: where the client's layout has them]
    #[arg(long, value_name = "DIR", requires = "from")]
    passwords: Option<PathBuf>,
    /// One password file for all keystores
    #[arg(long, value_name = "FILE", requires = "from", conflicts_with = "passwords")]
    password_file: Option<PathBuf>,
    /// Directory of Web3Signer key configuration files (*.yaml)
    #[arg(long, value_name = "DIR")]
    web3signer_config: Option<PathBuf>,
    /// What the keys have signed elsewhere (EIP-3076); merged before a key is enabled
    #[arg(long, value_name = "FILE")]
    pub(super) slashing_protection: Option<PathBuf>,
    #[command(flatten)]
    aws: AwsArgs,
    #[command(flatten)]
    vault: VaultArgs,
    /// Keystores decrypted at one time [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// Memory for decryption in MiB; one scrypt keystore takes 256
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u64).range(256..=1 << 20))]
    memory_max: u64,
}

/// AWS Secrets Manager.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "AWS Secrets Manager (credentials from the standard chain)")]
struct AwsArgs {
    /// Import from AWS Secrets Manager
    #[arg(long)]
    aws_secrets: bool,
    /// AWS region [default: the standard chain's]
    #[arg(long, value_name = "REGION", requires = "aws_secrets")]
    region: Option<String>,
    /// Profile of the AWS configuration files
    #[arg(long, value_name = "NAME", requires = "aws_secrets")]
    profile: Option<String>,
    /// Another endpoint than the region's
    #[arg(long, value_name = "URL", requires = "aws_secrets", value_parser = service_url)]
    aws_endpoint: Option<String>,
    /// Only secrets whose names begin so; may be repeated
    #[arg(long, value_name = "PREFIX", requires = "aws_secrets")]
    prefix: Vec<String>,
    /// Only secrets with this tag; may be repeated
    #[arg(long, value_name = "NAME=VALUE", requires = "aws_secrets", value_parser = tag)]
    tag: Vec<(String, String)>,
}

/// A Vault KV v2 engine.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Vault KV v2 (token from VAULT_TOKEN, unless a file is named)")]
struct VaultArgs {
    /// Vault server; everything below --vault-path is imported
    #[arg(long, value_name = "URL", value_parser = service_url)]
    vault_kv: Option<String>,
    /// Mount of the engine
    #[arg(long, value_name = "MOUNT", default_value = "secret")]
    vault_mount: String,
    /// Folder below the mount
    #[arg(long, value_name = "PATH", requires = "vault_kv", default_value = "")]
    vault_path: String,
    /// Vault namespace
    #[arg(long, value_name = "NAMESPACE", requires = "vault_kv")]
    vault_namespace: Option<String>,
    /// CAs of the server, PEM
    #[arg(long, value_name = "FILE", requires = "vault_kv")]
    vault_ca: Option<PathBuf>,
    /// File with a token
    #[arg(long, value_name = "FILE", requires = "vault_kv")]
    vault_token_file: Option<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  consigner keys import --dir ./consigner-dev --from ./validator_keys --password-file ./password
  consigner keys import --endpoint https://node1:9000,https://node2:9000 --ca ca.pem --cert admin.pem \\
    --key admin-key.pem --from ~/.lighthouse/mainnet/validators --slashing-protection history.json
  consigner keys import --dir ./consigner-dev --web3signer-config ./key-configs
  consigner keys import --dir ./consigner-dev --aws-secrets --region eu-central-1 --prefix validators/ --tag env=prod
  consigner keys import --dir ./consigner-dev --vault-kv https://vault:8200 --vault-path validators

Keys are decrypted on this machine and never written to its disk. Stop the other signer first. The command may be
stopped and repeated. Exit codes: 0 the cluster holds every key, 1 nothing was done, 2 usage, 3 some keys failed (each
is reported with file and reason).";

impl ImportArgs {
    /// The sources that the flags name.
    pub(super) fn source_config(&self) -> Result<SourceConfig, String> {
        let keystores = self.from.clone().map(|path| KeystoresConfig { path, passwords: self.passwords_of() });
        let config = SourceConfig {
            key_config: self.web3signer_config.clone(),
            keystores,
            aws_secrets: self.aws.config()?,
            vault_kv: self.vault.config()?,
            poll_interval: Duration::MAX,
            allow_loose_permissions: false,
        };
        if config.is_empty() {
            return Err("say where the keys are: --from, --web3signer-config, --aws-secrets or --vault-kv".to_owned());
        }
        Ok(config)
    }

    /// Where keys were looked for, for people.
    pub(super) fn places(&self) -> Vec<String> {
        let directories = self.from.iter().chain(&self.web3signer_config);
        let mut places: Vec<String> = directories.map(|path| path.display().to_string()).collect();
        if self.aws.aws_secrets {
            places.push("AWS Secrets Manager (names and tags as given)".to_owned());
        }
        if let Some(address) = &self.vault.vault_kv {
            places.push(format!("{address}, mount {}, below \"{}\"", self.vault.vault_mount, self.vault.vault_path));
        }
        places
    }

    fn passwords_of(&self) -> Passwords {
        match (&self.passwords, &self.password_file) {
            (Some(directory), _) => Passwords::Directory(directory.clone()),
            (None, Some(file)) => Passwords::File(file.clone()),
            (None, None) => Passwords::Beside,
        }
    }

    pub(super) fn threads(&self) -> NonZeroUsize {
        self.threads.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
    }

    pub(super) const fn memory_bytes(&self) -> u64 {
        self.memory_max << 20
    }
}

impl AwsArgs {
    fn config(&self) -> Result<Option<AwsSecretsConfig>, String> {
        if !self.aws_secrets {
            return Ok(None);
        }
        compiled(cfg!(feature = "aws"), "--aws-secrets", "aws")?;
        let access = AwsAccess {
            region: self.region.clone(),
            endpoint: self.aws_endpoint.clone(),
            profile: self.profile.clone(),
        };
        Ok(Some(AwsSecretsConfig { access, prefixes: self.prefix.clone(), tags: self.tag.clone() }))
    }
}

impl VaultArgs {
    fn config(&self) -> Result<Option<VaultKvConfig>, String> {
        let Some(address) = self.vault_kv.clone() else { return Ok(None) };
        compiled(cfg!(feature = "vault"), "--vault-kv", "vault")?;
        let access = VaultAccess {
            address,
            namespace: self.vault_namespace.clone(),
            ca: self.vault_ca.clone(),
            auth: VaultAuth::Token { file: self.vault_token_file.clone() },
        };
        let (mount, path) = (self.vault_mount.clone(), self.vault_path.trim_matches('/').to_owned());
        Ok(Some(VaultKvConfig { access, mount, path }))
    }
}

fn compiled(is: bool, flag: &str, feature: &str) -> Result<(), String> {
    let what = || format!("{flag}: this program was built without `{feature}`; build it with --features {feature}");
    if is { Ok(()) } else { Err(what()) }
}

fn service_url(text: &str) -> Result<String, String> {
    values::service_url(text).ok_or_else(|| "https://HOST[:PORT], or http:// to this machine".to_owned())
}

fn tag(text: &str) -> Result<(String, String), String> {
    let pair = values::pairs(&[text.to_owned()]).and_then(|mut pairs| pairs.pop());
    pair.ok_or_else(|| "NAME=VALUE".to_owned())
}
