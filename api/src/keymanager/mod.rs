//! The key manager API (`/eth/v1/keystores`, `/eth/v1/remotekeys`) of the Ethereum keymanager-APIs specification.
//!
//! ```text
//! entrance: rate, certificate, token -> body (read once, erased) -> rules/interchange, keys/keystore -> raft
//! ```
//! In: keystores, passwords, public keys. Out: one status per item, in the order asked. Any node takes a call; the
//! cluster decides, and an import or deletion holds on all nodes when it is answered. Errors are `{"message": ".."}`
//! here, as the specification has them (see [`crate::error::for_key_manager`]). Deliberately absent: fee recipients,
//! gas limits, graffiti and exits, which are a validator client's; where the token lies (`node`).

mod entrance;
pub(crate) mod import;
mod keystores_delete;
pub(crate) mod keystores_import;
mod keystores_list;
pub(crate) mod pubkeys;
mod remotekeys;
mod token;

pub(crate) use entrance::{Entrance, Manager};
pub(crate) use keystores_delete::delete as keystores_delete;
pub(crate) use keystores_import::post as keystores_import;
pub(crate) use keystores_list::get as keystores_list;
pub(crate) use remotekeys::{delete as remotekeys_delete, get as remotekeys_list, post as remotekeys_import};

pub use entrance::{KeyManagerDoor, KeyManagerPolicy, KeyManagerProof};
pub use token::{TOKEN_BYTES_MAX, TOKEN_CHARS_MIN, TokenError, TokenHash};

use crate::admission::BodyRules;
use crate::app::Shared;
use crate::error::ApiError;
use crate::metrics;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Bodies with keys: a hundred keystores have 100 KiB, the complete history of a few hundred validators some MiB;
/// whatever is larger is imported in parts, or its history by `/admin/v1/history/import`.
pub(crate) const KEY_BODY: BodyRules = BodyRules { bytes_max: 32 << 20, time_max: Duration::from_secs(60) };

/// Bodies of public keys and other small questions: 100,000 keys have 10 MiB.
pub(crate) const NAMES_BODY: BodyRules = BodyRules { bytes_max: 16 << 20, time_max: Duration::from_secs(30) };

/// How long a call waits for its turn behind the others; then 503.
const TURN_WAIT: Duration = Duration::from_secs(30);

/// How long the acknowledgement of an import waits until every member in contact holds the keys. They open a thousand
/// in milliseconds; a member that is starting needs some seconds.
pub(crate) const IMPORT_SETTLE: Duration = Duration::from_secs(30);

/// How long the acknowledgement of a deletion waits for every member, and for the lease of one that does not answer.
pub(crate) const DELETE_SETTLE: Duration = Duration::from_secs(30);

/// Leave to hold a body with keys in memory and to change keys.
pub(crate) async fn key_turn(shared: &Shared) -> Result<OwnedSemaphorePermit, ApiError> {
    let turn = tokio::time::timeout(TURN_WAIT, shared.slots.key_calls.clone().acquire_owned());
    if let Ok(Ok(turn)) = turn.await {
        return Ok(turn);
    }
    metrics::shed("key_calls");
    Err(ApiError::Unavailable("other calls that change keys are running on this node".to_owned()))
}

/// Reads the body of a call that names keys but holds no secret.
pub(crate) async fn read_names(request: axum::extract::Request) -> Result<crate::admission::HeldBody, ApiError> {
    Ok(crate::admission::read_body(request, NAMES_BODY, None).await?)
}

/// Why the answer to a change of keys may be late, for the log of this node.
pub(crate) fn note_unreached(unreached: &[u64], what: &str) {
    if !unreached.is_empty() {
        tracing::warn!(nodes = ?unreached, what, "nodes out of contact; they catch up before they serve");
    }
}

/// Kept by handlers for as long as they work.
pub(crate) type SharedState = axum::extract::State<Arc<Shared>>;
