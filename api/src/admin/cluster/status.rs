//! `GET /admin/v1/cluster/status`: every member's own view, asked by this node over the peer channel.

use crate::admission::Admin;
use crate::app::Shared;
use crate::json::Json;
use axum::extract::State;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) async fn get(State(shared): State<Arc<Shared>>, _admin: Admin) -> Json<Value> {
    let cluster = &shared.app.cluster;
    let members = cluster.cluster_status().await;
    let nodes: Vec<Value> = members
        .into_iter()
        .map(|(id, answer)| match answer {
            Ok(status) => json!({"id": id, "status": status}),
            Err(why) => json!({"id": id, "error": why}),
        })
        .collect();
    Json(json!({"node": cluster.node_id(), "nodes": nodes}))
}
