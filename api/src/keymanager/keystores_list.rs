//! `GET /eth/v1/keystores`: all keys of the cluster, or an error.
//!
//! The list is the replicated state's, read after a barrier: it is complete even while this node still opens keys.

use super::{Manager, SharedState};
use crate::error::ApiError;
use crate::eth2::BARRIER_DEADLINE;
use crate::json::Json;
use crate::offload::compute;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use consigner_rules::PublicKey;
use serde::Serialize;
use serde_json::json;

#[derive(Serialize)]
struct Line {
    validating_pubkey: PublicKey,
    /// Every key can be deleted. The derivation path is left out: a sealed key does not keep it.
    readonly: bool,
}

pub(crate) async fn get(State(shared): SharedState, manager: Manager) -> Result<Response, ApiError> {
    let cluster = &shared.app.cluster;
    cluster.barrier(BARRIER_DEADLINE).await?;
    // The state lists its keys in their order.
    let keys: Vec<PublicKey> = cluster.read(|state| state.keys().map(|sealed| sealed.public_key).collect());
    manager.is_still(&shared)?;
    // 100,000 lines are 15 MB of text.
    compute(move || {
        let line = |validating_pubkey| Line { validating_pubkey, readonly: false };
        Json(json!({"data": keys.into_iter().map(line).collect::<Vec<_>>()})).into_response()
    })
    .await
}
