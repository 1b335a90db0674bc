//! `GET /ready`: whether a load balancer should send requests here.

use super::readiness;
use crate::app::Shared;
use crate::error::ApiError;
use crate::json::Json;
use axum::extract::State;
use serde_json::{Value, json};
use std::sync::Arc;

pub(crate) async fn get(State(shared): State<Arc<Shared>>) -> Result<Json<Value>, ApiError> {
    match readiness(&shared) {
        Ok(()) => Ok(Json(json!({"ready": true}))),
        Err(reason) => Err(ApiError::NotServing(json!({"ready": false, "error": reason}))),
    }
}
