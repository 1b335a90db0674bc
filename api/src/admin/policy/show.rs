//! `GET /admin/v1/policy`: the policy that this node acts by, as YAML.
//!
//! Without a barrier: whoever wonders why a node denies wants to see that node's.

use crate::admission::Admin;
use crate::app::Shared;
use crate::json::Json;
use axum::extract::State;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) async fn get(State(shared): State<Arc<Shared>>, _admin: Admin) -> Json<Value> {
    let (version, since, policy) = shared
        .app
        .cluster
        .read(|state| (state.cluster().policy_version, state.policy_since(), state.policy().cloned()));
    Json(json!({"version": version, "since": since, "policy": policy.map(|policy| policy.to_yaml())}))
}
