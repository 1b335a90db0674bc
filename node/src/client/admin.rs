//! The operator's calls below `/admin/v1`.

use super::{Answer, CallError, ClusterClient, LOOK, OPERATE};
use bytes::Bytes;
use consigner_raft::{NodeStatus, Role};
use serde::{Deserialize, Serialize};

const STATUS: &str = "/admin/v1/cluster/status";
const INIT: &str = "/admin/v1/cluster/init";
const EXPORT: &str = "/admin/v1/history/export";
const IMPORT: &str = "/admin/v1/history/import";

/// A member of a cluster to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitMember {
    /// Node id.
    pub id: u64,
    /// Common name of its peer certificate.
    pub name: String,
    /// `host:port` between the nodes.
    pub peer_addr: String,
    /// `https://host:port`, or empty.
    pub api_url: String,
}

/// Status of all members, as one node sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// The node that was asked.
    pub node: u64,
    /// By id.
    pub nodes: Vec<MemberStatus>,
}

/// One member: its own words, or why there are none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// Node id.
    pub id: u64,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<NodeStatus>,
    /// Why it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What an import did with one validator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportLine {
    /// The validator.
    pub pubkey: String,
    /// `merged`, `unchanged` or `error`.
    pub status: String,
    /// The greatest block slot that the file has, decimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// The greatest source epoch, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_epoch: Option<String>,
    /// The greatest target epoch, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_epoch: Option<String>,
    /// In words.
    pub message: String,
}

/// The answer to an import.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportReport {
    /// By public key.
    pub data: Vec<ImportLine>,
}

impl ClusterStatus {
    /// The member that says it leads and that at least one other agrees with, or that leads alone.
    #[must_use]
    pub fn leader(&self) -> Option<u64> {
        let known = || self.nodes.iter().filter_map(|node| node.status.as_ref());
        let leads = |status: &&NodeStatus| status.role == Role::Leader && status.leader == Some(status.id);
        known().filter(leads).max_by_key(|status| status.term).map(|status| status.id)
    }
}

/// Asks for the status of all members.
///
/// # Errors
/// See [`CallError`].
pub async fn status(client: &ClusterClient) -> Result<ClusterStatus, CallError> {
    client.get_json(STATUS, LOOK).await?.json()
}

/// Makes the members a cluster; through a node that is one of them.
///
/// # Errors
/// [`CallError::Status`] 409 when there is a cluster already.
pub async fn initialise(client: &ClusterClient, members: &[InitMember]) -> Result<Answer, CallError> {
    let body = serde_json::json!({ "members": members }).to_string();
    client.post_json(INIT, body, OPERATE).await?.ok()
}

/// The history of all validators, EIP-3076, as text.
///
/// # Errors
/// See [`CallError`].
pub async fn export(client: &ClusterClient) -> Result<Bytes, CallError> {
    Ok(client.get_json(EXPORT, OPERATE).await?.response.body)
}

/// Merges a history file.
///
/// # Errors
/// [`CallError::Status`] when the file as a whole is refused; single validators are in the report.
pub async fn import(client: &ClusterClient, file: Bytes) -> Result<ImportReport, CallError> {
    client.post_json(IMPORT, file, OPERATE).await?.ok()?.json()
}
