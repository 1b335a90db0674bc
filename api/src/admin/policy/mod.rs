//! `/admin/v1/policy`: the replicated access policy and the tokens of the cluster.
//!
//! In: YAML documents, questions, names of tokens. Out: what holds, what would change, a token's text (once). A change
//! that takes rights away is answered when no node acts under the older policy any more. Deliberately absent: what a
//! policy means (`rules`), and who may come here (`permission`).

pub(crate) mod apply;
pub(crate) mod check;
mod show;
pub(crate) mod tokens;
mod writers;

pub(crate) use apply::post as apply;
pub(crate) use check::post as check;
pub(crate) use show::get as show;
pub use tokens::TOKEN_LIFE_MAX;
pub(crate) use tokens::{create as tokens_create, list as tokens_list, revoke as tokens_revoke};

use crate::admission::BodyRules;
use crate::app::App;
use crate::audit::{self, Actor, Flood};
use crate::error::ApiError;
use crate::keymanager::note_unreached;
use consigner_raft::Cluster;
use consigner_rules::policy::POLICY_TEXT_BYTES_MAX;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// A document of the greatest size in which every character is escaped, and what stands around it.
const BODY: BodyRules = BodyRules { bytes_max: 6 * POLICY_TEXT_BYTES_MAX + 4096, time_max: Duration::from_secs(30) };

/// How long the acknowledgement of a change waits for every member, and for the lease of one that does not answer.
const POLICY_SETTLE: Duration = Duration::from_secs(30);

/// Parses a body of these endpoints; none holds a secret, so the error may quote it.
pub(crate) fn understood<T: DeserializeOwned>(body: &[u8], shape: &str) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|why| ApiError::BadRequest(format!("the body is not {shape}: {why}")))
}

/// Tells the audit of a change that would have given somebody too much, or locked somebody out.
fn refused(app: &App, actor: &Actor, operation: audit::Operation, error: &ApiError) {
    let (ApiError::Forbidden(why) | ApiError::Conflict(why)) = error else { return };
    app.audit.record_within(Flood::Denied, &audit::Event::new(actor, operation, audit::Outcome::Refused, why));
}

/// Waits until no node acts under an older policy any more.
///
/// # Errors
/// Why that is not certain.
async fn settle(cluster: &Cluster, what: &'static str) -> Result<(), String> {
    match cluster.settle_strictly(POLICY_SETTLE).await {
        Ok(settlement) => {
            note_unreached(&settlement.unreached, what);
            Ok(())
        }
        Err(why) => Err(format!(
            "it holds in the cluster, but not every node has confirmed that it acts by it; repeat the call to be \
             certain: {why}"
        )),
    }
}
