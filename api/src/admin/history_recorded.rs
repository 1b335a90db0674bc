//! `GET /admin/v1/history/recorded`: every record of the archive in the database, as far as this node has purged it, and
//! of this node's outbox, page by page: the parts of a complete export.
//!
//! In: `?after=INDEX` (of the log; 0 begins), `&upto=INDEX` (of the first page, so that a cluster that goes on signing
//! has an end), `&pubkeys=0x..,0x..`. Out: an interchange with what these entries recorded, where the next page begins,
//! and from which log index on nothing is missing. A page for which the database is needed is 503 while that is away.
//! Each page is of bounded size. What was imported is listed as the cluster keeps it: by its maxima.
//! Deliberately absent: the sum of the pages. Who joins them also asks for the minimal export, which covers every gap.

use super::{history_query, history_turn};
use crate::admission::Admin;
use crate::app::{App, Shared};
use crate::archive::ArchiveAccess;
use crate::audit;
use crate::error::{ApiError, with_causes};
use crate::eth2::BARRIER_DEADLINE;
use crate::json::JSON;
use crate::offload::compute;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use consigner_raft::{Cluster, Recorded, RecordedError};
use consigner_rules::interchange::{Interchange, add_change};
use consigner_rules::{Change, PublicKey, Root};
use http::header::CONTENT_TYPE;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Records after which a page ends: some 10 MB of text, and one entry of the log (about a thousand records) more.
const PAGE_RECORDS: usize = 50_000;

/// Rows read at one time; a row holds one entry of the log, at most 256 KiB.
const ROWS_AT_ONCE: usize = 128;

/// Entries that one page looks through, so that a call for one validator in a long log ends in time.
const PAGE_ROWS: usize = 20_000;

pub(crate) async fn get(
    State(shared): State<Arc<Shared>>,
    admin: Admin,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let asked = Asked::read(query.as_deref().unwrap_or_default()).map_err(ApiError::BadRequest)?;
    let _turn = history_turn(&shared)?;
    let cluster = &shared.app.cluster;
    // What was acknowledged before the export was asked for must be in it (invariant S2); and whoever lost the right
    // meanwhile is known to have lost it.
    cluster.barrier(BARRIER_DEADLINE).await?;
    let upto = asked.upto.unwrap_or_else(|| cluster.applied_index());
    let root = cluster.read(|state| state.identity().map(|identity| identity.genesis_validators_root));
    let root = root.ok_or_else(|| ApiError::Conflict("the cluster is not initialised yet".to_owned()))?;
    let after = asked.after;
    let page = Page::read(&shared.app, root, asked, upto).await?;
    admin.is_still(&shared)?;
    let until = page.next.unwrap_or(upto);
    let reason = &format!("{} records of the log indexes after {after} up to {until}", page.records);
    let (actor, operation) = (&admin.actor, audit::Operation::HistoryExport);
    shared.app.audit.conclude(&audit::Event::new(actor, operation, audit::Outcome::Done, reason)).await?;
    Ok(([(CONTENT_TYPE, JSON)], page.to_json(cluster.node_id(), upto)).into_response())
}

/// What the query asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    after: u64,
    upto: Option<u64>,
    only: Option<BTreeSet<PublicKey>>,
}

impl Asked {
    fn read(query: &str) -> Result<Self, String> {
        let mut asked = Self::default();
        for (name, value) in history_query::pairs(query) {
            match name {
                "after" => asked.after = history_query::decimal(name, value)?,
                "upto" => asked.upto = Some(history_query::decimal(name, value)?),
                "pubkeys" => history_query::add_keys(&mut asked.only, value)?,
                _ => return Err(format!("query parameter {name:?} is unknown; there are after, upto and pubkeys")),
            }
        }
        Ok(asked)
    }
}

/// One part of a complete export.
struct Page {
    asked: Asked,
    upto: u64,
    file: Interchange,
    records: usize,
    rows_read: usize,
    /// The last log index of this page, if more follow.
    next: Option<u64>,
    since: u64,
    /// Greatest end of a hole that rows were read over. It may be filled before the page ends; they are missing in it.
    passed: u64,
}

impl Page {
    async fn read(app: &App, root: Root, asked: Asked, upto: u64) -> Result<Self, ApiError> {
        let mut after = asked.after;
        let file = Interchange::new(root);
        let mut page = Self { asked, upto, file, records: 0, rows_read: 0, next: None, since: u64::MAX, passed: 0 };
        let mut used_archive = false;
        while after < upto {
            if page.is_full() {
                page.next = Some(after);
                break;
            }
            let since = since(&app.cluster).await?;
            let (rows, reached) = match archived(app, after, since) {
                Some((archive, mark)) => {
                    used_archive = true;
                    let last = mark.min(upto);
                    let rows = archive.recorded(after, last, PAGE_RECORDS).await?;
                    let is_all = rows.iter().map(|row| row.changes.len()).sum::<usize>() < PAGE_RECORDS;
                    let reached = if is_all { last } else { rows.last().map_or(last, |row| row.index) };
                    (rows, reached)
                }
                None => {
                    let Some(rows) = kept(app, after).await? else { continue };
                    if since > after {
                        page.passed = page.passed.max(since);
                    }
                    let reached = rows.last().map_or(upto, |row| row.index);
                    (rows, reached)
                }
            };
            page = compute(move || page.with(rows)).await?;
            after = reached;
        }
        page.since = page.complete_after(app, used_archive).await?.max(page.passed);
        Ok(page)
    }

    const fn is_full(&self) -> bool {
        self.records >= PAGE_RECORDS || self.rows_read >= PAGE_ROWS
    }

    fn with(mut self, rows: Vec<Recorded>) -> Self {
        self.rows_read += rows.len();
        for row in rows.iter().take_while(|row| row.index <= self.upto) {
            let wanted = row.changes.iter().filter(|change| self.asked.wants(change));
            self.records += wanted.map(|change| add_change(&mut self.file, change)).sum::<usize>();
        }
        self
    }

    /// Asked for last: what was purged while the page was read is not claimed.
    async fn complete_after(&self, app: &App, used_archive: bool) -> Result<u64, ApiError> {
        let since = since(&app.cluster).await?;
        let mark = app.cluster.archive_mark().map_or(0, |mark| mark.index);
        match &app.archive {
            // What this node lacks lies in the database, but for the gaps there.
            Some(archive) if since <= mark => match archive.complete_after().await {
                Ok(after) => Ok(after),
                Err(fault) if used_archive => Err(fault.into()),
                Err(_) => Ok(since),
            },
            Some(_) | None => Ok(since),
        }
    }

    /// The numbers as text, as in the interchange.
    fn to_json(&self, node: u64, upto: u64) -> String {
        let next = self.next.map_or_else(|| "null".to_owned(), |next| format!("\"{next}\""));
        // `since` at its greatest: nothing is promised.
        let from = self.since.saturating_add(1);
        let file = self.file.to_json();
        format!(
            "{{\"node\":{node},\"complete_from_log_index\":\"{from}\",\"upto\":\"{upto}\",\"next\":{next},\
             \"interchange\":{}}}\n",
            file.trim_end()
        )
    }
}

/// The database and its mark, if what comes after `after` is not here any more, but there.
fn archived(app: &App, after: u64, since: u64) -> Option<(&dyn ArchiveAccess, u64)> {
    let archive = app.archive.as_deref().filter(|_| after < since)?;
    let mark = app.cluster.archive_mark()?.index;
    (after < mark).then_some((archive, mark))
}

/// What this node has; `None`: it was purged meanwhile, and lies in the database.
async fn kept(app: &App, after: u64) -> Result<Option<Vec<Recorded>>, ApiError> {
    let reader = app.cluster.clone();
    let rows = compute(move || reader.recorded_after(after, ROWS_AT_ONCE)).await?.map_err(failed)?;
    let since = since(&app.cluster).await?;
    Ok(archived(app, after, since).is_none().then_some(rows))
}

async fn since(cluster: &Cluster) -> Result<u64, ApiError> {
    let reader = cluster.clone();
    compute(move || reader.recorded_since()).await?.map_err(failed)
}

impl Asked {
    fn wants(&self, change: &Change) -> bool {
        let Some(only) = &self.only else { return true };
        let of_signed = change.signed().is_some_and(|record| only.contains(&record.public_key));
        of_signed || matches!(change, Change::HistoryMerged(import) if only.contains(&import.public_key))
    }
}

fn failed(error: RecordedError) -> ApiError {
    match error {
        RecordedError::Stopping(unavailable) => unavailable.into(),
        RecordedError::Outbox(_) | RecordedError::Row { .. } => {
            tracing::error!(error = with_causes(&error), "the outbox cannot be read");
            ApiError::Internal
        }
    }
}

#[cfg(test)]
#[path = "history_recorded_tests.rs"]
mod tests;
