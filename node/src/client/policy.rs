//! The operator's calls about the access policy and tokens, below `/admin/v1/policy`.
//!
//! In: documents, questions, names. Out: what holds and what would change. The text of a new token is erased from memory
//! when it is dropped. Deliberately absent: what a policy means (`rules`).

use super::{CallError, ClusterClient, LOOK, OPERATE};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;
use zeroize::Zeroizing;

const POLICY: &str = "/admin/v1/policy";
const APPLY: &str = "/admin/v1/policy/apply";
const CHECK: &str = "/admin/v1/policy/check";
const TOKENS: &str = "/admin/v1/policy/tokens";
const REVOKE: &str = "/admin/v1/policy/tokens/revoke";

/// The policy that a node acts by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The policy version; revocations of tokens raise it, too.
    pub version: u64,
    /// The version with which the document came.
    #[serde(default)]
    pub since: Option<u64>,
    /// The document, if one was applied.
    pub policy: Option<String>,
}

/// What applying a policy changes, or would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The version that holds afterwards; before a change, the one that it would replace.
    pub version: u64,
    /// Lines that begin with `+`, `-` or `~`.
    pub changes: Vec<String>,
    /// What is probably not meant.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What somebody may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Whether it is allowed.
    pub allowed: bool,
    /// The client whose role allows it.
    #[serde(default)]
    pub client: Option<String>,
    /// The role.
    #[serde(default)]
    pub role: Option<String>,
    /// Why not.
    #[serde(default)]
    pub reason: Option<String>,
}

/// A token of the cluster, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenEntry {
    /// Its public part.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub roles: Vec<String>,
    /// Milliseconds since the Unix epoch when it was made.
    pub created_ms: u64,
    /// Milliseconds since the Unix epoch at which it ends.
    pub expires_ms: Option<u64>,
    /// Whether it has ended.
    #[serde(default)]
    pub expired: bool,
}

/// A new token. Its text is never shown by `Debug`.
pub struct NewToken {
    /// Its public part.
    pub id: String,
    /// The token itself.
    pub text: Zeroizing<String>,
    /// Milliseconds since the Unix epoch at which it ends.
    pub expires_ms: Option<u64>,
}

/// What became of a token that was to be revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Its public part.
    pub id: String,
    /// `revoked` or `not_found`.
    pub status: String,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "NewToken({})", self.id)
    }
}

/// The policy that the first node that answers acts by.
///
/// # Errors
/// See [`CallError`].
pub async fn show(client: &ClusterClient) -> Result<Shown, CallError> {
    client.get_json(POLICY, LOOK).await?.json()
}

/// What this document would change.
///
/// # Errors
/// [`CallError::Status`]: 400 with line and column, 409 when it would lock out the caller.
pub async fn dry_run(client: &ClusterClient, yaml: &str) -> Result<Applied, CallError> {
    let body = json!({"policy": yaml, "dry_run": true}).to_string();
    client.post_json(APPLY, body, LOOK).await?.ok()?.json()
}

/// Applies this document in place of the version that was looked at.
///
/// # Errors
/// As [`dry_run`], and 409 when another change came first.
pub async fn apply(client: &ClusterClient, yaml: &str, replaces: u64) -> Result<Applied, CallError> {
    let body = json!({"policy": yaml, "dry_run": false, "replaces": replaces}).to_string();
    client.post_json(APPLY, body, OPERATE).await?.ok()?.json()
}

/// What somebody with these proofs may do.
///
/// # Errors
/// See [`CallError`].
pub async fn check(
    client: &ClusterClient,
    proofs: &[String],
    key: Option<&str>,
    operation: &str,
) -> Result<Checked, CallError> {
    let body = json!({"as": proofs, "key": key, "operation": operation}).to_string();
    client.post_json(CHECK, body, LOOK).await?.ok()?.json()
}

/// Makes a token. Not repeated on another node: the first may have made one.
///
/// # Errors
/// See [`CallError`].
pub async fn create_token(
    client: &ClusterClient,
    name: &str,
    roles: &[String],
    expires_in_s: Option<u64>,
) -> Result<NewToken, CallError> {
    #[derive(Deserialize)]
    struct Made {
        id: String,
        token: String,
        expires_ms: Option<u64>,
    }
    let mut body = json!({"name": name, "roles": roles});
    if let (Some(seconds), Value::Object(fields)) = (expires_in_s, &mut body) {
        fields.insert("expires_in_s".to_owned(), seconds.into());
    }
    let Made { id, token, expires_ms } = client.post_json(TOKENS, body.to_string(), OPERATE).await?.ok()?.json()?;
    Ok(NewToken { id, text: Zeroizing::new(token), expires_ms })
}

/// The tokens of the cluster.
///
/// # Errors
/// See [`CallError`].
pub async fn tokens(client: &ClusterClient) -> Result<Vec<TokenEntry>, CallError> {
    let listed: super::keys::Data<TokenEntry> = client.get_json(TOKENS, LOOK).await?.json()?;
    Ok(listed.data)
}

/// Revokes a token; returns when no node takes it any more.
///
/// # Errors
/// See [`CallError`].
pub async fn revoke_token(client: &ClusterClient, id: &str) -> Result<Revoked, CallError> {
    client.post_json(REVOKE, json!({"id": id}).to_string(), OPERATE).await?.ok()?.json()
}
