//! `cluster.json`, as the contract of `consigner dev` describes it, read by an outsider.

use consigner_gate::ClientTls;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// The file.
#[derive(Debug, Clone, Deserialize)]
pub struct Manifest {
    /// Sorted by id.
    pub nodes: Vec<NodeEntry>,
    ca: PathBuf,
    client_cert: PathBuf,
    client_key: PathBuf,
    admin_cert: PathBuf,
    admin_key: PathBuf,
}

/// One node.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeEntry {
    /// Node id.
    pub id: u64,
    /// Its process, or its last one.
    pub pid: u32,
    /// `https://127.0.0.1:PORT`.
    pub api_url: String,
    /// `http://127.0.0.1:PORT/metrics`.
    pub metrics_url: String,
}

impl Manifest {
    /// Reads the file of a cluster's directory.
    ///
    /// # Errors
    /// Not there, or not in the agreed form.
    pub fn read(dir: &Path) -> std::io::Result<Self> {
        let text = std::fs::read(dir.join("cluster.json"))?;
        serde_json::from_slice(&text).map_err(std::io::Error::other)
    }

    /// The certificate that may sign.
    #[must_use]
    pub fn client(&self) -> ClientTls {
        ClientTls { cert: self.client_cert.clone(), key: self.client_key.clone(), ca: self.ca.clone() }
    }

    /// The certificate that may do everything.
    #[must_use]
    pub fn admin(&self) -> ClientTls {
        ClientTls { cert: self.admin_cert.clone(), key: self.admin_key.clone(), ca: self.ca.clone() }
    }

    /// The process of a node.
    #[must_use]
    pub fn pid(&self, id: u64) -> Option<u32> {
        self.nodes.iter().find(|node| node.id == id).map(|node| node.pid)
    }
}
