//! `POST /admin/v1/cluster/accept-restart`: lets a node take part that waits for others to know it again (DESIGN 9).
//!
//! In: `{"id":2}`, at that node itself: it is the one that waits, and may hear of no leader. Out:
//! `{"id":2,"accepted":true,"missing":[3]}`, the members whose word was done without. Deliberately absent: an override of
//! a refusal; a disk that is known to be an older one stays out.

use super::BODY;
use crate::admin::policy::understood;
use crate::admission::{Admin, read_body};
use crate::app::{App, Shared};
use crate::audit::{self, Actor};
use crate::error::{ApiError, with_causes};
use crate::json::Json;
use crate::offload::to_its_end;
use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Accept {
    id: u64,
}

pub(crate) async fn post(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let Accept { id } = understood(&read_body(request, BODY, None).await?, "{\"id\": number}")?;
    let here = shared.app.cluster.node_id();
    if id != here {
        return Err(ApiError::BadRequest(format!("id: this is node {here}; ask node {id} itself")));
    }
    // Without a barrier: the node that is asked may be out of contact, that is what this is for.
    admin.is_still(&shared)?;
    to_its_end(async move { accept(&shared.app, &admin.actor, id).await }).await
}

async fn accept(app: &App, actor: &Actor, id: u64) -> Result<Json<Value>, ApiError> {
    let named = format!("node {id}");
    let event = |outcome, reason| audit::Event::new(actor, audit::Operation::RestartAccept, outcome, reason);
    app.audit.begin(&event(audit::Outcome::Begun, &named)).await?;
    match app.cluster.accept_restart() {
        Ok(missing) => {
            let reason = format!("{named} takes part without the word of {missing:?}");
            app.audit.conclude(&event(audit::Outcome::Done, &reason)).await?;
            Ok(Json(json!({"id": id, "accepted": true, "missing": missing})))
        }
        Err(why) => {
            let reason = format!("{named}: {}", with_causes(&why));
            app.audit.conclude(&event(audit::Outcome::Failed, &reason)).await?;
            Err(ApiError::Conflict(with_causes(&why)))
        }
    }
}
