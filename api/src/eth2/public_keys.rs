//! `GET /api/v1/eth2/publicKeys`: all keys of the cluster that the caller may sign something with, or an error.
//!
//! Lodestar (each epoch) and Nimbus (hourly) remove the validators that are missing from a 200, so the list is that of
//! the replicated state after a barrier: a key that this node has not opened yet is in it (and 503 when it should
//! sign), and a node that lags answers 503 instead of a partial list.

use crate::accept;
use crate::admission::{Client, judged};
use crate::app::Shared;
use crate::error::ApiError;
use crate::json::Json;
use crate::offload::compute;
use crate::permission::{Asking, Needs};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use consigner_rules::PublicKey;
use consigner_rules::policy::Operation;
use http::HeaderMap;
use std::sync::Arc;

pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    client: Client,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if !accept::takes_json(&headers) {
        return Err(ApiError::NotAcceptable);
    }
    shared.app.cluster.barrier(super::BARRIER_DEADLINE).await?;
    // The state lists its keys in their order.
    let (keys, policy) = shared.app.cluster.read(|state| {
        let keys: Vec<PublicKey> = state.keys().map(|sealed| sealed.public_key).collect();
        (keys, state.policy().cloned())
    });
    let Some(policy) = policy else { return Ok(Json(keys).into_response()) };
    // What the barrier brought may have taken the caller's rights.
    judged(&shared, &client.caller, Needs::Operation(Operation::ListKeys))?;
    // Looking 100,000 keys up takes some ten milliseconds.
    let listed = compute(move || {
        let asking = Asking::of(&shared, &client.caller);
        asking.listable(&policy, keys)
    });
    Ok(Json(listed.await?).into_response())
}
