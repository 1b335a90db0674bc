//! The operator's calls that change who belongs to a cluster, below `/admin/v1/cluster`.

use super::{Answer, CallError, ClusterClient, LOOK, OPERATE};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;

const MEMBERS: &str = "/admin/v1/cluster/members";
const PROMOTE: &str = "/admin/v1/cluster/members/promote";
const REMOVE: &str = "/admin/v1/cluster/members/remove";
const REPLACE: &str = "/admin/v1/cluster/members/replace";
const TRANSFER: &str = "/admin/v1/cluster/transfer-leader";
const JOIN_TOKENS: &str = "/admin/v1/cluster/join-tokens";
const REVOKE: &str = "/admin/v1/cluster/join-tokens/revoke";
const ACCEPT_RESTART: &str = "/admin/v1/cluster/accept-restart";

/// A node that should become a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMember {
    /// Node id.
    pub id: u64,
    /// `host:port` between the nodes.
    pub peer_addr: String,
    /// `https://host:port`; empty: as the node advertises itself.
    pub api_url: String,
    /// Whether it votes once it has caught up.
    pub promote: bool,
    /// How long that may take, in seconds.
    pub catch_up_s: u64,
}

/// The membership after a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Who votes.
    pub voters: Vec<u64>,
    /// Who does not.
    pub learners: Vec<u64>,
    /// Who leads.
    pub leader: u64,
    /// What is odd about it.
    pub warnings: Vec<String>,
}

/// A join token that was made. Its text is a secret: no `Debug`.
#[derive(Serialize, Deserialize)]
pub struct NewJoinToken {
    /// Its public part.
    pub id: String,
    /// The node that may join with it.
    pub node: u64,
    /// The whole text.
    pub token: String,
    /// When it ends, in milliseconds since the Unix epoch.
    pub expires_ms: u64,
}

impl fmt::Debug for NewJoinToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("NewJoinToken").field("id", &self.id).field("node", &self.node).finish_non_exhaustive()
    }
}

/// A join token that the cluster holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinTokenEntry {
    /// Its public part.
    pub id: String,
    /// The node that may join with it.
    pub node: u64,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it ends, likewise.
    pub expires_ms: u64,
    /// Whether it has ended.
    pub expired: bool,
}

/// Takes a node in.
///
/// # Errors
/// See [`CallError`]; 409 is a refusal that changed nothing, 503 one that may pass.
pub async fn add(client: &ClusterClient, new: &NewMember) -> Result<Membership, CallError> {
    post(client, MEMBERS, &json!(new)).await?.json()
}

/// Gives a learner a vote.
///
/// # Errors
/// As [`add`].
pub async fn promote(client: &ClusterClient, id: u64, catch_up_s: u64) -> Result<Membership, CallError> {
    post(client, PROMOTE, &json!({"id": id, "catch_up_s": catch_up_s})).await?.json()
}

/// Lets a member go.
///
/// # Errors
/// As [`add`].
pub async fn remove(client: &ClusterClient, id: u64) -> Result<Membership, CallError> {
    post(client, REMOVE, &json!({"id": id})).await?.json()
}

/// Takes a node in, in place of another.
///
/// # Errors
/// As [`add`].
pub async fn replace(client: &ClusterClient, id: u64, with: &NewMember) -> Result<Membership, CallError> {
    post(client, REPLACE, &json!({"id": id, "with": with})).await?.json()
}

/// Lets another node lead; `None`: the most advanced.
///
/// # Errors
/// As [`add`].
pub async fn transfer_leader(client: &ClusterClient, to: Option<u64>) -> Result<Membership, CallError> {
    post(client, TRANSFER, &json!({"to": to})).await?.json()
}

/// Makes a join token.
///
/// # Errors
/// As [`add`].
pub async fn create_join_token(
    client: &ClusterClient,
    node: u64,
    expires_in_s: u64,
) -> Result<NewJoinToken, CallError> {
    post(client, JOIN_TOKENS, &json!({"node": node, "expires_in_s": expires_in_s})).await?.json()
}

/// The join tokens that the cluster holds, without their texts.
///
/// # Errors
/// See [`CallError`].
pub async fn join_tokens(client: &ClusterClient) -> Result<Vec<JoinTokenEntry>, CallError> {
    Ok(client.get_json(JOIN_TOKENS, LOOK).await?.json::<super::keys::Data<JoinTokenEntry>>()?.data)
}

/// Takes a join token back; whether it was held.
///
/// # Errors
/// See [`CallError`].
pub async fn revoke_join_token(client: &ClusterClient, id: &str) -> Result<bool, CallError> {
    let answer: Value = post(client, REVOKE, &json!({"id": id})).await?.json()?;
    Ok(answer["status"] == "revoked")
}

/// Lets a node take part that waits for others to know it again; asked of that node itself. Answers the members whose
/// word was done without.
///
/// # Errors
/// See [`CallError`].
pub async fn accept_restart(client: &ClusterClient, id: u64) -> Result<Value, CallError> {
    post(client, ACCEPT_RESTART, &json!({"id": id})).await?.json()
}

async fn post(client: &ClusterClient, path: &str, body: &Value) -> Result<Answer, CallError> {
    client.post_json(path, body.to_string(), OPERATE).await?.ok()
}
