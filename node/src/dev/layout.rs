//! Where a development cluster keeps what (DESIGN 11), and what it remembers from one start to the next.

use crate::certs::CertificateDir;
use crate::client::{Deployment, NodeEntry};
use crate::files;
use consigner_rules::primitives::{ClusterId, Root};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Distance between the ports of one node and the next.
const PORTS_PER_NODE: u16 = 10;

/// Name of the file that remembers the plan.
const PLAN_FILE: &str = "dev.json";

/// The version of that file.
const PLAN_FORMAT: u32 = 1;

/// Name of the file with a node's join token, in its directory.
pub(super) const JOIN_TOKEN_FILE: &str = "join-token";

/// What a cluster is; fixed at its first start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_FORMAT`].
    pub format: u32,
    /// Identity of the cluster.
    pub cluster_id: ClusterId,
    /// Nodes, from 1.
    pub nodes: u64,
    /// First port.
    pub base_port: u16,
    /// Network name, or the absolute path of a file.
    pub network: String,
    /// If given.
    pub genesis_validators_root: Option<Root>,
    /// Whether the nodes have been made a cluster: that happens once.
    pub initialised: bool,
    /// While the cluster grows: how many of its nodes, from 1, have joined. `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<u64>,
    /// Nodes that were removed from the cluster and do not run any more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub removed: BTreeSet<u64>,
}

/// The directory of a development cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Absolute.
    pub dir: PathBuf,
}

impl Layout {
    /// Takes a directory, making it if needed.
    ///
    /// # Errors
    /// What the system said.
    pub fn open(dir: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.canonicalize()? })
    }

    /// The certificates.
    #[must_use]
    pub fn certificates(&self) -> CertificateDir {
        CertificateDir::new(self.dir.join("certs"))
    }

    /// The key file that wraps the cluster's data keys; one file for all nodes, mode 0600.
    #[must_use]
    pub fn sealing_key(&self) -> PathBuf {
        self.dir.join("sealing.key")
    }

    /// Held while a supervisor runs here.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.dir.join("dev.lock")
    }

    /// One node's directory.
    #[must_use]
    pub fn node(&self, id: u64) -> PathBuf {
        self.dir.join(node_name(id))
    }

    /// One node's configuration.
    #[must_use]
    pub fn config(&self, id: u64) -> PathBuf {
        self.node(id).join("config.yaml")
    }

    /// The token with which one node may join a cluster that runs.
    #[must_use]
    pub fn join_token(&self, id: u64) -> PathBuf {
        self.node(id).join(JOIN_TOKEN_FILE)
    }

    /// What one node printed.
    #[must_use]
    pub fn log(&self, id: u64) -> PathBuf {
        self.node(id).join("log")
    }

    /// What was remembered, if this directory had a cluster before.
    ///
    /// # Errors
    /// A file that cannot be read or is of another version.
    pub fn read_plan(&self) -> std::io::Result<Option<Plan>> {
        let path = self.dir.join(PLAN_FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let plan: Plan = serde_json::from_slice(&text).map_err(std::io::Error::other)?;
        if plan.format == PLAN_FORMAT {
            Ok(Some(plan))
        } else {
            Err(std::io::Error::other(format!("{} has format {}", path.display(), plan.format)))
        }
    }

    /// Remembers the plan.
    ///
    /// # Errors
    /// What the system said.
    pub fn write_plan(&self, plan: &Plan) -> std::io::Result<()> {
        let text = serde_json::to_vec_pretty(plan).map_err(std::io::Error::other)?;
        files::replace(&self.dir.join(PLAN_FILE), &text, files::PUBLIC)
    }

    /// What `cluster.json` will say, with process ids still 0.
    #[must_use]
    pub fn deployment(&self, plan: &Plan) -> Deployment {
        let certificates = self.certificates();
        let nodes = (1..=plan.nodes)
            .filter(|id| !plan.removed.contains(id))
            .map(|id| NodeEntry {
                id,
                pid: 0,
                api_url: format!("https://{}", plan.api_addr(id)),
                peer_addr: plan.peer_addr(id),
                metrics_url: format!("http://{}/metrics", plan.metrics_addr(id)),
                data_dir: self.node(id).join("data"),
            })
            .collect();
        Deployment {
            nodes,
            ca: certificates.cert("ca"),
            client_cert: certificates.cert("client"),
            client_key: certificates.key("client"),
            admin_cert: certificates.cert("admin"),
            admin_key: certificates.key("admin"),
        }
    }
}

/// Name of a node: of its directory, its certificate and in the membership.
#[must_use]
pub fn node_name(id: u64) -> String {
    format!("node{id}")
}

impl Plan {
    /// A new plan with a random identity.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn new(nodes: u64, base_port: u16, network: String) -> Result<Self, getrandom::Error> {
        let mut id = [0; ClusterId::LENGTH];
        getrandom::fill(&mut id)?;
        let (cluster_id, genesis_validators_root) = (ClusterId(id), None);
        let (format, initialised) = (PLAN_FORMAT, false);
        let (joined, removed) = (None, BTreeSet::new());
        Ok(Self {
            format,
            cluster_id,
            nodes,
            base_port,
            network,
            genesis_validators_root,
            initialised,
            joined,
            removed,
        })
    }

    /// `127.0.0.1:PORT` of a node's API.
    #[must_use]
    pub fn api_addr(&self, id: u64) -> String {
        self.addr(id, 0)
    }

    /// `127.0.0.1:PORT` between the nodes.
    #[must_use]
    pub fn peer_addr(&self, id: u64) -> String {
        self.addr(id, 1)
    }

    /// `127.0.0.1:PORT` of a node's metrics.
    #[must_use]
    pub fn metrics_addr(&self, id: u64) -> String {
        self.addr(id, 2)
    }

    fn addr(&self, id: u64, door: u16) -> String {
        let node = u16::try_from(id.saturating_sub(1)).unwrap_or(u16::MAX);
        let port = self.base_port.saturating_add(node.saturating_mul(PORTS_PER_NODE)).saturating_add(door);
        format!("127.0.0.1:{port}")
    }

    /// Whether all ports exist.
    #[must_use]
    pub fn ports_fit(&self) -> bool {
        let last = u64::from(self.base_port) + self.nodes * u64::from(PORTS_PER_NODE);
        self.base_port > 0 && last <= u64::from(u16::MAX)
    }
}
