//! `GET /api/v1/eth2/highWatermark`: the operator's global limit, `{}` if there is none.

use crate::admission::{Client, judged};
use crate::app::Shared;
use crate::error::ApiError;
use crate::json::Json;
use crate::permission::Needs;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use consigner_rules::policy::Operation;
use serde_json::json;
use std::sync::Arc;

pub(crate) async fn get(State(shared): State<Arc<Shared>>, client: Client) -> Result<Response, ApiError> {
    let cluster = &shared.app.cluster;
    cluster.barrier(super::BARRIER_DEADLINE).await?;
    let body = match cluster.read(|state| state.cluster().high_watermark) {
        Some(limit) => json!({"epoch": limit.epoch.to_string(), "slot": limit.slot.to_string()}),
        None => json!({}),
    };
    judged(&shared, &client.caller, Needs::Operation(Operation::ListKeys))?;
    Ok(Json(body).into_response())
}
