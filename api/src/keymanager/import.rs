//! What both ways of importing keys share: the history that comes along, and one line per key.
//!
//! In: an interchange text, results of [`crate::key_import`]. Out: histories by validator, lines, audit records, and the
//! wait before the answer. Deliberately absent: where the secrets come from.

use super::{IMPORT_SETTLE, note_unreached};
use crate::app::{App, Shared};
use crate::audit::{self, Actor};
use crate::error::{ApiError, with_causes};
use crate::key_import::{Candidate, ImportResult, ImportStatus};
use crate::offload::compute;
use consigner_keys::SecretKey;
use consigner_rules::interchange::{Interchange, InterchangeError};
use consigner_rules::{HistoryImport, PublicKey, Root};
use serde::Serialize;
use std::collections::BTreeMap;

/// What became of one key; `pubkey` is for the operator's import only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pubkey: Option<PublicKey>,
    pub(crate) status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// For the audit.
    #[serde(skip)]
    pub(crate) log_index: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Imported,
    Duplicate,
    Error,
}

/// History by validator.
pub(crate) type Histories = BTreeMap<PublicKey, HistoryImport>;

/// The chain of the cluster.
pub(crate) fn genesis_root(shared: &Shared) -> Result<Root, ApiError> {
    let root = shared.app.cluster.read(|state| state.identity().map(|identity| identity.genesis_validators_root));
    root.ok_or_else(|| ApiError::Unavailable("the cluster is not initialised yet".to_owned()))
}

/// Reads the history that comes with keys, all of it or none.
///
/// # Errors
/// 400 for a text that is not EIP-3076 or is for another chain.
pub(crate) fn histories(text: Option<&str>, root: &Root) -> Result<Histories, ApiError> {
    let Some(text) = text else { return Ok(Histories::new()) };
    let refuse = |why: InterchangeError| ApiError::BadRequest(format!("slashing_protection: {}", with_causes(&why)));
    let file = Interchange::parse(text.as_bytes()).map_err(refuse)?;
    file.check_genesis(root).map_err(refuse)?;
    Ok(file.reduce().into_iter().map(|history| (history.public_key, history)).collect())
}

/// Finds what each secret signed elsewhere. History of validators that are not imported is passed over.
pub(crate) async fn with_history(secrets: Vec<SecretKey>, known: &Histories) -> Result<Vec<Candidate>, ApiError> {
    let named = compute(move || secrets.into_iter().map(|secret| (secret.public_key(), secret)).collect::<Vec<_>>());
    let candidate = |(public_key, secret)| Candidate { public_key, secret, history: known.get(&public_key).cloned() };
    Ok(named.await?.into_iter().map(candidate).collect())
}

/// The outcome of one import in the words of the API.
fn status(status: ImportStatus) -> Result<Status, String> {
    match status {
        ImportStatus::Imported => Ok(Status::Imported),
        ImportStatus::Duplicate => Ok(Status::Duplicate),
        ImportStatus::Failed(why) => Err(why),
    }
}

/// The line of a key that was proposed.
pub(crate) fn imported(result: ImportResult) -> Line {
    let ImportResult { public_key, status: became, log_index } = result;
    Line { log_index, ..line(public_key, status(became)) }
}

/// A line about a key that is known by name.
pub(crate) fn line(public_key: PublicKey, status: Result<Status, String>) -> Line {
    let (status, message) = status.map_or_else(|why| (Status::Error, Some(why)), |status| (status, None));
    Line { pubkey: Some(public_key), status, message, log_index: None }
}

/// Tells the audit what became of each key.
///
/// # Errors
/// 503; the call may be repeated.
pub(crate) async fn conclude(app: &App, actor: &Actor, lines: &[Line]) -> Result<(), ApiError> {
    let event = |line| {
        let (outcome, reason) = told(line);
        let event = audit::Event::new(actor, audit::Operation::KeyImport, outcome, reason);
        audit::Event { log_index: line.log_index, ..event.about(line.pubkey.as_ref()) }
    };
    Ok(app.audit.conclude_all(lines.iter().map(event)).await?)
}

fn told(line: &Line) -> (audit::Outcome, &str) {
    match line.status {
        Status::Imported => (audit::Outcome::Done, "imported"),
        Status::Duplicate => (audit::Outcome::Unchanged, "held already"),
        Status::Error => (audit::Outcome::Failed, line.message.as_deref().unwrap_or_default()),
    }
}

/// Waits until every member in contact holds the keys, so that the next request may go to any of them. A member whose
/// sealer is away does not hold up the others; of this node, the lines say which keys it could not open.
///
/// # Errors
/// 503; the keys are in the cluster, and the call may be repeated.
pub(crate) async fn acknowledge(app: &App, lines: &mut [Line]) -> Result<(), ApiError> {
    let count = lines.iter().filter(|line| line.status != Status::Error).count();
    if count == 0 {
        return Ok(());
    }
    match app.cluster.settle(IMPORT_SETTLE).await {
        Ok(settlement) => {
            note_unreached(&settlement.unreached, "import");
            note_unopened(app, lines);
            Ok(())
        }
        Err(why) => Err(ApiError::Unavailable(format!(
            "{count} keys are held by the cluster, but not every member in contact has opened them yet; repeat the \
             call: {why}"
        ))),
    }
}

/// The status stays what it is: the cluster holds the key, and other nodes sign with it.
fn note_unopened(app: &App, lines: &mut [Line]) {
    let Some(trouble) = app.custody.status().trouble() else { return };
    for line in lines.iter_mut().filter(|line| line.status != Status::Error) {
        if line.pubkey.is_some_and(|key| !app.keyring.contains(&key)) {
            line.message = Some(format!("the cluster holds it, but this node has not opened it: {trouble}"));
        }
    }
}
