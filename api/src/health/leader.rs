//! `GET /leader`: 200 on the serving leader only. Never 3xx: load balancers count that as up.

use super::readiness;
use crate::app::Shared;
use crate::error::ApiError;
use crate::json::Json;
use axum::extract::State;
use consigner_raft::Leadership;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) async fn get(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, ApiError> {
    let node = shared.app.cluster.node_id();
    let (leader, problem) = match shared.app.cluster.leadership() {
        Leadership::This => (json!({"id": node}), readiness(&shared).err()),
        Leadership::Other { id, member } => {
            let problem = Some("this node does not lead".to_owned());
            (json!({"id": id, "name": member.name, "api_url": member.api_url}), problem)
        }
        Leadership::Unknown => (Value::Null, Some("no leader is known".to_owned())),
    };
    match problem {
        None => Ok(Json(json!({"node": node, "leader": leader}))),
        Some(problem) => Err(ApiError::NotServing(json!({"node": node, "leader": leader, "error": problem}))),
    }
}
