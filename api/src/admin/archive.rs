//! `GET /admin/v1/archive`: how far the archive has come, as this node sees it. `POST /admin/v1/archive/backfill`: fills
//! a database again that lost what it had confirmed, on the leader.
//!
//! In: `{"accept_gap": true}`. Out: mark, outbox, exporter; what was written again and what is lost. Deliberately absent:
//! any deed on a look, and the database itself ([`crate::ArchiveAccess`]).

use crate::admission::{Admin, BodyRules, read_body};
use crate::app::Shared;
use crate::archive::{ArchiveFault, Backfilled, ExporterStatus, MarkView};
use crate::audit;
use crate::error::ApiError;
use crate::eth2::BARRIER_DEADLINE;
use crate::json::Json;
use crate::offload::to_its_end;
use axum::extract::{Request, State};
use consigner_raft::{Leadership, OutboxStatus};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// One switch.
const BODY: BodyRules = BodyRules { bytes_max: 1 << 10, time_max: Duration::from_secs(10) };

/// How the archive stands, as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveView {
    /// The node that answers.
    pub node: u64,
    /// Whether it leads.
    pub leader: bool,
    /// `postgres`, or `embedded`: the segments of each node are the archive.
    pub mode: String,
    /// How far the cluster has agreed that the archive is.
    pub mark: Option<MarkView>,
    /// The last log index that this node has applied.
    pub applied_index: u64,
    /// What waits here, or with `embedded` lies here.
    pub outbox: OutboxStatus,
    /// What this node does about the database; `None` without one.
    pub exporter: Option<ExporterStatus>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    #[serde(default)]
    accept_gap: bool,
}

pub(crate) async fn show(State(shared): State<Arc<Shared>>, _admin: Admin) -> Json<ArchiveView> {
    let cluster = &shared.app.cluster;
    let exporter = shared.app.archive.as_ref().map(|archive| archive.status());
    Json(ArchiveView {
        node: cluster.node_id(),
        leader: matches!(cluster.leadership(), Leadership::This),
        mode: if exporter.is_some() { "postgres" } else { "embedded" }.to_owned(),
        mark: cluster.archive_mark().as_ref().map(MarkView::from),
        applied_index: cluster.applied_index(),
        outbox: cluster.outbox_status(),
        exporter,
    })
}

pub(crate) async fn backfill(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
) -> Result<Json<Backfilled>, ApiError> {
    let body = read_body(request, BODY, None).await?;
    let Wish { accept_gap } = serde_json::from_slice(&body)
        .map_err(|why| ApiError::BadRequest(format!("expected {{\"accept_gap\": true or false}}: {why}")))?;
    let done = to_its_end(async move {
        shared.app.cluster.barrier(BARRIER_DEADLINE).await?;
        admin.still(&shared).await?;
        filled(&shared, &admin, accept_gap).await
    });
    Ok(Json(done.await?))
}

async fn filled(shared: &Shared, admin: &Admin, accept_gap: bool) -> Result<Backfilled, ApiError> {
    let app = &shared.app;
    let archive = app.archive.as_ref();
    let archive = archive.ok_or_else(|| ApiError::Conflict("this node has no archive in a database".to_owned()))?;
    let event = |outcome, reason| audit::Event::new(&admin.actor, audit::Operation::ArchiveBackfill, outcome, reason);
    let begun = if accept_gap { "what is lost may become a gap" } else { "without a gap" };
    app.audit.begin(&event(audit::Outcome::Begun, begun)).await?;
    match archive.backfill(accept_gap).await {
        Ok(done) => {
            let gaps: Vec<String> = done.gaps.iter().map(|(after, upto)| format!("({after}, {upto}]")).collect();
            let gaps = if gaps.is_empty() { "none".to_owned() } else { gaps.join(", ") };
            let given: u64 = done.given.iter().map(|part| part.rows).sum();
            let reason = format!(
                "{} rows written again, {given} of them as nodes still had them below the mark; gaps of the log: {gaps}",
                done.rows
            );
            app.audit.conclude(&event(audit::Outcome::Done, &reason)).await?;
            Ok(done)
        }
        Err(fault) => {
            app.audit.conclude(&event(audit::Outcome::Failed, &fault.to_string())).await?;
            Err(fault.into())
        }
    }
}

impl From<ArchiveFault> for ApiError {
    fn from(fault: ArchiveFault) -> Self {
        match fault {
            ArchiveFault::Away(_) | ArchiveFault::NotLeader(_) => Self::Unavailable(fault.to_string()),
            ArchiveFault::Refused(_) => Self::Conflict(fault.to_string()),
        }
    }
}
