//! Where an archive lies: a database by its flags or by a node's configuration, or the data directory of a node.

use crate::cli::run::load;
use crate::cli::{Exit, output};
use crate::config::{Config, PostgresConfig, PostgresPassword, PostgresServer};
use crate::report::one_line;
use clap::{Args, ValueEnum};
use consigner_rules::Root;
use consigner_rules::primitives::ClusterId;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What `pg_stat_activity` shows of the command line.
#[cfg(feature = "postgres")]
pub(super) const APPLICATION: &str = "consigner archive";

/// What a build without Postgres answers.
#[cfg(not(feature = "postgres"))]
pub(super) const NOT_COMPILED: &str = "this program was built without Postgres (feature `postgres`)";

/// Below a data directory.
const SEGMENTS: &str = "archive";

/// Whether the password exchange must be bound to the TLS channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Binding {
    /// It must.
    Require,
    /// If the server can; `PgBouncer` cannot.
    Prefer,
}

/// Flags that name a database.
#[derive(Debug, Clone, Args)]
pub(super) struct DbArgs {
    /// The archive's database, without a password
    #[arg(long, visible_alias = "db", value_name = "postgres://USER@HOST:PORT/DATABASE", conflicts_with = "config")]
    pub(super) url: Option<String>,
    /// A node's configuration file, which says where its archive lies
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// CA certificates that issued the database's certificate, PEM
    #[arg(long, value_name = "FILE", requires = "url")]
    db_ca: Option<PathBuf>,
    /// Client certificate for the database, PEM
    #[arg(long, value_name = "FILE", requires = "db_key", requires = "db_ca")]
    db_cert: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "db_cert")]
    db_key: Option<PathBuf>,
    /// File with the database's password; only its owner (and group) may read it
    #[arg(long, value_name = "FILE", requires = "url", conflicts_with = "db_password_env")]
    db_password_file: Option<PathBuf>,
    /// In place of the file: the name of an environment variable
    #[arg(long, value_name = "NAME", requires = "url")]
    db_password_env: Option<String>,
    /// Bind the password exchange to the TLS channel; `require` with a password, `prefer` for PgBouncer
    #[arg(long, value_name = "HOW", requires = "url")]
    db_channel_binding: Option<Binding>,
    /// Without TLS: whoever is in between can read and change everything
    #[arg(long, requires = "url", conflicts_with = "db_ca")]
    db_insecure_no_tls: bool,
    /// Seconds for each call of the database
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    db_deadline: u64,
}

/// Flags that name an archive.
#[derive(Debug, Clone, Args)]
pub(super) struct SourceArgs {
    #[command(flatten)]
    pub(super) db: DbArgs,
    /// A node's data directory: its segments; and the newest rows, if the node does not run
    #[arg(long, value_name = "DIR", conflicts_with_all = ["url", "config"])]
    pub(super) data_dir: Option<PathBuf>,
    /// Only the rows of this cluster; with --data-dir whose segments they must be, if the directory does not say it
    #[arg(long, value_name = "CLUSTER_ID")]
    pub(super) lineage: Option<ClusterId>,
}

/// An archive.
#[derive(Debug)]
pub(super) enum Source {
    /// A database.
    #[cfg(feature = "postgres")]
    Database(Box<Database>),
    /// A node's own.
    Segments(Segments),
}

/// An archive in a database.
#[cfg(feature = "postgres")]
#[derive(Debug)]
pub(super) struct Database {
    /// Where.
    pub(super) config: PostgresConfig,
    /// Whose rows; all without.
    pub(super) lineage: Option<ClusterId>,
}

/// An archive in a node's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segments {
    /// The data directory, in which the newest rows lie too; `None` for a copy of segments alone.
    pub(super) data_dir: Option<PathBuf>,
    /// The segments.
    pub(super) dir: PathBuf,
    /// Whose they must be.
    pub(super) lineage: ClusterId,
    /// The chain's, if a configuration says it.
    pub(super) genesis: Option<Root>,
    /// Its name, likewise.
    pub(super) network: Option<String>,
}

impl DbArgs {
    /// The database that the flags or the configuration name, if they name one.
    pub(super) fn database(&self) -> Result<Option<PostgresConfig>, Exit> {
        if self.config.is_some() {
            return Ok(self.configured()?.and_then(|config| config.archive.postgres).map(|found| self.patient(found)));
        }
        let Some(url) = self.url.clone() else { return Ok(None) };
        let server = match (&self.db_ca, self.db_insecure_no_tls) {
            (Some(ca), _) => {
                let identity = self.db_cert.clone().zip(self.db_key.clone());
                PostgresServer::Verified { ca: ca.clone(), identity }
            }
            (None, true) => PostgresServer::InTheClear,
            (None, false) => {
                output::complain(
                    "the database must prove who it is: give --db-ca (or, knowingly, --db-insecure-no-tls)",
                );
                return Err(Exit::Usage);
            }
        };
        let password = match (&self.db_password_file, &self.db_password_env) {
            (Some(file), _) => PostgresPassword::File(file.clone()),
            (None, Some(name)) => PostgresPassword::Variable(name.clone()),
            (None, None) => PostgresPassword::None,
        };
        let can_bind = server != PostgresServer::InTheClear && password != PostgresPassword::None;
        let binds_channel = self.db_channel_binding.map_or(can_bind, |binding| binding == Binding::Require);
        if server == PostgresServer::InTheClear {
            output::complain("WARNING: the database is spoken to without TLS, as asked for");
        }
        let flush_interval = Duration::ZERO;
        let config = PostgresConfig {
            url,
            server,
            password,
            binds_channel,
            batch_rows: 1,
            flush_interval,
            deadline: Duration::ZERO,
        };
        Ok(Some(self.patient(config)))
    }

    /// Reading much takes longer than what a node writes at one time.
    fn patient(&self, config: PostgresConfig) -> PostgresConfig {
        PostgresConfig { deadline: Duration::from_secs(self.db_deadline), ..config }
    }

    fn configured(&self) -> Result<Option<Config>, Exit> {
        self.config.as_deref().map(|file| Ok(load(file, &[])?.config)).transpose()
    }
}

impl SourceArgs {
    /// The archive that the flags name.
    ///
    /// # Errors
    /// How the command ends, after the reason was said.
    pub(super) fn find(&self) -> Result<Source, Exit> {
        if let Some(dir) = &self.data_dir {
            return in_directory(dir, self.lineage).map(Source::Segments);
        }
        if let Some(config) = self.db.database()? {
            #[cfg(feature = "postgres")]
            return Ok(Source::Database(Box::new(Database { config, lineage: self.lineage })));
            #[cfg(not(feature = "postgres"))]
            return usage(format!("{}: {NOT_COMPILED}", config.place()));
        }
        let Some(config) = self.db.configured()? else {
            return usage(
                "say which archive: --url or --config for a database, --data-dir for a node's own".to_owned(),
            );
        };
        let (network, genesis) = match crate::serve::network::load(&config.network) {
            Ok((network, root)) => (Some(network.name().to_owned()), Some(root)),
            Err(error) => return usage(one_line(&error)),
        };
        let (data_dir, lineage) = (config.node.data_dir, self.lineage.unwrap_or(config.cluster_id));
        let dir = data_dir.join(SEGMENTS);
        Ok(Source::Segments(Segments { data_dir: Some(data_dir), dir, lineage, genesis, network }))
    }
}

/// A data directory says whose it is; a copy of segments does not.
fn in_directory(dir: &Path, lineage: Option<ClusterId>) -> Result<Segments, Exit> {
    match consigner_storage::identity_of(dir) {
        Ok(identity) => {
            let own = ClusterId(identity.cluster_id);
            if lineage.is_some_and(|asked| asked != own) {
                return usage(format!("{} is of cluster {own}", dir.display()));
            }
            let data_dir = Some(dir.to_owned());
            Ok(Segments { data_dir, dir: dir.join(SEGMENTS), lineage: own, genesis: None, network: None })
        }
        Err(error) => match lineage {
            Some(lineage) if dir.is_dir() => {
                Ok(Segments { data_dir: None, dir: dir.to_owned(), lineage, genesis: None, network: None })
            }
            Some(_) | None => usage(format!(
                "{}; for a copy of segments alone, say whose they are: --lineage CLUSTER_ID",
                one_line(&error)
            )),
        },
    }
}

fn usage<T>(what: String) -> Result<T, Exit> {
    output::complain(&what);
    Err(Exit::Usage)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use clap::Parser as _;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        source: SourceArgs,
    }

    fn parsed(line: &str) -> SourceArgs {
        Line::try_parse_from(line.split(' ')).unwrap().source
    }

    #[test]
    fn a_database_proves_who_it_is_unless_the_operator_insists() {
        let named = |more: &str| parsed(&format!("x --url postgres://a@b/c{more}")).db.database();
        assert_eq!(named(""), Err(Exit::Usage));
        let strict = named(" --db-ca ca.pem --db-password-file p").unwrap().unwrap();
        assert!(strict.binds_channel);
        assert_eq!(strict.server, PostgresServer::Verified { ca: "ca.pem".into(), identity: None });
        let pooled = named(" --db-ca ca.pem --db-password-env P --db-channel-binding prefer").unwrap().unwrap();
        assert!(!pooled.binds_channel && pooled.password == PostgresPassword::Variable("P".to_owned()));
        let open = named(" --db-insecure-no-tls").unwrap().unwrap();
        assert_eq!((open.server, open.binds_channel), (PostgresServer::InTheClear, false));
        assert_eq!(open.deadline, Duration::from_secs(300));
    }

    #[test]
    fn a_directory_that_does_not_say_whose_it_is_needs_to_be_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display();
        assert_eq!(parsed(&format!("x --data-dir {path}")).find().err(), Some(Exit::Usage));
        assert_eq!(parsed("x").find().err(), Some(Exit::Usage));
        let id = "00112233445566778899aabbccddeeff";
        let Ok(Source::Segments(found)) = parsed(&format!("x --data-dir {path} --lineage {id}")).find() else {
            unreachable!("a copy of segments")
        };
        assert_eq!((found.data_dir, found.dir.as_path()), (None, dir.path()));
    }
}
