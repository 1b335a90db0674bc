//! The high watermark: the cluster's limit for all validators, Web3Signer's way to stop everything at a known place.

use super::super::history_query::Number;
use super::{BODY, Marks, high_json, understand};
use crate::admission::{Admin, read_body};
use crate::app::Shared;
use crate::audit;
use crate::error::ApiError;
use crate::eth2::BARRIER_DEADLINE;
use crate::json::Json;
use crate::offload::to_its_end;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use consigner_rules::command::HighWatermark;
use consigner_rules::{Command, Outcome};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// For the one command of a high watermark, an election included.
const PROPOSE_DEADLINE: Duration = Duration::from_secs(10);

const HIGH: &str = "{\"epoch\": \"N\", \"slot\": \"N\", \"dry_run\": true or absent}";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HighBody {
    epoch: Number,
    slot: Number,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClearBody {
    #[serde(default)]
    dry_run: bool,
}

pub(crate) async fn set(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_body(request, BODY, None).await?;
    let HighBody { epoch, slot, dry_run } = understand(&body, HIGH).map_err(ApiError::BadRequest)?;
    let (epoch, slot) = (epoch.read("epoch").map_err(ApiError::BadRequest)?, slot.read("slot"));
    let limit = HighWatermark { epoch, slot: slot.map_err(ApiError::BadRequest)? };
    change(shared, admin, Some(limit), dry_run).await
}

pub(crate) async fn clear(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_body(request, BODY, None).await?;
    let ClearBody { dry_run } = if body.is_empty() {
        ClearBody { dry_run: false }
    } else {
        understand(&body, "{\"dry_run\": true or absent}").map_err(ApiError::BadRequest)?
    };
    change(shared, admin, None, dry_run).await
}

async fn change(
    shared: Arc<Shared>,
    admin: Admin,
    limit: Option<HighWatermark>,
    dry_run: bool,
) -> Result<Response, ApiError> {
    shared.app.cluster.barrier(BARRIER_DEADLINE).await?;
    let (before, refused) = shared.app.cluster.read(|state| {
        let below = |limit: &HighWatermark| {
            let reaches =
                |marks: Marks| marks.slot >= Some(limit.slot) || marks.source.max(marks.target) >= Some(limit.epoch);
            state.validators().find(|(_, known)| reaches(Marks::of(&known.history))).map(|(key, _)| *key)
        };
        (state.cluster().high_watermark, limit.as_ref().and_then(below))
    });
    // The rules refuse it themselves; the dry run must say so, too.
    if let Some(key) = refused {
        let why = format!("the high watermark would not lie above the slots and epochs signed by {key}");
        return Err(ApiError::Conflict(why));
    }
    if dry_run {
        admin.is_still(&shared)?;
    } else {
        to_its_end(async move { propose(&shared, &admin, limit).await }).await?;
    }
    let answer = json!({"dry_run": dry_run, "before": high_json(before), "after": high_json(limit)});
    Ok(Json(answer).into_response())
}

async fn propose(shared: &Shared, admin: &Admin, limit: Option<HighWatermark>) -> Result<(), ApiError> {
    let (app, actor) = (&shared.app, &admin.actor);
    admin.still(shared).await?;
    let begun =
        &limit.map_or_else(|| "clear".to_owned(), |limit| format!("epoch {}, slot {}", limit.epoch, limit.slot));
    let event = audit::Event::new(actor, audit::Operation::HighWatermark, audit::Outcome::Begun, begun);
    app.audit.begin(&event).await?;
    let proposed = app.cluster.propose(vec![Command::SetHighWatermark(limit)], PROPOSE_DEADLINE).await;
    let (outcome, result) = match proposed {
        Ok(outcomes) => match outcomes.first() {
            Some(Outcome::HighWatermarkSet) => (audit::Outcome::Done, Ok(())),
            Some(Outcome::Rejected(why)) => (audit::Outcome::Refused, Err(ApiError::Conflict(why.to_string()))),
            Some(_) | None => (audit::Outcome::Failed, Err(ApiError::Internal)),
        },
        Err(why) => (audit::Outcome::Failed, Err(ApiError::from(why))),
    };
    let failure = result.as_ref().err().map(ApiError::sentence);
    let reason = failure.as_deref().unwrap_or(begun);
    app.audit.conclude(&audit::Event { outcome, reason, ..event }).await?;
    result
}
