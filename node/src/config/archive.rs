//! `archive.*`: the outbox's share of the disk, how long an embedded archive is kept, and the database, if there is one.
//!
//! In: settings. Out: a section in which nothing contradicts itself. Deliberately absent: every secret (a file or a
//! variable holds the password, and the URL must not), and any look at the database: whether it is there is no business
//! of a node's start.

use super::resolve::Resolver;
use super::values;
use std::path::PathBuf;
use std::time::Duration;

/// See `archive.*` in [`super::keys::KEYS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveConfig {
    /// What the outbox may take of the file system of the data directory, percent.
    pub outbox_share_percent: u8,
    /// How long rows stay where no database takes them; `None` is for ever.
    pub retention: Option<Duration>,
    /// How much of them stays, bytes; `None` is everything.
    pub retention_bytes: Option<u64>,
    /// The database.
    pub postgres: Option<PostgresConfig>,
}

/// See `archive.postgres.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresConfig {
    /// `postgres://USER@HOST:PORT/DATABASE`.
    pub url: String,
    /// How the server proves who it is.
    pub server: PostgresServer,
    /// Where the password comes from.
    pub password: PostgresPassword,
    /// Whether the password exchange must be bound to the TLS channel.
    pub binds_channel: bool,
    /// Rows after which a batch is written.
    pub batch_rows: usize,
    /// Time after which a smaller batch is written.
    pub flush_interval: Duration,
    /// For each call of the database.
    pub deadline: Duration,
}

/// How the server proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostgresServer {
    /// A certificate of these CAs for the host of the URL.
    Verified {
        /// PEM.
        ca: PathBuf,
        /// This node's certificate chain and key, PEM.
        identity: Option<(PathBuf, PathBuf)>,
    },
    /// Not at all, and in the clear.
    InTheClear,
}

/// Where the password comes from, at each connect anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostgresPassword {
    /// There is none.
    None,
    /// The first line of a file.
    File(PathBuf),
    /// A variable of the environment.
    Variable(String),
}

/// Beyond it the log and the snapshots would have no room.
const SHARE_PERCENT_MAX: u64 = 80;

/// A transaction of about a second, and some ten megabytes of parameters; `storage` takes one more entry on top of it.
const BATCH_ROWS_MAX: u64 = 50_000;

/// Below it a connection over TLS with a slow password exchange never comes about.
const DEADLINE_MIN: Duration = Duration::from_millis(500);

/// Longer, and a new leader would wait too long for the locks of one that hangs.
const DEADLINE_MAX: Duration = Duration::from_secs(120);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const URL: &str = "archive.postgres.url";

/// What means nothing without the URL.
const OF_POSTGRES: &[&str] = &[
    "ca",
    "cert",
    "key",
    "password-file",
    "password-env",
    "channel-binding",
    "insecure-no-tls",
    "batch-rows",
    "flush-interval",
    "deadline",
];

impl Resolver<'_> {
    pub(super) fn archive(&mut self) -> Option<ArchiveConfig> {
        let share = self.number("archive.outbox-share-percent", 1);
        if share.is_some_and(|share| share > SHARE_PERCENT_MAX) {
            self.complain("archive.outbox-share-percent", format!("must be at most {SHARE_PERCENT_MAX}"));
        }
        let days = self.optional("archive.retention-days", |text| {
            values::number(text, 1).and_then(|days| u32::try_from(days).ok())
        });
        let retention_bytes = self.optional("archive.retention-bytes", values::bytes);
        let postgres = self.postgres();
        if self.is_set(URL) {
            for key in ["archive.retention-days", "archive.retention-bytes"] {
                if self.is_set(key) {
                    let what =
                        format!("set beside {URL}: rows leave the nodes when the database has them, and only then");
                    self.complain(key, what);
                }
            }
        }
        Some(ArchiveConfig {
            outbox_share_percent: u8::try_from(share?).ok()?,
            retention: days.map(|days| DAY * days),
            retention_bytes,
            postgres: postgres?,
        })
    }

    /// `None` after a complaint, `Some(None)` without a database.
    fn postgres(&mut self) -> Option<Option<PostgresConfig>> {
        let url = self.optional(URL, values::text);
        let (server, password) = (self.postgres_server(), self.postgres_password());
        let binds_channel = self.channel_binding(server.as_ref(), password.as_ref());
        let batch_rows = self.number("archive.postgres.batch-rows", 1);
        if batch_rows.is_some_and(|rows| rows > BATCH_ROWS_MAX) {
            self.complain("archive.postgres.batch-rows", format!("must be at most {BATCH_ROWS_MAX}"));
        }
        let flush_interval = self.scalar("archive.postgres.flush-interval", values::duration);
        let deadline = self.scalar("archive.postgres.deadline", values::duration);
        if deadline.is_some_and(|deadline| !(DEADLINE_MIN..=DEADLINE_MAX).contains(&deadline)) {
            let what = format!("must lie between {DEADLINE_MIN:?} and {DEADLINE_MAX:?}");
            self.complain("archive.postgres.deadline", what);
        }
        if !self.is_set(URL) {
            self.complain_of_no_url();
            return Some(None);
        }
        let url = url?;
        if !cfg!(feature = "postgres") {
            return self.not_compiled(URL, "postgres");
        }
        if server.is_none() {
            let what = "missing; the CAs that may issue the server's certificate (only archive.postgres.insecure-no-tls: \
                        true does without, for a database on this machine)";
            self.complain("archive.postgres.ca", what.to_owned());
        }
        let config = PostgresConfig {
            url,
            server: server?,
            password: password?,
            binds_channel: binds_channel?,
            batch_rows: usize::try_from(batch_rows?).ok()?,
            flush_interval: flush_interval?,
            deadline: deadline?,
        };
        self.check_url(&config);
        Some(Some(config))
    }

    fn complain_of_no_url(&mut self) {
        for word in OF_POSTGRES {
            let key = format!("archive.postgres.{word}");
            if self.differs(&key) {
                self.complain(&key, format!("set without {URL}: it would mean nothing"));
            }
        }
    }

    /// `None` without CAs, unless the operator wants neither encryption nor proof.
    fn postgres_server(&mut self) -> Option<PostgresServer> {
        let (ca, cert, key) = ("archive.postgres.ca", "archive.postgres.cert", "archive.postgres.key");
        let (ca_file, cert_file, key_file) = (self.path(ca), self.path(cert), self.path(key));
        let in_the_clear = self.scalar("archive.postgres.insecure-no-tls", values::switch)?;
        for (one, other) in [(cert, key), (key, cert)] {
            if self.is_set(one) && !self.is_set(other) {
                self.complain(other, format!("missing; {one} is set, and both belong together"));
            }
        }
        if !in_the_clear {
            return Some(PostgresServer::Verified { ca: ca_file?, identity: cert_file.zip(key_file) });
        }
        for key in [ca, cert, key] {
            if self.is_set(key) {
                let what = "set beside archive.postgres.insecure-no-tls: without TLS no certificate is looked at";
                self.complain(key, what.to_owned());
            }
        }
        Some(PostgresServer::InTheClear)
    }

    fn postgres_password(&mut self) -> Option<PostgresPassword> {
        let (file, variable) = ("archive.postgres.password-file", "archive.postgres.password-env");
        match (self.path(file), self.optional(variable, values::variable)) {
            (Some(_), Some(_)) => {
                self.complain(variable, format!("cannot be set together with {file}: the password is in one place"));
                None
            }
            (Some(path), None) => Some(PostgresPassword::File(path)),
            (None, Some(name)) => Some(PostgresPassword::Variable(name)),
            (None, None) if self.is_set(file) || self.is_set(variable) => None,
            (None, None) => Some(PostgresPassword::None),
        }
    }

    /// Without a word: required where there is a password to bind. A pooler in between cannot do it.
    fn channel_binding(
        &mut self,
        server: Option<&PostgresServer>,
        password: Option<&PostgresPassword>,
    ) -> Option<bool> {
        let key = "archive.postgres.channel-binding";
        let possible = server != Some(&PostgresServer::InTheClear) && password != Some(&PostgresPassword::None);
        if !self.is_set(key) {
            return Some(possible);
        }
        let required = self.word(key)? == "require";
        if required && !possible {
            let what = "require needs TLS and a password: there is nothing to bind, and no connection would come about";
            self.complain(key, what.to_owned());
        }
        Some(required)
    }

    #[cfg(feature = "postgres")]
    fn check_url(&mut self, config: &PostgresConfig) {
        if let Err(error) = config.database("").check_url() {
            self.complain(URL, error.to_string());
        }
    }

    #[cfg(not(feature = "postgres"))]
    fn check_url(&mut self, _: &PostgresConfig) {}
}

impl PostgresConfig {
    /// Where the database is, without the user: `HOST:PORT/NAME`.
    #[must_use]
    pub fn place(&self) -> String {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        let rest = rest.split('?').next().unwrap_or_default();
        rest.rsplit_once('@').map_or(rest, |(_, place)| place).to_owned()
    }

    /// As `storage` takes it; `application` is what the server shows of this connection.
    #[cfg(feature = "postgres")]
    #[must_use]
    pub fn database(&self, application: &'static str) -> consigner_storage::archive::ArchiveDb {
        use consigner_storage::archive::{ArchiveDb, ChannelBinding, PasswordSource, ServerProof};
        let server = match self.server.clone() {
            PostgresServer::Verified { ca, identity } => ServerProof::Tls { ca, identity },
            PostgresServer::InTheClear => ServerProof::None,
        };
        let password = match self.password.clone() {
            PostgresPassword::None => PasswordSource::None,
            PostgresPassword::File(path) => PasswordSource::File(path),
            PostgresPassword::Variable(name) => PasswordSource::Env(name),
        };
        let channel_binding = if self.binds_channel { ChannelBinding::Require } else { ChannelBinding::Prefer };
        let (url, deadline) = (self.url.clone(), self.deadline);
        ArchiveDb { url, password, server, channel_binding, deadline, application }
    }
}
