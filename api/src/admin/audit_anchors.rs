//! `GET /admin/v1/audit/anchors`: how far the cluster knows the nodes' audit logs to have come, for
//! `consigner audit verify`: a log that was shortened or rewritten does not lead to its anchor.

use crate::admission::Admin;
use crate::app::Shared;
use crate::error::ApiError;
use crate::eth2::BARRIER_DEADLINE;
use crate::json::Json;
use axum::extract::State;
use consigner_rules::command::AuditAnchor;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) async fn get(State(shared): State<Arc<Shared>>, admin: Admin) -> Result<Json<Value>, ApiError> {
    shared.app.cluster.barrier(BARRIER_DEADLINE).await?;
    let line = |anchor: &AuditAnchor| {
        json!({
            "node": anchor.node,
            "public_key": hex::encode(anchor.public_key),
            "sequence": anchor.sequence,
            "hash": hex::encode(anchor.hash),
        })
    };
    let anchors: Vec<Value> = shared.app.cluster.read(|state| state.audit_anchors().map(line).collect());
    admin.is_still(&shared)?;
    Ok(Json(json!({ "data": anchors })))
}
