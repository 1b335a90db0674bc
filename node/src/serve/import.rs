//! `keys.import`: development keys that the cluster shall hold, sealed here and proposed until it holds them.
//!
//! In: interop numbers and raw secrets. Out: sealed keys in the replicated state, and a marker in the data directory,
//! so that a key that an operator deletes later is not brought back by the next start. Deliberately absent: keystores.
//! Every node knows which keys are wanted; the leader imports what is missing, the others wait until they see them.

use crate::config::ImportConfig;
use crate::files::{PrivateFileError, open_secret};
use consigner_keys::development::interop_secret;
use consigner_keys::source::LooseFiles;
use consigner_keys::{Custody, CustodyError, DataKeyStatus, SecretKey};
use consigner_raft::{Cluster, Leadership, ProposeError};
use consigner_rules::command::{DataKey, Rejection};
use consigner_rules::primitives::PublicKey;
use consigner_rules::state::Validator;
use consigner_rules::{Command, Outcome};
use sha2::{Digest as _, Sha256};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Keys proposed at one time: about 250 bytes each, so a batch is half of what one entry may hold.
const BATCH: usize = 500;

/// For one batch, an election included.
const BATCH_DEADLINE: Duration = Duration::from_secs(10);

/// How often a node that does not lead looks whether the keys have arrived, and the leader tries again.
const POLL: Duration = Duration::from_millis(100);

/// A sealer that is down is not asked more often.
const SEALER_PAUSE: Duration = Duration::from_secs(2);

/// Name of the marker in the data directory.
const MARKER: &str = "import.done";

/// Why keys cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file of secrets, or the marker.
    #[error("{} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file of secrets cannot be opened, or is not its owner's alone.
    #[error(transparent)]
    Private(#[from] PrivateFileError),
    /// A line is no secret key. Never holds the line.
    #[error("{}:{line}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        source: consigner_keys::BadSecret,
    },
    /// Sealing failed.
    #[error("a key cannot be sealed")]
    Seal(#[from] CustodyError),
    /// The cluster refused.
    #[error("the cluster refused a key: {0}")]
    Rejected(Rejection),
    /// The work was interrupted.
    #[error("the computation of public keys was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// What is wanted, in memory until it is imported.
struct Wanted {
    keys: Vec<(PublicKey, SecretKey)>,
}

/// Brings the keys of a configuration into a cluster.
pub struct Importer {
    config: ImportConfig,
    cluster: Cluster,
    custody: Arc<Custody>,
    marker: PathBuf,
}

impl Importer {
    /// Nothing happens before [`Self::run`].
    #[must_use]
    pub fn new(config: ImportConfig, cluster: Cluster, custody: Arc<Custody>, data_dir: &Path) -> Self {
        Self { config, cluster, custody, marker: data_dir.join(MARKER) }
    }

    /// Returns once this node sees every wanted key in its state.
    ///
    /// # Errors
    /// See [`ImportError`]; a cluster that is not available is waited for.
    pub async fn run(self) -> Result<(), ImportError> {
        if self.config.interop_count == 0 && self.config.raw_keys_file.is_none() {
            return Ok(());
        }
        let config = self.config.clone();
        let fingerprint = fingerprint(&config)?;
        if std::fs::read_to_string(&self.marker).is_ok_and(|done| done == fingerprint) {
            return Ok(());
        }
        let wanted = tokio::task::spawn_blocking(move || wanted(&config)).await??;
        loop {
            let missing = self.missing(&wanted);
            if missing.is_empty() {
                break;
            }
            // A leader is elected a moment before the cluster has its identity, and without one it takes no keys.
            let initialised = self.cluster.read(|state| state.identity().is_some());
            if initialised && self.cluster.leadership() == Leadership::This {
                let count = missing.len();
                match self.import(&missing).await {
                    Ok(()) => tracing::info!(count, "development keys imported"),
                    Err(Interruption::Fatal(error)) => return Err(error),
                    Err(Interruption::Unavailable(error)) => {
                        tracing::warn!(%error, "key import goes on later");
                        tokio::time::sleep(POLL).await;
                    }
                    Err(Interruption::Sealer(error)) => {
                        let error = crate::report::one_line(&error);
                        tracing::warn!(error, "key import goes on when the sealer is back");
                        tokio::time::sleep(SEALER_PAUSE).await;
                    }
                }
            } else {
                tokio::time::sleep(POLL).await;
            }
        }
        crate::files::replace(&self.marker, fingerprint.as_bytes(), crate::files::PUBLIC)
            .map_err(|source| ImportError::File { path: self.marker.clone(), source })
    }

    fn missing<'w>(&self, wanted: &'w Wanted) -> Vec<&'w SecretKey> {
        self.cluster.read(|state| {
            // One that was deleted was imported before.
            let done = |validator: &Validator| validator.key.is_some() || validator.deletions > 0;
            let missing = |key: &PublicKey| !state.validator(key).is_some_and(done);
            wanted.keys.iter().filter(|(key, _)| missing(key)).map(|(_, secret)| secret).collect()
        })
    }

    async fn import(&self, missing: &[&SecretKey]) -> Result<(), Interruption> {
        let data_key = self.data_key().await?;
        for batch in missing.chunks(BATCH) {
            let mut commands = Vec::with_capacity(batch.len());
            for secret in batch {
                let sealed = self.custody.seal(&data_key, secret).map_err(ImportError::from)?;
                commands.push(Command::ImportKey { sealed, history: None, deletions_seen: 0 });
                // Sealing derives the public key: 100 us each, so others get their turn.
                tokio::task::yield_now().await;
            }
            self.propose(commands).await?;
        }
        Ok(())
    }

    /// A data key of the state under the sealer in use and open here, or a new one.
    async fn data_key(&self) -> Result<[u8; 16], Interruption> {
        let in_use = self.custody.sealers().in_use().kind();
        let usable = |entry: &DataKeyStatus| entry.open && entry.current && entry.sealer == in_use;
        if let Some(known) = self.custody.status().data_keys.iter().find(|entry| usable(entry)) {
            return Ok(known.id);
        }
        let made: DataKey = self.custody.generate_data_key(None).await.map_err(Interruption::sealing)?;
        let id = made.id;
        self.propose(vec![Command::AddDataKey(made)]).await?;
        Ok(id)
    }

    async fn propose(&self, commands: Vec<Command>) -> Result<(), Interruption> {
        let outcomes = self.cluster.propose(commands, BATCH_DEADLINE).await.map_err(Interruption::Unavailable)?;
        let rejected = outcomes.into_iter().find_map(|outcome| match outcome {
            // Deleted meanwhile: it is not missing any more.
            Outcome::Rejected(Rejection::DeletedMeanwhile { .. }) => None,
            Outcome::Rejected(rejection) => Some(rejection),
            Outcome::TokenHeld
            | Outcome::TokenRevoked { .. }
            | Outcome::AuditAnchored
            | Outcome::RulesRaised(_)
            | Outcome::JoinTokenHeld
            | Outcome::JoinTokenRevoked { .. }
            | Outcome::NodeAdmitted
            | Outcome::NodeRetired
            | Outcome::PositionsNoted
            | Outcome::Resumed { .. }
            | Outcome::ArchiveAdvanced
            | Outcome::Initialised
            | Outcome::Judged(_)
            | Outcome::DataKeyHeld
            | Outcome::KeyImported { .. }
            | Outcome::HistoryMerged { .. }
            | Outcome::HighWatermarkSet
            | Outcome::PolicyRenewed(_)
            | Outcome::KeyDeleted { .. }
            | Outcome::Resealed { .. }
            | Outcome::DataKeyRemoved { .. } => None,
        });
        rejected.map_or(Ok(()), |rejection| Err(ImportError::Rejected(rejection).into()))
    }
}

/// Why a try ended.
enum Interruption {
    Unavailable(ProposeError),
    /// The sealer, which may be back later.
    Sealer(CustodyError),
    Fatal(ImportError),
}

impl Interruption {
    fn sealing(error: CustodyError) -> Self {
        let may_pass = matches!(&error, CustodyError::Sealer(inner) if inner.may_pass());
        if may_pass { Self::Sealer(error) } else { Self::Fatal(error.into()) }
    }
}

impl From<ImportError> for Interruption {
    fn from(error: ImportError) -> Self {
        Self::Fatal(error)
    }
}

fn wanted(config: &ImportConfig) -> Result<Wanted, ImportError> {
    let mut secrets: Vec<SecretKey> = (0..config.interop_count).map(interop_secret).collect();
    if let Some(path) = &config.raw_keys_file {
        secrets.extend(raw_secrets(path, config.loose)?);
    }
    Ok(Wanted { keys: secrets.into_iter().map(|secret| (secret.public_key(), secret)).collect() })
}

/// The secrets of a file: hexadecimal, one per line; empty lines and lines that begin with `#` are passed over.
///
/// # Errors
/// [`ImportError::Private`] (also if others can read it, unless `loose` lets that pass), [`ImportError::File`], or
/// [`ImportError::Secret`] with the line's number.
pub fn raw_secrets(path: &Path, loose: LooseFiles) -> Result<Vec<SecretKey>, ImportError> {
    let text = read(path, loose)?;
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(position, line)| {
            let bad = |source| ImportError::Secret { path: path.to_owned(), line: position + 1, source };
            line.parse().map_err(bad)
        })
        .collect()
}

/// The text is erased when dropped. That a loose file is used was said when the configuration was checked.
fn read(path: &Path, loose: LooseFiles) -> Result<Zeroizing<String>, ImportError> {
    let failed = |source| ImportError::File { path: path.to_owned(), source };
    let (mut file, _said) = open_secret(path, loose)?;
    let length = file.metadata().map_err(failed)?.len();
    // Reserved at once: a growing text would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(length).unwrap_or(0) + 1));
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// Names what was imported without telling it: a hash of the count and of the file.
fn fingerprint(config: &ImportConfig) -> Result<String, ImportError> {
    let mut hash = Sha256::new();
    hash.update(b"consigner import 1");
    hash.update(config.interop_count.to_le_bytes());
    if let Some(path) = &config.raw_keys_file {
        hash.update(read(path, config.loose)?.as_bytes());
    }
    Ok(hex::encode(hash.finalize()))
}
