//! One run over all sources.
//!
//! In: the configuration. Out: a [`Summary`]. Keys are imported in batches while later ones are still decrypted, so a
//! run that is cut short loses nothing.

use super::{Sources, access};
use crate::report::one_line;
use crate::source::{self, Gathered};
use consigner_api::audit::{self, AuditError};
use consigner_api::{ImportResult, ImportStatus, Origin, ReloadState, Wish, import_secrets};
use consigner_keys::SecretKey;
use consigner_keys::source::{Loaded, Loading, LooseFiles, Outcome, Progress, SourceError, fetcher};
use consigner_rules::PublicKey;
use std::sync::Arc;

/// Secrets that are imported at one time: a second or two of decryption on fast keystores, and one command batch.
const BATCH: usize = 100;

/// Keys that are named in the log of one run; the number of the others is told.
const NAMED_MAX: usize = 20;

/// What a run did.
#[derive(Debug, Default)]
pub(super) struct Summary {
    imported: usize,
    held: usize,
    /// Deleted from the cluster at some time.
    left_alone: usize,
    sources_failed: usize,
    keys_failed: usize,
    first_error: Option<String>,
    /// Whether a failure may pass by itself.
    pub(super) may_pass: bool,
    named: usize,
}

/// A secret on its way, with its origin.
type Ready = (String, PublicKey, SecretKey);

impl Sources {
    pub(super) async fn import_new(self: &Arc<Self>) -> Summary {
        let mut summary = Summary::default();
        let Gathered { candidates, failures, reads } = source::gather_with(&self.config, self.loose_files()).await;
        reads.iter().for_each(|read| access::of_source(&self.audit, read));
        // A source without keys is where an operator will put some.
        for failure in failures.iter().filter(|failure| !failure.is_empty_source()) {
            summary.sources_failed += 1;
            summary.may_pass |= failure.may_pass();
            summary.failed(&failure.source, &one_line(&failure.error));
        }
        let known = {
            let sources = self.clone();
            move |public_key: &PublicKey| sources.is_held(public_key) || sources.was_deleted(public_key)
        };
        let mut loading = Loading::new(candidates, self.decrypt.clone(), Some(fetcher()), known);
        let mut batch: Vec<Ready> = Vec::new();
        while let Some(loaded) = loading.next().await {
            batch.extend(self.sort(loaded, &mut summary));
            if batch.len() >= BATCH {
                self.import(std::mem::take(&mut batch), &mut summary).await;
                let Progress { done, total, .. } = loading.progress();
                tracing::info!(done, total, imported = summary.imported, "key sources are being imported");
            }
        }
        self.import(batch, &mut summary).await;
        summary
    }

    /// The secret that is to be imported, if the result is one.
    fn sort(&self, loaded: Loaded, summary: &mut Summary) -> Option<Ready> {
        let Loaded { origin, public_key, warnings, outcome } = loaded;
        for warning in warnings {
            tracing::warn!(origin, "{warning}");
        }
        match (outcome, public_key) {
            // A keystore that names no validator is known only now.
            (Outcome::Secret(_) | Outcome::Known, Some(known)) if self.is_held(&known) => {
                summary.held += 1;
            }
            (Outcome::Secret(_) | Outcome::Known, Some(known)) if self.was_deleted(&known) => {
                summary.left_alone += 1;
                if summary.left_alone <= NAMED_MAX {
                    let why = "it was deleted from the cluster; `consigner keys import` brings it back";
                    tracing::info!(validator = %known, origin, why, "a key of a source is left alone");
                }
            }
            (Outcome::Secret(secret), Some(public_key)) => return Some((origin, public_key, secret)),
            (Outcome::Secret(secret), None) => return Some((origin, secret.public_key(), secret)),
            (Outcome::Duplicate { .. } | Outcome::Known, _) => summary.held += 1,
            (Outcome::Failed(error), _) => {
                summary.may_pass |= matches!(error, SourceError::Remote { may_pass: true, .. });
                summary.keys_failed += 1;
                summary.failed(&origin, &one_line(&error));
            }
        }
        None
    }

    async fn import(self: &Arc<Self>, batch: Vec<Ready>, summary: &mut Summary) {
        if batch.is_empty() {
            return;
        }
        let (origins, secrets): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|(origin, _, secret)| (origin, (secret, None))).unzip();
        let actor = audit::Actor::node();
        let origin = Origin { audit: &self.audit, actor: &actor, reason: "from a source of this node" };
        let imported = import_secrets(&self.cluster, &self.custody, (&Wish::Offered, &origin), secrets).await;
        let results = match imported {
            Ok(results) => results,
            Err(why) => return self.not_imported(&origins, &why, summary),
        };
        // In the log it stands already if it cannot be kept; the keys are read again with the next run.
        summary.may_pass |= self.conclude(&actor, &origins, &results).await.is_err();
        for (origin, result) in origins.iter().zip(results) {
            match result.status {
                ImportStatus::Imported => summary.imported += 1,
                ImportStatus::Duplicate => summary.held += 1,
                ImportStatus::Failed(why) => {
                    summary.may_pass = true;
                    summary.keys_failed += 1;
                    summary.failed(origin, &why);
                }
            }
        }
    }

    fn not_imported(&self, origins: &[String], why: &AuditError, summary: &mut Summary) {
        summary.may_pass = true;
        summary.keys_failed += origins.len();
        let why = one_line(why);
        origins.iter().for_each(|origin| summary.failed(origin, &why));
    }

    /// For the audit: the node itself did it.
    async fn conclude(
        &self,
        actor: &audit::Actor,
        origins: &[String],
        results: &[ImportResult],
    ) -> Result<(), AuditError> {
        let reasons: Vec<String> = origins.iter().map(|origin| format!("from the source {origin}")).collect();
        let events = reasons.iter().zip(results).map(|(reason, result)| {
            let outcome = match result.status {
                ImportStatus::Imported => audit::Outcome::Done,
                ImportStatus::Duplicate => audit::Outcome::Unchanged,
                ImportStatus::Failed(_) => audit::Outcome::Failed,
            };
            let event = audit::Event::new(actor, audit::Operation::KeyImport, outcome, reason);
            audit::Event { log_index: result.log_index, ..event.about(Some(&result.public_key)) }
        });
        self.audit.conclude_all(events).await
    }

    /// What becomes of files that other users can read.
    const fn loose_files(&self) -> LooseFiles {
        self.config.loose_files()
    }

    fn was_deleted(&self, public_key: &PublicKey) -> bool {
        self.cluster.read(|state| state.deletions(public_key) > 0)
    }

    fn is_held(&self, public_key: &PublicKey) -> bool {
        self.cluster.read(|state| state.validator(public_key).is_some_and(|validator| validator.key.is_some()))
    }
}

impl Summary {
    fn failed(&mut self, origin: &str, why: &str) {
        self.first_error.get_or_insert_with(|| format!("{origin}: {why}"));
        self.named += 1;
        if self.named <= NAMED_MAX {
            tracing::error!(origin, why, "a key source, or a key of one, cannot be imported");
        }
    }

    pub(super) const fn state(&self) -> ReloadState {
        match (self.sources_failed + self.keys_failed, self.imported + self.held + self.left_alone) {
            (0, _) => ReloadState::Completed,
            (_, 0) => ReloadState::Failed,
            _ => ReloadState::CompletedWithErrors,
        }
    }

    pub(super) fn error_text(&self) -> Option<String> {
        let first = self.first_error.as_ref()?;
        let (sources, keys) = (self.sources_failed, self.keys_failed);
        Some(format!("{sources} sources and {keys} keys failed; the first: {first}"))
    }

    pub(super) fn tell(&self) {
        for (outcome, count) in [("imported", self.imported), ("failed", self.keys_failed)] {
            metrics::counter!("consigner_source_keys_total", "outcome" => outcome).increment(count as u64);
        }
        let Self { imported, held, left_alone, sources_failed, keys_failed, .. } = self;
        if sources_failed + keys_failed > 0 {
            tracing::warn!(imported, held, left_alone, sources_failed, keys_failed, "key sources read, with errors");
        } else {
            tracing::info!(imported, held, left_alone, "key sources read");
        }
    }
}
