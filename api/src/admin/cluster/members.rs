//! `POST /admin/v1/cluster/{members,members/promote,members/remove,members/replace,transfer-leader}`: who belongs to the
//! cluster, and who leads it.
//!
//! In: `{"id":4,"peer_addr":"10.0.0.4:9001","api_url":"https://10.0.0.4:9000","promote":true,"catch_up_s":120}` (all but
//! the first two may be absent), `{"id":4,"catch_up_s":120}`, `{"id":4}`, `{"id":2,"with":{..as the first..}}`,
//! `{"to":3}` or `{}`. Out: the membership afterwards, `{"voters":[..],"learners":[..],"leader":1,"warnings":[".."]}`.
//! Deliberately absent: how it is done; whichever node is asked, the leader does it (`raft/src/membership`).

use super::BODY;
use super::init::{is_base_url, is_host_and_port};
use crate::admin::policy::understood;
use crate::admission::{Admin, read_body};
use crate::app::{App, Shared};
use crate::audit::{self, Actor};
use crate::error::{ApiError, with_causes};
use crate::json::Json;
use crate::offload::to_its_end;
use axum::extract::{Request, State};
use consigner_raft::{AddMember, Change, MembershipChange};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long a node may take to catch up unless the caller says otherwise.
const CATCH_UP_S: u64 = 120;

/// And at most: the whole call must end within the deadline of operators' calls, 300 s.
const CATCH_UP_S_MAX: u64 = 200;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    id: u64,
    peer_addr: String,
    #[serde(default)]
    api_url: String,
    #[serde(default = "yes")]
    promote: bool,
    #[serde(default = "catch_up_s")]
    catch_up_s: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Promote {
    id: u64,
    #[serde(default = "catch_up_s")]
    catch_up_s: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remove {
    id: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replace {
    id: u64,
    with: Add,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer {
    #[serde(default)]
    to: Option<u64>,
}

const fn yes() -> bool {
    true
}

const fn catch_up_s() -> u64 {
    CATCH_UP_S
}

pub(crate) async fn add(shared: State<Arc<Shared>>, admin: Admin, body: Request) -> Result<Json<Value>, ApiError> {
    changed(shared, admin, body, read_add).await
}

pub(crate) async fn promote(shared: State<Arc<Shared>>, admin: Admin, body: Request) -> Result<Json<Value>, ApiError> {
    changed(shared, admin, body, read_promote).await
}

pub(crate) async fn remove(shared: State<Arc<Shared>>, admin: Admin, body: Request) -> Result<Json<Value>, ApiError> {
    changed(shared, admin, body, read_remove).await
}

pub(crate) async fn replace(shared: State<Arc<Shared>>, admin: Admin, body: Request) -> Result<Json<Value>, ApiError> {
    changed(shared, admin, body, read_replace).await
}

pub(crate) async fn transfer(shared: State<Arc<Shared>>, admin: Admin, body: Request) -> Result<Json<Value>, ApiError> {
    changed(shared, admin, body, read_transfer).await
}

/// A change, and what the audit calls it.
#[derive(Debug)]
pub(super) struct Wanted {
    pub change: Change,
    pub operation: audit::Operation,
    pub sentence: String,
}

async fn changed(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
    read: fn(&[u8]) -> Result<Wanted, ApiError>,
) -> Result<Json<Value>, ApiError> {
    let wanted = read(&read_body(request, BODY, None).await?)?;
    admin.still(&shared).await?;
    let made = to_its_end(async move { make(&shared.app, &admin.actor, wanted).await }).await?;
    let MembershipChange { voters, learners, leader, warnings } = made;
    Ok(Json(json!({"voters": voters, "learners": learners, "leader": leader, "warnings": warnings})))
}

async fn make(app: &App, actor: &Actor, wanted: Wanted) -> Result<MembershipChange, ApiError> {
    let Wanted { change, operation, sentence } = wanted;
    let event = |outcome, reason| audit::Event::new(actor, operation, outcome, reason);
    app.audit.begin(&event(audit::Outcome::Begun, &sentence)).await?;
    match app.cluster.change(change).await {
        Ok(made) => {
            let reason = format!("{sentence}: voters are {:?} now", made.voters);
            app.audit.conclude(&event(audit::Outcome::Done, &reason)).await?;
            Ok(made)
        }
        Err(why) => {
            let reason = format!("{sentence}: {}", with_causes(&why));
            app.audit.conclude(&event(audit::Outcome::Failed, &reason)).await?;
            Err(why.into())
        }
    }
}

pub(super) fn read_add(body: &[u8]) -> Result<Wanted, ApiError> {
    let asked: Add = understood(
        body,
        "{\"id\": number, \"peer_addr\": \"host:port\", \"api_url\": \"..\", \"promote\": bool, \"catch_up_s\": number}",
    )?;
    let new = new_member(asked, "")?;
    let sentence = format!("node {} at {}", new.node, new.peer_addr);
    Ok(Wanted { operation: audit::Operation::MemberAdd, sentence, change: Change::Add(new) })
}

pub(super) fn read_promote(body: &[u8]) -> Result<Wanted, ApiError> {
    let Promote { id, catch_up_s } = understood(body, "{\"id\": number, \"catch_up_s\": number or absent}")?;
    let change = Change::Promote { node: id, catch_up: catch_up(catch_up_s, "")? };
    Ok(Wanted { change, operation: audit::Operation::MemberPromote, sentence: format!("node {id}") })
}

pub(super) fn read_remove(body: &[u8]) -> Result<Wanted, ApiError> {
    let Remove { id } = understood(body, "{\"id\": number}")?;
    let change = Change::Remove { node: id };
    Ok(Wanted { change, operation: audit::Operation::MemberRemove, sentence: format!("node {id}") })
}

pub(super) fn read_replace(body: &[u8]) -> Result<Wanted, ApiError> {
    let Replace { id, with } = understood(body, "{\"id\": number, \"with\": {\"id\": number, \"peer_addr\": \"..\"}}")?;
    let new = new_member(with, "with.")?;
    let sentence = format!("node {id} by node {} at {}", new.node, new.peer_addr);
    Ok(Wanted { change: Change::Replace { old: id, new }, operation: audit::Operation::MemberReplace, sentence })
}

pub(super) fn read_transfer(body: &[u8]) -> Result<Wanted, ApiError> {
    let Transfer { to } = understood(body, "{\"to\": number or absent}")?;
    let sentence = to.map_or_else(|| "the most advanced voter".to_owned(), |to| format!("node {to}"));
    Ok(Wanted { change: Change::Transfer { to }, operation: audit::Operation::LeaderTransfer, sentence })
}

fn new_member(asked: Add, prefix: &str) -> Result<AddMember, ApiError> {
    let Add { id, peer_addr, api_url, promote, catch_up_s } = asked;
    let refuse = |field: &str, why: &str| Err(ApiError::BadRequest(format!("{prefix}{field}: {why}")));
    let api_url = api_url.trim_end_matches('/').to_owned();
    if id == 0 {
        return refuse("id", "must be greater than 0");
    }
    if !is_host_and_port(&peer_addr) {
        return refuse("peer_addr", "must be host:port");
    }
    if !api_url.is_empty() && !is_base_url(&api_url) {
        return refuse("api_url", "must be https://host:port without a path, or empty");
    }
    Ok(AddMember { node: id, peer_addr, api_url, catch_up: catch_up(catch_up_s, prefix)?, promote })
}

fn catch_up(seconds: u64, prefix: &str) -> Result<Duration, ApiError> {
    if (1..=CATCH_UP_S_MAX).contains(&seconds) {
        return Ok(Duration::from_secs(seconds));
    }
    Err(ApiError::BadRequest(format!("{prefix}catch_up_s: must be from 1 to {CATCH_UP_S_MAX}")))
}
