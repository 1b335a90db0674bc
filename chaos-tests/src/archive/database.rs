//! The archive's database of a run: a real Postgres with TLS and client certificates, perhaps behind a real `PgBouncer`.
//!
//! In: a directory. Out: the overlay for nodes, flags for commands, what can be broken, rows. Its calls wait for other
//! processes; callers on a runtime put them aside ([`Database::aside`]).

use super::pgbouncer::PgBouncer;
use super::postgres::{OWNER, Postgres, READER, ServerCertificate, WRITER};
use super::rows::{REFUSED, Row, SIGNED, rows};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// The database of a run.
const NAME: &str = "consigner";

/// How the nodes come to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// To its own port, the password bound to the TLS channel.
    Direct,
    /// Through `PgBouncer` in transaction mode, which binds nothing.
    Pgbouncer,
}

/// A running database.
pub struct Database {
    postgres: Arc<Postgres>,
    pooler: Option<PgBouncer>,
    way: Way,
    _home: TempDir,
}

impl Database {
    /// Starts it; `None`, after it was said why, where a program is missing.
    ///
    /// # Errors
    /// No directory for it.
    pub fn start(way: Way) -> std::io::Result<Option<Self>> {
        let home = tempfile::Builder::new().prefix("consigner-archive-").tempdir()?;
        let Some(postgres) = Postgres::start(home.path()) else { return Ok(None) };
        postgres.archive(NAME);
        let pooler = match way {
            Way::Direct => None,
            Way::Pgbouncer => match PgBouncer::start(&postgres, WRITER) {
                Some(pooler) => Some(pooler),
                None => return Ok(None),
            },
        };
        Ok(Some(Self { postgres: Arc::new(postgres), pooler, way, _home: home }))
    }

    /// YAML for every node: archive often, so that a run has many batches.
    #[must_use]
    pub fn overlay(&self) -> String {
        let url = match &self.pooler {
            Some(pooler) => pooler.url(NAME),
            None => self.postgres.url(WRITER, NAME),
        };
        let binding = match self.way {
            Way::Direct => "require",
            Way::Pgbouncer => "prefer",
        };
        let (ca, password) = (self.file("ca.pem"), self.file("password"));
        let (cert, key) = (self.file(&format!("{WRITER}.pem")), self.file(&format!("{WRITER}-key.pem")));
        format!(
            "archive:\n  postgres:\n    url: {url}\n    ca: {ca}\n    cert: {cert}\n    key: {key}\n    \
             password-file: {password}\n    channel-binding: {binding}\n    flush-interval: 250ms\n    \
             deadline: 10s\n",
            ca = ca.display(),
            cert = cert.display(),
            key = key.display(),
            password = password.display()
        )
    }

    /// Flags of `consigner archive migrate`, as the owner, directly.
    #[must_use]
    pub fn migrating(&self) -> Vec<String> {
        let mut flags = self.flags(OWNER);
        flags.extend(["--writer", WRITER, "--reader", READER].map(str::to_owned));
        flags
    }

    /// Flags of commands that only read, directly.
    #[must_use]
    pub fn reading(&self) -> Vec<String> {
        self.flags(READER)
    }

    fn flags(&self, role: &str) -> Vec<String> {
        let file = |name: &str| self.file(name).display().to_string();
        let (cert, key) = (file(&format!("{role}.pem")), file(&format!("{role}-key.pem")));
        let pairs = [
            ("--url", self.postgres.url(role, NAME)),
            ("--db-ca", file("ca.pem")),
            ("--db-cert", cert),
            ("--db-key", key),
            ("--db-password-file", file("password")),
        ];
        pairs.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.postgres.path(name)
    }

    /// Does something that waits for Postgres, beside the runtime.
    pub async fn aside<T: Send + 'static>(&self, act: impl FnOnce(&Postgres) -> T + Send + 'static) -> Option<T> {
        let postgres = self.postgres.clone();
        tokio::task::spawn_blocking(move || act(&postgres)).await.ok()
    }

    /// All rows of signatures, all rows of refusals.
    ///
    /// # Errors
    /// What `psql` complained about.
    pub async fn rows(&self) -> Result<(Vec<Row>, Vec<Row>), String> {
        let read = |postgres: &Postgres| {
            let signed = postgres.try_sql(NAME, SIGNED).and_then(|text| rows(&text))?;
            let refused = postgres.try_sql(NAME, REFUSED).and_then(|text| rows(&text))?;
            Ok((signed, refused))
        };
        self.aside(read).await.unwrap_or_else(|| Err("the look at the rows broke off".to_owned()))
    }

    /// Rows and batches so far.
    ///
    /// # Errors
    /// As [`Database::rows`].
    pub async fn batches(&self) -> Result<u64, String> {
        let read = |postgres: &Postgres| postgres.try_sql(NAME, "SELECT count(*) FROM consigner.batches");
        let text = self.aside(read).await.unwrap_or_else(|| Err("the look broke off".to_owned()))?;
        text.trim().parse().map_err(|error| format!("{text:?}: {error}"))
    }

    /// CPU time of all its processes so far, in microseconds.
    #[must_use]
    pub fn cpu_us(&self) -> Option<u64> {
        let pid_file = self.postgres.dir.join("data/postmaster.pid");
        let postmaster: u32 = std::fs::read_to_string(pid_file).ok()?.lines().next()?.trim().parse().ok()?;
        super::cpu::family_us(postmaster)
    }
}

/// What is done to a database; the pair of [`end`].
pub(super) fn begin(postgres: &Postgres, trouble: Trouble) {
    match trouble {
        Trouble::Kill | Trouble::KillWithLeader => postgres.kill(),
        Trouble::Stop => postgres.stop(),
        Trouble::ReadOnly => postgres.read_only(NAME, true),
        Trouble::Untrusted => {
            postgres.show(ServerCertificate::UnknownCa);
            postgres.end_sessions();
        }
        Trouble::RotateServer => {
            postgres.show(ServerCertificate::Right);
            postgres.end_sessions();
        }
        Trouble::RotateClient => {
            postgres.issue(WRITER, WRITER);
            postgres.end_sessions();
        }
        Trouble::EndSessions => postgres.end_sessions(),
    }
}

/// Ends it.
pub(super) fn end(postgres: &Postgres, trouble: Trouble) {
    match trouble {
        Trouble::Kill | Trouble::KillWithLeader | Trouble::Stop => postgres.go(),
        Trouble::ReadOnly => postgres.read_only(NAME, false),
        Trouble::Untrusted => {
            postgres.show(ServerCertificate::Right);
            postgres.end_sessions();
        }
        Trouble::RotateServer | Trouble::RotateClient | Trouble::EndSessions => {}
    }
}

/// What happens to a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Trouble {
    /// `kill -9` of Postgres.
    Kill,
    /// The same, and the leader gets `kill -9` while it is away: its successor meets no database.
    KillWithLeader,
    /// An orderly stop, and a start.
    Stop,
    /// Nothing can be written.
    ReadOnly,
    /// It shows a certificate of a CA that the nodes do not trust.
    Untrusted,
    /// It gets a new certificate.
    RotateServer,
    /// The nodes get a new certificate.
    RotateClient,
    /// All its sessions are ended.
    EndSessions,
}

/// As on the command line.
impl std::fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use clap::ValueEnum as _;
        self.to_possible_value().map_or(Ok(()), |value| formatter.write_str(value.get_name()))
    }
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Kill,
        Self::ReadOnly,
        Self::RotateServer,
        Self::KillWithLeader,
        Self::EndSessions,
        Self::Stop,
        Self::Untrusted,
        Self::RotateClient,
    ];

    /// For reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "postgres killed",
            Self::KillWithLeader => "postgres and the leader killed",
            Self::Stop => "postgres restarted",
            Self::ReadOnly => "postgres read-only",
            Self::Untrusted => "postgres with another CA's certificate",
            Self::RotateServer => "certificate of postgres rotated",
            Self::RotateClient => "certificate of the nodes rotated",
            Self::EndSessions => "sessions ended",
        }
    }

    /// Whether nothing can be archived until it is ended; else it is a moment.
    #[must_use]
    pub const fn lasts(self) -> bool {
        match self {
            Self::Kill | Self::KillWithLeader | Self::Stop | Self::ReadOnly | Self::Untrusted => true,
            Self::RotateServer | Self::RotateClient | Self::EndSessions => false,
        }
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Database").field("way", &self.way).finish_non_exhaustive()
    }
}
