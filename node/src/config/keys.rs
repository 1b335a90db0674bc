//! Every configuration key there is, once: its place, what it may hold, its default, what it is for.
//!
//! In: nothing. Out: the table from which the YAML reader, the `CONSIGNER_*` variables, the flags of `consigner run`
//! and the test of the example file are all made, so that none of them can know a key that the others do not.

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

/// What a key may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A positive integer.
    Id,
    /// An integer from 0 up.
    Count,
    /// A certificate's common name, or a name for people.
    Name,
    /// A file or directory; relative ones start at the directory of the configuration file.
    Path,
    /// A network name, or a file like [`Form::Path`].
    Network,
    /// 16 bytes of hexadecimal.
    ClusterId,
    /// 32 bytes of hexadecimal.
    Root,
    /// `IP:PORT`.
    Listen,
    /// `HOST:PORT`.
    HostPort,
    /// `https://HOST:PORT`.
    HttpsUrl,
    /// A list of host names and addresses.
    Hosts,
    /// A list of common names.
    Names,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Switch,
    /// A time with a unit.
    Duration,
}

impl Form {
    /// Whether the value is a list.
    #[must_use]
    pub const fn is_list(self) -> bool {
        matches!(self, Self::Hosts | Self::Names)
    }

    /// The end of an error message: what is allowed, with an example.
    #[must_use]
    pub fn allowed(self) -> String {
        match self {
            Self::Id => "a whole number from 1 up".into(),
            Self::Count => "a whole number from 0 up".into(),
            Self::Name => "a name of 1 to 64 letters, digits and . _ -".into(),
            Self::Path => "a path".into(),
            Self::Network => format!("one of {}, or a network configuration file", NETWORKS.join(", ")),
            Self::ClusterId => "16 bytes of hexadecimal, e.g. from `openssl rand -hex 16`".into(),
            Self::Root => "32 bytes of hexadecimal".into(),
            Self::Listen => "IP:PORT, e.g. 127.0.0.1:9000".into(),
            Self::HostPort => "HOST:PORT, e.g. node1.example:9001".into(),
            Self::HttpsUrl => "https://HOST[:PORT] without a path, e.g. https://node1.example:9000".into(),
            Self::Hosts => "a list of host names and addresses without ports, or \"*\" alone".into(),
            Self::Names => "a list of common names, or \"*\" alone for every certificate that the CA issued".into(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Switch => "true or false".into(),
            Self::Duration => "a time with a unit ms, s or min, e.g. 350ms".into(),
        }
    }
}

/// The networks that are built in.
pub const NETWORKS: &[&str] = consigner_rules::Network::NAMES;

/// What `api.follower-requests` may be.
pub const FOLLOWER_REQUESTS: &[&str] = &["auto", "redirect", "forward"];

/// What `log.level` may be, in lower case.
pub const LOG_LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];

/// What `log.format` may be.
pub const LOG_FORMATS: &[&str] = &["text", "json"];

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
pub const KEYS: &[Key] = &[
    required("node.id", Form::Id, "This node's id in the cluster; never reused for another disk"),
    required("node.name", Form::Name, "This node's name: the common name of its peer certificate"),
    required("node.data-dir", Form::Path, "Directory of log, state and snapshots"),
    optional("node.pid-file", Form::Path, "File that holds the process id while the node runs"),
    required("cluster.id", Form::ClusterId, "Random identity of the cluster, the same on all nodes"),
    defaulted("network", Form::Network, "mainnet", "Network whose fork schedule and genesis apply"),
    optional(
        "genesis-validators-root",
        Form::Root,
        "Genesis validators root of the chain, if the network file does not name it",
    ),
    defaulted("api.listen", Form::Listen, "127.0.0.1:9000", "Where validator clients and operators connect"),
    optional("api.advertise-url", Form::HttpsUrl, "Where clients that are redirected find this node"),
    defaulted("api.host-allowlist", Form::Hosts, "localhost,127.0.0.1", "Values of the Host header that are served"),
    defaulted(
        "api.follower-requests",
        Form::Word(FOLLOWER_REQUESTS),
        "auto",
        "What a follower does with a request that the leader must order",
    ),
    required("api.tls.cert", Form::Path, "Certificate chain of the API, PEM, leaf first"),
    required("api.tls.key", Form::Path, "Private key of that certificate, PEM"),
    required("api.tls.client-ca", Form::Path, "CAs that may issue client certificates, PEM"),
    required("api.clients", Form::Names, "Common names of the clients that may sign"),
    defaulted("api.admins", Form::Names, "", "Common names that may use /admin and sign"),
    defaulted("api.sign-requests-max", Form::Id, "4096", "Sign requests at one time; more are answered 503 at once"),
    defaulted("api.connections-max", Form::Id, "1024", "Open connections at one time"),
    defaulted("api.idle-timeout", Form::Duration, "100s", "After which an idle connection is closed"),
    required("peer.listen", Form::Listen, "Where the other nodes connect"),
    optional("peer.advertise", Form::HostPort, "Where the other nodes find this one; peer.listen if not set"),
    required("peer.tls.cert", Form::Path, "Certificate chain towards the other nodes, PEM, leaf first"),
    required("peer.tls.key", Form::Path, "Private key of that certificate, PEM"),
    required("peer.tls.ca", Form::Path, "CAs that issue the nodes' certificates, PEM"),
    defaulted("metrics.enabled", Form::Switch, "true", "Whether Prometheus metrics are served"),
    defaulted("metrics.listen", Form::Listen, "127.0.0.1:9002", "Where metrics are served, plain HTTP"),
    defaulted("metrics.host-allowlist", Form::Hosts, "localhost,127.0.0.1", "Values of the Host header for metrics"),
    required("keys.sealer.local.key-file", Form::Path, "Key file that wraps the data keys of the cluster"),
    defaulted("keys.import.interop-count", Form::Count, "0", "Development only: so many interop keys are imported"),
    optional("keys.import.raw-keys-file", Form::Path, "Development only: hexadecimal secrets to import, one per line"),
    defaulted("log.level", Form::Word(LOG_LEVELS), "info", "Least severity that is logged"),
    defaulted("log.format", Form::Word(LOG_FORMATS), "text", "Form of the log lines"),
    defaulted("raft.heartbeat", Form::Duration, "50ms", "Interval of the leader's heartbeats"),
    defaulted("raft.election-min", Form::Duration, "350ms", "Lower bound of the election timeout"),
    defaulted("raft.election-max", Form::Duration, "400ms", "Upper bound of the election timeout"),
    defaulted("raft.lease", Form::Duration, "750ms", "How long a node cut off still signs what cannot be slashed"),
    defaulted("raft.leader-wait", Form::Duration, "2s", "How long a request waits for a leader"),
    defaulted("raft.forward-try", Form::Duration, "150ms", "Deadline of one try to forward an intent"),
    defaulted("raft.snapshot-every", Form::Id, "10000", "Log entries between snapshots"),
];

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

/// The known word that is nearest to `word`, if one is near enough to be what was meant.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(2);
    known
        .map(|candidate| (distance(word, candidate), candidate))
        .min()
        .filter(|(far, _)| *far <= limit)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance over characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, r) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
