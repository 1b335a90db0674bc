//! From settings to the checked configuration: every field present, every value of its type.

use super::error::{ConfigError, Origin, Problem};
use super::keys::{self, Form, Key};
use super::settings::Settings;
use super::values;
use super::{ApiConfig, Config, FollowerRequests, ImportConfig, KeysConfig, LogConfig, LogFormat, MetricsConfig};
use super::{NetworkConfig, NodeConfig, PeerConfig};
use consigner_gate::HostAllowlist;
use consigner_gate::tls::ClientAuth;
use consigner_raft::{Election, Timing};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// A leader sends every heartbeat and a half; one or two that are lost or late must not look like its death.
const HEARTBEATS_PER_LEASE: u32 = 5;

/// Lengths of the serving lease: shorter than some pings is never alive, longer than this bounds nothing (deletions and
/// policy changes wait for it).
const LEASE: std::ops::RangeInclusive<Duration> = Duration::from_millis(250)..=Duration::from_secs(10);

/// Each connection costs a task, buffers and a file descriptor; systems allow about a million descriptors.
const CONNECTIONS_MAX: u64 = 1_000_000;

/// A stop ends within 10 s, and requests in flight and the hand-over need their share of them.
const DRAIN_DELAY_MAX: Duration = Duration::from_secs(4);

/// Resolves relative paths against `base` and checks everything that needs no disk.
///
/// # Errors
/// Every problem at once.
pub fn resolve(settings: Settings, base: &Path) -> Result<Config, ConfigError> {
    let mut resolver = Resolver { settings, base };
    let config = resolver.config();
    match config {
        Some(config) if resolver.settings.problems.is_empty() => Ok(config),
        _ => Err(ConfigError(resolver.settings.problems)),
    }
}

/// Reads key after key, and remembers every complaint.
pub(super) struct Resolver<'b> {
    settings: Settings,
    base: &'b Path,
}

impl Resolver<'_> {
    fn config(&mut self) -> Option<Config> {
        // Every section is read before the first `?`, so that all problems are reported together.
        let (node, cluster_id) = (self.node(), self.parsed("cluster.id"));
        let (network, api, peer) = (self.network(), self.api(), self.peer());
        let (metrics, keys, log, raft) = (self.metrics(), self.keys(), self.log(), self.timing());
        let (oauth, limits) = (self.oauth(), self.limits());
        let audit = self.audit(node.as_ref().map(|node| node.data_dir.as_path()));
        let api_tls = api.as_ref().map(|api| &api.tls);
        let keymanager = self.keymanager(api_tls, self.is_set("oauth.issuer"));
        let admin = self.admin_door(api_tls);
        let token_door = self.own_door("token-door", ClientAuth::Optional, api_tls);
        let (snapshot_every, disk) = (self.number("raft.snapshot-every", 1), self.disk());
        let archive = self.archive();
        let config = Config {
            node: node?,
            cluster_id: cluster_id?,
            network: network?,
            api: api?,
            peer: peer?,
            metrics: metrics?,
            keys: keys?,
            keymanager: keymanager?,
            admin: admin?,
            token_door: token_door?,
            oauth: oauth?,
            limits: limits?,
            audit: audit?,
            archive: archive?,
            log: log?,
            raft: raft?,
            snapshot_every: snapshot_every?,
            disk: disk?,
        };
        self.check_addresses(&config);
        Some(config)
    }

    fn node(&mut self) -> Option<NodeConfig> {
        let id = self.number("node.id", 1);
        let name = self.scalar("node.name", values::name);
        let data_dir = self.path("node.data-dir");
        let pid_file = self.path("node.pid-file");
        let join_token_file = self.path("cluster.join-token-file");
        Some(NodeConfig { id: id?, name: name?, data_dir: data_dir?, pid_file, join_token_file })
    }

    fn network(&mut self) -> Option<NetworkConfig> {
        let base = self.base.to_owned();
        let name_or_file = self.scalar("network", |text| {
            let built_in = keys::NETWORKS.iter().any(|name| text.eq_ignore_ascii_case(name));
            let file_like = text.contains(['/', '.']);
            match (built_in, file_like) {
                (true, _) => Some(text.to_ascii_lowercase()),
                (false, true) => Some(base.join(text).display().to_string()),
                (false, false) => None,
            }
        });
        let genesis_validators_root = self.optional_parsed("genesis-validators-root");
        let genesis_time = self.optional("genesis-time", |text| values::number(text, 1));
        Some(NetworkConfig { name_or_file: name_or_file?, genesis_validators_root, genesis_time })
    }

    fn api(&mut self) -> Option<ApiConfig> {
        let listen = self.scalar("api.listen", values::listen);
        let advertise_url = self.optional("api.advertise-url", values::https_url);
        let host_allowlist = self.hosts("api.host-allowlist");
        let follower_requests = self.word("api.follower-requests").and_then(FollowerRequests::from_word);
        let (ip_allowlist, balancers) = (self.ip_allowlist("api.ip-allowlist"), self.balancers("api.balancers"));
        let tls = self.api_tls();
        let (clients, admins) = (self.names("api.clients"), self.names("api.admins"));
        let sign_requests_max = self.number("api.sign-requests-max", 1);
        let connections_max = self.number("api.connections-max", 1);
        if connections_max.is_some_and(|connections| connections > CONNECTIONS_MAX) {
            self.complain("api.connections-max", format!("must be at most {CONNECTIONS_MAX}"));
        }
        let idle_timeout = self.scalar("api.idle-timeout", values::duration);
        let drain_delay = self.drain_delay();
        Some(ApiConfig {
            listen: listen?,
            advertise_url,
            host_allowlist: host_allowlist?,
            ip_allowlist: ip_allowlist?,
            balancers: balancers?,
            follower_requests: follower_requests?,
            tls: tls?,
            clients: clients?,
            admins: admins?,
            sign_requests_max: usize::try_from(sign_requests_max?).ok()?,
            connections_max: usize::try_from(connections_max?).ok()?,
            idle_timeout: idle_timeout?,
            drain_delay: drain_delay?,
        })
    }

    fn drain_delay(&mut self) -> Option<Duration> {
        let delay = self.scalar("api.drain-delay", values::duration)?;
        if delay > DRAIN_DELAY_MAX {
            self.complain("api.drain-delay", format!("must be at most {DRAIN_DELAY_MAX:?}"));
        }
        Some(delay)
    }

    fn peer(&mut self) -> Option<PeerConfig> {
        let listen = self.scalar("peer.listen", values::listen);
        let advertise = self.optional("peer.advertise", values::host_port);
        let (ip_allowlist, tls) = (self.ip_allowlist("peer.ip-allowlist"), self.peer_tls());
        let (listen, ip_allowlist, tls) = (listen?, ip_allowlist?, tls?);
        let advertise = match advertise {
            Some(advertise) => advertise,
            None if listen.ip().is_unspecified() => {
                let what = "needed, because peer.listen is an address that no other node can connect to";
                self.complain("peer.advertise", what.to_owned());
                return None;
            }
            None => listen.to_string(),
        };
        Some(PeerConfig { listen, advertise, ip_allowlist, tls })
    }

    fn metrics(&mut self) -> Option<Option<MetricsConfig>> {
        let enabled = self.scalar("metrics.enabled", values::switch);
        let listen = self.scalar("metrics.listen", values::listen);
        let host_allowlist = self.hosts("metrics.host-allowlist");
        let ip_allowlist = self.ip_allowlist("metrics.ip-allowlist");
        let (listen, host_allowlist, ip_allowlist) = (listen?, host_allowlist?, ip_allowlist?);
        let metrics = MetricsConfig { listen, host_allowlist, ip_allowlist };
        Some(enabled?.then_some(metrics))
    }

    fn keys(&mut self) -> Option<KeysConfig> {
        let (sealer, source, decrypt) = (self.sealer(), self.source(), self.decrypt());
        let interop_count = self.number("keys.import.interop-count", 0);
        let raw_keys_file = self.path("keys.import.raw-keys-file");
        let (source, interop_count) = (source?, interop_count?);
        let import = ImportConfig { interop_count, raw_keys_file, loose: source.loose_files() };
        Some(KeysConfig { sealer: sealer?, source, decrypt: decrypt?, import })
    }

    fn log(&mut self) -> Option<LogConfig> {
        let level = self.word("log.level");
        let format = self.word("log.format");
        let format = if format? == "json" { LogFormat::Json } else { LogFormat::Text };
        Some(LogConfig { level: level?.to_owned(), format })
    }

    fn timing(&mut self) -> Option<Timing> {
        let mut read = |path| self.scalar(path, values::duration);
        let (heartbeat, election_min) = (read("raft.heartbeat"), read("raft.election-min"));
        let (election_max, lease) = (read("raft.election-max"), read("raft.lease"));
        let (leader_wait, forward_try) = (read("raft.leader-wait"), read("raft.forward-try"));
        let election = self.word("raft.election");
        let election = if election? == "builtin" { Election::Builtin } else { Election::Driver };
        let timing = Timing {
            heartbeat: heartbeat?,
            election_min: election_min?,
            election_max: election_max?,
            lease: lease?,
            leader_wait: leader_wait?,
            forward_try: forward_try?,
            election,
        };
        if timing.election_min <= timing.heartbeat.saturating_mul(2) {
            self.complain("raft.election-min", "must be more than twice raft.heartbeat".to_owned());
        }
        if timing.election_max <= timing.election_min {
            self.complain("raft.election-max", "must be greater than raft.election-min".to_owned());
        }
        if !LEASE.contains(&timing.lease) {
            self.complain("raft.lease", format!("must lie between {:?} and {:?}", LEASE.start(), LEASE.end()));
        }
        if timing.heartbeat.saturating_mul(HEARTBEATS_PER_LEASE) > timing.lease {
            let most = timing.lease / HEARTBEATS_PER_LEASE;
            self.complain("raft.heartbeat", format!("must be at most a fifth of raft.lease, {most:?}"));
        }
        Some(timing)
    }

    // === reading one key ===

    pub(super) fn optional<T>(&mut self, path: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        self.read(path, |texts| texts.first().and_then(|text| parse(text)))
    }

    pub(super) fn scalar<T>(&mut self, path: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        self.read(path, |texts| texts.first().and_then(|text| parse(text)))
    }

    pub(super) fn number(&mut self, path: &str, least: u64) -> Option<u64> {
        self.scalar(path, |text| values::number(text, least))
    }

    pub(super) fn parsed<T: FromStr>(&mut self, path: &str) -> Option<T> {
        self.scalar(path, |text| text.parse().ok())
    }

    pub(super) fn optional_parsed<T: FromStr>(&mut self, path: &str) -> Option<T> {
        self.optional(path, |text| text.parse().ok())
    }

    pub(super) fn path(&mut self, path: &str) -> Option<PathBuf> {
        let base = self.base.to_owned();
        self.scalar(path, |text| (!text.is_empty()).then(|| base.join(text)))
    }

    pub(super) fn paths(&mut self, path: &str) -> Option<Vec<PathBuf>> {
        let base = self.base.to_owned();
        self.read(path, |texts| Some(texts.iter().map(|text| base.join(text)).collect()))
    }

    /// Whether somebody wrote the key, with whatever value.
    pub(super) fn is_set(&self, path: &str) -> bool {
        keys::find(path).and_then(|key| self.settings.get(key)).is_some()
    }

    pub(super) fn word(&mut self, path: &str) -> Option<&'static str> {
        let Some(Key { form: Form::Word(words), .. }) = keys::find(path) else { return None };
        self.scalar(path, |text| values::word(text, words))
    }

    pub(super) fn names(&mut self, path: &str) -> Option<Vec<String>> {
        self.read(path, values::names)
    }

    pub(super) fn hosts(&mut self, path: &str) -> Option<HostAllowlist> {
        let setting = keys::find(path).and_then(|key| self.settings.get(key))?;
        match HostAllowlist::parse(&setting.texts) {
            Ok(hosts) => Some(hosts),
            Err(error) => {
                self.complain(path, error.to_string());
                None
            }
        }
    }

    /// The value of a key, or `None` after saying what is wrong; also `None` for an optional key that is not set.
    pub(super) fn read<T>(&mut self, path: &str, parse: impl FnOnce(&[String]) -> Option<T>) -> Option<T> {
        let key = keys::find(path)?;
        let Some(setting) = self.settings.get(key) else {
            if key.required {
                self.complain(path, format!("missing; {}", key.form.allowed()));
            }
            return None;
        };
        let parsed = parse(&setting.texts);
        if parsed.is_none() {
            self.complain(path, values::mismatch(&setting.texts, key.form));
        }
        parsed
    }

    pub(super) fn complain(&mut self, path: &str, what: String) {
        let set_by = keys::find(path).and_then(|key| self.settings.get(key)).map(|setting| setting.origin);
        let origin = match set_by {
            Some(origin) if origin != Origin::Default => origin,
            _ => Origin::File { file: self.settings.file.clone(), line: 0 },
        };
        self.settings.problems.push(Problem { origin, key: path.to_owned(), what });
    }
}
