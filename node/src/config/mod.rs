//! The configuration of one node: YAML file, environment, flags, to one checked value.
//!
//! In: a file, `CONSIGNER_*` variables, flags of `consigner run`. Out: a [`Config`] in which no field is optional that
//! a node always needs, or a [`ConfigError`] that names file, line, key and what is allowed, for every problem at once.
//! Deliberately absent: reading certificates and keys (their owners do that), defaults anywhere but in [`keys::KEYS`].

pub mod archive;
#[cfg(test)]
mod archive_tests;
pub mod disk;
pub mod error;
pub mod files;
pub mod flags;
mod form;
#[cfg(test)]
mod key_tests;
pub mod keymanager;
pub mod keys;
mod nearest;
pub mod own_door;
pub mod perimeter;
#[cfg(test)]
mod perimeter_tests;
mod resolve;
pub mod sealer;
pub mod settings;
pub mod source;
#[cfg(test)]
mod tests;
pub mod tls;
mod tls_files;
#[cfg(test)]
mod tls_tests;
pub mod tree;
pub(crate) mod values;
pub mod vault;

pub use archive::{ArchiveConfig, PostgresConfig, PostgresPassword, PostgresServer};
pub use disk::DiskConfig;
pub use error::{ConfigError, Origin, Problem};
pub use keymanager::KeyManagerConfig;
pub use own_door::OwnDoor;
pub use perimeter::{AuditConfig, BackOff, LimitsConfig, Rate};
pub use sealer::SealerConfig;
pub use settings::{FlagValue, Settings};
pub use source::{DecryptConfig, SourceConfig};
pub use tls::{PeerTlsConfig, TlsConfig};

use consigner_gate::HostAllowlist;
use consigner_gate::door::{Balancers, IpAllowlist};
use consigner_gate::oauth::OAuth;
use consigner_keys::source::LooseFiles;
use consigner_raft::Timing;
use consigner_rules::primitives::{ClusterId, Root};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tree::Tree;

/// A configuration is a few hundred lines; more is not a configuration.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Everything a node is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The node itself.
    pub node: NodeConfig,
    /// The cluster that it belongs to.
    pub cluster_id: ClusterId,
    /// The chain.
    pub network: NetworkConfig,
    /// The door for clients and operators.
    pub api: ApiConfig,
    /// The door for the other nodes.
    pub peer: PeerConfig,
    /// The door for Prometheus, if it is open.
    pub metrics: Option<MetricsConfig>,
    /// Where keys come from and how they are sealed.
    pub keys: KeysConfig,
    /// The key manager API, if it is enabled.
    pub keymanager: Option<KeyManagerConfig>,
    /// A listener of its own for administrators; without it the API port serves them.
    pub admin: Option<OwnDoor>,
    /// A listener where clients without a certificate sign with a token.
    pub token_door: Option<OwnDoor>,
    /// Whose access tokens count, if any.
    pub oauth: Option<OAuth>,
    /// How often who may ask.
    pub limits: LimitsConfig,
    /// What is recorded, if anything.
    pub audit: Option<AuditConfig>,
    /// Where records go, and how long they stay.
    pub archive: ArchiveConfig,
    /// What is logged.
    pub log: LogConfig,
    /// Timers.
    pub raft: Timing,
    /// Log entries between snapshots.
    pub snapshot_every: u64,
    /// How much of the disk may be filled.
    pub disk: DiskConfig,
}

/// See `node.*` in [`keys::KEYS`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Node id, never reused.
    pub id: u64,
    /// Common name of the node's peer certificate.
    pub name: String,
    /// Log, state and snapshots.
    pub data_dir: PathBuf,
    /// Holds the process id while the node runs.
    pub pid_file: Option<PathBuf>,
    /// Holds the token that lets the node join a cluster; it need not be there.
    pub join_token_file: Option<PathBuf>,
}

/// See `network`, `genesis-validators-root` and `genesis-time`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// A built-in name in lower case, or the path of a file.
    pub name_or_file: String,
    /// The chain's genesis validators root, if not the built-in one.
    pub genesis_validators_root: Option<Root>,
    /// Seconds since 1970, if not the built-in time.
    pub genesis_time: Option<u64>,
}

/// See `api.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where redirected clients go, `https://host:port`.
    pub advertise_url: Option<String>,
    /// Host headers that are served.
    pub host_allowlist: HostAllowlist,
    /// Addresses that may connect.
    pub ip_allowlist: IpAllowlist,
    /// Balancers before it.
    pub balancers: Option<Balancers>,
    /// Redirect or forward.
    pub follower_requests: FollowerRequests,
    /// What it shows and whom it trusts.
    pub tls: TlsConfig,
    /// Common names that may sign; `*` alone: every verified certificate.
    pub clients: Vec<String>,
    /// Common names that may administrate and sign, until there is a policy.
    pub admins: Vec<String>,
    /// Sign requests at one time.
    pub sign_requests_max: usize,
    /// Open connections.
    pub connections_max: usize,
    /// After which an idle connection is closed.
    pub idle_timeout: Duration,
    /// How long a node that stops goes on serving while `/ready` says 503 already.
    pub drain_delay: Duration,
}

/// What a follower does with a request that the leader must order (DESIGN 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FollowerRequests {
    /// Redirect clients that are known to follow, forward the others.
    Auto,
    /// Always answer 307.
    Redirect,
    /// Always forward the intent.
    Forward,
}

/// See `peer.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where the other nodes connect, `host:port`.
    pub advertise: String,
    /// Addresses that may connect.
    pub ip_allowlist: IpAllowlist,
    /// Certificate and trust, used as server and as client.
    pub tls: PeerTlsConfig,
}

/// See `metrics.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Where to listen, plain HTTP.
    pub listen: SocketAddr,
    /// Host headers that are served.
    pub host_allowlist: HostAllowlist,
    /// Addresses that may connect.
    pub ip_allowlist: IpAllowlist,
}

/// See `keys.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysConfig {
    /// What wraps the data keys.
    pub sealer: SealerConfig,
    /// Where keys are found.
    pub source: SourceConfig,
    /// How many keystores are decrypted at one time.
    pub decrypt: DecryptConfig,
    /// Keys that the cluster shall hold, for development.
    pub import: ImportConfig,
}

/// See `keys.import.*`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportConfig {
    /// The first so many interop keys.
    pub interop_count: u64,
    /// Hexadecimal secrets, one per line.
    pub raw_keys_file: Option<PathBuf>,
    /// What becomes of that file if others can read it.
    pub loose: LooseFiles,
}

/// See `log.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// Least severity, lower case.
    pub level: String,
    /// Form of the lines.
    pub format: LogFormat,
}

/// Form of the log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl NetworkConfig {
    /// Of a chain whose genesis time nobody needs to be told.
    #[must_use]
    pub const fn new(name_or_file: String, genesis_validators_root: Option<Root>) -> Self {
        Self { name_or_file, genesis_validators_root, genesis_time: None }
    }
}

impl FollowerRequests {
    /// By its word in the configuration.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "auto" => Some(Self::Auto),
            "redirect" => Some(Self::Redirect),
            "forward" => Some(Self::Forward),
            _ => None,
        }
    }
}

/// A configuration and what its sources looked odd about.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The checked configuration.
    pub config: Config,
    /// Not wrong, but worth a warning.
    pub remarks: Vec<String>,
}

/// Reads the file and lays environment and flags over it.
///
/// # Errors
/// Every problem of file, environment and flags at once.
pub fn load(
    file: &Path,
    environment: impl IntoIterator<Item = (String, String)>,
    flags: &[FlagValue],
) -> Result<Loaded, ConfigError> {
    let whole_file = |line, what| {
        ConfigError(vec![Problem { origin: Origin::File { file: file.to_owned(), line }, key: String::new(), what }])
    };
    let text = read_bounded(file).map_err(|error| whole_file(0, format!("cannot be read: {error}")))?;
    let tree = Tree::parse(&text).map_err(|error| whole_file(error.line, error.what))?;
    let mut settings = Settings::default();
    settings.take_file(file, &tree);
    settings.take_environment(environment);
    settings.take_flags(flags);
    let remarks = std::mem::take(&mut settings.remarks);
    let base = file.parent().unwrap_or_else(|| Path::new(""));
    resolve::resolve(settings, base).map(|config| Loaded { config, remarks })
}

fn read_bounded(file: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(text)
}
