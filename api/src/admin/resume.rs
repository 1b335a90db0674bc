//! `POST /admin/v1/cluster/resume`: ends the wait of a restored cluster: it signs from an epoch on.
//!
//! In: `{"at": 1234}` or `{"at": "now"}`. Out: `{"epoch":1234,"floor":{"slot":..,"source_epoch":..,"target_epoch":..},
//! "raised":N}`. All histories are raised to the floor first, in the same command; a floor at or below anything that is
//! known, or too near to the current epoch, is refused. Deliberately absent: a way to lower it again.

use super::backup::now_ms;
use crate::admission::{Admin, BodyRules, read_body};
use crate::app::Shared;
use crate::audit;
use crate::error::{ApiError, with_causes};
use crate::eth2::BARRIER_DEADLINE;
use crate::json::Json;
use crate::offload::to_its_end;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use consigner_raft::Maxima;
use consigner_raft::restore::{ResumeAt, resume_floor};
use consigner_rules::command::Floor;
use consigner_rules::{Command, Epoch, Outcome};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// A number.
const BODY: BodyRules = BodyRules { bytes_max: 1 << 10, time_max: Duration::from_secs(10) };

/// For one command, an election included.
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resume {
    at: At,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum At {
    Epoch(Epoch),
    Word(String),
}

pub(crate) async fn post(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_body(request, BODY, None).await?;
    let at = understand(&body).map_err(ApiError::BadRequest)?;
    let done = to_its_end(async move {
        let app = &shared.app;
        app.cluster.barrier(BARRIER_DEADLINE).await?;
        admin.still(&shared).await?;
        let (waits, known) = app.cluster.read(|state| (state.awaiting_floor(), Maxima::of(state)));
        if !waits {
            return Err(ApiError::Conflict("the cluster does not wait for a floor: its keys sign".to_owned()));
        }
        let (epoch, floor) = resume_floor(&app.network, at, now_ms(), &known)
            .map_err(|error| ApiError::BadRequest(error.to_string()))?;
        let raised = resume(&shared, &admin, epoch, floor).await?;
        let Floor { slot, source, target } = floor;
        let floor = json!({"slot": slot, "source_epoch": source, "target_epoch": target});
        Ok(json!({"epoch": epoch, "floor": floor, "raised": raised}))
    });
    Ok(Json(done.await?).into_response())
}

fn understand(body: &[u8]) -> Result<ResumeAt, String> {
    let Resume { at } =
        serde_json::from_slice(body).map_err(|why| format!("expected {{\"at\": epoch or \"now\"}}: {why}"))?;
    match at {
        At::Epoch(epoch) => Ok(ResumeAt::Epoch(epoch)),
        At::Word(word) => word.parse().map_err(|why| format!("at: {why}")),
    }
}

async fn resume(shared: &Shared, admin: &Admin, epoch: Epoch, floor: Floor) -> Result<u64, ApiError> {
    let app = &shared.app;
    let Floor { slot, source, target } = floor;
    let reason = &format!("from epoch {epoch} on: floor slot {slot}, source {source}, target {target}");
    let event = |outcome, reason| audit::Event::new(&admin.actor, audit::Operation::ClusterResume, outcome, reason);
    app.audit.begin(&event(audit::Outcome::Begun, reason)).await?;
    let proposed = app.cluster.propose(vec![Command::Resume(floor)], DEADLINE).await;
    let judged = match proposed {
        Ok(outcomes) => raised(outcomes.first()),
        Err(why) => Err(why.into()),
    };
    match &judged {
        Ok(_) => app.audit.conclude(&event(audit::Outcome::Done, reason)).await?,
        Err(why) => {
            let reason = &format!("{reason}: {}", why.sentence());
            app.audit.conclude(&event(audit::Outcome::Failed, reason)).await?;
        }
    }
    judged
}

fn raised(outcome: Option<&Outcome>) -> Result<u64, ApiError> {
    if let Some(Outcome::Resumed { raised }) = outcome {
        return Ok(*raised);
    }
    if let Some(Outcome::Rejected(rejection)) = outcome {
        return Err(ApiError::Conflict(with_causes(rejection)));
    }
    Err(ApiError::Internal)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_epoch_or_now_and_nothing_else() {
        assert_eq!(understand(br#"{"at": 12}"#).unwrap(), ResumeAt::Epoch(12));
        assert_eq!(understand(br#"{"at": "12"}"#).unwrap(), ResumeAt::Epoch(12));
        assert_eq!(understand(br#"{"at": "now"}"#).unwrap(), ResumeAt::Now);
        for bad in [r#"{}"#, r#"{"at": -1}"#, r#"{"at": "soon"}"#, r#"{"at": 1, "force": true}"#, "7"] {
            assert!(understand(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
