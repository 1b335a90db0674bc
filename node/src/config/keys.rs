//! Every configuration key there is, once: its place, what it may hold, its default, what it is for.
//!
//! In: nothing. Out: the table from which the YAML reader, the `CONSIGNER_*` variables, the flags of `consigner run`
//! and the test of the example file are all made, so that none of them can know a key that the others do not.

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

/// What `keymanager.tls.client-certificate` may be.
pub const CLIENT_CERTIFICATE: &[&str] = &["required", "optional"];

/// Where Kubernetes mounts the token of a pod's service account.
const JWT_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

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
    defaulted(
        "keys.sealer.use",
        Form::Word(SEALERS),
        "local",
        "Which sealer wraps new data keys; all that are set up open",
    ),
    optional("keys.sealer.local.key-file", Form::Path, "Key file that wraps the data keys of the cluster"),
    optional("keys.sealer.local.passphrase-file", Form::Path, "In place of the key file: a file with a passphrase"),
    defaulted(
        "keys.sealer.local.previous-key-files",
        Form::Paths,
        "",
        "Earlier key files, until `keys rewrap` is done",
    ),
    defaulted(
        "keys.sealer.local.previous-passphrase-files",
        Form::Paths,
        "",
        "Files with earlier passphrases, until `keys rewrap` is done",
    ),
    optional("keys.sealer.aws-kms.key-id", Form::Text, "KMS key that wraps the data keys: id, ARN or alias"),
    optional("keys.sealer.aws-kms.region", Form::Text, "AWS region; the standard chain's without it"),
    optional("keys.sealer.aws-kms.endpoint", Form::Url, "Another KMS endpoint than the region's"),
    optional("keys.sealer.aws-kms.profile", Form::Text, "Profile of the AWS configuration files"),
    optional("keys.sealer.vault-transit.address", Form::Url, "Vault server whose transit engine wraps the data keys"),
    optional("keys.sealer.vault-transit.key", Form::Text, "Name of the transit key"),
    defaulted("keys.sealer.vault-transit.mount", Form::Text, "transit", "Mount of the transit engine"),
    optional("keys.sealer.vault-transit.namespace", Form::Text, "Vault namespace"),
    optional("keys.sealer.vault-transit.ca", Form::Path, "CAs of the Vault server, PEM; the system's without it"),
    defaulted("keys.sealer.vault-transit.auth", Form::Word(VAULT_AUTHS), "token", "How the node logs in to Vault"),
    optional("keys.sealer.vault-transit.auth-mount", Form::Text, "Mount of the auth method, if not its own name"),
    optional("keys.sealer.vault-transit.token-file", Form::Path, "File with a token; VAULT_TOKEN without it"),
    optional("keys.sealer.vault-transit.role-id-file", Form::Path, "File with the role id, for approle"),
    optional("keys.sealer.vault-transit.secret-id-file", Form::Path, "File with the secret id, for approle"),
    optional("keys.sealer.vault-transit.role", Form::Text, "Role, for kubernetes; for cert only if several fit"),
    defaulted("keys.sealer.vault-transit.jwt-file", Form::Path, JWT_FILE, "Service account token, for kubernetes"),
    optional("keys.sealer.vault-transit.cert", Form::Path, "Client certificate, PEM, for cert"),
    optional("keys.sealer.vault-transit.cert-key", Form::Path, "Private key of that certificate, PEM"),
    optional("keys.source.key-config-path", Form::Path, "Directory of Web3Signer key configuration files"),
    optional("keys.source.keystores-path", Form::Path, "Directory of EIP-2335 keystores, in any client's layout"),
    optional("keys.source.keystores-passwords-path", Form::Path, "Directory of their passwords, one file each"),
    optional("keys.source.keystores-password-file", Form::Path, "One password file for all of them"),
    defaulted(
        "keys.source.poll-interval",
        Form::Duration,
        "60s",
        "How often the directories are looked at for changes",
    ),
    defaulted("keys.source.aws-secrets.enabled", Form::Switch, "false", "Whether AWS Secrets Manager is a source"),
    optional("keys.source.aws-secrets.region", Form::Text, "AWS region; the standard chain's without it"),
    optional("keys.source.aws-secrets.endpoint", Form::Url, "Another Secrets Manager endpoint than the region's"),
    optional("keys.source.aws-secrets.profile", Form::Text, "Profile of the AWS configuration files"),
    defaulted(
        "keys.source.aws-secrets.prefixes-filter",
        Form::Texts,
        "",
        "Only secrets whose names begin with one of these",
    ),
    defaulted("keys.source.aws-secrets.tags", Form::Pairs, "", "Only secrets with all of these tags"),
    optional("keys.source.vault-kv.address", Form::Url, "Vault server whose KV v2 engine is a source"),
    defaulted("keys.source.vault-kv.mount", Form::Text, "secret", "Mount of the KV v2 engine"),
    defaulted("keys.source.vault-kv.path", Form::Text, "", "Folder below the mount; everything below it is read"),
    optional("keys.source.vault-kv.namespace", Form::Text, "Vault namespace"),
    optional("keys.source.vault-kv.ca", Form::Path, "CAs of the Vault server, PEM; the system's without it"),
    defaulted("keys.source.vault-kv.auth", Form::Word(VAULT_AUTHS), "token", "How the node logs in to Vault"),
    optional("keys.source.vault-kv.auth-mount", Form::Text, "Mount of the auth method, if not its own name"),
    optional("keys.source.vault-kv.token-file", Form::Path, "File with a token; VAULT_TOKEN without it"),
    optional("keys.source.vault-kv.role-id-file", Form::Path, "File with the role id, for approle"),
    optional("keys.source.vault-kv.secret-id-file", Form::Path, "File with the secret id, for approle"),
    optional("keys.source.vault-kv.role", Form::Text, "Role, for kubernetes; for cert only if several fit"),
    defaulted("keys.source.vault-kv.jwt-file", Form::Path, JWT_FILE, "Service account token, for kubernetes"),
    optional("keys.source.vault-kv.cert", Form::Path, "Client certificate, PEM, for cert"),
    optional("keys.source.vault-kv.cert-key", Form::Path, "Private key of that certificate, PEM"),
    defaulted("keys.decrypt.threads", Form::Id, "1", "Keystores that are decrypted at one time"),
    defaulted("keys.decrypt.memory-max", Form::Bytes, "512MiB", "Memory that their key derivations take together"),
    defaulted("keys.import.interop-count", Form::Count, "0", "Development only: so many interop keys are imported"),
    optional("keys.import.raw-keys-file", Form::Path, "Development only: hexadecimal secrets to import, one per line"),
    defaulted("keymanager.enabled", Form::Switch, "false", "Whether the key manager API is served"),
    optional("keymanager.listen", Form::Listen, "A listener of its own; without it the API port serves it to admins"),
    defaulted(
        "keymanager.host-allowlist",
        Form::Hosts,
        "localhost,127.0.0.1",
        "Values of the Host header, own listener",
    ),
    optional("keymanager.token-file", Form::Path, "File with the bearer token that calls must bring as well"),
    optional("keymanager.tls.cert", Form::Path, "Certificate chain of the own listener, PEM; api.tls.cert without it"),
    optional("keymanager.tls.key", Form::Path, "Private key of that certificate, PEM; api.tls.key without it"),
    optional(
        "keymanager.tls.client-ca",
        Form::Path,
        "CAs of its client certificates, PEM; api.tls.client-ca without it",
    ),
    defaulted(
        "keymanager.tls.client-certificate",
        Form::Word(CLIENT_CERTIFICATE),
        "required",
        "Whether the own listener asks callers for a certificate, or the token is enough",
    ),
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
