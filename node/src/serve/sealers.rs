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
    let key_files = config.previous_key_files.iter();
    let key_files = key_files.map(|file| LocalSealer::from_key_file(file).map_err(named("previous-key-files")));
    let passphrases = config
        .previous_passphrase_files
        .iter()
        .map(|file| LocalSealer::from_passphrase_file(file, cluster_id).map_err(named("previous-passphrase-files")));
    key_files.chain(passphrases).try_fold(current, |sealer, older| Ok(sealer.with_previous(older?)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::files;
    use std::path::PathBuf;

    #[test]
    fn what_an_earlier_key_file_or_passphrase_wrapped_opens_and_nothing_new_is_wrapped_under_it() {
        let (dir, cluster) = (tempfile::tempdir().unwrap(), ClusterId([7; 16]));
        let write = |name: &str, text: &str| -> PathBuf {
            let path = dir.path().join(name);
            files::create(&path, text.as_bytes(), files::SECRET).unwrap();
            path
        };
        let config = |secret, previous_key_files, previous_passphrase_files| LocalConfig {
            secret,
            previous_key_files,
            previous_passphrase_files,
        };
        let [key_file, passphrase] =
            [write("old.key", &"0123456789abcdef".repeat(4)), write("old-pass", "correct horse battery staple")];
        let by_key_file = config(LocalSecret::KeyFile(key_file.clone()), vec![], vec![]);
        let by_passphrase = config(LocalSecret::PassphraseFile(passphrase.clone()), vec![], vec![]);
        let wrapped = [by_key_file, by_passphrase]
            .map(|config| build_local(&config, &cluster).unwrap().new_data_key(&cluster).unwrap().0);

        let new = LocalSecret::PassphraseFile(write("new-pass", "another horse, another staple"));
        let moved = build_local(&config(new.clone(), vec![key_file], vec![passphrase]), &cluster).unwrap();
        for data_key in &wrapped {
            assert!(moved.unwrap_data_key(data_key, &cluster).is_ok());
            assert!(!moved.is_current(data_key));
        }
        let without = build_local(&config(new, vec![], vec![]), &cluster).unwrap();
        assert!(wrapped.iter().all(|data_key| without.unwrap_data_key(data_key, &cluster).is_err()));
        let fresh = moved.new_data_key(&cluster).unwrap().0;
        assert!(moved.is_current(&fresh) && without.unwrap_data_key(&fresh, &cluster).is_ok());

        let gone = config(LocalSecret::KeyFile(dir.path().join("old.key")), vec![], vec![dir.path().join("gone")]);
        let error = crate::report::one_line(&build_local(&gone, &cluster).unwrap_err());
        assert!(error.contains("keys.sealer.local.previous-passphrase-files"), "{error}");
    }
}
