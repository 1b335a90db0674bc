//! The data key under which new keys are sealed: one of the replicated state, or a new one.
//!
//! In: the data keys of the state, the sealer in use. Out: the id of one that is open here. Deliberately absent: moving
//! keys from one to another, and removing what is unused (`/admin/v1/keys/rewrap`, `/admin/v1/keys/data-keys`).

use crate::error::with_causes;
use crate::eth2::BARRIER_DEADLINE;
use crate::key_import::{BATCH_DEADLINE, rejection};
use consigner_keys::Custody;
use consigner_raft::Cluster;
use consigner_rules::command::DataKey;
use consigner_rules::{Command, Outcome};
use std::sync::Arc;

/// As [`current_data_key`], with everything seen that was agreed until now: the removal of the last one, too.
pub(crate) async fn renewed_data_key(cluster: &Cluster, custody: &Arc<Custody>) -> Result<[u8; 16], String> {
    cluster.barrier(BARRIER_DEADLINE).await.map_err(|why| why.to_string())?;
    current_data_key(cluster, custody).await
}

/// A data key of the state that is wrapped by the sealer in use under its current master key, open here; a new one if
/// there is none.
pub(crate) async fn current_data_key(cluster: &Cluster, custody: &Arc<Custody>) -> Result<[u8; 16], String> {
    let sealer = custody.sealers().in_use();
    let candidates: Vec<DataKey> = cluster.read(|state| {
        let current = |data_key: &&DataKey| data_key.sealer == sealer.kind() && sealer.is_current(data_key);
        state.data_keys().filter(current).cloned().collect()
    });
    if let Some(open) = candidates.iter().find(|data_key| custody.is_open(&data_key.id)) {
        return Ok(open.id);
    }
    for data_key in &candidates {
        match custody.open_data_key(data_key).await {
            Ok(()) => return Ok(data_key.id),
            Err(error) => tracing::warn!(error = with_causes(&error), "a data key cannot be opened for an import"),
        }
    }
    add_data_key(cluster, custody, None).await
}

/// Makes a data key by the sealer of a kind (or the one in use) and adds it to the state; its id.
///
/// # Errors
/// What the sealer or the cluster said.
pub(crate) async fn add_data_key(
    cluster: &Cluster,
    custody: &Arc<Custody>,
    kind: Option<&str>,
) -> Result<[u8; 16], String> {
    let data_key = custody.generate_data_key(kind).await.map_err(|why| with_causes(&why))?;
    let id = data_key.id;
    let outcomes = cluster.propose(vec![Command::AddDataKey(data_key)], BATCH_DEADLINE).await;
    let refused = match outcomes {
        Err(why) => with_causes(&why),
        Ok(outcomes) => match outcomes.first() {
            Some(Outcome::DataKeyHeld) => return Ok(id),
            other => other.and_then(rejection).unwrap_or_else(|| "the cluster answered another question".to_owned()),
        },
    };
    // If the state gets it after all, it is opened again from there.
    custody.discard_data_key(&id);
    Err(refused)
}
