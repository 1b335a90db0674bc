//! Writes a batch: its rows and the link that joins it to the batch before, in one transaction.
//!
//! In: the mark before, the rows, the mark after. Out: all of it is on the server's disk, or nothing is. The lock and the
//! comparison of the head make two writers harmless (a deposed leader and its successor): one of them finds that the
//! head moved. Deliberately absent: a cursor of its own; the head is the last batch.

use std::collections::BTreeSet;
use std::time::Duration;

use consigner_rules::archive::{ArchiveMark, ArchiveRow};
use consigner_rules::{HistoryImport, Root, codec};
use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use super::columns::{TableRows, signed_index};
use super::numeric::Uint;
use super::place::{Stamp, ValidatorIds};
use super::project::{Marks, Projection, Table, escape};
use super::session::{Parameter, ask, begin, column, ended, failed, fixed};
use super::{Archive, ArchiveError, Lineage};

/// The most rows of one batch: a transaction of about a second, and some ten megabytes of parameters.
pub const BATCH_ROWS_MAX: usize = 50_000;

/// Log indices per partition; `consigner.ensure_partitions` has the same number.
const PARTITION: u64 = 10_000_000;

/// One writer per lineage at a time. The first number is this program's ("CNSG"), the second the lineage's (other locks: from 0 down).
const LOCK: &str = "SELECT pg_advisory_xact_lock(1129206599, $1)";

const HEAD: &str = "SELECT last_index, rows_after, chain_after, (extract(epoch FROM written_at) * 1000000)::bigint
    FROM consigner.batches WHERE cluster = $1 ORDER BY last_index DESC LIMIT 1";

const PARTITIONS: &str = "SELECT consigner.ensure_partitions(i) FROM unnest($1::bigint[]) AS i";

const LINK: &str = "INSERT INTO consigner.batches
    (cluster, after_index, last_index, rows, rows_after, chain_before, chain_after, gap, written_by)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING (extract(epoch FROM written_at) * 1000000)::bigint";

const GAP: &str = "INSERT INTO consigner.gaps (cluster, after_index, last_index, reason, written_by)
    VALUES ($1, $2, $3, $4, $5)";

const BASELINE: &str = "INSERT INTO consigner.baselines
    (cluster, last_index, validator, slot, source_epoch, target_epoch, content)
    SELECT $1, $2, * FROM unnest($3::integer[], $4::numeric[], $5::numeric[], $6::numeric[], $7::bytea[])";

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
    /// How far the archive of this lineage has come; `None`: nothing was ever written.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn head(&mut self, lineage: &Lineage) -> Result<Option<ArchiveMark>, ArchiveError> {
        let limit = self.deadline;
        let client = &mut self.session.client;
        let work = async {
            let found = head(&begin(client, limit).await?, limit, lineage.id).await?;
            Ok(found.map(|(mark, _)| mark))
        };
        let answer = timeout(limit, work).await;
        ended(&self.session, "say where its head is", limit, answer)
    }

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

    /// Writes that the rows of (before, after] are lost, why, and what each validator had signed at most by then.
    ///
    /// # Errors
    /// As [`Archive::write`].
    pub async fn write_gap(
        &mut self,
        lineage: &Lineage,
        before: &ArchiveMark,
        after: &ArchiveMark,
        baseline: &[HistoryImport],
        reason: &str,
        node: u64,
    ) -> Result<(), ArchiveError> {
        let mut skipped = *before;
        skipped.skip(after.index);
        if skipped != *after || before.index >= after.index {
            return Err(ArchiveError::Batch("the mark behind the gap does not follow from the mark before it"));
        }
        let link = Link::new(lineage, before, after, true, node)?;
        let limit = self.deadline;
        let (client, validators) = (&mut self.session.client, &mut self.validators);
        let answer = timeout(limit, gap(client, validators, limit, &link, baseline, reason)).await;
        self.settled("write a gap", answer)
    }

    /// After a failure nothing that was remembered is believed.
    fn settled<T>(
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

/// A row of `batches`, in the types of the columns.
struct Link<'a> {
    lineage: &'a Lineage,
    before: &'a ArchiveMark,
    after: &'a ArchiveMark,
    after_index: i64,
    last_index: i64,
    rows: i64,
    rows_after: i64,
    gap: bool,
    node: i64,
}

impl<'a> Link<'a> {
    fn new(
        lineage: &'a Lineage,
        before: &'a ArchiveMark,
        after: &'a ArchiveMark,
        gap: bool,
        node: u64,
    ) -> Result<Self, ArchiveError> {
        let counted = |count: u64| i64::try_from(count).map_err(|_| ArchiveError::Batch("too many rows to count"));
        let (after_index, last_index) = (signed_index(before.index)?, signed_index(after.index)?);
        let rows = counted(after.rows.saturating_sub(before.rows))?;
        let (rows_after, node) = (counted(after.rows)?, node.cast_signed());
        Ok(Self { lineage, before, after, after_index, last_index, rows, rows_after, gap, node })
    }

    /// Takes the lineage's lock, and refuses unless this batch begins at the head.
    async fn begins_at_head(
        &self,
        transaction: &Transaction<'_>,
        limit: Duration,
    ) -> Result<Option<Stamp>, ArchiveError> {
        ask(transaction, BATCH, limit, LOCK, &[(&self.lineage.id, Type::INT4)]).await?;
        // A question of its own: it sees what was committed while this side waited for the lock.
        let found = head(transaction, limit, self.lineage.id).await?;
        let at = found.map_or_else(|| ArchiveMark::begin(&self.lineage.cluster_id), |(mark, _)| mark);
        if at == *self.before {
            Ok(found.map(|(_, stamp)| stamp))
        } else {
            Err(ArchiveError::HeadMoved { head: found.map(|(mark, _)| mark) })
        }
    }

    async fn insert(&self, transaction: &Transaction<'_>, limit: Duration) -> Result<Stamp, ArchiveError> {
        let (chain_before, chain_after) = (self.before.chain.0.as_slice(), self.after.chain.0.as_slice());
        let values: [Parameter<'_>; 9] = [
            (&self.lineage.id, Type::INT4),
            (&self.after_index, Type::INT8),
            (&self.last_index, Type::INT8),
            (&self.rows, Type::INT8),
            (&self.rows_after, Type::INT8),
            (&chain_before, Type::BYTEA),
            (&chain_after, Type::BYTEA),
            (&self.gap, Type::BOOL),
            (&self.node, Type::INT8),
        ];
        let rows = ask(transaction, BATCH, limit, LINK, &values).await?;
        let row = rows.first().ok_or_else(|| ArchiveError::Content("no time of writing".to_owned()))?;
        Ok(Stamp { lineage: self.lineage.id, last: self.last_index, written_us: column(row, 0)? })
    }
}

async fn head(
    transaction: &Transaction<'_>,
    limit: Duration,
    lineage: i32,
) -> Result<Option<(ArchiveMark, Stamp)>, ArchiveError> {
    let rows = ask(transaction, "say where its head is", limit, HEAD, &[(&lineage, Type::INT4)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let (last, count): (i64, i64) = (column(row, 0)?, column(row, 1)?);
    let below = || ArchiveError::Content("a batch has a number below zero".to_owned());
    let index = u64::try_from(last).map_err(|_| below())?;
    let rows = u64::try_from(count).map_err(|_| below())?;
    let mark = ArchiveMark { index, rows, chain: Root(fixed(row, 2)?) };
    Ok(Some((mark, Stamp { lineage, last, written_us: column(row, 3)? })))
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

impl Link<'_> {
    fn range(&self) -> [Parameter<'_>; 3] {
        [(&self.lineage.id, Type::INT4), (&self.after_index, Type::INT8), (&self.last_index, Type::INT8)]
    }
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

async fn gap(
    client: &mut Client,
    validators: &mut ValidatorIds,
    limit: Duration,
    link: &Link<'_>,
    baseline: &[HistoryImport],
    reason: &str,
) -> Result<(), ArchiveError> {
    let transaction = begin(client, limit).await?;
    validators.under(link.begins_at_head(&transaction, limit).await?);
    let fresh = validators.find(&transaction, limit, baseline.iter().map(|history| &history.public_key)).await?;
    let reason = escape(reason);
    let (lineage, node) = (&link.lineage.id, &link.node);
    let values: [Parameter<'_>; 5] = [
        (lineage, Type::INT4),
        (&link.after_index, Type::INT8),
        (&link.last_index, Type::INT8),
        (&reason, Type::TEXT),
        (node, Type::INT8),
    ];
    ask(&transaction, "write a gap", limit, GAP, &values).await?;
    let numbers = baseline.iter().map(|history| validators.number(&fresh, &history.public_key));
    let numbers = numbers.collect::<Result<Vec<i32>, _>>()?;
    let marks: Vec<Marks> = baseline.iter().map(Marks::of_history).collect();
    let of =
        |each: fn(&Marks) -> Option<u64>| -> Vec<Option<Uint>> { marks.iter().map(|m| each(m).map(Uint)).collect() };
    let (slots, sources, targets) = (of(|m| m.slot), of(|m| m.source_epoch), of(|m| m.target_epoch));
    let content: Vec<Vec<u8>> = baseline.iter().map(codec::encode).collect();
    let values: [Parameter<'_>; 7] = [
        (lineage, Type::INT4),
        (&link.last_index, Type::INT8),
        (&numbers, Type::INT4_ARRAY),
        (&slots, Type::NUMERIC_ARRAY),
        (&sources, Type::NUMERIC_ARRAY),
        (&targets, Type::NUMERIC_ARRAY),
        (&content, Type::BYTEA_ARRAY),
    ];
    ask(&transaction, "write a baseline", limit, BASELINE, &values).await?;
    let stamp = link.insert(&transaction, limit).await?;
    transaction.commit().await.map_err(|error| failed("write a gap", limit, error))?;
    validators.learn(stamp, fresh);
    Ok(())
}
