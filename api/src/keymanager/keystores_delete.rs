//! `DELETE /eth/v1/keystores`: disables keys on all nodes, and only then exports what they signed.
//!
//! Never 404, and a second call returns the history again: see [`crate::key_delete`].

use super::{Manager, SharedState, key_turn, pubkeys, read_names};
use crate::error::ApiError;
use crate::json::Json;
use crate::key_delete;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};

pub(crate) async fn delete(
    State(shared): SharedState,
    manager: Manager,
    request: Request,
) -> Result<Response, ApiError> {
    let turn = key_turn(&shared).await?;
    let keys = pubkeys::read(&read_names(request).await?)?;
    manager.still(&shared).await?;
    let deletion = key_delete::delete(&shared.app, manager.actor, keys, turn).await?;
    Ok(Json(deletion).into_response())
}
