//! Histories as the operator's calls give them: the interchange, pages of what was recorded, watermarks.

use super::{CallError, ClusterClient, OPERATE};
use bytes::Bytes;
use consigner_rules::PublicKey;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const EXPORT: &str = "/admin/v1/history/export";
const RECORDED: &str = "/admin/v1/history/recorded";
const WATERMARKS: &str = "/admin/v1/history/watermarks";
const RAISE: &str = "/admin/v1/history/watermarks/raise";
const HIGH: &str = "/admin/v1/history/watermarks/high";
const CLEAR: &str = "/admin/v1/history/watermarks/high/clear";

/// Public keys that are named in a URL, which has room for some 600; of more, all are asked for and chosen from here.
const NAMED_MAX: usize = 200;

/// How long a page is asked for again while the node is busy with another history, or an election goes on.
const BUSY: Duration = Duration::from_secs(30);

/// Pause between two such tries.
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// An interchange file as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Format version and chain, carried as they are.
    pub metadata: Value,
    /// By public key.
    pub data: Vec<Validator>,
}

/// The records of one validator.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Validator {
    /// Public key, hexadecimal with prefix, in small letters.
    pub pubkey: String,
    /// Signed blocks.
    pub signed_blocks: Vec<Block>,
    /// Signed attestations.
    pub signed_attestations: Vec<Attestation>,
}

/// A signed block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Decimal.
    pub slot: String,
    /// Hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_root: Option<String>,
}

/// A signed attestation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    /// Decimal.
    pub source_epoch: String,
    /// Decimal.
    pub target_epoch: String,
    /// Hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_root: Option<String>,
}

/// One part of a complete export.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Page {
    /// The node whose outbox it comes from.
    pub node: u64,
    /// The log index from which on that node has every record, decimal.
    pub complete_from_log_index: String,
    /// The log index at which the export ends, decimal.
    pub upto: String,
    /// After which log index the next page begins, decimal; `None`: this was the last.
    pub next: Option<String>,
    /// The records.
    pub interchange: File,
}

/// Which validators.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Which {
    /// All that the cluster knows.
    #[default]
    All,
    /// These.
    These(Vec<PublicKey>),
}

impl Which {
    /// For a query; nothing where they are chosen here.
    fn query(&self) -> String {
        match self {
            Self::These(keys) if keys.len() <= NAMED_MAX => {
                format!("pubkeys={}", keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            }
            Self::All | Self::These(_) => String::new(),
        }
    }

    /// A test for public keys in hexadecimal.
    pub fn wanted(&self) -> impl Fn(&str) -> bool + use<> {
        let chosen: Option<std::collections::HashSet<String>> = match self {
            Self::All => None,
            Self::These(keys) => Some(keys.iter().map(ToString::to_string).collect()),
        };
        move |key| chosen.as_ref().is_none_or(|chosen| chosen.contains(key))
    }
}

/// The minimal interchange.
///
/// # Errors
/// See [`CallError`].
pub async fn minimal(client: &ClusterClient, which: &Which) -> Result<File, CallError> {
    let mut file: File = patiently(client, &format!("{EXPORT}?{}", which.query())).await?;
    let wanted = which.wanted();
    file.data.retain(|validator| wanted(&validator.pubkey));
    Ok(file)
}

/// One page of what was recorded; `upto` of the first one goes into all others.
///
/// # Errors
/// See [`CallError`].
pub async fn recorded(
    client: &ClusterClient,
    after: &str,
    upto: Option<&str>,
    which: &Which,
) -> Result<Page, CallError> {
    let upto = upto.map(|upto| format!("&upto={upto}")).unwrap_or_default();
    let query = which.query();
    let keys = if query.is_empty() { query } else { format!("&{query}") };
    let mut page: Page = patiently(client, &format!("{RECORDED}?after={after}{upto}{keys}")).await?;
    let wanted = which.wanted();
    page.interchange.data.retain(|validator| wanted(&validator.pubkey));
    Ok(page)
}

/// Asks again while the answer may become another.
async fn patiently<T: serde::de::DeserializeOwned>(client: &ClusterClient, path: &str) -> Result<T, CallError> {
    let until = Instant::now() + BUSY;
    loop {
        match client.get_json(path, OPERATE).await {
            Ok(answer) => return answer.json(),
            Err(error @ CallError::Status { .. }) if error.may_pass() && Instant::now() < until => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(BUSY_PAUSE).await;
    }
}

/// Low watermarks of one validator.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Marks {
    /// Greatest block slot, decimal.
    pub slot: Option<String>,
    /// Greatest source epoch, decimal.
    pub source_epoch: Option<String>,
    /// Greatest target epoch, decimal.
    pub target_epoch: Option<String>,
}

/// The limit for all validators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HighMark {
    /// Decimal.
    pub epoch: String,
    /// Decimal.
    pub slot: String,
}

/// One validator and its watermarks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkLine {
    /// The validator.
    pub pubkey: String,
    /// Whether the cluster holds its key.
    pub held: bool,
    /// What it has signed.
    #[serde(flatten)]
    pub marks: Marks,
}

/// All watermarks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermarks {
    /// The limit, if there is one.
    pub high_watermark: Option<HighMark>,
    /// By public key.
    pub data: Vec<MarkLine>,
}

/// What became of one validator's watermarks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaisedLine {
    /// The validator.
    pub pubkey: String,
    /// `raised`, `unchanged` or `error`.
    pub status: String,
    /// Before.
    pub before: Marks,
    /// After.
    pub after: Marks,
    /// In words, if there is something to say.
    pub message: String,
}

/// The answer to a raise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Raised {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// By public key.
    pub data: Vec<RaisedLine>,
}

/// The answer to a change of the high watermark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HighChanged {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// Before.
    pub before: Option<HighMark>,
    /// After.
    pub after: Option<HighMark>,
}

/// All watermarks, or those of some validators.
///
/// # Errors
/// See [`CallError`].
pub async fn watermarks(client: &ClusterClient, which: &Which) -> Result<Watermarks, CallError> {
    let mut found: Watermarks = patiently(client, &format!("{WATERMARKS}?{}", which.query())).await?;
    let wanted = which.wanted();
    found.data.retain(|line| wanted(&line.pubkey));
    Ok(found)
}

/// Raises low watermarks, or says what that would do.
///
/// # Errors
/// [`CallError::Status`] when the raise as a whole is refused; single validators are in the answer.
pub async fn raise(client: &ClusterClient, to: &Marks, which: &Which, dry_run: bool) -> Result<Raised, CallError> {
    let mut body = json!({"dry_run": dry_run});
    let marks = [("slot", &to.slot), ("source_epoch", &to.source_epoch), ("target_epoch", &to.target_epoch)];
    for (name, mark) in marks.into_iter().filter(|(_, mark)| mark.is_some()) {
        body[name] = json!(mark);
    }
    match which {
        Which::All => body["all"] = json!(true),
        Which::These(keys) => body["pubkeys"] = json!(keys),
    }
    post(client, RAISE, &body).await
}

/// Sets the high watermark, or removes it, or says what that would do.
///
/// # Errors
/// [`CallError::Status`] 409 when it would not lie above everything that was signed.
pub async fn set_high(client: &ClusterClient, to: Option<&HighMark>, dry_run: bool) -> Result<HighChanged, CallError> {
    match to {
        Some(HighMark { epoch, slot }) => {
            post(client, HIGH, &json!({"epoch": epoch, "slot": slot, "dry_run": dry_run})).await
        }
        None => post(client, CLEAR, &json!({"dry_run": dry_run})).await,
    }
}

async fn post<T: serde::de::DeserializeOwned>(
    client: &ClusterClient,
    path: &str,
    body: &Value,
) -> Result<T, CallError> {
    client.post_json(path, Bytes::from(body.to_string()), OPERATE).await?.ok()?.json()
}
