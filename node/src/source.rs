//! Reads every source that is set up, for a node's own sources and for `consigner keys import` alike.
//!
//! In: [`SourceConfig`]. Out: candidates, and the sources that could not be read. One source that fails does not keep
//! the others from being read. Deliberately absent: decryption and whatever becomes of the keys, and the audit of reads:
//! [`Gathered::reads`] tells what there is to tell.

use crate::config::SourceConfig;
use crate::report::one_line;
use consigner_keys::source::{Candidate, DirectorySource, KeyConfigSource, LooseFiles, Material, SourceError};

/// What the sources offer.
#[derive(Default)]
pub struct Gathered {
    /// Keys, readable or not.
    pub candidates: Vec<Candidate>,
    /// Sources that could not be read at all.
    pub failures: Vec<SourceFailure>,
    /// Every source that was opened, in the order of reading.
    pub reads: Vec<SourceRead>,
}

/// A source that was opened, for the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRead {
    /// Which, for people: a directory or an address.
    pub source: String,
    /// Keys that it offers, readable or not.
    pub offered: usize,
    /// Those of them that were refused because other users can read their files, in words.
    pub loose: Vec<String>,
    /// Why it could not be read as a whole.
    pub error: Option<String>,
}

/// A source that could not be read.
#[derive(Debug)]
pub struct SourceFailure {
    /// Which, for people: a directory or an address.
    pub source: String,
    /// Why.
    pub error: SourceError,
}

impl SourceFailure {
    /// Whether the source is there and merely has nothing to offer.
    #[must_use]
    pub const fn is_empty_source(&self) -> bool {
        matches!(self.error, SourceError::NoKeystores { .. })
    }

    /// Whether reading it later may succeed without anybody's doing.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self.error, SourceError::Remote { may_pass: true, .. } | SourceError::Read { .. })
    }
}

/// Reads all sources, with a warning for files that other users can read: for an operator's own machine.
pub async fn gather(config: &SourceConfig) -> Gathered {
    gather_with(config, LooseFiles::Warn).await
}

/// Reads all sources; `loose` says what becomes of files that other users can read.
pub async fn gather_with(config: &SourceConfig, loose: LooseFiles) -> Gathered {
    let mut gathered = Gathered::default();
    if let Some(directory) = config.key_config.clone() {
        let source = directory.display().to_string();
        let read = blocking(move || KeyConfigSource { directory }.read_with(loose)).await;
        gathered.take(source, read);
    }
    if let Some(keystores) = config.keystores.clone() {
        let source = keystores.path.display().to_string();
        let directory = DirectorySource { keystores: keystores.path, passwords: keystores.passwords };
        let read = blocking(move || directory.read_with(loose)).await;
        gathered.take(source, read);
    }
    remote(config, &mut gathered).await;
    gathered
}

#[cfg_attr(not(any(feature = "aws", feature = "vault")), expect(unused_variables, reason = "no remote source"))]
async fn remote(config: &SourceConfig, gathered: &mut Gathered) {
    #[cfg(feature = "aws")]
    if let Some(secrets) = &config.aws_secrets {
        let (prefixes, tags) = (secrets.prefixes.clone(), secrets.tags.clone());
        let source = consigner_keys::source::AwsSecretsSource { aws: secrets.access.to_config(), prefixes, tags };
        gathered.take("AWS Secrets Manager".to_owned(), source.read().await);
    }
    #[cfg(feature = "vault")]
    if let Some(kv) = &config.vault_kv {
        let (mount, path) = (kv.mount.clone(), kv.path.clone());
        let name = format!("{}/{mount}/{path}", kv.access.address);
        let source = consigner_keys::source::VaultKvSource { vault: kv.access.to_config(), mount, path };
        gathered.take(name, source.read().await);
    }
}

impl Gathered {
    fn take(&mut self, source: String, read: Result<Vec<Candidate>, SourceError>) {
        let (offered, loose, error) = match &read {
            Ok(candidates) => (candidates.len(), candidates.iter().filter_map(refused_as_loose).collect(), None),
            Err(error) => (0, Vec::new(), Some(one_line(error))),
        };
        self.reads.push(SourceRead { source: source.clone(), offered, loose, error });
        match read {
            Ok(candidates) => self.candidates.extend(candidates),
            Err(error) => self.failures.push(SourceFailure { source, error }),
        }
    }
}

fn refused_as_loose(candidate: &Candidate) -> Option<String> {
    match &candidate.material {
        Material::Failed(error @ SourceError::OpenToOthers { .. }) => Some(error.to_string()),
        Material::Failed(_)
        | Material::Keystore { .. }
        | Material::Wallet { .. }
        | Material::Raw(_)
        | Material::Remote(_) => None,
    }
}

async fn blocking(
    read: impl FnOnce() -> Result<Vec<Candidate>, SourceError> + Send + 'static,
) -> Result<Vec<Candidate>, SourceError> {
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|error| Err(SourceError::Unsupported(format!("reading was interrupted: {error}"))))
}
