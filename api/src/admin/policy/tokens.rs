//! `/admin/v1/policy/tokens`: bearer tokens of the cluster.
//!
//! A token's text leaves once, in the answer to its making; what is kept is its SHA-256. Making one gives nobody more than
//! the policy has roles for, and, from who may not write the policy, nobody an operation or a key that its maker has not.
//! Deliberately absent:
//! changing a token; it is revoked, and another one made.

use super::writers::{Way, way};
use super::{POLICY_SETTLE, refused, settle, understood};
use crate::admission::{
    Admin, BodyRules, Caller, TOKEN_ID_BYTES, TOKEN_PREFIX, TOKEN_SECRET_BYTES, now_ms, read_body, token_hash,
};
use crate::app::{App, Shared};
use crate::audit::{self, Actor};
use crate::error::{ApiError, with_causes};
use crate::eth2::BARRIER_DEADLINE;
use crate::json::Json;
use crate::key_import::{BATCH_DEADLINE, rejection};
use crate::keymanager::note_unreached;
use crate::offload::to_its_end;
use crate::permission::Asking;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use consigner_rules::command::Rejection;
use consigner_rules::policy::{AdminVerb, KeyScope, Operation, Policy, Role, TokenRecord};
use consigner_rules::{Command, Outcome, PublicKey, State as Agreed};
use http::header::CACHE_CONTROL;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// A name, some dozens of roles.
const BODY: BodyRules = BodyRules { bytes_max: 64 << 10, time_max: Duration::from_secs(10) };

/// Longest life of a token, ten years: what ends later has no end, and would not be told as such.
pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Create {
    name: String,
    roles: BTreeSet<String>,
    #[serde(default)]
    expires_in_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revoke {
    id: String,
}

pub(crate) async fn list(State(shared): State<Arc<Shared>>, admin: Admin) -> Result<Json<Value>, ApiError> {
    shared.app.cluster.barrier(BARRIER_DEADLINE).await?;
    let tokens: Vec<Arc<TokenRecord>> = shared.app.cluster.read(|state| state.tokens().cloned().collect());
    admin.is_still(&shared)?;
    let now = now_ms();
    let line = |token: Arc<TokenRecord>| {
        json!({
            "id": hex::encode(token.id),
            "name": token.name,
            "roles": token.roles,
            "created_ms": token.created_ms,
            "expires_ms": token.expires_ms,
            "expired": token.is_expired(now),
        })
    };
    Ok(Json(json!({"data": tokens.into_iter().map(line).collect::<Vec<Value>>()})))
}

pub(crate) async fn create(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
) -> Result<Response, ApiError> {
    let asked = read_create(&read_body(request, BODY, None).await?)?;
    shared.app.cluster.barrier(BARRIER_DEADLINE).await?;
    let version = shared.app.cluster.read(|state| may_give(&shared, state, &admin.caller, &asked.roles));
    let version =
        version.inspect_err(|error| refused(&shared.app, &admin.actor, audit::Operation::TokenCreate, error))?;
    let (record, text) = made(asked)?;
    let (id, expires_ms) = (hex::encode(record.id), record.expires_ms);
    to_its_end(async move { add(&shared.app, &admin.actor, record, version).await }).await?;
    let body = json!({"id": id, "token": text.as_str(), "expires_ms": expires_ms});
    Ok(([(CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

pub(crate) fn read_create(body: &[u8]) -> Result<Create, ApiError> {
    let asked: Create =
        understood(body, "{\"name\": \"..\", \"roles\": [\"..\"], \"expires_in_s\": number or absent}")?;
    let longest = TOKEN_LIFE_MAX.as_secs();
    if asked.expires_in_s.is_some_and(|seconds| seconds == 0 || seconds > longest) {
        return Err(ApiError::BadRequest(format!("expires_in_s: must lie between 1 and {longest}, ten years")));
    }
    Ok(asked)
}

/// Whether the caller may pass these roles on, and under which version of the policy. Who may write the policy may give
/// everything: it could name itself.
fn may_give(shared: &Shared, state: &Agreed, caller: &Caller, roles: &BTreeSet<String>) -> Result<u64, ApiError> {
    let asking = Asking::of(shared, caller);
    // The right to make any may have ended while the body came (S9).
    asking.may(state, Operation::Admin(AdminVerb::Tokens), None).map_err(ApiError::Forbidden)?;
    let Some(policy) = state.policy() else {
        return Err(ApiError::Conflict(
            "tokens have roles of the policy, and there is none: consigner policy apply".to_owned(),
        ));
    };
    if asking.may(state, Operation::Admin(AdminVerb::PolicyWrite), None).is_err() {
        for role in roles.iter().filter_map(|role| policy.roles.get(role)) {
            has_all_of(&asking, state, policy, role)?;
        }
    }
    Ok(state.cluster().policy_version)
}

/// Whether the caller has every operation of a role itself, with every key of the role.
fn has_all_of(asking: &Asking<'_>, state: &Agreed, policy: &Policy, role: &Role) -> Result<(), ApiError> {
    let keys = keys_of(policy, role);
    for operation in Operation::all().filter(|asked| role.operations.iter().any(|grant| grant.includes(*asked))) {
        let with: &[PublicKey] = match operation {
            Operation::Sign(_) | Operation::ListKeys => &keys,
            Operation::KeyManager(_) | Operation::Admin(_) => &[],
        };
        let without = asking.may(state, operation, None);
        let each = with.iter().map(|key| asking.may(state, operation, Some(key)));
        std::iter::once(without).chain(each).try_for_each(|judged| judged.map(drop)).map_err(|why| {
            ApiError::Forbidden(format!("a token cannot have {operation}, which its maker has not: {why}"))
        })?;
    }
    Ok(())
}

/// The keys by which a role is compared with another. For all keys stands one that no validator has: whoever may use it
/// may use any.
fn keys_of(policy: &Policy, role: &Role) -> Vec<PublicKey> {
    match &role.keys {
        None | Some(KeyScope::All) => vec![PublicKey([0; 48])],
        Some(KeyScope::Keys(keys)) => keys.iter().copied().collect(),
        Some(KeyScope::Tags(tags)) => tags.iter().filter_map(|tag| policy.tags.get(tag)).flatten().copied().collect(),
    }
}

fn made(asked: Create) -> Result<(TokenRecord, Zeroizing<String>), ApiError> {
    let (mut id, mut secret) = ([0; TOKEN_ID_BYTES], Zeroizing::new([0; TOKEN_SECRET_BYTES]));
    let random = getrandom::fill(&mut id).and_then(|()| getrandom::fill(&mut *secret));
    random.map_err(|_| ApiError::Unavailable("the system has no randomness".to_owned()))?;
    let mut digits = Zeroizing::new([0; 2 * TOKEN_SECRET_BYTES]);
    // Twice as long, so it fits; and hexadecimal is text.
    let fitted = hex::encode_to_slice(*secret, &mut *digits).is_ok();
    let digits = std::str::from_utf8(&*digits).ok().filter(|_| fitted).ok_or(ApiError::Internal)?;
    let text = Zeroizing::new(format!("{TOKEN_PREFIX}{}_{digits}", hex::encode(id)));
    let created_ms = now_ms();
    let expires_ms = asked.expires_in_s.map(|seconds| created_ms.saturating_add(seconds.saturating_mul(1000)));
    let record =
        TokenRecord { id, name: asked.name, hash: token_hash(&text), roles: asked.roles, created_ms, expires_ms };
    record.check().map_err(|why| ApiError::BadRequest(why.to_string()))?;
    Ok((record, text))
}

async fn add(app: &App, actor: &Actor, record: TokenRecord, policy_version: u64) -> Result<(), ApiError> {
    let roles: Vec<&str> = record.roles.iter().map(String::as_str).collect();
    let named = format!("token {} ({}) with roles {}", record.name, hex::encode(record.id), roles.join(", "));
    let event = |outcome, reason| audit::Event::new(actor, audit::Operation::TokenCreate, outcome, reason);
    app.audit.begin(&event(audit::Outcome::Begun, &named)).await?;
    let result = propose_token(app, record, policy_version).await;
    let log_index = result.as_ref().copied().ok();
    let (outcome, reason) = match &result {
        Ok(_index) => (audit::Outcome::Done, named.clone()),
        Err(error) => (audit::Outcome::Failed, format!("{named}: {}", error.sentence())),
    };
    app.audit.conclude(&audit::Event { log_index, ..event(outcome, &reason) }).await?;
    result.map(drop)
}

/// Where the log has it.
async fn propose_token(app: &App, token: TokenRecord, policy_version: u64) -> Result<u64, ApiError> {
    let command = Command::AddToken { token, policy_version };
    let outcomes = app.cluster.propose_logged(vec![command], BATCH_DEADLINE).await.map_err(|why| {
        let why = with_causes(&why);
        ApiError::Unavailable(format!(
            "whether the token was made is not known; look at the list, revoke it, make another: {why}"
        ))
    })?;
    let logged = outcomes.first();
    let index = match logged.map(|logged| (&logged.answer, logged.index)) {
        Some((Outcome::TokenHeld, index)) => index,
        Some((Outcome::Rejected(why @ (Rejection::UnknownRole(_) | Rejection::BadToken(_))), _)) => {
            return Err(ApiError::BadRequest(why.to_string()));
        }
        other => {
            let why = other.and_then(|(outcome, _)| rejection(outcome));
            return Err(ApiError::Conflict(why.unwrap_or_else(|| "the cluster answered another question".to_owned())));
        }
    };
    // So that it counts on every node at once. It is made, so a node that is late is no reason to lose its text.
    match app.cluster.settle(POLICY_SETTLE).await {
        Ok(settlement) => note_unreached(&settlement.unreached, "token"),
        Err(why) => tracing::warn!(%why, "not every node knows a new token yet"),
    }
    Ok(index)
}

pub(crate) async fn revoke(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let id = read_revoke(&read_body(request, BODY, None).await?)?;
    admin.still(&shared).await?;
    let may_go = shared.app.cluster.read(|state| may_go(state, &id));
    may_go.inspect_err(|error| refused(&shared.app, &admin.actor, audit::Operation::TokenRevoke, error))?;
    let revoked = to_its_end(async move { revoke_token(&shared.app, &admin.actor, id).await });
    let (was_held, version) = revoked.await?;
    let status = if was_held { "revoked" } else { "not_found" };
    Ok(Json(json!({"id": hex::encode(id), "status": status, "version": version})))
}

pub(crate) fn read_revoke(body: &[u8]) -> Result<[u8; TOKEN_ID_BYTES], ApiError> {
    let Revoke { id } = understood(body, "{\"id\": \"..\"}")?;
    let digits = id.strip_prefix(TOKEN_PREFIX).unwrap_or(&id);
    consigner_rules::primitives::decode_fixed(digits)
        .map_err(|why| ApiError::BadRequest(format!("id: not the id of a token, 16 hexadecimal digits: {why}")))
}

/// Whether somebody could change the policy without this token, and not only for a while if the token was no such way.
fn may_go(state: &Agreed, id: &[u8; TOKEN_ID_BYTES]) -> Result<(), ApiError> {
    let (Some(policy), Some(_held)) = (state.policy(), state.token(id)) else { return Ok(()) };
    let tokens = || state.tokens().map(AsRef::as_ref);
    let now = now_ms();
    let (before, after): (Way, Way) =
        (way(policy, tokens(), now), way(policy, tokens().filter(|token: &&TokenRecord| token.id != *id), now));
    if after < before {
        return Err(ApiError::Conflict(
            "this token is the last one, or the last that does not expire, with which the policy can be changed: give \
             admin.policy-write to a client of the policy first"
                .to_owned(),
        ));
    }
    Ok(())
}

/// Whether the token was held before the call, and the version of the policy since. A second call waits, too.
async fn revoke_token(app: &App, actor: &Actor, id: [u8; TOKEN_ID_BYTES]) -> Result<(bool, u64), ApiError> {
    let held = app.cluster.read(|state| state.token(&id).cloned());
    let name = held.as_ref().map_or("not known", |token| token.name.as_str());
    let named = format!("token {name} ({})", hex::encode(id));
    let event = |outcome, reason| audit::Event::new(actor, audit::Operation::TokenRevoke, outcome, reason);
    app.audit.begin(&event(audit::Outcome::Begun, &named)).await?;
    let mut log_index = None;
    let result = match propose_revocation(app, id).await {
        Ok((revoked, index)) => {
            log_index = Some(index);
            settle(&app.cluster, "token").await.map_err(ApiError::Unavailable).map(|()| revoked)
        }
        Err(error) => Err(error),
    };
    let (outcome, reason) = match &result {
        Ok(_) if held.is_none() => (audit::Outcome::Unchanged, named.clone()),
        Ok(_) => (audit::Outcome::Done, named.clone()),
        Err(error) => (audit::Outcome::Failed, format!("{named}: {}", error.sentence())),
    };
    app.audit.conclude(&audit::Event { log_index, ..event(outcome, &reason) }).await?;
    // A proposal may have been sent again after its first answer was lost, and finds nothing any more.
    result.map(|(was_held, version)| (was_held || held.is_some(), version))
}

/// What it found and the version since; and where the log has it.
async fn propose_revocation(app: &App, id: [u8; TOKEN_ID_BYTES]) -> Result<((bool, u64), u64), ApiError> {
    let outcomes =
        app.cluster.propose_logged(vec![Command::RevokeToken { id }], BATCH_DEADLINE).await.map_err(|why| {
            ApiError::Unavailable(format!(
                "whether the token is revoked is not known, repeat the call: {}",
                with_causes(&why)
            ))
        })?;
    match outcomes.first().map(|logged| (&logged.answer, logged.index)) {
        Some((Outcome::TokenRevoked { was_held, version }, index)) => Ok(((*was_held, *version), index)),
        other => Err(ApiError::Conflict(
            other
                .and_then(|(outcome, _)| rejection(outcome))
                .unwrap_or_else(|| "the cluster answered another question".to_owned()),
        )),
    }
}
