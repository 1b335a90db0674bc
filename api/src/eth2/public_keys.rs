//! `GET /api/v1/eth2/publicKeys`: all keys of the cluster, or an error.
//!
//! Lodestar (each epoch) and Nimbus (hourly) remove the validators that are missing from a 200, so the list is that of
//! the replicated state after a barrier: a key that this node has not opened yet is in it (and 503 when it should
//! sign), and a node that lags answers 503 instead of a partial list.

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
    Ok(Json(keys).into_response())
}
