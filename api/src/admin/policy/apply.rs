//! `POST /admin/v1/policy/apply`: replaces the policy of the cluster.
//!
//! In: `{"policy": "yaml", "dry_run": bool, "replaces": version or absent}`. Out: `{"version", "changes", "warnings"}`,
//! once no node acts under the older policy any more. 400 names line and column; 409 when another change came first, or
//! when the caller could not change the policy again as it calls now (same proofs, address, host), or soon nobody could.
//! Repeating a call is harmless; one that changes nothing waits all the same.

use super::writers::{Way, way};
use super::{BODY, refused, settle, understood};
use crate::admission::{Admin, Bounds, Caller, check_host, now_ms, read_body};
use crate::app::{App, ClientPolicy, Shared};
use crate::audit::{self, Actor};
use crate::error::{ApiError, with_causes};
use crate::eth2::BARRIER_DEADLINE;
use crate::json::Json;
use crate::key_import::{BATCH_DEADLINE, rejection};
use crate::offload::{compute, to_its_end};
use crate::permission::Asking;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use consigner_rules::command::Rejection;
use consigner_rules::policy::{AdminVerb, KeyScope, Operation, Policy, PolicyClient, diff};
use consigner_rules::{Command, Outcome, State as Agreed};
use http::request::Parts;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What is asked for, as it is said in a refusal.
const SHAPE: &str = "{\"policy\": \"yaml\", \"dry_run\": true or false, \"replaces\": version or absent}";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Apply {
    policy: String,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    replaces: Option<u64>,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Applied {
    version: u64,
    changes: Vec<String>,
    warnings: Vec<String>,
}

/// A policy that may be applied, and what it was decided on.
struct Decided {
    policy: Box<Policy>,
    replaces: u64,
    applied: Applied,
}

pub(crate) async fn post(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let body = read_body(Request::new(body), BODY, None).await?;
    let (asked, policy) = compute(move || read(&body)).await??;
    shared.app.cluster.barrier(BARRIER_DEADLINE).await?;
    let decided = decide(&shared, &admin.caller, &parts, policy, asked.replaces);
    let decided =
        decided.inspect_err(|error| refused(&shared.app, &admin.actor, audit::Operation::PolicyApply, error))?;
    if asked.dry_run {
        return Ok(Json(decided.applied).into_response());
    }
    let applied = to_its_end(async move { apply(&shared.app, &admin.actor, decided).await });
    Ok(Json(applied.await?).into_response())
}

/// Reads the body and the document in it.
pub(crate) fn read(body: &[u8]) -> Result<(Apply, Policy), ApiError> {
    let asked: Apply = understood(body, SHAPE)?;
    let policy = Policy::parse(&asked.policy).map_err(|why| ApiError::BadRequest(format!("policy: {why}")))?;
    Bounds::of(&policy).map_err(|why| ApiError::BadRequest(format!("policy: {why}")))?;
    Ok((asked, policy))
}

fn decide(
    shared: &Shared,
    caller: &Caller,
    parts: &Parts,
    policy: Policy,
    replaces: Option<u64>,
) -> Result<Decided, ApiError> {
    let App { cluster, .. } = &*shared.app;
    cluster.read(|state| {
        // What was let in at the head may have lost the right while the body came, and must not give it back to itself.
        // The version that is read here makes it one with what is proposed (S9).
        let asking = Asking::of(shared, caller);
        asking.may(state, Operation::Admin(AdminVerb::PolicyWrite), None).map_err(ApiError::Forbidden)?;
        let version = state.cluster().policy_version;
        if let Some(replaces) = replaces.filter(|replaces| *replaces != version) {
            return Err(ApiError::Conflict(format!(
                "the policy is at version {version}, not {replaces}: it changed meanwhile; look at it and decide anew"
            )));
        }
        lets_in_again(shared, state, caller, parts, &policy)
            .map_err(|why| ApiError::Conflict(format!("this policy would lock you out: {why}")))?;
        if way(&policy, state.tokens().map(AsRef::as_ref), now_ms()) < Way::Lasting {
            return Err(ApiError::Conflict(
                "this policy would lock everybody out: nobody but a token that expires could change it again; give \
                 admin.policy-write to a client"
                    .to_owned(),
            ));
        }
        let changes = diff(state.policy().map(AsRef::as_ref), &policy);
        let applied = Applied { version, changes, warnings: warnings(&shared.app, state, &policy) };
        Ok(Decided { policy: Box::new(policy), replaces: version, applied })
    })
}

/// Whether the caller, calling again just so, could replace this policy.
fn lets_in_again(
    shared: &Shared,
    state: &Agreed,
    caller: &Caller,
    parts: &Parts,
    policy: &Policy,
) -> Result<(), String> {
    let operation = Operation::Admin(AdminVerb::PolicyWrite);
    let asking = Asking::of(shared, caller);
    asking.may_under(policy, state, operation, None)?;
    let bounds = Bounds::of(policy)?;
    let address = caller.peer().addr.ip();
    if !bounds.addresses(operation).allows(address) {
        return Err(format!("addresses.admin does not hold {address}, from where you call"));
    }
    bounds.hosts().map_or(Ok(()), |hosts| check_host(parts, hosts).map_err(|why| format!("hosts: {why}")))
}

/// What is allowed but probably not meant, as far as this node and the tokens show it.
fn warnings(app: &App, state: &Agreed, policy: &Policy) -> Vec<String> {
    let mut warnings = policy.warnings();
    for token in state.tokens() {
        for role in token.roles.iter().filter(|role| !policy.roles.contains_key(*role)) {
            warnings.push(format!("token {} has role {role}, which this policy does not have", token.name));
        }
        let held = state.policy();
        let is_added = |role: &&String| {
            policy.roles.contains_key(*role) && held.is_some_and(|held| !held.roles.contains_key(*role))
        };
        for role in token.roles.iter().filter(is_added) {
            warnings
                .push(format!("token {} has role {role} already, and gets what this policy adds as it", token.name));
        }
    }
    if policy.future_slots.is_some() && app.network.genesis_time().is_none() {
        warnings.push(
            "future-slots: this node does not know when the chain began and will sign nothing that has a \
                       slot or an epoch: set genesis-time"
                .to_owned(),
        );
    }
    if let ClientPolicy::Named(names) = &app.clients {
        let named = policy.clients.iter().filter_map(|client| {
            let name = client.certificate.as_ref()?.common_name.as_ref()?;
            (signs(policy, &client.roles) && !names.contains(name)).then_some((&client.name, name))
        });
        warnings.extend(named.map(|(client, name)| {
            format!("client {client} may not sign through api.listen of this node: api.clients does not name {name:?}")
        }));
        let nameless = policy.clients.iter().filter(|client| {
            let certificate = client.certificate.as_ref();
            certificate.is_some_and(|named| named.common_name.is_none()) && signs(policy, &client.roles)
        });
        warnings.extend(nameless.map(|PolicyClient { name, .. }| {
            format!("client {name} may sign through api.listen of this node only with a common name of api.clients")
        }));
    }
    warnings.extend(unheld_keys(state, policy));
    warnings
}

/// Keys by name that no validator of the cluster has: not imported yet, or a slip of the pen.
fn unheld_keys(state: &Agreed, policy: &Policy) -> Vec<String> {
    let tags = policy.tags.iter().map(|(tag, keys)| (format!("tag {tag}"), keys));
    let roles = policy.roles.iter().filter_map(|(role, rights)| match &rights.keys {
        Some(KeyScope::Keys(keys)) => Some((format!("role {role}"), keys)),
        Some(KeyScope::All | KeyScope::Tags(_)) | None => None,
    });
    let unheld = tags.chain(roles).filter_map(|(place, keys)| {
        let mut unheld = keys.iter().filter(|key| !state.holds(key));
        let first = unheld.next()?;
        let (count, of) = (1 + unheld.count(), keys.len());
        Some(format!("{place}: the cluster does not hold {count} of {of} keys, the first is {first}"))
    });
    unheld.collect()
}

fn signs(policy: &Policy, roles: &std::collections::BTreeSet<String>) -> bool {
    let mut roles = roles.iter().filter_map(|role| policy.roles.get(role));
    roles.any(|role| role.operations.iter().any(|grant| grant.signs()))
}

async fn apply(app: &App, actor: &Actor, decided: Decided) -> Result<Applied, ApiError> {
    let Decided { policy, replaces, mut applied } = decided;
    let event = |outcome, reason| audit::Event::new(actor, audit::Operation::PolicyApply, outcome, reason);
    let begun = format!("in place of version {replaces}: {}", summary(&applied.changes));
    app.audit.begin(&event(audit::Outcome::Begun, &begun)).await?;
    let mut log_index = None;
    let result = match propose(app, policy, replaces, &applied.changes).await {
        Ok((version, index)) => {
            (applied.version, log_index) = (version, index);
            settle(&app.cluster, "policy").await.map_err(ApiError::Unavailable)
        }
        Err(error) => Err(error),
    };
    let version = applied.version;
    let (outcome, reason) = match &result {
        Ok(()) if applied.changes.is_empty() => (audit::Outcome::Unchanged, format!("version {version}")),
        Ok(()) => (audit::Outcome::Done, format!("version {version}: {}", summary(&applied.changes))),
        Err(error) => (audit::Outcome::Failed, error.sentence()),
    };
    app.audit.conclude(&audit::Event { log_index, ..event(outcome, &reason) }).await?;
    result.map(|()| applied)
}

/// The version from which the policy holds, and where the log has it. One that changes nothing is not proposed.
async fn propose(
    app: &App,
    policy: Box<Policy>,
    replaces: u64,
    changes: &[String],
) -> Result<(u64, Option<u64>), ApiError> {
    let held = || app.cluster.read(|state| state.policy().filter(|held| ***held == *policy).and(state.policy_since()));
    if changes.is_empty()
        && let Some(since) = held()
    {
        return Ok((since, None));
    }
    let command = Command::SetPolicy { policy: policy.clone(), replaces };
    let outcomes = app.cluster.propose_logged(vec![command], BATCH_DEADLINE).await.map_err(|why| {
        ApiError::Unavailable(format!(
            "whether the policy is applied is not known, repeat the call: {}",
            with_causes(&why)
        ))
    })?;
    let logged = outcomes.first();
    match logged.map(|logged| &logged.answer) {
        Some(Outcome::PolicyRenewed(version)) => Ok((*version, logged.map(|logged| logged.index))),
        Some(Outcome::Rejected(why @ Rejection::PolicyTooLarge { .. })) => Err(ApiError::BadRequest(why.to_string())),
        other => Err(ApiError::Conflict(
            other.and_then(rejection).unwrap_or_else(|| "the cluster answered another question".to_owned()),
        )),
    }
}

/// Lines of a change that an audit line repeats: whoever wants all of them compares the documents.
const CHANGES_TOLD_MAX: usize = 20;

fn summary(changes: &[String]) -> String {
    let mut told = changes.iter().take(CHANGES_TOLD_MAX).map(String::as_str).collect::<Vec<_>>().join("; ");
    if changes.is_empty() {
        told.push_str("no change");
    } else if changes.len() > CHANGES_TOLD_MAX {
        told.push_str(&format!("; and {} more", changes.len() - CHANGES_TOLD_MAX));
    }
    told
}
