//! Why something did not reach the archive, in words that name what to do, and in classes that an alert can tell apart.

use std::path::PathBuf;
use std::time::Duration;

use consigner_rules::Root;
use consigner_rules::archive::ArchiveMark;
use thiserror::Error;

/// Why a call to the archive failed.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The URL is not one of a Postgres database.
    #[error("the URL of the archive's database is not usable: {0}")]
    Url(String),
    /// The server is not there, or ended the connection.
    #[error("the archive's database cannot be reached, or closed the connection")]
    Unreachable(#[source] tokio_postgres::Error),
    /// A CA, certificate or key cannot be used.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The server is not the one that it should be.
    #[error("the archive's database is not trusted: {fault}")]
    Server {
        /// What is wrong with what it showed.
        fault: ServerFault,
        /// What the handshake said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The server does not accept this side's certificate, or misses one.
    #[error("the archive's database does not accept this node's certificate: {reason}")]
    ClientCertificate {
        /// In what way.
        reason: &'static str,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// The password cannot be read.
    #[error("the password of the archive's database cannot be used: {0}")]
    Password(String),
    /// The server does not let this role in.
    #[error("the archive's database does not let this role in (password, or the name in the client certificate)")]
    Login(#[source] tokio_postgres::Error),
    /// The password exchange could not be bound to the TLS channel.
    #[error(
        "the password exchange with the archive's database failed before it was sent: the server offers no channel \
         binding (PgBouncer: set channel-binding to prefer), or asks for another kind of password"
    )]
    Exchange(#[source] tokio_postgres::Error),
    /// The role lacks a right.
    #[error(
        "the role lacks the right to {what}: the owner of the archive gives rights with `consigner archive migrate \
         --writer ROLE --reader ROLE`"
    )]
    Denied {
        /// For what.
        what: &'static str,
        /// What the server said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// Nothing can be written: a standby, or an operator's order.
    #[error("the archive's database is read-only: a standby, or default_transaction_read_only is on")]
    ReadOnly(#[source] tokio_postgres::Error),
    /// The tables are not the ones that this binary knows.
    #[error(transparent)]
    Schema(#[from] SchemaFault),
    /// A role that rights should be given to is not there.
    #[error("the database has no role \"{role}\"; create it first, as superuser: {sql}")]
    NoRole {
        /// Its name.
        role: String,
        /// What creates it.
        sql: String,
    },
    /// A role that owns the tables, is the owner's master, or may write everywhere, cannot be bound to less.
    #[error(
        "the role \"{role}\" owns the archive's tables, or is a superuser or a member of pg_write_all_data: choose one \
         that may do nothing yet"
    )]
    OwnRole {
        /// Its name.
        role: String,
    },
    /// The database holds another chain's records.
    #[error("the archive belongs to the chain with genesis validators root {found}, this cluster to {own}")]
    OtherNetwork {
        /// The archive's.
        found: Root,
        /// The cluster's.
        own: Root,
    },
    /// The database holds other clusters' records, and nobody said that this one may write beside them.
    #[error(
        "the archive holds the records of another cluster ({}); if this one goes on in its place, run `consigner \
         archive migrate --adopt {own}`", .lineages.join(", ")
    )]
    Foreign {
        /// Their ids.
        lineages: Vec<String>,
        /// The cluster's.
        own: String,
    },
    /// Nothing to adopt from, or of another chain.
    #[error("nothing to adopt: {0}")]
    Adopt(&'static str),
    /// Somebody else wrote meanwhile, or the database lost something.
    #[error("the archive's head is {}, not where this batch begins", head_text(.head.as_ref()))]
    HeadMoved {
        /// Where it is; `None`: nothing was ever written.
        head: Option<ArchiveMark>,
    },
    /// A row lies there already, with another content.
    #[error("the archive holds another content at log index {index}, place {ordinal}: it was altered, or is another's")]
    Conflict {
        /// Log index of the row.
        index: u64,
        /// Its place in the entry.
        ordinal: u32,
    },
    /// The batch does not make sense in itself; a fault of this program.
    #[error("the batch is not consistent: {0}")]
    Batch(&'static str),
    /// The disk of the database is full.
    #[error("the disk of the archive's database is full")]
    Full(#[source] tokio_postgres::Error),
    /// It took too long.
    #[error("the archive's database did not {what} within {} ms", .limit.as_millis())]
    Deadline {
        /// What.
        what: &'static str,
        /// The limit.
        limit: Duration,
    },
    /// What the database holds is no value of this program.
    #[error("the archive holds something that is not understood: {0}")]
    Content(String),
    /// Anything else.
    #[error("the archive's database failed to {what}")]
    Query {
        /// What.
        what: &'static str,
        /// What the server or the connection said.
        #[source]
        source: tokio_postgres::Error,
    },
}

/// What is wrong with the tables.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SchemaFault {
    /// There are none.
    #[error("the database has no archive schema; run `consigner archive migrate`")]
    Missing,
    /// They are older than this binary needs.
    #[error("the archive has schema version {found}, this binary needs {needed}; run `consigner archive migrate`")]
    Older {
        /// The version found.
        found: i32,
        /// The version needed.
        needed: i32,
    },
    /// They are newer than this binary knows.
    #[error("the archive has schema version {found}, this binary knows up to {known}; run a newer binary")]
    Newer {
        /// The version found.
        found: i32,
        /// The newest version known.
        known: i32,
    },
    /// A migration that was applied is not the one in this binary.
    #[error("migration {version} of the archive was applied with another content than this binary's")]
    Altered {
        /// Which.
        version: i32,
    },
}

/// What is wrong with the certificate that the server showed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ServerFault {
    /// It is for another name than the URL's.
    #[error("its certificate is for another name than the host of the URL")]
    OtherName,
    /// Its time is over.
    #[error("its certificate has expired")]
    Expired,
    /// Its time has not come; or this machine's clock is wrong.
    #[error("its certificate is not valid yet (or the clock of this machine is wrong)")]
    NotYetValid,
    /// None of the given CAs issued it.
    #[error("its certificate is of no CA that is given for it")]
    UnknownIssuer,
    /// It speaks no TLS at all.
    #[error("it does not speak TLS")]
    NoTls,
    /// Its certificate has another fault.
    #[error("its certificate is not acceptable")]
    Certificate,
    /// The handshake failed in another way.
    #[error("the TLS handshake failed")]
    Handshake,
}

impl ArchiveError {
    /// The class, for metrics and alerts.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Url(_) | Self::Unreachable(_) => "address",
            Self::File { .. } | Self::Server { .. } | Self::ClientCertificate { .. } => "tls",
            Self::Password(_) | Self::Login(_) | Self::Exchange(_) | Self::Denied { .. } => "auth",
            Self::ReadOnly(_) => "read_only",
            Self::Schema(_) | Self::NoRole { .. } | Self::OwnRole { .. } => "schema",
            Self::OtherNetwork { .. } | Self::Foreign { .. } | Self::Adopt(_) => "foreign",
            Self::HeadMoved { .. } => "behind",
            Self::Conflict { .. } => "conflict",
            Self::Full(_) => "full",
            Self::Deadline { .. } => "deadline",
            Self::Batch(_) | Self::Content(_) | Self::Query { .. } => "other",
        }
    }
}

fn head_text(head: Option<&ArchiveMark>) -> String {
    head.map_or_else(
        || "empty".to_owned(),
        |mark| format!("at log index {} with {} rows and chain {}", mark.index, mark.rows, mark.chain),
    )
}
