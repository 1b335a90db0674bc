//! `/admin/v1/cluster/join-tokens`: leave for one node to become a member, once.
//!
//! In: `{"node":4,"expires_in_s":3600}`; for `/revoke` `{"id":".."}`. Out: the token's text, which leaves once; what is
//! kept is its SHA-256. Deliberately absent: other uses; a join token opens no door.

use super::BODY;
use crate::admin::policy::understood;
use crate::admission::{Admin, now_ms, read_body};
use crate::app::{App, Shared};
use crate::audit::{self, Actor};
use crate::error::{ApiError, with_causes};
use crate::eth2::BARRIER_DEADLINE;
use crate::json::Json;
use crate::offload::to_its_end;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use consigner_raft::NewJoinToken;
use http::header::CACHE_CONTROL;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long a token lives unless the caller says otherwise.
const EXPIRES_IN_S: u64 = 3_600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    node: u64,
    #[serde(default = "expires_in_s")]
    expires_in_s: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    id: String,
}

const fn expires_in_s() -> u64 {
    EXPIRES_IN_S
}

pub(crate) async fn list(State(shared): State<Arc<Shared>>, admin: Admin) -> Result<Json<Value>, ApiError> {
    shared.app.cluster.barrier(BARRIER_DEADLINE).await?;
    admin.is_still(&shared)?;
    let now = now_ms();
    let tokens: Vec<Value> = shared.app.cluster.read(|state| {
        let tokens = state.join_tokens().map(|token| {
            json!({
                "id": hex::encode(token.id),
                "node": token.node,
                "created_ms": token.created_ms,
                "expires_ms": token.expires_ms,
                "expired": token.expires_ms <= now,
            })
        });
        tokens.collect()
    });
    Ok(Json(json!({"data": tokens})))
}

pub(crate) async fn create(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
) -> Result<Response, ApiError> {
    let shape = "{\"node\": number, \"expires_in_s\": number or absent}";
    let asked: Create = understood(&read_body(request, BODY, None).await?, shape)?;
    admin.still(&shared).await?;
    let node = asked.node;
    let made = to_its_end(async move { make(&shared.app, &admin.actor, asked).await }).await?;
    let NewJoinToken { id, text, expires_ms } = made;
    let body = json!({"id": hex::encode(id), "node": node, "token": text.as_str(), "expires_ms": expires_ms});
    Ok(([(CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

async fn make(app: &App, actor: &Actor, asked: Create) -> Result<NewJoinToken, ApiError> {
    let Create { node, expires_in_s } = asked;
    let named = format!("for node {node}, ends in {expires_in_s} s");
    let event = |outcome, reason| audit::Event::new(actor, audit::Operation::JoinTokenCreate, outcome, reason);
    app.audit.begin(&event(audit::Outcome::Begun, &named)).await?;
    match app.cluster.join_token_create(node, Duration::from_secs(expires_in_s)).await {
        Ok(made) => {
            let reason = format!("{} {named}", hex::encode(made.id));
            app.audit.conclude(&event(audit::Outcome::Done, &reason)).await?;
            Ok(made)
        }
        Err(why) => {
            let reason = format!("{named}: {}", with_causes(&why));
            app.audit.conclude(&event(audit::Outcome::Failed, &reason)).await?;
            Err(why.into())
        }
    }
}

pub(crate) async fn revoke(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let Revoke { id } = understood(&read_body(request, BODY, None).await?, "{\"id\": \"..\"}")?;
    let id: [u8; 8] = consigner_rules::primitives::decode_fixed(&id)
        .map_err(|why| ApiError::BadRequest(format!("id: not the id of a join token, 16 hexadecimal digits: {why}")))?;
    admin.still(&shared).await?;
    let was_held = to_its_end(async move { take_back(&shared.app, &admin.actor, id).await }).await?;
    let status = if was_held { "revoked" } else { "not_found" };
    Ok(Json(json!({"id": hex::encode(id), "status": status})))
}

async fn take_back(app: &App, actor: &Actor, id: [u8; 8]) -> Result<bool, ApiError> {
    let named = hex::encode(id);
    let event = |outcome, reason| audit::Event::new(actor, audit::Operation::JoinTokenRevoke, outcome, reason);
    app.audit.begin(&event(audit::Outcome::Begun, &named)).await?;
    match app.cluster.join_token_revoke(id).await {
        Ok(was_held) => {
            let outcome = if was_held { audit::Outcome::Done } else { audit::Outcome::Unchanged };
            app.audit.conclude(&event(outcome, &named)).await?;
            Ok(was_held)
        }
        Err(why) => {
            let reason = format!("{named}: {}", with_causes(&why));
            app.audit.conclude(&event(audit::Outcome::Failed, &reason)).await?;
            Err(why.into())
        }
    }
}
