//! `DIR/cluster.json`: what `consigner dev` says about the cluster that it runs (a stable contract, DESIGN 11).

use super::{CallError, ClusterClient};
use consigner_gate::ClientTls;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Name of the file in the directory of `consigner dev`.
pub const FILE_NAME: &str = "cluster.json";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// By id.
    pub nodes: Vec<NodeEntry>,
    /// CA certificate of the API.
    pub ca: PathBuf,
    /// Certificate that may sign.
    pub client_cert: PathBuf,
    /// Its key.
    pub client_key: PathBuf,
    /// Certificate that may do everything.
    pub admin_cert: PathBuf,
    /// Its key.
    pub admin_key: PathBuf,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEntry {
    /// Node id.
    pub id: u64,
    /// Process id of the child that runs, or ran last.
    pub pid: u32,
    /// `https://127.0.0.1:PORT`.
    pub api_url: String,
    /// `host:port` between the nodes.
    pub peer_addr: String,
    /// `http://127.0.0.1:PORT/metrics`.
    pub metrics_url: String,
    /// Log, state, snapshots.
    pub data_dir: PathBuf,
}

/// Why a directory tells of no cluster.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// The file is not there or cannot be read.
    #[error("{} cannot be read; is `consigner dev --dir` running there?", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what this version writes.
    #[error("{} is not a cluster file of this version", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// It cannot be replaced.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Deployment {
    /// Reads the file of a directory.
    ///
    /// # Errors
    /// See [`DeploymentError`].
    pub fn read(dir: &Path) -> Result<Self, DeploymentError> {
        let path = dir.join(FILE_NAME);
        let text = std::fs::read(&path).map_err(|source| DeploymentError::Read { path: path.clone(), source })?;
        serde_json::from_slice(&text).map_err(|source| DeploymentError::Parse { path, source })
    }

    /// Replaces the file of a directory in one step, nodes sorted by id.
    ///
    /// # Errors
    /// See [`DeploymentError`].
    pub fn write(&self, dir: &Path) -> Result<(), DeploymentError> {
        let path = dir.join(FILE_NAME);
        let mut sorted = self.clone();
        sorted.nodes.sort_by_key(|node| node.id);
        let written = serde_json::to_vec_pretty(&sorted)
            .map_err(std::io::Error::other)
            .and_then(|text| crate::files::replace(&path, &text, crate::files::PUBLIC));
        written.map_err(|source| DeploymentError::Write { path, source })
    }

    /// The API of every node, by id.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.api_url.clone()).collect()
    }

    /// A client with the certificate that may sign.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub fn signer(&self, idle_per_host: usize) -> Result<ClusterClient, CallError> {
        let tls = ClientTls { cert: self.client_cert.clone(), key: self.client_key.clone(), ca: self.ca.clone() };
        ClusterClient::new(self.endpoints(), &tls, idle_per_host)
    }

    /// A client with the certificate that may do everything.
    ///
    /// # Errors
    /// Certificates that cannot be used.
    pub fn admin(&self) -> Result<ClusterClient, CallError> {
        let tls = ClientTls { cert: self.admin_cert.clone(), key: self.admin_key.clone(), ca: self.ca.clone() };
        ClusterClient::new(self.endpoints(), &tls, 1)
    }

    /// The node of this id.
    #[must_use]
    pub fn node(&self, id: u64) -> Option<&NodeEntry> {
        self.nodes.iter().find(|node| node.id == id)
    }
}
