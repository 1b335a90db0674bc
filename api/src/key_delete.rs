//! Keys are disabled on all nodes; then, and only then, what they signed is exported.
//!
//! ```text
//! Command::DeleteKey per key -> every member applied it, its signing calls ended, or its lease ran out -> export
//! ```
//! In: public keys. Out: one status per key in the order asked, and the minimal interchange (EIP-3076) of those that
//! were deleted or not active. History is kept for ever, so a second call returns it again. Deliberately absent: an
//! answer before every node has stopped signing with the keys (invariant S6): the call then fails and is repeated.

use crate::app::App;
use crate::audit::{self, Actor, AuditError, Auditor};
use crate::error::{ApiError, with_causes};
use crate::eth2::BARRIER_DEADLINE;
use crate::key_import::{BATCH_DEADLINE, Deletions, held_of};
use crate::keymanager::{DELETE_SETTLE, note_unreached};
use crate::offload::{compute, to_its_end};
use consigner_raft::Cluster;
use consigner_rules::command::KeyDeletion;
use consigner_rules::interchange::Interchange;
use consigner_rules::{Command, HistoryImport, Outcome, PublicKey};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use tokio::sync::OwnedSemaphorePermit;

/// Deletions proposed at one time: about 60 bytes each.
const BATCH: usize = 1000;

/// The answer to a deletion.
#[derive(Debug, Serialize)]
pub(crate) struct Deletion {
    data: Vec<Line>,
    slashing_protection: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Line {
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// For the audit.
    #[serde(skip)]
    log_index: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Deleted,
    NotActive,
    NotFound,
    Error,
}

/// Deletes keys; once begun, also if nobody waits for the answer any more. `turn` is given back at the end.
///
/// # Errors
/// 503 while it is not certain that no node signs with them any more; the call is repeated then.
pub(crate) async fn delete(
    app: &App,
    actor: Actor,
    keys: Vec<PublicKey>,
    turn: OwnedSemaphorePermit,
) -> Result<Deletion, ApiError> {
    let (cluster, audit) = (app.cluster.clone(), app.audit.clone());
    to_its_end(async move {
        let _turn = turn;
        delete_all(&cluster, &Told { audit, actor }, keys).await
    })
    .await
}

/// Where it is told, and as whose deed.
struct Told {
    audit: Auditor,
    actor: Actor,
}

async fn delete_all(cluster: &Cluster, told: &Told, keys: Vec<PublicKey>) -> Result<Deletion, ApiError> {
    // What was imported before this call must count as held, also if it was through another node.
    cluster.barrier(BARRIER_DEADLINE).await?;
    let root = cluster.read(|state| state.identity().map(|identity| identity.genesis_validators_root));
    let root = root.ok_or_else(|| ApiError::Unavailable("the cluster is not initialised yet".to_owned()))?;
    let found = disable(cluster, told, &keys).await?;
    if !keys.is_empty() {
        settle(cluster, told, &found).await?;
    }
    let with_history: BTreeSet<PublicKey> =
        found.iter().filter(|(_, line)| line.status.has_history()).map(|(key, _)| *key).collect();
    let histories: Vec<HistoryImport> = cluster.read(|state| state.histories_of(&with_history).collect());
    let signed: BTreeSet<PublicKey> = histories.iter().filter(|history| says(history)).map(|h| h.public_key).collect();
    let data = lines(&keys, &found, &signed);
    told.found(&found).await?;
    let slashing_protection = compute(move || Interchange::minimal(root, histories).to_json()).await?;
    Ok(Deletion { data, slashing_protection })
}

/// Disables the keys in the replicated state; what was found of each.
async fn disable(cluster: &Cluster, told: &Told, keys: &[PublicKey]) -> Result<BTreeMap<PublicKey, Line>, ApiError> {
    let unique: Vec<PublicKey> = keys.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    told.each(&unique, audit::Outcome::Begun, "to be disabled on all nodes").await?;
    let held = held_of(cluster, &unique);
    let deletions = Deletions::seen(cluster);
    let mut found = BTreeMap::new();
    for batch in unique.chunks(BATCH) {
        let delete = |key: &PublicKey| Command::DeleteKey { public_key: *key, deletions_seen: deletions.of(key) };
        let commands = batch.iter().map(delete).collect();
        let outcomes = match cluster.propose_logged(commands, BATCH_DEADLINE).await {
            Ok(outcomes) => outcomes,
            Err(why) => {
                let why = format!("whether all keys are disabled is not known, repeat the call: {}", with_causes(&why));
                told.each(&unique, audit::Outcome::Failed, &why).await?;
                return Err(ApiError::Unavailable(why));
            }
        };
        found.extend(batch.iter().zip(&outcomes).map(|(key, logged)| {
            let line = judged(&logged.answer, held.contains(key));
            (*key, Line { log_index: Some(logged.index), ..line })
        }));
    }
    Ok(found)
}

/// Waits until no node signs with the keys any more.
async fn settle(cluster: &Cluster, told: &Told, found: &BTreeMap<PublicKey, Line>) -> Result<(), ApiError> {
    match cluster.settle_strictly(DELETE_SETTLE).await {
        Ok(settlement) => {
            note_unreached(&settlement.unreached, "deletion");
            Ok(())
        }
        Err(why) => {
            let why = format!(
                "the keys are disabled in the cluster, but not every node has confirmed that it stopped signing with \
                 them; repeat the call to be certain before they sign elsewhere: {why}"
            );
            let keys: Vec<PublicKey> = found.keys().copied().collect();
            told.each(&keys, audit::Outcome::Failed, &why).await?;
            Err(ApiError::Unavailable(why))
        }
    }
}

/// A batch may have been proposed again after its first answer was lost, and finds nothing any more: what counts is
/// whether the key was held before the call.
fn judged(outcome: &Outcome, was_held: bool) -> Line {
    let status = match outcome {
        Outcome::KeyDeleted { status: KeyDeletion::Deleted, .. } => Status::Deleted,
        Outcome::KeyDeleted { status: KeyDeletion::NotActive | KeyDeletion::NotFound, .. } if was_held => {
            Status::Deleted
        }
        Outcome::KeyDeleted { status: KeyDeletion::NotActive, .. } => Status::NotActive,
        Outcome::KeyDeleted { status: KeyDeletion::NotFound, .. } => Status::NotFound,
        Outcome::Rejected(rejection) => {
            return Line::without_index(Status::Error, Some(rejection.to_string()));
        }
        Outcome::TokenHeld
        | Outcome::TokenRevoked { .. }
        | Outcome::AuditAnchored
        | Outcome::RulesRaised(_)
        | Outcome::JoinTokenHeld
        | Outcome::JoinTokenRevoked { .. }
        | Outcome::NodeAdmitted
        | Outcome::NodeRetired
        | Outcome::PositionsNoted
        | Outcome::Resumed { .. }
        | Outcome::ArchiveAdvanced
        | Outcome::Initialised
        | Outcome::Judged(_)
        | Outcome::DataKeyHeld
        | Outcome::KeyImported { .. }
        | Outcome::HistoryMerged { .. }
        | Outcome::HighWatermarkSet
        | Outcome::PolicyRenewed(_)
        | Outcome::Resealed { .. }
        | Outcome::DataKeyRemoved { .. } => {
            let message = Some("the cluster answered another question".to_owned());
            return Line::without_index(Status::Error, message);
        }
    };
    Line::without_index(status, None)
}

/// One line per key in the order asked. A key that is named twice is gone when its second turn comes.
fn lines(keys: &[PublicKey], found: &BTreeMap<PublicKey, Line>, signed: &BTreeSet<PublicKey>) -> Vec<Line> {
    let mut seen = BTreeSet::new();
    let line = |key: &PublicKey| {
        let line = found.get(key).cloned().unwrap_or_else(|| Line::without_index(Status::Error, None));
        if seen.insert(*key) || line.status != Status::Deleted {
            return line;
        }
        let status = if signed.contains(key) { Status::NotActive } else { Status::NotFound };
        Line::without_index(status, None)
    };
    keys.iter().map(line).collect()
}

const fn says(history: &HistoryImport) -> bool {
    history.block.is_some() || history.attestation.is_some()
}

impl Told {
    /// The same of each key.
    async fn each(&self, keys: &[PublicKey], outcome: audit::Outcome, reason: &str) -> Result<(), AuditError> {
        let event = |key| self.event(key, outcome, reason);
        match outcome {
            audit::Outcome::Begun => self.audit.begin_all(keys.iter().map(event)).await,
            audit::Outcome::Done | audit::Outcome::Unchanged | audit::Outcome::Refused | audit::Outcome::Failed => {
                self.audit.conclude_all(keys.iter().map(event)).await
            }
        }
    }

    async fn found(&self, found: &BTreeMap<PublicKey, Line>) -> Result<(), AuditError> {
        let told = found.iter().map(|(key, line)| {
            let (outcome, reason) = line.told();
            audit::Event { log_index: line.log_index, ..self.event(key, outcome, reason) }
        });
        self.audit.conclude_all(told).await
    }

    const fn event<'a>(&'a self, key: &'a PublicKey, outcome: audit::Outcome, reason: &'a str) -> audit::Event<'a> {
        audit::Event::new(&self.actor, audit::Operation::KeyDelete, outcome, reason).about(Some(key))
    }
}

impl Line {
    const fn without_index(status: Status, message: Option<String>) -> Self {
        Self { status, message, log_index: None }
    }

    fn told(&self) -> (audit::Outcome, &str) {
        match self.status {
            Status::Deleted => (audit::Outcome::Done, "disabled on all nodes; history exported"),
            Status::NotActive => (audit::Outcome::Unchanged, "not active; history exported"),
            Status::NotFound => (audit::Outcome::Unchanged, "not found"),
            Status::Error => (audit::Outcome::Failed, self.message.as_deref().unwrap_or_default()),
        }
    }
}

impl Status {
    /// "Slashing protection data must only be returned for keys .. for which a `deleted` or `not_active` status is
    /// returned."
    const fn has_history(self) -> bool {
        match self {
            Self::Deleted | Self::NotActive => true,
            Self::NotFound | Self::Error => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: PublicKey = PublicKey([1; 48]);

    #[test]
    fn a_key_that_was_held_before_the_call_is_deleted_whatever_a_repeated_batch_finds() {
        for (found, was_held, status) in [
            (KeyDeletion::Deleted, true, Status::Deleted),
            (KeyDeletion::NotActive, true, Status::Deleted),
            (KeyDeletion::NotFound, true, Status::Deleted),
            (KeyDeletion::Deleted, false, Status::Deleted),
            (KeyDeletion::NotActive, false, Status::NotActive),
            (KeyDeletion::NotFound, false, Status::NotFound),
        ] {
            let line = judged(&Outcome::KeyDeleted { public_key: KEY, status: found }, was_held);
            assert_eq!(line, Line::without_index(status, None), "{found:?} {was_held}");
        }
        assert_eq!(judged(&Outcome::DataKeyHeld, true).status, Status::Error);
    }

    #[test]
    fn the_second_mention_of_a_key_finds_it_gone() {
        let other = PublicKey([2; 48]);
        let line = |status| Line::without_index(status, None);
        let found = BTreeMap::from([(KEY, line(Status::Deleted)), (other, line(Status::NotActive))]);
        let told = |signed: &[PublicKey]| {
            lines(&[KEY, other, KEY, other], &found, &signed.iter().copied().collect())
                .into_iter()
                .map(|line| line.status)
                .collect::<Vec<_>>()
        };
        assert_eq!(told(&[KEY, other]), [Status::Deleted, Status::NotActive, Status::NotActive, Status::NotActive]);
        assert_eq!(told(&[other]), [Status::Deleted, Status::NotActive, Status::NotFound, Status::NotActive]);
    }
}
