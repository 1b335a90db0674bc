//! Writes a batch: its rows and the link that joins it to the batch before, in one transaction.
//!
//! In: the mark before, the rows, the mark after. Out: all of it is on the server's disk, or nothing is. The lock and the
//! comparison of the head make two writers harmless (a deposed leader and its successor): one of them finds that the
//! head moved. Deliberately absent: a cursor of its own; the head is the last batch.

use std::collections::BTreeSet;
use std::time::Duration;

use consigner_rules::archive::{ArchiveMark, ArchiveRow};
use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use super::columns::{TableRows, signed_index};
use super::link::Link;
use super::place::ValidatorIds;
use super::project::{Projection, Table};
use super::session::{Parameter, ask, begin, column, ended, failed};
use super::{Archive, ArchiveError, Lineage};

/// The most rows of one batch: a transaction of about a second, and some ten megabytes of parameters. A batch is closed
/// behind the entry that reaches what is configured (at most 50,000), because an entry is never split; so the most that
/// comes is 49,999 rows and one whole entry more, of up to 1,024 commands with seldom more than two changes each. A batch
/// that is refused here would be refused for ever.
pub const BATCH_ROWS_MAX: usize = 60_000;

/// Log indices per partition; `consigner.ensure_partitions` has the same number.
const PARTITION: u64 = 10_000_000;

const PARTITIONS: &str = "SELECT consigner.ensure_partitions(i) FROM unnest($1::bigint[]) AS i";

const BATCH: &str = "write a batch";

/// What a batch came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Rows that were written.
    pub new: u64,
    /// Rows that lay there already, with the same content.
    pub known: u64,
}

impl Archive {
    /// Writes the rows of (before, after], all or nothing; durable once this returns. `node` is who writes.
    ///
    /// # Errors
    /// [`ArchiveError::HeadMoved`], [`ArchiveError::Conflict`], [`ArchiveError::Batch`], and those of every call. After
    /// any error the batch may be written again; after [`ArchiveError::Deadline`] or [`ArchiveError::Unreachable`] it
    /// may have been written: the head says so.
    pub async fn write(
        &mut self,
        lineage: &Lineage,
        before: &ArchiveMark,
        rows: &[ArchiveRow],
        after: &ArchiveMark,
        node: u64,
    ) -> Result<Written, ArchiveError> {
        check(before, rows, after)?;
        let link = Link::new(lineage, before, after, false, node)?;
        let limit = self.deadline;
        let (client, validators) = (&mut self.session.client, &mut self.validators);
        let answer = timeout(limit, batch(client, validators, limit, &link, rows)).await;
        self.settled(BATCH, answer)
    }

    /// After a failure nothing that was remembered is believed.
    pub(super) fn settled<T>(
        &mut self,
        what: &'static str,
        answer: Result<Result<T, ArchiveError>, tokio::time::error::Elapsed>,
    ) -> Result<T, ArchiveError> {
        if !matches!(answer, Ok(Ok(_))) {
            self.validators.under(None);
        }
        ended(&self.session, what, self.deadline, answer)
    }
}

/// The batch must follow from its own marks: a link that does not would lie in the chain for ever.
fn check(before: &ArchiveMark, rows: &[ArchiveRow], after: &ArchiveMark) -> Result<(), ArchiveError> {
    if rows.len() > BATCH_ROWS_MAX {
        return Err(ArchiveError::Batch("it has too many rows"));
    }
    if after.index <= before.index {
        return Err(ArchiveError::Batch("it does not go beyond the mark before it"));
    }
    let (mut mark, mut last) = (*before, (before.index, u32::MAX));
    for row in rows {
        if (row.index, row.ordinal) <= last {
            return Err(ArchiveError::Batch("its rows are not in log order, or begin before it"));
        }
        last = (row.index, row.ordinal);
        mark.add(row);
    }
    mark.pass(after.index);
    if mark == *after { Ok(()) } else { Err(ArchiveError::Batch("the mark behind it does not follow from its rows")) }
}

async fn batch(
    client: &mut Client,
    validators: &mut ValidatorIds,
    limit: Duration,
    link: &Link<'_>,
    rows: &[ArchiveRow],
) -> Result<Written, ArchiveError> {
    let projected: Vec<(&ArchiveRow, Projection)> = rows.iter().map(|row| (row, Projection::of(&row.change))).collect();
    let transaction = begin(client, limit).await?;
    validators.under(link.begins_at_head(&transaction, limit).await?);
    let parts: BTreeSet<u64> = rows.iter().map(|row| row.index / PARTITION).collect();
    if !parts.is_empty() {
        let places = parts.iter().map(|part| signed_index(part * PARTITION)).collect::<Result<Vec<_>, _>>()?;
        let parameters: [Parameter<'_>; 1] = [(&places, Type::INT8_ARRAY)];
        ask(&transaction, "make partitions", limit, PARTITIONS, &parameters).await?;
    }
    let keys = projected.iter().filter_map(|(_, columns)| columns.public_key());
    let fresh = validators.find(&transaction, limit, keys).await?;
    let known_too = strays(&transaction, limit, link).await?;
    let mut new = 0;
    for table in Table::ALL {
        if let Some(rows) = TableRows::of(table, &projected, validators, &fresh)? {
            new += insert(&transaction, limit, link, &rows, known_too).await?;
        }
    }
    if known_too {
        nothing_else(&transaction, limit, link, rows).await?;
    }
    let stamp = link.insert(&transaction, limit).await?;
    transaction.commit().await.map_err(|error| failed(BATCH, limit, error))?;
    validators.learn(stamp, fresh);
    let all = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    Ok(Written { new, known: all.saturating_sub(new) })
}

async fn insert(
    transaction: &Transaction<'_>,
    limit: Duration,
    link: &Link<'_>,
    rows: &TableRows<'_>,
    known_too: bool,
) -> Result<u64, ArchiveError> {
    let parameters = rows.parameters(&link.lineage.id);
    let inserted = transaction.execute_typed(&rows.insert(known_too), &parameters).await;
    let new = inserted.map_err(|error| failed(BATCH, limit, error))?;
    if known_too {
        let found = ask(transaction, "compare rows", limit, &rows.differing(), &parameters).await?;
        if let Some(row) = found.first() {
            return Err(conflict(column(row, 0)?, column(row, 1)?));
        }
    }
    Ok(new)
}

fn conflict(index: i64, ordinal: i32) -> ArchiveError {
    ArchiveError::Conflict { index: index.cast_unsigned(), ordinal: ordinal.cast_unsigned() }
}

/// Refuses any row beyond the head: of a gap, which has none.
pub(super) async fn no_strays(
    transaction: &Transaction<'_>,
    limit: Duration,
    link: &Link<'_>,
) -> Result<(), ArchiveError> {
    if strays(transaction, limit, link).await? { nothing_else(transaction, limit, link, &[]).await } else { Ok(()) }
}

/// Whether rows lie beyond the head: of a database that was restored in parts, or altered.
async fn strays(transaction: &Transaction<'_>, limit: Duration, link: &Link<'_>) -> Result<bool, ArchiveError> {
    let exists = |table: Table| {
        format!(
            "EXISTS (SELECT FROM consigner.{} WHERE cluster = $1 AND log_index > $2 AND log_index <= $3)",
            table.name()
        )
    };
    let question = format!("SELECT {}", Table::ALL.map(exists).join(" OR "));
    let rows = ask(transaction, "look beyond its head", limit, &question, &link.range()).await?;
    rows.first().map_or(Ok(false), |row| column(row, 0))
}

/// Refuses rows beyond the head that are not in this batch.
async fn nothing_else(
    transaction: &Transaction<'_>,
    limit: Duration,
    link: &Link<'_>,
    rows: &[ArchiveRow],
) -> Result<(), ArchiveError> {
    let places = |table: Table| {
        format!(
            "SELECT log_index, ordinal FROM consigner.{} WHERE cluster = $1 AND log_index > $2 AND log_index <= $3",
            table.name()
        )
    };
    let question = Table::ALL.map(places).join(" UNION ALL ");
    let own: BTreeSet<(u64, u32)> = rows.iter().map(|row| (row.index, row.ordinal)).collect();
    let found = ask(transaction, "look beyond its head", limit, &question, &link.range()).await?;
    let mut count = 0_usize;
    for row in &found {
        let (index, ordinal): (i64, i32) = (column(row, 0)?, column(row, 1)?);
        if !own.contains(&(index.cast_unsigned(), ordinal.cast_unsigned())) {
            return Err(conflict(index, ordinal));
        }
        count += 1;
    }
    // A place that two tables hold.
    if count == own.len() { Ok(()) } else { Err(ArchiveError::Content("a row lies in two tables".to_owned())) }
}
