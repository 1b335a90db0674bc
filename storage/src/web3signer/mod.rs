//! Reads the slashing-protection database of Web3Signer (Postgres, schema version 12), once, to move away from it.
//!
//! In: where the database is, and how it proves who it is. Out: what each validator has signed, reduced to what the
//! minimal rule keeps, low watermarks included; the chain; the high watermark. Everything is read in one read-only
//! transaction, so it is of one moment. Deliberately absent: writing, other schema versions (an older one has other
//! meanings of the same tables), and any use of a part: a row that is not understood is named.

mod connect;
mod read;

use std::path::PathBuf;
use std::time::Duration;

use consigner_rules::command::HighWatermark;
use consigner_rules::{HistoryImport, PublicKey, Root};
use thiserror::Error;
use zeroize::Zeroizing;

pub use crate::postgres::ServerProof;

/// The one schema version that is read: what every current release of Web3Signer asks for at its start.
pub const SCHEMA_VERSION: i32 = 12;

/// Where the database is and how it is reached.
pub struct Web3SignerDb {
    /// `postgres://USER@HOST:PORT/DATABASE`, without a password: it would be seen in the list of processes.
    pub url: String,
    /// The password, if the server asks for one.
    pub password: Option<Zeroizing<String>>,
    /// What the server must show.
    pub server: ServerProof,
    /// For everything together.
    pub deadline: Duration,
}

/// What the database holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignerRecords {
    /// The chain; `None` only while nothing was ever signed or imported.
    pub genesis_validators_root: Option<Root>,
    /// The limit for all validators. A half that is not set is the greatest number: it limits nothing.
    pub high_watermark: Option<HighWatermark>,
    /// By public key.
    pub validators: Vec<SignerValidator>,
    /// Rows of validators that are not understood, in words: their history is *not* in `validators`.
    pub unreadable: Vec<String>,
    /// Whether there are attestations that belong to no validator; nobody can say whose they are.
    pub unowned_attestations: bool,
    /// Other sessions in this database: Web3Signer, if it still runs.
    pub other_sessions: i64,
}

/// What one validator has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignerValidator {
    /// Whose.
    pub public_key: PublicKey,
    /// Whether Web3Signer would still sign with it.
    pub enabled: bool,
    /// Rows in `signed_blocks`; what was pruned is covered by the low watermark.
    pub blocks: i64,
    /// Rows in `signed_attestations`, likewise.
    pub attestations: i64,
    /// The maxima over its rows and its low watermarks; `None`: neither.
    pub history: Option<HistoryImport>,
}

/// Why nothing could be read.
#[derive(Debug, Error)]
pub enum Web3SignerError {
    /// The URL is not one of a Postgres database.
    #[error("the database URL is not usable: {0}")]
    Url(String),
    /// A CA, certificate or key cannot be used.
    #[error("{}: {problem}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// No connection, or none that could be trusted.
    #[error("cannot connect to the database")]
    Connect(#[source] tokio_postgres::Error),
    /// A question was not answered.
    #[error("reading {what} failed")]
    Query {
        /// Which.
        what: &'static str,
        /// What the server or the connection said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// There is no such table.
    #[error("this is no slashing-protection database of Web3Signer: it has no table \"database_version\" with a row")]
    NotWeb3Signer,
    /// Another schema.
    #[error(
        "the database has schema version {found}; only version {SCHEMA_VERSION} is read: run the migrations of a \
         current release of Web3Signer first, or export its interchange file"
    )]
    Schema {
        /// The version it says.
        found: i32,
    },
    /// A copy that may lag behind.
    #[error("this server is a standby: it may lack what was signed last; read the primary")]
    Standby,
    /// History without a chain.
    #[error("the database has records but no genesis validators root: nobody can say for which chain they are")]
    NoRoot,
    /// A chain that is none.
    #[error("metadata.genesis_validators_root has {0} bytes, not 32")]
    Root(usize),
    /// The high watermark is no number of 64 bits.
    #[error("the high watermark is not usable: {0}")]
    HighWatermark(String),
    /// It took too long.
    #[error("the database did not answer everything within {} s", .0.as_secs())]
    Deadline(Duration),
}

/// Reads everything.
///
/// # Errors
/// [`Web3SignerError`]. Rows that are not understood are no error: [`SignerRecords::unreadable`].
pub async fn read(db: &Web3SignerDb) -> Result<SignerRecords, Web3SignerError> {
    let reading = async {
        let mut session = connect::connect(db).await?;
        read::all(&mut session.client, db.deadline).await
    };
    tokio::time::timeout(db.deadline, reading).await.map_err(|_| Web3SignerError::Deadline(db.deadline))?
}
