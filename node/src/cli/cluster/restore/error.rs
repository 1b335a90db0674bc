//! Why nothing was restored. Nothing was written then.

use super::super::backup::BackupFault;
use crate::serve::network::ChainError;
use crate::serve::sealers::SealersError;
use consigner_keys::backup::ResealError;
use consigner_raft::restore::{FloorError, MergeError, SourceError, WriteError};
use consigner_rules::Root;
use consigner_rules::interchange::InterchangeError;
use consigner_rules::primitives::ClusterId;

#[derive(Debug, thiserror::Error)]
pub(super) enum RestoreError {
    /// The data directory.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The chain of the configuration.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The file of a backup.
    #[error(transparent)]
    Backup(#[from] BackupFault),
    /// What a source holds.
    #[error("{name}")]
    Source {
        /// File or directory.
        name: String,
        /// What is wrong with it.
        source: SourceError,
    },
    /// Floors are reckoned from this machine's clock.
    #[error("{name} was made {seconds} s from now by this machine's clock, which is behind: set it right first")]
    Clock {
        /// The backup.
        name: String,
        /// How far it lies ahead.
        seconds: u64,
    },
    /// An interchange file cannot be read.
    #[error("{name} cannot be read")]
    Read {
        /// The file.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// An interchange file.
    #[error("{name}")]
    Interchange {
        /// The file.
        name: String,
        /// What is wrong with it.
        source: InterchangeError,
    },
    /// The file that is to say where the archive is.
    #[error("{0} cannot be used to find the archive; why stands above")]
    ArchiveConfig(String),
    /// It names no database.
    #[error("{0} names no database (archive.postgres.url); segments of old nodes come with --survivor")]
    NoArchive(String),
    /// This binary cannot read it.
    #[cfg(not(feature = "postgres"))]
    #[error("this program was built without Postgres (feature `postgres`)")]
    NoPostgres,
    /// The archive cannot be read.
    #[cfg(feature = "postgres")]
    #[error("{name}: without --archive the restore goes on, and the floor stands for what the archive knew")]
    Archive {
        /// Where it is.
        name: String,
        /// Why not.
        source: consigner_storage::archive::ArchiveError,
    },
    /// It is another cluster's.
    #[cfg(feature = "postgres")]
    #[error("the archive {name} holds nothing of cluster {cluster}")]
    NotInArchive {
        /// Where it is.
        name: String,
        /// The old cluster.
        cluster: ClusterId,
    },
    /// The sources do not belong together.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The configuration still names the old cluster.
    #[error(
        "cluster.id of the configuration is {0}, that of the lost cluster: a restored cluster needs a new one, so that no \
         old node can ever talk to it (16 random bytes, e.g. `openssl rand -hex 16`)"
    )]
    SameCluster(ClusterId),
    /// Another chain.
    #[error("{name} signs for the chain {found}, the configuration for {expected}")]
    OtherChain {
        /// The source.
        name: String,
        /// Its genesis validators root.
        found: Root,
        /// That of the configuration.
        expected: Root,
    },
    /// The floor.
    #[error("--resume-at-epoch")]
    Floor(#[from] FloorError),
    /// The sealers of the configuration.
    #[error(transparent)]
    Sealers(#[from] SealersError),
    /// The keys.
    #[error("the keys cannot be sealed for the new cluster")]
    Reseal(#[from] ResealError),
    /// The floor and the histories do not fit.
    #[error("the floor was not taken: {0}")]
    NotResumed(String),
}
