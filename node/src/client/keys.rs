//! The operator's calls about keys, below `/admin/v1/keys`.
//!
//! In: secrets, names, ids. Out: what the cluster did with each. A body with secrets is erased when it was sent.
//! Deliberately absent: waiting and repeating; the commands decide that.

use super::{Answer, CallError, ClusterClient, LOOK, OPERATE};
use bytes::Bytes;
use consigner_keys::SecretKey;
use consigner_rules::PublicKey;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use zeroize::Zeroizing;

const KEYS: &str = "/admin/v1/keys";
const IMPORT: &str = "/admin/v1/keys/import";
const DELETE: &str = "/admin/v1/keys/delete";
const DATA_KEYS: &str = "/admin/v1/keys/data-keys";
const REMOVE_DATA_KEYS: &str = "/admin/v1/keys/data-keys/remove";
const REWRAP: &str = "/admin/v1/keys/rewrap";

/// A list of whatever the cluster answers about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Data<T> {
    /// The items.
    pub data: Vec<T>,
}

/// One key that the cluster holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEntry {
    /// The validator.
    pub pubkey: PublicKey,
    /// Id of the data key that it is sealed under.
    pub data_key: String,
    /// Kind of the sealer that wrapped that.
    pub sealer: Option<String>,
    /// Whether the asked node has it open.
    pub open: bool,
}

/// What the cluster did with one item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStatus {
    /// The validator, where the answer names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pubkey: Option<String>,
    /// A word of the key manager API: `imported`, `duplicate`, `deleted`, `not_active`, `not_found`, `error`.
    pub status: String,
    /// In words.
    #[serde(default)]
    pub message: Option<String>,
}

/// The answer to a deletion, in the order of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// What happened to each key.
    pub data: Vec<KeyStatus>,
    /// EIP-3076 interchange of what they had signed, as text.
    pub slashing_protection: String,
}

/// Sealers and data keys as one node sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataKeys {
    /// Kind of the sealer that wraps new data keys there.
    pub in_use: String,
    /// The sealers that are set up there.
    pub sealers: Vec<SealerEntry>,
    /// The data keys of the cluster.
    pub data: Vec<DataKeyEntry>,
}

/// A sealer that is set up on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealerEntry {
    /// Its kind.
    pub kind: String,
    /// Its master key, for people.
    pub master: String,
    /// Why it cannot be asked which master key is current; then nobody knows what is wrapped under that.
    #[serde(default)]
    pub error: Option<String>,
}

/// A data key as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataKeyEntry {
    /// Id, hexadecimal.
    pub id: String,
    /// Kind of the sealer that wrapped it.
    pub sealer: String,
    /// Whether it is wrapped under that sealer's current master key.
    pub current: bool,
    /// Whether it is open there.
    pub open: bool,
    /// Validator keys that lie under it.
    pub keys: u64,
    /// Those of them that wait for it there.
    pub waiting_keys: u64,
    /// Why it is not open there.
    #[serde(default)]
    pub error: Option<String>,
}

/// What one step of a rewrap did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewrapped {
    /// Keys that lie under the wanted data key now.
    pub moved: u64,
    /// Keys that the asked node cannot move.
    pub skipped: u64,
    /// Keys that lie under other data keys.
    pub remaining: u64,
    /// Why keys were skipped.
    #[serde(default)]
    pub why: Vec<String>,
}

/// What became of a data key that should be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedDataKey {
    /// Its id.
    pub id: String,
    /// `removed`, `in_use` or `not_found`.
    pub status: String,
}

#[derive(Deserialize)]
struct NewDataKey {
    id: String,
}

/// All keys, with whether the first node that answers has each open.
///
/// # Errors
/// See [`CallError`].
pub async fn list(client: &ClusterClient) -> Result<Vec<KeyEntry>, CallError> {
    Ok(client.get_json(KEYS, OPERATE).await?.json::<Data<KeyEntry>>()?.data)
}

/// Imports secrets, each with what `history` (EIP-3076, as text) says of it; an answer per secret, in order.
///
/// The secrets travel in the clear inside of mutual TLS: a password of this one call beside them would hide nothing. The
/// administrators' API takes them whether or not, and wherever, the key manager API is served.
///
/// # Errors
/// See [`CallError`]; then nobody knows which were imported, and the same call may be repeated.
pub async fn import(
    client: &ClusterClient,
    secrets: &[&SecretKey],
    history: Option<&str>,
) -> Result<Vec<KeyStatus>, CallError> {
    let answer = client.post_json(IMPORT, import_body(secrets, history), OPERATE).await?.ok()?;
    let report: Data<KeyStatus> = answer.json()?;
    complete(&answer, &report.data, secrets.len())?;
    Ok(report.data)
}

/// Whether there is a line for each of the keys: a missing one would shift what is said of the others.
fn complete(answer: &Answer, lines: &[KeyStatus], keys: usize) -> Result<(), CallError> {
    if lines.len() == keys {
        return Ok(());
    }
    let reason = format!("{} answers to {keys} keys", lines.len());
    Err(CallError::Answer { url: answer.url.clone(), reason })
}

/// Bytes of a secret in JSON, with what is around it.
const SECRET_BYTES: usize = 96;

/// Erased when the last copy is dropped; nothing is moved while it is written, so nothing is left behind.
fn import_body(secrets: &[&SecretKey], history: Option<&str>) -> Bytes {
    let history = history.map(|history| serde_json::Value::from(history).to_string()).unwrap_or_default();
    let mut body = Zeroizing::new(String::with_capacity(64 + secrets.len() * SECRET_BYTES + history.len()));
    body.push_str(r#"{"keys":["#);
    for (position, secret) in secrets.iter().enumerate() {
        let separator = if position == 0 { "" } else { "," };
        let _infallible = write!(body, r#"{separator}{{"secret":"{}"}}"#, secret.expose_hex().as_str());
    }
    body.push(']');
    if !history.is_empty() {
        let _infallible = write!(body, r#","slashing_protection":{history}"#);
    }
    body.push('}');
    Bytes::from_owner(ErasedWhenDropped(body))
}

struct ErasedWhenDropped(Zeroizing<String>);

impl AsRef<[u8]> for ErasedWhenDropped {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Deletes keys on all nodes; an answer per key, in order.
///
/// # Errors
/// See [`CallError`]; the same call may be repeated and returns the history again.
pub async fn delete(client: &ClusterClient, public_keys: &[PublicKey]) -> Result<Deletion, CallError> {
    let names: Vec<String> = public_keys.iter().map(ToString::to_string).collect();
    let body = serde_json::json!({ "pubkeys": names }).to_string();
    let answer = client.post_json(DELETE, body, OPERATE).await?.ok()?;
    let deletion: Deletion = answer.json()?;
    complete(&answer, &deletion.data, public_keys.len())?;
    Ok(deletion)
}

/// Sealers and data keys as the first node that answers sees them.
///
/// # Errors
/// See [`CallError`].
pub async fn data_keys(client: &ClusterClient) -> Result<DataKeys, CallError> {
    client.get_json(DATA_KEYS, LOOK).await?.json()
}

/// Makes a data key by the sealer of a kind; its id.
///
/// # Errors
/// See [`CallError`].
pub async fn new_data_key(client: &ClusterClient, kind: &str) -> Result<String, CallError> {
    let body = serde_json::json!({ "sealer": kind }).to_string();
    Ok(client.post_json(DATA_KEYS, body, OPERATE).await?.ok()?.json::<NewDataKey>()?.id)
}

/// Moves at most `max` keys under a data key.
///
/// # Errors
/// See [`CallError`].
pub async fn rewrap(client: &ClusterClient, data_key: &str, max: u64) -> Result<Rewrapped, CallError> {
    let body = serde_json::json!({ "data_key": data_key, "max": max }).to_string();
    client.post_json(REWRAP, body, OPERATE).await?.ok()?.json()
}

/// Removes data keys that no key lies under.
///
/// # Errors
/// See [`CallError`].
pub async fn remove_data_keys(client: &ClusterClient, ids: &[String]) -> Result<Vec<RemovedDataKey>, CallError> {
    let body = serde_json::json!({ "ids": ids }).to_string();
    Ok(client.post_json(REMOVE_DATA_KEYS, body, OPERATE).await?.ok()?.json::<Data<RemovedDataKey>>()?.data)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use consigner_gate::Response;
    use consigner_keys::development::interop_secret;
    use http::{HeaderMap, StatusCode};

    #[test]
    fn the_body_of_an_import_holds_every_key_in_order_and_the_history() {
        let secrets = [interop_secret(0), interop_secret(1)];
        let secrets: Vec<&SecretKey> = secrets.iter().collect();
        let body = import_body(&secrets, Some("{\"a\":\"b\"}"));
        assert!(body.len() <= 64 + 2 * SECRET_BYTES, "the body grew and left copies behind: {}", body.len());
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["slashing_protection"], "{\"a\":\"b\"}");
        let keys = value["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 2);
        for (key, secret) in keys.iter().zip(&secrets) {
            let sent: SecretKey = key["secret"].as_str().unwrap().parse().unwrap();
            assert_eq!(sent.public_key(), secret.public_key());
        }
        let without: serde_json::Value = serde_json::from_slice(&import_body(&secrets, None)).unwrap();
        assert!(without.get("slashing_protection").is_none());
    }

    #[test]
    fn an_answer_without_a_line_for_each_key_is_none() {
        let response = Response { status: StatusCode::OK, headers: HeaderMap::new(), body: Bytes::new() };
        let answer = Answer { url: "https://node".to_owned(), response };
        let line = KeyStatus { pubkey: None, status: "deleted".to_owned(), message: None };
        assert!(complete(&answer, std::slice::from_ref(&line), 1).is_ok());
        let error = complete(&answer, &[line], 2).unwrap_err();
        assert!(error.to_string().contains("1 answers to 2 keys"), "{error}");
    }
}
