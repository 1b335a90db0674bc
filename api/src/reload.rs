//! `POST /reload` and `GET /reload`, as Web3Signer has them: what is new in the key sources is imported; nothing is
//! ever disabled.
//!
//! In: the wish. Out: 202 or 409; the state of the last one. Deliberately absent: sources and their import, which are
//! `node`'s. [`Reloader`] is a trait because `node` sits above this crate; what it does is no business of HTTP.

use crate::admission::{Admin, Client};
use crate::app::Shared;
use crate::audit::{self, Actor, Auditor};
use crate::error::ApiError;
use crate::json::Json;
use crate::offload::to_its_end;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Reads the key sources again, in the background.
pub trait Reloader: Send + Sync {
    /// Starts one; returns at once.
    ///
    /// # Errors
    /// [`AlreadyRunning`]; the one that runs goes on.
    fn start(&self) -> Result<(), AlreadyRunning>;

    /// The last one. Must not wait.
    fn status(&self) -> ReloadStatus;
}

/// A reload is running already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a reload is running already")]
pub struct AlreadyRunning;

/// What became of the last reload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReloadStatus {
    /// Its state.
    pub state: ReloadState,
    /// When it began, if it runs, or ended; `None` before the first.
    pub last_operation: Option<SystemTime>,
    /// What went wrong, after [`ReloadState::CompletedWithErrors`] and [`ReloadState::Failed`]. No secret.
    pub last_error: Option<String>,
}

/// The states of Web3Signer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReloadState {
    /// There was none since the start.
    #[default]
    Idle,
    /// One runs.
    Running,
    /// Everything that was found is held.
    Completed,
    /// Some of it is not.
    CompletedWithErrors,
    /// It could not be done.
    Failed,
}

/// What the 404 of a node without sources says.
const NO_SOURCES: &str = "this node has no key sources to read again: set keys.source";

pub(crate) async fn post(State(shared): State<Arc<Shared>>, admin: Admin) -> Result<Response, ApiError> {
    let reloader = shared.app.reload.clone().ok_or(ApiError::NotOffered(NO_SOURCES))?;
    let started = to_its_end(async move { start(&*reloader, &shared.app.audit, &admin.actor).await }).await?;
    Ok(match started {
        Ok(()) => answer(
            StatusCode::ACCEPTED,
            "accepted",
            "the key sources are read in the background; GET /reload tells how it went",
        ),
        Err(AlreadyRunning) => answer(StatusCode::CONFLICT, "error", "a reload is running already; try again later"),
    })
}

async fn start(
    reloader: &dyn Reloader,
    audit: &Auditor,
    actor: &Actor,
) -> Result<Result<(), AlreadyRunning>, ApiError> {
    let event = |outcome, reason| audit::Event::new(actor, audit::Operation::Reload, outcome, reason);
    audit.begin(&event(audit::Outcome::Begun, "asked for")).await?;
    let started = reloader.start();
    let (outcome, reason) = match started {
        Ok(()) => (audit::Outcome::Done, "accepted"),
        Err(AlreadyRunning) => (audit::Outcome::Unchanged, "one is running already"),
    };
    audit.conclude(&event(outcome, reason)).await?;
    Ok(started)
}

pub(crate) async fn get(State(shared): State<Arc<Shared>>, _client: Client) -> Json<Value> {
    let status = shared.app.reload.as_ref().map(|reloader| reloader.status()).unwrap_or_default();
    Json(told(&status))
}

fn answer(status: StatusCode, word: &str, message: &str) -> Response {
    (status, Json(json!({"status": word, "message": message}))).into_response()
}

/// Absent fields are left out, as Web3Signer does.
fn told(status: &ReloadStatus) -> Value {
    let word = match status.state {
        ReloadState::Idle => "idle",
        ReloadState::Running => "running",
        ReloadState::Completed => "completed",
        ReloadState::CompletedWithErrors => "completed_with_errors",
        ReloadState::Failed => "failed",
    };
    let mut told = json!({"status": word});
    if let Some(time) = status.last_operation {
        told["lastOperationTime"] = json!(iso_8601(time));
    }
    if let Some(error) = &status.last_error {
        told["lastError"] = json!(error);
    }
    told
}

/// `2025-12-10T10:30:00Z`. A clock before 1970 is shown as 1970.
fn iso_8601(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 1 March of year 0, so that the leap day is the last one of its year, and in eras of 400
    // years, which all have the same length.
    let day = days + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_written_as_dates() {
        for (seconds, written) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_765_362_600, "2025-12-10T10:30:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(iso_8601(UNIX_EPOCH + Duration::from_secs(seconds)), written);
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        assert_eq!(told(&ReloadStatus::default()), json!({"status": "idle"}));
        let status = ReloadStatus {
            state: ReloadState::CompletedWithErrors,
            last_operation: Some(UNIX_EPOCH),
            last_error: Some("3 keys".to_owned()),
        };
        let expected = json!({"status": "completed_with_errors", "lastOperationTime": "1970-01-01T00:00:00Z", "lastError": "3 keys"});
        assert_eq!(told(&status), expected);
    }
}
