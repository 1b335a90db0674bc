//! How the archive stands, by every node; and the call that fills a database again.

use super::{CallError, ClusterClient, LOOK, OPERATE};
use consigner_api::{ArchiveView, Backfilled, MarkView};
use serde_json::json;
use std::time::{Duration, Instant};

const ARCHIVE: &str = "/admin/v1/archive";
const BACKFILL: &str = "/admin/v1/archive/backfill";

/// How long a backfill is tried again while an election goes on.
const ELECTION: Duration = Duration::from_secs(30);

/// Pause between two such tries.
const ELECTION_PAUSE: Duration = Duration::from_millis(300);

/// What one endpoint says.
#[derive(Debug)]
pub struct Look {
    /// The endpoint.
    pub endpoint: String,
    /// Its view, or why there is none.
    pub view: Result<ArchiveView, CallError>,
}

/// Asks every endpoint; the order is theirs.
pub async fn looks(client: &ClusterClient) -> Vec<Look> {
    let mut looks = Vec::new();
    for endpoint in client.endpoints() {
        let view = look(&client.only(endpoint)).await;
        looks.push(Look { endpoint: endpoint.clone(), view });
    }
    looks
}

/// What one node says.
///
/// # Errors
/// See [`CallError`].
pub async fn look(client: &ClusterClient) -> Result<ArchiveView, CallError> {
    client.get_json(ARCHIVE, LOOK).await?.json()
}

/// The furthest mark that any node knows; `None`: nothing was archived yet.
///
/// # Errors
/// No node answers.
pub async fn mark(client: &ClusterClient) -> Result<Option<MarkView>, CallError> {
    let (mut furthest, mut answered, mut failure): (Option<MarkView>, bool, _) = (None, false, CallError::NoEndpoint);
    for look in looks(client).await {
        match look.view {
            Ok(view) => {
                answered = true;
                let further = |mark: &MarkView| furthest.as_ref().is_none_or(|known| known.index < mark.index);
                if view.mark.as_ref().is_some_and(further) {
                    furthest = view.mark;
                }
            }
            Err(error) => failure = error,
        }
    }
    if answered { Ok(furthest) } else { Err(failure) }
}

/// Has the leader fill the database again; nodes that do not lead pass on.
///
/// # Errors
/// [`CallError::Status`] 409 when a gap would have to be accepted, or there is no database.
pub async fn backfill(client: &ClusterClient, accept_gap: bool) -> Result<Backfilled, CallError> {
    let until = Instant::now() + ELECTION;
    loop {
        let body = json!({ "accept_gap": accept_gap }).to_string();
        match client.post_json(BACKFILL, body, OPERATE).await?.ok() {
            Ok(answer) => return answer.json(),
            Err(error) if error.may_pass() && Instant::now() < until => tokio::time::sleep(ELECTION_PAUSE).await,
            Err(error) => return Err(error),
        }
    }
}
