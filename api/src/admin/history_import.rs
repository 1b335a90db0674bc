//! `POST /admin/v1/history/import`: merges an interchange file (EIP-3076) into the history of the cluster.
//!
//! In: the file as the body. Out: one report per validator of the file, in its order by public key. A file with any
//! error is refused as a whole. Merging takes maxima and can be repeated, so a request that broke off midway is simply
//! sent again. Deliberately absent: keys (a history may come long before its key).

use super::history_turn;
use crate::admission::{Admin, BodyRules, read_body};
use crate::app::Shared;
use crate::audit;
use crate::error::{ApiError, with_causes};
use crate::json::Json;
use crate::offload::{compute, to_its_end};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use consigner_raft::{Cluster, ProposeError};
use consigner_rules::interchange::{Interchange, InterchangeError, ValidatorReport};
use consigner_rules::{Command, HistoryImport, Outcome, PublicKey, Root};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A complete history of 6,000 validators over the 250 epochs that Web3Signer keeps; the minimal history of 500,000.
/// Half of what `rules` would read, because here the text comes over the network and lies in memory beside its meaning.
const BODY: BodyRules = BodyRules { bytes_max: 256 << 20, time_max: Duration::from_secs(120) };

/// Histories proposed at one time: about 250 bytes each, so a batch stays far below the bound of an entry and lets
/// intents to sign pass between two batches.
const BATCH: usize = 200;

/// For one batch, an election included.
const BATCH_DEADLINE: Duration = Duration::from_secs(10);

/// What became of one validator of the file.
#[derive(Debug, Serialize)]
struct Line {
    pubkey: PublicKey,
    status: Status,
    /// The greatest that the file has; absent: no record of that kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    slot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_epoch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_epoch: Option<String>,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Merged,
    Unchanged,
    Error,
}

pub(crate) async fn post(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
) -> Result<Response, ApiError> {
    let turn = history_turn(&shared)?;
    let cluster = &shared.app.cluster;
    let root = cluster.read(|state| state.identity().map(|identity| identity.genesis_validators_root));
    let root = root.ok_or_else(|| ApiError::Conflict("the cluster is not initialised yet".to_owned()))?;
    let body = read_body(request, BODY, None).await?;
    let (histories, reports) = compute(move || understand(&body, &root)).await??;
    let lines = to_its_end(async move {
        let _turn = turn;
        merge_all(&shared, &admin, histories, &reports).await
    });
    Ok(Json(serde_json::json!({ "data": lines.await? })).into_response())
}

/// One line per validator of the file.
async fn merge_all(
    shared: &Shared,
    admin: &Admin,
    histories: Vec<HistoryImport>,
    reports: &[ValidatorReport],
) -> Result<Vec<Line>, ApiError> {
    let (app, actor) = (&shared.app, &admin.actor);
    admin.still(shared).await?;
    let begun = &format!("{} validators", histories.len());
    let event = audit::Event::new(actor, audit::Operation::HistoryImport, audit::Outcome::Begun, begun);
    app.audit.begin(&event).await?;
    let maxima: BTreeMap<PublicKey, HistoryImport> =
        histories.iter().map(|history| (history.public_key, history.clone())).collect();
    let merged = merge(&app.cluster, &|| admin.is_still(shared), histories).await;
    let mut results = match merged {
        Ok(results) => results,
        Err(why) => {
            let reason = &with_causes(&why);
            app.audit.conclude(&audit::Event { outcome: audit::Outcome::Failed, reason, ..event }).await?;
            return Err(why.into());
        }
    };
    let lines: Vec<Line> = reports
        .iter()
        .map(|report| line(report, maxima.get(&report.public_key), results.remove(&report.public_key)))
        .collect();
    let count = |status| lines.iter().filter(|line| line.status == status).count();
    let (merged, unchanged, failed) = (count(Status::Merged), count(Status::Unchanged), count(Status::Error));
    let outcome = if failed > 0 { audit::Outcome::Failed } else { audit::Outcome::Done };
    let reason = &format!("merged {merged}, unchanged {unchanged}, failed {failed}");
    app.audit.conclude(&audit::Event { outcome, reason, ..event }).await?;
    Ok(lines)
}

fn understand(text: &[u8], root: &Root) -> Result<(Vec<HistoryImport>, Vec<ValidatorReport>), InterchangeError> {
    let file = Interchange::parse(text)?;
    file.check_genesis(root)?;
    Ok((file.reduce(), file.report()))
}

/// Whether anything rose, or why nothing is known to have been merged.
pub(super) type Merged = Result<bool, String>;

/// Whether each history raised anything, or why it was not merged. Fails as a whole only while nothing was merged.
///
/// `still` is asked before each batch but the first, which its caller has asked for.
pub(super) async fn merge(
    cluster: &Cluster,
    still: &(dyn Fn() -> Result<(), ApiError> + Send + Sync),
    histories: Vec<HistoryImport>,
) -> Result<BTreeMap<PublicKey, Merged>, ProposeError> {
    let mut results = BTreeMap::new();
    let mut stopped: Option<String> = None;
    for batch in histories.chunks(BATCH) {
        let keys = batch.iter().map(|history| history.public_key);
        if stopped.is_none() && !results.is_empty() {
            stopped = still().err().map(|why| why.sentence());
        }
        if let Some(why) = &stopped {
            results.extend(keys.map(|key| (key, Err(why.clone()))));
            continue;
        }
        let commands = batch.iter().cloned().map(Command::ImportHistory).collect();
        match cluster.propose(commands, BATCH_DEADLINE).await {
            Ok(outcomes) => results.extend(keys.zip(outcomes.iter().map(raised))),
            Err(why) if results.is_empty() => return Err(why),
            Err(why) => {
                let why = format!("not known to be merged, import the file again: {}", with_causes(&why));
                results.extend(keys.map(|key| (key, Err(why.clone()))));
                stopped = Some(why);
            }
        }
    }
    Ok(results)
}

fn raised(outcome: &Outcome) -> Merged {
    match outcome {
        Outcome::HistoryMerged { raised, .. } => Ok(*raised),
        Outcome::Rejected(rejection) => Err(rejection.to_string()),
        Outcome::TokenHeld
        | Outcome::TokenRevoked { .. }
        | Outcome::AuditAnchored
        | Outcome::RulesRaised(_)
        | Outcome::JoinTokenHeld
        | Outcome::JoinTokenRevoked { .. }
        | Outcome::NodeAdmitted
        | Outcome::NodeRetired
        | Outcome::PositionsNoted
        | Outcome::Resumed { .. }
        | Outcome::ArchiveAdvanced
        | Outcome::Initialised
        | Outcome::Judged(_)
        | Outcome::DataKeyHeld
        | Outcome::KeyImported { .. }
        | Outcome::HighWatermarkSet
        | Outcome::PolicyRenewed(_)
        | Outcome::KeyDeleted { .. }
        | Outcome::Resealed { .. }
        | Outcome::DataKeyRemoved { .. } => Err("the cluster answered another question".to_owned()),
    }
}

fn line(report: &ValidatorReport, maxima: Option<&HistoryImport>, result: Option<Merged>) -> Line {
    let (status, mut message) = match result {
        Some(Ok(true)) => (Status::Merged, counts(report)),
        Some(Ok(false)) => (Status::Unchanged, format!("{}: nothing newer than what is known", counts(report))),
        Some(Err(why)) => (Status::Error, why),
        None if report.blocks + report.attestations == 0 => (Status::Unchanged, "no records".to_owned()),
        None => (Status::Error, "no outcome".to_owned()),
    };
    for warning in &report.warnings {
        message.push_str("; warning: ");
        message.push_str(&warning.to_string());
    }
    let votes = maxima.and_then(|maxima| maxima.attestation);
    Line {
        pubkey: report.public_key,
        status,
        slot: maxima.and_then(|maxima| maxima.block).map(|block| block.slot.to_string()),
        source_epoch: votes.map(|votes| votes.max_source_epoch.to_string()),
        target_epoch: votes.map(|votes| votes.max_target_epoch.to_string()),
        message,
    }
}

fn counts(report: &ValidatorReport) -> String {
    format!("blocks {}, attestations {}", report.blocks, report.attestations)
}
