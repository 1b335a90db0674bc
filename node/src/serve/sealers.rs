//! From `keys.sealer.*` to the sealers of this node.
//!
//! In: the checked configuration. Out: one sealer per section that is set up. A file that cannot be used stops the
//! start; a service that cannot be reached does not: custody asks it again until it answers.

use crate::config::SealerConfig;
use crate::config::sealer::{LocalConfig, LocalSecret};
use consigner_keys::sealing::{KeyFileError, LOCAL_SEALER};
use consigner_keys::{LocalSealer, Sealer, Sealers};
use consigner_rules::primitives::ClusterId;
use std::sync::Arc;

/// Why a sealer cannot be made: its configuration, never the service behind it.
#[derive(Debug, thiserror::Error)]
pub enum SealersError {
    /// A file of the local sealer.
    #[error("keys.sealer.local.{key}")]
    Local {
        /// Which key names the file.
        key: &'static str,
        /// What is wrong with it.
        source: KeyFileError,
    },
    /// A section of a remote sealer.
    #[error("keys.sealer.{kind}")]
    Remote {
        /// Which section.
        kind: &'static str,
        /// What is wrong with it.
        source: consigner_keys::SealerError,
    },
    /// Cannot happen after the checks of the configuration; said rather than assumed.
    #[error("keys.sealer.use is {0}, but keys.sealer.{0} is not set up")]
    NotSetUp(&'static str),
}

/// Builds what is set up.
///
/// # Errors
/// See [`SealersError`].
pub async fn build(config: &SealerConfig, cluster_id: ClusterId) -> Result<Sealers, SealersError> {
    let mut sealers: Vec<Arc<dyn Sealer>> = Vec::new();
    if let Some(local) = config.local.clone() {
        // A passphrase is stretched for half a second.
        let made = tokio::task::spawn_blocking(move || build_local(&local, &cluster_id)).await;
        sealers.push(Arc::new(made.map_err(|_| SealersError::NotSetUp(LOCAL_SEALER))??));
    }
    aws_kms(config, &mut sealers).await?;
    vault_transit(config, &mut sealers)?;
    let in_use = config.in_use.word();
    let position = sealers.iter().position(|sealer| sealer.kind() == in_use);
    let in_use = sealers.swap_remove(position.ok_or(SealersError::NotSetUp(in_use))?);
    for sealer in std::iter::once(&in_use).chain(&sealers) {
        tracing::info!(kind = sealer.kind(), master = sealer.master(), "sealer set up");
    }
    Ok(Sealers::new(in_use, sealers))
}

#[cfg(feature = "aws")]
async fn aws_kms(config: &SealerConfig, sealers: &mut Vec<Arc<dyn Sealer>>) -> Result<(), SealersError> {
    let Some(kms) = &config.aws_kms else { return Ok(()) };
    let made = consigner_keys::AwsKmsConfig { key_id: kms.key_id.clone(), aws: kms.access.to_config() };
    let sealer = consigner_keys::AwsKmsSealer::connect(made).await;
    sealers.push(Arc::new(sealer.map_err(|source| SealersError::Remote { kind: "aws-kms", source })?));
    Ok(())
}

/// The configuration has refused the section already.
#[cfg(not(feature = "aws"))]
async fn aws_kms(_: &SealerConfig, _: &mut Vec<Arc<dyn Sealer>>) -> Result<(), SealersError> {
    Ok(())
}

#[cfg(feature = "vault")]
fn vault_transit(config: &SealerConfig, sealers: &mut Vec<Arc<dyn Sealer>>) -> Result<(), SealersError> {
    let Some(transit) = &config.vault_transit else { return Ok(()) };
    let (mount, key) = (transit.mount.clone(), transit.key.clone());
    let made = consigner_keys::VaultTransitConfig { vault: transit.access.to_config(), mount, key };
    let sealer = consigner_keys::VaultTransitSealer::connect(made);
    sealers.push(Arc::new(sealer.map_err(|source| SealersError::Remote { kind: "vault-transit", source })?));
    Ok(())
}

/// The configuration has refused the section already.
#[cfg(not(feature = "vault"))]
fn vault_transit(_: &SealerConfig, _: &mut Vec<Arc<dyn Sealer>>) -> Result<(), SealersError> {
    Ok(())
}

fn build_local(config: &LocalConfig, cluster_id: &ClusterId) -> Result<LocalSealer, SealersError> {
    let named = |key| move |source| SealersError::Local { key, source };
    let current = match &config.secret {
        LocalSecret::KeyFile(file) => LocalSealer::from_key_file(file).map_err(named("key-file"))?,
        LocalSecret::PassphraseFile(file) => {
            LocalSealer::from_passphrase_file(file, cluster_id).map_err(named("passphrase-file"))?
        }
    };
    let previous = config.previous_key_files.iter();
    previous
        .map(|file| LocalSealer::from_key_file(file).map_err(named("previous-key-files")))
        .try_fold(current, |sealer, older| Ok(sealer.with_previous(older?)))
}
