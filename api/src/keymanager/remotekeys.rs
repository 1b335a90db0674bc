//! `/eth/v1/remotekeys`: this signer holds its keys itself and has none at another signer.
//!
//! The specification asks for one answer per item even of a signer that never has any.

use super::{Manager, SharedState, pubkeys, read_names};
use crate::error::ApiError;
use crate::json::Json;
use crate::secrets::understand;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

const NOT_HERE: &str = "this signer holds its keys itself and uses no other signer; import the key as a keystore";

#[derive(Deserialize)]
struct Import {
    remote_keys: Vec<RemoteKey>,
}

#[derive(Deserialize)]
struct RemoteKey {
    pubkey: String,
    #[serde(default, rename = "url")]
    _url: String,
}

pub(crate) async fn get(_shared: SharedState, _manager: Manager) -> Response {
    Json(json!({"data": []})).into_response()
}

pub(crate) async fn post(
    State(_shared): SharedState,
    _manager: Manager,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_names(request).await?;
    let Import { remote_keys } = understand(&body, "{\"remote_keys\": [{\"pubkey\": \"0x..\", \"url\": \"..\"}, ..]}")?;
    let lines = remote_keys.iter().map(|remote| match pubkeys::parse(&remote.pubkey) {
        Ok(_) => json!({"status": "error", "message": NOT_HERE}),
        Err(why) => json!({"status": "error", "message": format!("pubkey: {why}")}),
    });
    Ok(Json(json!({"data": lines.collect::<Vec<Value>>()})).into_response())
}

pub(crate) async fn delete(
    State(_shared): SharedState,
    _manager: Manager,
    request: Request,
) -> Result<Response, ApiError> {
    let keys = pubkeys::read(&read_names(request).await?)?;
    let lines: Vec<Value> = keys.iter().map(|_| json!({"status": "not_found"})).collect();
    Ok(Json(json!({ "data": lines })).into_response())
}
