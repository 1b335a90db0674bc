//! `/admin/v1/keys/data-keys`: the data keys of the cluster as this node sees them; making one, removing unused ones.
//!
//! What is open, waits or failed is this node's own view: whoever moves keys asks every member before it goes on.

use super::id;
use crate::admission::Admin;
use crate::app::{App, Shared};
use crate::audit::{self, Actor};
use crate::data_key::add_data_key;
use crate::error::{ApiError, with_causes};
use crate::eth2::BARRIER_DEADLINE;
use crate::json::Json;
use crate::key_import::BATCH_DEADLINE;
use crate::keymanager::{key_turn, read_names};
use crate::offload::to_its_end;
use crate::secrets::understand;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use consigner_keys::sealing::LOCAL_SEALER;
use consigner_rules::command::Rejection;
use consigner_rules::{Command, Outcome};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Data keys that one call removes, each named once: for each the state machine looks through all keys, and nobody signs
/// meanwhile. There are a handful in a cluster.
const REMOVED_MAX: usize = 16;

/// For the question which master key is current: a service that is well answers it in milliseconds.
const REFRESH_DEADLINE: Duration = Duration::from_secs(5);

/// Asks the sealers whose master key lies elsewhere which one is current: an alias may have been moved, a key rotated.
/// Why it is not known, by kind; what was known before counts on then.
async fn refresh(app: &App) -> BTreeMap<&'static str, String> {
    let elsewhere = app.custody.sealers().iter().filter(|sealer| sealer.kind() != LOCAL_SEALER);
    let asked = elsewhere.map(|sealer| async move {
        let why = match tokio::time::timeout(REFRESH_DEADLINE, sealer.refresh(&app.identity.cluster_id)).await {
            Ok(Ok(())) => return None,
            Ok(Err(why)) => with_causes(&why),
            Err(_late) => format!("no answer within {} s", REFRESH_DEADLINE.as_secs()),
        };
        Some((sealer.kind(), why))
    });
    join_all(asked).await.into_iter().flatten().collect()
}

pub(crate) async fn list(State(shared): State<Arc<Shared>>, admin: Admin) -> Result<Response, ApiError> {
    let app = &shared.app;
    let unknown = refresh(app).await;
    app.cluster.barrier(BARRIER_DEADLINE).await?;
    let mut keys: BTreeMap<[u8; 16], u64> = BTreeMap::new();
    app.cluster.read(|state| {
        for data_key in state.data_keys() {
            keys.entry(data_key.id).or_default();
        }
        for sealed in state.keys() {
            *keys.entry(sealed.data_key).or_default() += 1;
        }
    });
    admin.is_still(&shared)?;
    // One that was made here but is not in the state (any more) counts for nothing.
    let known = app.custody.status().data_keys.into_iter().filter(|data_key| keys.contains_key(&data_key.id));
    let data: Vec<Value> = known
        .map(|data_key| {
            json!({
                "id": hex::encode(data_key.id),
                "sealer": data_key.sealer,
                "current": data_key.current,
                "open": data_key.open,
                "keys": keys.get(&data_key.id),
                "waiting_keys": data_key.waiting_keys,
                "error": data_key.error,
            })
        })
        .collect();
    let sealers = app.custody.sealers();
    let configured: Vec<Value> = sealers
        .iter()
        .map(|sealer| {
            let kind = sealer.kind();
            json!({"kind": kind, "master": sealer.master(), "error": unknown.get(kind)})
        })
        .collect();
    Ok(Json(json!({"in_use": sealers.in_use().kind(), "sealers": configured, "data": data})).into_response())
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Make {
    #[serde(default)]
    sealer: Option<String>,
}

pub(crate) async fn make(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
) -> Result<Response, ApiError> {
    let turn = key_turn(&shared).await?;
    let body = read_names(request).await?;
    let asked = if body.is_empty() { Make::default() } else { understand(&body, "{\"sealer\": kind or absent}")? };
    let app = &shared.app;
    let configured: Vec<&str> = app.custody.sealers().iter().map(|sealer| sealer.kind()).collect();
    if let Some(kind) = asked.sealer.as_deref().filter(|kind| !configured.contains(kind)) {
        let kinds = configured.join(", ");
        return Err(ApiError::BadRequest(format!("sealer: {kind:?} is not configured on this node, only {kinds}")));
    }
    let id = to_its_end(async move {
        let _turn = turn;
        for (kind, why) in refresh(&shared.app).await {
            tracing::warn!(sealer = kind, why, "a sealer does not say which of its master keys is current");
        }
        admin.still(&shared).await?;
        add(&shared.app, &admin.actor, asked.sealer.as_deref()).await
    });
    Ok(Json(json!({"id": hex::encode(id.await?)})).into_response())
}

async fn add(app: &App, actor: &Actor, kind: Option<&str>) -> Result<[u8; 16], ApiError> {
    let operation = audit::Operation::DataKeyAdd;
    let event = |outcome, reason| audit::Event::new(actor, operation, outcome, reason);
    app.audit.begin(&event(audit::Outcome::Begun, kind.unwrap_or("by the sealer in use"))).await?;
    let made = add_data_key(&app.cluster, &app.custody, kind).await;
    let (outcome, reason) = match &made {
        Ok(id) => (audit::Outcome::Done, format!("data key {}", hex::encode(id))),
        Err(why) => (audit::Outcome::Failed, why.clone()),
    };
    app.audit.conclude(&event(outcome, &reason)).await?;
    made.map_err(|why| ApiError::Unavailable(format!("no data key could be made: {why}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Remove {
    ids: Vec<String>,
}

#[derive(Serialize)]
struct Removed {
    id: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

pub(crate) async fn remove(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
) -> Result<Response, ApiError> {
    let turn = key_turn(&shared).await?;
    let Remove { ids } = understand(&read_names(request).await?, "{\"ids\": [\"..\", ..]}")?;
    let mut ids: Vec<[u8; 16]> = ids.iter().map(|text| id("ids", text)).collect::<Result<_, _>>()?;
    let mut seen = BTreeSet::new();
    ids.retain(|id| seen.insert(*id));
    if ids.len() > REMOVED_MAX {
        return Err(ApiError::BadRequest(format!("ids: {} data keys, more than {REMOVED_MAX}", ids.len())));
    }
    let removed = to_its_end(async move {
        let _turn = turn;
        admin.still(&shared).await?;
        remove_all(&shared.app, &admin.actor, &ids).await
    });
    Ok(Json(json!({ "data": removed.await? })).into_response())
}

/// One line per data key, in order.
async fn remove_all(app: &App, actor: &Actor, ids: &[[u8; 16]]) -> Result<Vec<Removed>, ApiError> {
    let App { cluster, audit, .. } = app;
    let event = |outcome, reason| audit::Event::new(actor, audit::Operation::DataKeyRemove, outcome, reason);
    let begun: Vec<String> = ids.iter().map(|id| format!("data key {}", hex::encode(id))).collect();
    audit.begin_all(begun.iter().map(|reason| event(audit::Outcome::Begun, reason))).await?;
    let held: Vec<bool> = cluster.read(|state| ids.iter().map(|id| state.data_key(id).is_some()).collect());
    let commands = ids.iter().map(|id| Command::RemoveDataKey(*id)).collect();
    let outcomes = match cluster.propose(commands, BATCH_DEADLINE).await {
        Ok(outcomes) => outcomes,
        Err(why) => {
            let why = format!("whether all data keys are removed is not known, repeat the call: {}", with_causes(&why));
            audit.conclude(&event(audit::Outcome::Failed, &why)).await?;
            return Err(ApiError::Unavailable(why));
        }
    };
    let removed = ids.iter().zip(held).zip(&outcomes).map(|((id, was_held), outcome)| removed(*id, was_held, outcome));
    let removed: Vec<Removed> = removed.collect();
    let told: Vec<(audit::Outcome, String)> = removed.iter().map(told).collect();
    audit.conclude_all(told.iter().map(|(outcome, reason)| event(*outcome, reason))).await?;
    Ok(removed)
}

/// For the audit.
fn told(line: &Removed) -> (audit::Outcome, String) {
    let done = line.status == "removed";
    let outcome = if done { audit::Outcome::Done } else { audit::Outcome::Unchanged };
    (outcome, format!("data key {}: {}", line.id, line.message.as_deref().unwrap_or(line.status)))
}

/// As with deletions of keys: what counts is whether it was held before the call.
fn removed(id: [u8; 16], was_held_before: bool, outcome: &Outcome) -> Removed {
    let (status, message) = match outcome {
        Outcome::DataKeyRemoved { was_held } if *was_held || was_held_before => ("removed", None),
        Outcome::DataKeyRemoved { .. } => ("not_found", None),
        Outcome::Rejected(rejection @ Rejection::DataKeyInUse { .. }) => ("in_use", Some(rejection.to_string())),
        Outcome::Rejected(rejection) => ("error", Some(rejection.to_string())),
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
        | Outcome::HistoryMerged { .. }
        | Outcome::HighWatermarkSet
        | Outcome::PolicyRenewed(_)
        | Outcome::KeyDeleted { .. }
        | Outcome::Resealed { .. } => ("error", Some("the cluster answered another question".to_owned())),
    };
    Removed { id: hex::encode(id), status, message }
}
