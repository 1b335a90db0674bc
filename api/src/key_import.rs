//! From plain secrets to keys of the cluster: sealed here, each proposed together with what it signed elsewhere.
//!
//! ```text
//! secret -> custody.seal (blocking thread) -> Command::ImportKey{sealed, history} -> imported | duplicate | why not
//! ```
//! In: secrets, with the history of each if it is known. Out: one result per secret, in their order. Used by the key
//! manager API, by `/admin/v1/keys/import` and by the watched sources of a node. Repeating a call is harmless.
//! Deliberately absent: where secrets come from, and the wait until every member holds the keys
//! ([`Cluster::settle`]), which is the acknowledgement's and not the import's.

use crate::audit::{self, Actor, AuditError, Auditor};
use crate::data_key::{current_data_key, renewed_data_key};
use crate::error::with_causes;
use crate::eth2::BARRIER_DEADLINE;
use consigner_keys::{Custody, CustodyError, SecretKey};
use consigner_raft::{Cluster, Logged};
use consigner_rules::command::{Rejection, SealedKey};
use consigner_rules::{Command, HistoryImport, Outcome, PublicKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Keys sealed and proposed at one time: about 400 bytes each with their history, so a batch stays far below the bound
/// of an entry and lets intents to sign pass between two batches.
pub(crate) const BATCH: usize = 200;

/// For one batch, an election included.
pub(crate) const BATCH_DEADLINE: Duration = Duration::from_secs(10);

/// What became of one secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportResult {
    /// The validator.
    pub public_key: PublicKey,
    /// Whether the cluster holds its key.
    pub status: ImportStatus,
    /// Where the cluster's log has its import; `None` where it has none, as far as is known.
    pub log_index: Option<u64>,
}

/// Whether the cluster holds a key after its import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportStatus {
    /// It does, and did not before.
    Imported,
    /// It did before; the history that came with it was merged.
    Duplicate,
    /// Not as far as is known; the import may be repeated.
    Failed(String),
}

/// A secret on its way into the cluster.
pub(crate) struct Candidate {
    pub(crate) public_key: PublicKey,
    pub(crate) secret: SecretKey,
    pub(crate) history: Option<HistoryImport>,
}

/// Who wants keys imported, and thereby what happens to one that was deleted before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Somebody who asked for these keys, when these deletions had been seen: a key that was deleted since stays so.
    Asked(Deletions),
    /// A source that is read again and again: a key that was ever deleted does not come back from there.
    Offered,
}

/// Who imports, as the audit is told before each key is proposed.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    /// Where it is told.
    pub audit: &'a Auditor,
    /// Who.
    pub actor: &'a Actor,
    /// From where, for people.
    pub reason: &'a str,
}

impl Origin<'_> {
    /// Tells that these keys are about to be proposed.
    pub(crate) async fn begin<'k>(&self, names: impl Iterator<Item = &'k PublicKey>) -> Result<(), AuditError> {
        let Self { audit, actor, reason } = *self;
        let begun = audit::Event::new(actor, audit::Operation::KeyImport, audit::Outcome::Begun, reason);
        audit.begin_all(names.map(|name| begun.about(Some(name)))).await
    }
}

/// How often keys had been deleted at some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deletions(BTreeMap<PublicKey, u64>);

impl Deletions {
    /// As the node sees it now; taken behind a barrier at the beginning of a call.
    #[must_use]
    pub fn seen(cluster: &Cluster) -> Self {
        cluster.read(|state| {
            let all = state.validators().map(|(name, known)| (*name, known.deletions));
            Self(all.filter(|(_, deletions)| *deletions > 0).collect())
        })
    }

    pub(crate) fn of(&self, name: &PublicKey) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}

/// Imports secrets, each with the history that belongs to it; one result per secret, in order.
///
/// Keys are sealed under the current data key of the sealer in use; if there is none, one is made. The results speak of
/// the replicated state: nodes may still be opening the keys.
///
/// The audit hears of each key before it is proposed, and durably; what became of it is told by the caller
/// ([`Auditor::conclude_all`]), who knows more.
///
/// # Errors
/// [`AuditError::NotBegun`]: the audit could not be written; keys of earlier batches may be imported.
pub async fn import_secrets(
    cluster: &Cluster,
    custody: &Arc<Custody>,
    (wish, origin): (&Wish, &Origin<'_>),
    secrets: Vec<(SecretKey, Option<HistoryImport>)>,
) -> Result<Vec<ImportResult>, AuditError> {
    // Deriving a public key takes 100 us.
    let candidates = tokio::task::spawn_blocking(move || {
        let candidate =
            |(secret, history): (SecretKey, _)| Candidate { public_key: secret.public_key(), secret, history };
        secrets.into_iter().map(candidate).collect::<Vec<_>>()
    });
    match candidates.await {
        Ok(candidates) => import(cluster, custody, (wish, origin), candidates).await,
        Err(panic) => {
            tracing::error!(error = %panic, "deriving public keys panicked");
            Ok(Vec::new())
        }
    }
}

/// As [`import_secrets`], with the public keys at hand.
pub(crate) async fn import(
    cluster: &Cluster,
    custody: &Arc<Custody>,
    (wish, origin): (&Wish, &Origin<'_>),
    candidates: Vec<Candidate>,
) -> Result<Vec<ImportResult>, AuditError> {
    let names: Vec<PublicKey> = candidates.iter().map(|candidate| candidate.public_key).collect();
    let all_failed = |why: String| Ok(names.iter().map(|name| failed(*name, why.clone())).collect());
    // What was acknowledged before this call must count as held, also if it was imported through another node.
    if let Err(why) = cluster.barrier(BARRIER_DEADLINE).await {
        return all_failed(why.to_string());
    }
    let mut held = held_of(cluster, &names);
    let mut data_key = match current_data_key(cluster, custody).await {
        Ok(data_key) => data_key,
        Err(why) => return all_failed(why),
    };
    let mut results = Vec::with_capacity(names.len());
    let mut stopped: Option<String> = None;
    let mut candidates = candidates.into_iter().peekable();
    while candidates.peek().is_some() {
        let batch: Arc<Vec<Candidate>> = Arc::new(candidates.by_ref().take(BATCH).collect());
        if let Some(why) = &stopped {
            results.extend(batch.iter().map(|candidate| failed(candidate.public_key, why.clone())));
            continue;
        }
        origin.begin(batch.iter().map(|candidate| &candidate.public_key)).await?;
        let mut answers = attempt(cluster, custody, data_key, wish, &batch).await;
        if is_removed(&answers) {
            // A rewrap has moved all keys away from it since; once, for nobody does that all the time.
            match renewed_data_key(cluster, custody).await {
                Ok(current) => {
                    data_key = current;
                    answers = attempt(cluster, custody, data_key, wish, &batch).await;
                }
                Err(why) => tracing::warn!(error = why, "no other data key for an import"),
            }
        }
        stopped = answers.iter().find_map(|answer| match answer {
            Answer::Unknown(why) => Some(why.clone()),
            Answer::Outcome(_) | Answer::NotSealed { .. } => None,
        });
        results.extend(batch.iter().zip(answers).map(|(candidate, answer)| {
            let public_key = candidate.public_key;
            let log_index = answer.log_index();
            let status = answer.status(held.contains(&public_key));
            if !matches!(status, ImportStatus::Failed(_)) {
                // So that a second copy of a secret is a duplicate.
                held.insert(public_key);
            }
            ImportResult { public_key, status, log_index }
        }));
    }
    Ok(results)
}

/// What became of one key of a batch.
enum Answer {
    Outcome(Option<Logged<Outcome>>),
    /// It was not proposed.
    NotSealed {
        why: String,
        /// Because its data key is not open here (any more).
        is_closed: bool,
    },
    /// Nobody knows.
    Unknown(String),
}

impl Answer {
    fn log_index(&self) -> Option<u64> {
        match self {
            Self::Outcome(logged) => logged.as_ref().map(|logged| logged.index),
            Self::NotSealed { .. } | Self::Unknown(_) => None,
        }
    }

    fn status(self, was_held: bool) -> ImportStatus {
        match self {
            Self::Outcome(logged) => judged(logged.map(|logged| logged.answer).as_ref(), was_held),
            Self::NotSealed { why, .. } | Self::Unknown(why) => ImportStatus::Failed(why),
        }
    }
}

/// Whether the data key of a batch was removed from the state, before some key was sealed under it or after.
fn is_removed(answers: &[Answer]) -> bool {
    answers.iter().any(|answer| match answer {
        Answer::Outcome(logged) => {
            let unknown = Outcome::Rejected(Rejection::UnknownDataKey);
            logged.as_ref().is_some_and(|logged| logged.answer == unknown)
        }
        Answer::NotSealed { is_closed, .. } => *is_closed,
        Answer::Unknown(_) => false,
    })
}

/// Seals and proposes one batch; one answer per key, in order.
async fn attempt(
    cluster: &Cluster,
    custody: &Arc<Custody>,
    data_key: [u8; 16],
    wish: &Wish,
    batch: &Arc<Vec<Candidate>>,
) -> Vec<Answer> {
    let sealed = seal_all(custody, data_key, batch).await;
    let import = |(candidate, sealed): (&Candidate, &SealedKey)| Command::ImportKey {
        sealed: sealed.clone(),
        history: candidate.history.clone(),
        deletions_seen: match wish {
            Wish::Asked(deletions) => deletions.of(&sealed.public_key),
            Wish::Offered => 0,
        },
    };
    let sound = batch.iter().zip(&sealed).filter_map(|(candidate, sealed)| Some((candidate, sealed.as_ref().ok()?)));
    let (mut outcomes, error) = match cluster.propose_logged(sound.map(import).collect(), BATCH_DEADLINE).await {
        Ok(outcomes) => (outcomes.into_iter(), None),
        Err(why) => {
            let why = format!("not known to be imported, import it again: {}", with_causes(&why));
            (Vec::new().into_iter(), Some(why))
        }
    };
    let answer = |sealed| match (sealed, &error) {
        (Err(not_sealed), _) => not_sealed,
        (Ok(_), Some(why)) => Answer::Unknown(why.clone()),
        (Ok(_), None) => Answer::Outcome(outcomes.next()),
    };
    sealed.into_iter().map(answer).collect()
}

async fn seal_all(
    custody: &Arc<Custody>,
    data_key: [u8; 16],
    batch: &Arc<Vec<Candidate>>,
) -> Vec<Result<SealedKey, Answer>> {
    let (custody, secrets) = (Arc::clone(custody), Arc::clone(batch));
    let sealing = tokio::task::spawn_blocking(move || {
        let refused = |why: CustodyError| {
            let is_closed = matches!(why, CustodyError::NotOpen { .. });
            Answer::NotSealed { why: with_causes(&why), is_closed }
        };
        secrets.iter().map(|candidate| custody.seal(&data_key, &candidate.secret).map_err(refused)).collect()
    });
    sealing.await.unwrap_or_else(|panic| {
        tracing::error!(error = %panic, "sealing keys panicked");
        let why = "it could not be sealed; the log has the reason";
        batch.iter().map(|_| Err(Answer::NotSealed { why: why.to_owned(), is_closed: false })).collect()
    })
}

/// A batch may have been proposed again after its first answer was lost, and is then full of duplicates of itself:
/// what counts is whether the key was held before the call.
fn judged(outcome: Option<&Outcome>, was_held: bool) -> ImportStatus {
    match outcome {
        Some(Outcome::KeyImported { .. }) if was_held => ImportStatus::Duplicate,
        Some(Outcome::KeyImported { .. }) => ImportStatus::Imported,
        Some(Outcome::Rejected(rejection)) => ImportStatus::Failed(rejection.to_string()),
        Some(
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
            | Outcome::HistoryMerged { .. }
            | Outcome::HighWatermarkSet
            | Outcome::PolicyRenewed(_)
            | Outcome::KeyDeleted { .. }
            | Outcome::Resealed { .. }
            | Outcome::DataKeyRemoved { .. },
        )
        | None => ImportStatus::Failed("the cluster answered another question".to_owned()),
    }
}

/// Which of these keys the state holds.
pub(crate) fn held_of(cluster: &Cluster, names: &[PublicKey]) -> BTreeSet<PublicKey> {
    cluster.read(|state| {
        let held = |name: &&PublicKey| state.validator(name).is_some_and(|known| known.key.is_some());
        names.iter().filter(held).copied().collect()
    })
}

/// Why a command changed nothing, if it was rejected.
pub(crate) fn rejection(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Rejected(rejection) => Some(rejection.to_string()),
        Outcome::Initialised
        | Outcome::Judged(_)
        | Outcome::DataKeyHeld
        | Outcome::KeyImported { .. }
        | Outcome::HistoryMerged { .. }
        | Outcome::HighWatermarkSet
        | Outcome::PolicyRenewed(_)
        | Outcome::KeyDeleted { .. }
        | Outcome::Resealed { .. }
        | Outcome::DataKeyRemoved { .. }
        | Outcome::TokenHeld
        | Outcome::TokenRevoked { .. }
        | Outcome::AuditAnchored
        | Outcome::RulesRaised(_)
        | Outcome::JoinTokenHeld
        | Outcome::JoinTokenRevoked { .. }
        | Outcome::NodeAdmitted
        | Outcome::NodeRetired
        | Outcome::PositionsNoted
        | Outcome::Resumed { .. }
        | Outcome::ArchiveAdvanced => None,
    }
}

const fn failed(public_key: PublicKey, why: String) -> ImportResult {
    ImportResult { public_key, status: ImportStatus::Failed(why), log_index: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_data_key_is_noticed_wherever_it_shows() {
        let logged = |answer| Answer::Outcome(Some(Logged { index: 7, answer }));
        let rejected = |why| logged(Outcome::Rejected(why));
        let not_sealed = |is_closed| Answer::NotSealed { why: String::new(), is_closed };
        for (answer, is_gone) in [
            (rejected(Rejection::UnknownDataKey), true),
            (not_sealed(true), true),
            (not_sealed(false), false),
            (rejected(Rejection::NotInitialised), false),
            (Answer::Unknown(String::new()), false),
            (Answer::Outcome(None), false),
        ] {
            let imported = Outcome::KeyImported { public_key: PublicKey([1; 48]), duplicate: true };
            assert_eq!(is_removed(&[logged(imported), answer]), is_gone);
        }
    }

    #[test]
    fn what_counts_is_whether_the_key_was_held_before_the_call() {
        let outcome = |duplicate| Outcome::KeyImported { public_key: PublicKey([1; 48]), duplicate };
        for duplicate in [false, true] {
            assert_eq!(judged(Some(&outcome(duplicate)), false), ImportStatus::Imported);
            assert_eq!(judged(Some(&outcome(duplicate)), true), ImportStatus::Duplicate);
        }
        assert!(matches!(judged(None, false), ImportStatus::Failed(_)));
        assert!(matches!(judged(Some(&Outcome::DataKeyHeld), true), ImportStatus::Failed(_)));
    }
}
