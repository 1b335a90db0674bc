//! Every point of the guidelines that is looked at, once: its stable name, its group, its title.
//!
//! docs/SECURITY.md describes each; a test holds the two together.

use serde::Serialize;

/// A part of the guidelines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// Validator keys and what seals them.
    Keys,
    /// Encryption and identities on the wire.
    Transit,
    /// Who may ask what.
    Access,
    /// Files and their owners.
    Files,
    /// The machine and the process.
    Host,
    /// The nodes together.
    Cluster,
}

impl Group {
    /// For people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Keys => "Keys",
            Self::Transit => "On the wire",
            Self::Access => "Who may ask",
            Self::Files => "Files",
            Self::Host => "Machine and process",
            Self::Cluster => "Cluster",
        }
    }
}

/// A point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Stable name.
    pub id: &'static str,
    /// Where it belongs.
    pub group: Group,
    /// For people.
    pub title: &'static str,
}

/// The points in the order of the report.
pub const POINTS: &[Point] = &[
    CONFIG_VALID,
    GENERATION,
    ROTATION,
    SEALER,
    AT_REST,
    CREDENTIALS,
    DEVELOPMENT_KEYS,
    ENCLAVE,
    MUTUAL_TLS,
    TLS_VERSIONS,
    PLAIN_HTTP,
    KEY_SERVICES,
    TLS_FILES,
    LIFETIMES,
    NAMES,
    SEPARATE_CAS,
    REVOCATION,
    ARCHIVE,
    BIND,
    HOSTS,
    CLIENTS,
    POLICY,
    TOKENS,
    ADMIN_CA,
    KEY_MANAGER,
    LIMITS,
    AUDIT,
    AUDIT_VERIFIED,
    CONFIG_FILE,
    SECRET_FILES,
    KEY_SOURCES,
    DATA_DIR,
    OWNERS,
    VOLUME,
    CORE_DUMPS,
    MEMORY_LOCK,
    SWAP,
    CLOCK,
    REACHED,
    SIZE,
    READY,
    VERSIONS,
    STATE,
    LEASE,
    CLOCKS,
    ARCHIVE_KEPT,
    ARCHIVE_EQUAL,
    ARCHIVE_LAG,
];

const fn point(id: &'static str, group: Group, title: &'static str) -> Point {
    Point { id, group, title }
}

/// The file itself.
pub const CONFIG_VALID: Point = point("config.valid", Group::Files, "The configuration would start a node");
/// How keys were made.
pub const GENERATION: Point = point("keys.generation", Group::Keys, "Keys from good randomness");
/// Master keys and data keys are exchanged from time to time.
pub const ROTATION: Point = point("keys.rotation", Group::Keys, "Rotation of the keys that seal");
/// What wraps the data keys.
pub const SEALER: Point = point("keys.sealer", Group::Keys, "Keys in a vault");
/// Validator keys on disk.
pub const AT_REST: Point = point("keys.at-rest", Group::Keys, "Encryption at rest");
/// How a node proves itself to vaults.
pub const CREDENTIALS: Point = point("keys.credentials", Group::Keys, "Roles or environment instead of literals");
/// Keys that everybody knows, or that lie in the clear.
pub const DEVELOPMENT_KEYS: Point = point("keys.development", Group::Keys, "No development keys");
/// Trusted execution.
pub const ENCLAVE: Point = point("keys.enclave", Group::Keys, "Keys inside an enclave");
/// Both sides show a certificate.
pub const MUTUAL_TLS: Point = point("tls.mutual", Group::Transit, "Mutual TLS on every door");
/// Old versions and weak suites.
pub const TLS_VERSIONS: Point = point("tls.versions", Group::Transit, "TLS versions and cipher suites");
/// What the doors say to a caller without TLS.
pub const PLAIN_HTTP: Point = point("tls.plain-http", Group::Transit, "No plain HTTP");
/// KMS, Vault, Secrets Manager, JWKS.
pub const KEY_SERVICES: Point = point("tls.key-services", Group::Transit, "TLS to vaults and key services");
/// Certificates, keys, CAs and lists fit together.
pub const TLS_FILES: Point = point("tls.files", Group::Transit, "Certificates, keys and lists can be used");
/// When they end, and whether they last too long.
pub const LIFETIMES: Point = point("tls.lifetimes", Group::Transit, "Certificate lifetimes");
/// Whether they name the node.
pub const NAMES: Point = point("tls.names", Group::Transit, "Certificates name the node");
/// Who issues whom.
pub const SEPARATE_CAS: Point =
    point("tls.separate-cas", Group::Transit, "CAs of their own for clients, admins, peers");
/// Whether a certificate can be taken back.
pub const REVOCATION: Point = point("tls.revocation", Group::Transit, "Certificates can be revoked");
/// The Postgres archive.
pub const ARCHIVE: Point = point("tls.archive", Group::Transit, "Postgres over verified TLS");
/// Where the doors listen.
pub const BIND: Point = point("access.bind", Group::Access, "Narrow bind addresses and address allowlists");
/// Host headers.
pub const HOSTS: Point = point("access.hosts", Group::Access, "Host allowlist");
/// Who may sign.
pub const CLIENTS: Point = point("access.clients", Group::Access, "Clients are named");
/// The replicated policy.
pub const POLICY: Point = point("access.policy", Group::Access, "A policy with default deny");
/// Bearer tokens.
pub const TOKENS: Point = point("access.tokens", Group::Access, "Tokens expire");
/// Administrators by another CA.
pub const ADMIN_CA: Point = point("access.admin-ca", Group::Access, "Administrators have a CA of their own");
/// The key manager API.
pub const KEY_MANAGER: Point = point("access.keymanager", Group::Access, "Key manager off or protected");
/// Rates and back-off.
pub const LIMITS: Point = point("access.limits", Group::Access, "Rate limits");
/// The record.
pub const AUDIT: Point = point("access.audit", Group::Access, "Audit record");
/// Whether the record is whole.
pub const AUDIT_VERIFIED: Point = point("access.audit-verified", Group::Access, "The audit record is verified");
/// Its own permissions.
pub const CONFIG_FILE: Point = point("files.config", Group::Files, "Permissions of the configuration");
/// Private keys, key files, tokens.
pub const SECRET_FILES: Point = point("files.secrets", Group::Files, "Permissions of keys, tokens, passwords");
/// Keystores and key configuration files.
pub const KEY_SOURCES: Point = point("files.sources", Group::Files, "Permissions of key sources");
/// Log, state, snapshots.
pub const DATA_DIR: Point = point("files.data", Group::Files, "Permissions of the data directory");
/// Who could exchange files.
pub const OWNERS: Point = point("files.owners", Group::Files, "Owners of files");
/// Below the file system.
pub const VOLUME: Point = point("host.volume", Group::Host, "Volume encryption");
/// Memory in files.
pub const CORE_DUMPS: Point = point("host.core-dumps", Group::Host, "Core dumps off");
/// Memory out of swap.
pub const MEMORY_LOCK: Point = point("host.memory-lock", Group::Host, "Memory locking");
/// Swap areas.
pub const SWAP: Point = point("host.swap", Group::Host, "Swap off or encrypted");
/// Time.
pub const CLOCK: Point = point("host.clock", Group::Host, "Clock synchronisation");
/// Whether the nodes answer at all.
pub const REACHED: Point = point("cluster.reached", Group::Cluster, "The nodes answer");
/// How many.
pub const SIZE: Point = point("cluster.size", Group::Cluster, "Cluster size and quorum");
/// Whether they serve.
pub const READY: Point = point("cluster.ready", Group::Cluster, "Every node is ready");
/// One program.
pub const VERSIONS: Point = point("cluster.versions", Group::Cluster, "Equal versions");
/// One state.
pub const STATE: Point = point("cluster.state", Group::Cluster, "Equal state");
/// `raft.lease`.
pub const LEASE: Point = point("cluster.lease", Group::Cluster, "Equal raft.lease");
/// Their clocks.
pub const CLOCKS: Point = point("cluster.clocks", Group::Cluster, "Clocks of the nodes");
/// Whether what was signed is kept for good.
pub const ARCHIVE_KEPT: Point = point("archive.kept", Group::Cluster, "Records of signatures are kept");
/// `archive.postgres` of all.
pub const ARCHIVE_EQUAL: Point = point("archive.equal", Group::Cluster, "Equal archive on all nodes");
/// Whether the database has what it should.
pub const ARCHIVE_LAG: Point = point("archive.lag", Group::Cluster, "The archive keeps up");

/// Where a point stands in the report.
#[must_use]
pub fn position(id: &str) -> usize {
    let by_group = |point: &Point| (point.group, POINTS.iter().position(|other| other.id == point.id));
    POINTS
        .iter()
        .find(|point| point.id == id)
        .map_or(usize::MAX, |point| POINTS.iter().filter(|other| by_group(other) < by_group(point)).count())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn names_are_unique_and_the_report_is_grouped() {
        let mut order: Vec<&Point> = POINTS.iter().collect();
        order.sort_by_key(|point| position(point.id));
        let groups: Vec<Group> = order.iter().map(|point| point.group).collect();
        assert!(groups.is_sorted());
        let mut ids: Vec<&str> = POINTS.iter().map(|point| point.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), POINTS.len());
    }

    #[test]
    fn the_document_describes_every_point_and_no_other() {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/SECURITY.md")).unwrap();
        let described: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(id, _)| id))
            .filter(|id| id.contains('.'))
            .collect();
        for point in POINTS {
            assert!(described.contains(&point.id), "docs/SECURITY.md does not describe {}", point.id);
        }
        for id in described {
            assert!(POINTS.iter().any(|point| point.id == id), "docs/SECURITY.md describes {id}, which is no point");
        }
    }
}
