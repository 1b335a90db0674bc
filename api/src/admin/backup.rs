//! `GET /admin/v1/cluster/backup`: everything that the cluster has agreed on, from any node, while it signs.
//!
//! Out: the content of a backup, checksummed (`consigner-storage`, `backup`): sealed keys, histories, policy; no key in
//! the clear. What was acknowledged before the call is in it. Deliberately absent: encryption under a passphrase, which is
//! the caller's: the nodes shall not learn it.

use super::history_turn;
use crate::admission::Admin;
use crate::app::Shared;
use crate::audit;
use crate::error::ApiError;
use crate::eth2::BARRIER_DEADLINE;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use consigner_raft::BackupError;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

pub(crate) async fn get(State(shared): State<Arc<Shared>>, admin: Admin) -> Result<Response, ApiError> {
    let _turn = history_turn(&shared)?;
    let (summary, content) = shared.app.cluster.backup(now_ms(), BARRIER_DEADLINE).await.map_err(refusal)?;
    admin.is_still(&shared)?;
    let (keys, validators, digest) = (summary.keys, summary.maxima.validators, summary.digest);
    let reason = &format!("{keys} sealed keys, histories of {validators} validators, digest {digest}");
    let event = audit::Event::new(&admin.actor, audit::Operation::ClusterBackup, audit::Outcome::Done, reason);
    shared.app.audit.conclude(&event).await?;
    Ok(([(CONTENT_TYPE, OCTETS)], content).into_response())
}

fn refusal(error: BackupError) -> ApiError {
    match error {
        BackupError::NotInitialised => ApiError::Conflict(error.to_string()),
        BackupError::Unavailable(unavailable) => unavailable.into(),
        BackupError::Panicked => {
            tracing::error!("making a backup panicked");
            ApiError::Internal
        }
    }
}

/// Milliseconds since the Unix epoch by this node's clock.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
