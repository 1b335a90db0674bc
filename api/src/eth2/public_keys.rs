//! `GET /api/v1/eth2/publicKeys`: all keys of the cluster, or an error.
//!
//! Lodestar (each epoch) and Nimbus (hourly) remove the validators that are missing from a 200, so a node that lags or
//! has not unsealed every key answers 503 instead of a partial list (COMPATIBILITY B0.6).

use crate::accept;
use crate::admission::Client;
use crate::app::Shared;
use crate::error::ApiError;
use crate::json::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use consigner_rules::PublicKey;
use http::HeaderMap;
use std::sync::Arc;

pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    _client: Client,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if !accept::takes_json(&headers) {
        return Err(ApiError::NotAcceptable);
    }
    let app = &shared.app;
    app.cluster.barrier(super::BARRIER_DEADLINE).await?;
    // The state lists its keys in their order.
    let keys: Vec<PublicKey> = app.cluster.read(|state| state.keys().map(|sealed| sealed.public_key).collect());
    let missing = keys.iter().filter(|key| !app.keyring.contains(key)).count();
    if missing > 0 {
        let known = keys.len();
        return Err(ApiError::Unavailable(format!("{missing} of {known} keys are not unsealed on this node")));
    }
    Ok(Json(keys).into_response())
}
