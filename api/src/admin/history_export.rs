//! `GET /admin/v1/history/export`: the minimal interchange (EIP-3076) of everything applied when it was asked for.
//!
//! `?pubkeys=0x..,0x..` limits it to these validators; one that signed nothing is left out.

use super::{history_query, history_turn};
use crate::admission::Admin;
use crate::app::Shared;
use crate::audit;
use crate::error::ApiError;
use crate::eth2::BARRIER_DEADLINE;
use crate::json::JSON;
use crate::offload::compute;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use consigner_rules::interchange::Interchange;
use consigner_rules::{HistoryImport, Root};
use http::header::CONTENT_TYPE;
use std::sync::Arc;

pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let only = history_query::only_keys(query.as_deref().unwrap_or_default()).map_err(ApiError::BadRequest)?;
    let _turn = history_turn(&shared)?;
    let cluster = &shared.app.cluster;
    // What was acknowledged before the export was asked for must be in it (invariant S2).
    cluster.barrier(BARRIER_DEADLINE).await?;
    let found: Option<(Root, Vec<HistoryImport>)> = cluster.read(|state| {
        let root = state.identity()?.genesis_validators_root;
        let wanted = |history: &HistoryImport| only.as_ref().is_none_or(|keys| keys.contains(&history.public_key));
        Some((root, state.histories().filter(wanted).collect()))
    });
    admin.is_still(&shared)?;
    let (root, histories) = found.ok_or_else(|| ApiError::Conflict("the cluster is not initialised yet".to_owned()))?;
    let validators = histories.len();
    let text = compute(move || Interchange::minimal(root, histories).to_json()).await?;
    let (actor, operation) = (&admin.actor, audit::Operation::HistoryExport);
    let reason = &format!("{validators} validators");
    shared.app.audit.conclude(&audit::Event::new(actor, operation, audit::Outcome::Done, reason)).await?;
    Ok(([(CONTENT_TYPE, JSON)], text).into_response())
}
