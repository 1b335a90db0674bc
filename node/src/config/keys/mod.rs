//! Every configuration key there is, once: its place, what it may hold, its default, what it is for.
//!
//! In: nothing. Out: the table from which the YAML reader, the `CONSIGNER_*` variables, the flags of `consigner run`
//! and the test of the example file are all made, so that none of them can know a key that the others do not.

mod archive;
mod doors;
mod perimeter;
mod validators;

pub use super::form::Form;
pub use super::nearest::nearest;

/// One leaf of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Dotted path in the file, e.g. `api.tls.cert`.
    pub path: &'static str,
    /// What it may hold.
    pub form: Form,
    /// Used when nobody sets it; `None`: the key is required, or optional without a default.
    pub default: Option<&'static str>,
    /// Whether the start fails without it.
    pub required: bool,
    /// One sentence for `--help`.
    pub help: &'static str,
}

/// The networks that are built in.
pub const NETWORKS: &[&str] = consigner_rules::Network::NAMES;

/// What `api.follower-requests` may be.
pub const FOLLOWER_REQUESTS: &[&str] = &["auto", "redirect", "forward"];

/// What `log.level` may be, in lower case.
pub const LOG_LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// What `log.format` may be.
pub const LOG_FORMATS: &[&str] = &["text", "json"];

/// What `keys.sealer.use` may be: the kinds of `consigner_keys`.
pub const SEALERS: &[&str] = &["local", "aws-kms", "vault-transit"];

/// What `auth` of a Vault section may be.
pub const VAULT_AUTHS: &[&str] = &["token", "approle", "kubernetes", "cert"];

/// What `tls.client-certificate` of a listener may be.
pub const CLIENT_CERTIFICATE: &[&str] = &["required", "optional"];

/// What `stale-crl` of a `tls` section may be.
pub const STALE_CRL: &[&str] = &["warn", "refuse"];

/// What `min-version` of a `tls` section may be.
pub const TLS_VERSIONS: &[&str] = &["1.2", "1.3"];

/// What `archive.postgres.channel-binding` may be.
pub const CHANNEL_BINDING: &[&str] = &["require", "prefer"];

/// What `raft.election` may be.
pub const ELECTIONS: &[&str] = &["driver", "builtin"];

const fn required(path: &'static str, form: Form, help: &'static str) -> Key {
    Key { path, form, default: None, required: true, help }
}

const fn optional(path: &'static str, form: Form, help: &'static str) -> Key {
    Key { path, form, default: None, required: false, help }
}

const fn defaulted(path: &'static str, form: Form, default: &'static str, help: &'static str) -> Key {
    Key { path, form, default: Some(default), required: false, help }
}

/// All keys, in the order of the example file.
pub const KEYS: &[Key] = &joined::<{ length(SECTIONS) }>(SECTIONS);

const SECTIONS: &[&[Key]] = &[
    NODE,
    doors::API,
    doors::PEER,
    doors::METRICS,
    validators::KEYS,
    doors::KEYMANAGER,
    doors::ADMIN,
    doors::TOKEN_DOOR,
    perimeter::OAUTH,
    perimeter::LIMITS,
    perimeter::AUDIT,
    archive::ARCHIVE,
    MACHINERY,
];

const NODE: &[Key] = &[
    required("node.id", Form::Id, "This node's id in the cluster; never reused for another disk"),
    required("node.name", Form::Name, "This node's name: the common name of its peer certificate"),
    required("node.data-dir", Form::Path, "Directory of log, state and snapshots"),
    optional("node.pid-file", Form::Path, "File that holds the process id while the node runs"),
    required("cluster.id", Form::ClusterId, "Random identity of the cluster, the same on all nodes"),
    optional(
        "cluster.join-token-file",
        Form::Path,
        "File with the token that lets this node join a cluster, once; not needed afterwards",
    ),
    defaulted("network", Form::Network, "mainnet", "Network whose fork schedule and genesis apply"),
    optional(
        "genesis-validators-root",
        Form::Root,
        "Genesis validators root of the chain, if the network file does not name it",
    ),
    optional(
        "genesis-time",
        Form::Id,
        "When the chain began, in seconds since 1970, if the network does not know it: for future-slots of a policy",
    ),
];

const MACHINERY: &[Key] = &[
    defaulted("log.level", Form::Word(LOG_LEVELS), "info", "Least severity that is logged"),
    defaulted("log.format", Form::Word(LOG_FORMATS), "text", "Form of the log lines"),
    defaulted("raft.heartbeat", Form::Duration, "50ms", "Interval of the leader's heartbeats"),
    defaulted(
        "raft.election",
        Form::Word(ELECTIONS),
        "driver",
        "Who decides when to stand for election: Consigner's driver, or Raft's own timers",
    ),
    defaulted("raft.election-min", Form::Duration, "350ms", "Lower bound of the election timeout of Raft's timers"),
    defaulted("raft.election-max", Form::Duration, "400ms", "Upper bound of the election timeout of Raft's timers"),
    defaulted(
        "raft.lease",
        Form::Duration,
        "750ms",
        "Silence after which a leader is suspected; so long a node cut off still signs what cannot be slashed",
    ),
    defaulted("raft.leader-wait", Form::Duration, "2s", "How long a request waits for a leader"),
    defaulted("raft.forward-try", Form::Duration, "150ms", "Deadline of one try to forward an intent"),
    defaulted("raft.snapshot-every", Form::Id, "10000", "Log entries between snapshots"),
    defaulted("raft.snapshot-bytes", Form::Bytes, "64MiB", "Log between snapshots, and behind the newest, at most"),
    defaulted("disk.warn-percent", Form::Id, "80", "Use of the data directory's file system that is warned of"),
    defaulted("disk.stop-percent", Form::Id, "95", "Use from which the node takes no proposals and does not lead"),
];

const fn length(sections: &[&[Key]]) -> usize {
    let (mut section, mut length) = (0, 0);
    while section < sections.len() {
        length += sections[section].len();
        section += 1;
    }
    length
}

/// One table out of those of the sections.
const fn joined<const LENGTH: usize>(sections: &[&[Key]]) -> [Key; LENGTH] {
    let mut all = [NODE[0]; LENGTH];
    let (mut section, mut next) = (0, 0);
    while section < sections.len() {
        let mut key = 0;
        while key < sections[section].len() {
            all[next] = sections[section][key];
            (key, next) = (key + 1, next + 1);
        }
        section += 1;
    }
    all
}

/// The key of this path.
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether keys lie below this path.
#[must_use]
pub fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

impl Key {
    /// The environment variable that overrides the file: `CONSIGNER_API_TLS_CERT`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.path.replace(['.', '-'], "_").to_ascii_uppercase())
    }

    /// The flag that overrides file and environment, without the dashes: `api-tls-cert`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.path.replace('.', "-")
    }
}

/// What the environment variables of the configuration begin with.
pub const VARIABLE_PREFIX: &str = "CONSIGNER_";
