//! Reads rows and gaps back, in log order.
//!
//! In: a range of log indices. Out: the rows as they were archived, whole entries only. Each call is one read-only
//! transaction that sees one moment. Deliberately absent: proof that nothing is missing ([`super::verify`]).

use std::time::Duration;

use consigner_rules::archive::ArchiveRow;
use serde::Serialize;
use tokio::time::timeout;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::project::Table;
use super::rows::{Stored, select};
use super::session::{Parameter, ask, begin_read, column, ended};
use super::{Archive, ArchiveError, Lineage};

const ROWS: &str = "read rows";

const GAPS: &str = "SELECT g.after_index, g.last_index, g.reason, g.written_by,
        (extract(epoch FROM g.written_at) * 1000)::bigint,
        (SELECT count(*) FROM consigner.baselines b WHERE b.cluster = g.cluster AND b.last_index = g.last_index)
    FROM consigner.gaps g WHERE g.cluster = $1 ORDER BY g.last_index";

/// Entries whose rows nobody has any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The first lost entry is behind this log index.
    pub after: u64,
    /// The last lost entry.
    pub upto: u64,
    /// Why they are lost.
    pub reason: String,
    /// The node that said so.
    pub node: u64,
    /// When, by the database's clock, in milliseconds since the Unix epoch.
    pub written_at_ms: u64,
    /// Validators whose history stands for what is lost.
    pub baseline: u64,
}

impl Archive {
    /// The first rows of the entries (after, upto], in log order: whole entries, at most `max` rows, but one entry at
    /// least. Nothing is left in the range if nothing is answered.
    ///
    /// # Errors
    /// [`ArchiveError::Content`] names a row that was altered; those of every call.
    pub async fn rows_after(
        &mut self,
        lineage: &Lineage,
        after: u64,
        upto: u64,
        max: usize,
    ) -> Result<Vec<ArchiveRow>, ArchiveError> {
        let limit = self.deadline;
        let client = &mut self.session.client;
        let range = (lineage.id, index_of(after), index_of(upto));
        let work = async {
            let transaction = begin_read(client, limit).await?;
            entries(&transaction, limit, range, max.max(1)).await
        };
        let answer = timeout(limit, work).await;
        ended(&self.session, ROWS, limit, answer)
    }

    /// The gaps of a lineage, in log order.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn gaps(&mut self, lineage: &Lineage) -> Result<Vec<Gap>, ArchiveError> {
        let limit = self.deadline;
        let client = &mut self.session.client;
        let answer = timeout(limit, async { gaps(&begin_read(client, limit).await?, limit, lineage.id).await }).await;
        ended(&self.session, "list its gaps", limit, answer)
    }
}

/// A log index as the tables have it; none lies above.
pub(super) fn index_of(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

/// A number that the tables keep without a sign bit.
pub(super) fn unsigned(number: i64) -> Result<u64, ArchiveError> {
    u64::try_from(number).map_err(|_| ArchiveError::Content("a number is below zero".to_owned()))
}

pub(super) async fn gaps(
    transaction: &Transaction<'_>,
    limit: Duration,
    lineage: i32,
) -> Result<Vec<Gap>, ArchiveError> {
    let rows = ask(transaction, "list its gaps", limit, GAPS, &[(&lineage, Type::INT4)]).await?;
    let gap = |row| {
        Ok(Gap {
            after: unsigned(column(row, 0)?)?,
            upto: unsigned(column(row, 1)?)?,
            reason: column(row, 2)?,
            node: column::<i64>(row, 3)?.cast_unsigned(),
            written_at_ms: unsigned(column(row, 4)?)?,
            baseline: unsigned(column(row, 5)?)?,
        })
    };
    rows.iter().map(gap).collect()
}

/// Lineage, after, upto.
type Range = (i32, i64, i64);

async fn entries(
    transaction: &Transaction<'_>,
    limit: Duration,
    range: Range,
    max: usize,
) -> Result<Vec<ArchiveRow>, ArchiveError> {
    let mut found = first(transaction, limit, range, Some(max.saturating_add(1))).await?;
    if let Some(cut) = found.get(max).map(|row| row.index) {
        // The last entry may go on behind what was read.
        let whole = found.partition_point(|row| row.index < cut);
        if whole == 0 {
            let (lineage, _, _) = range;
            found = first(transaction, limit, (lineage, cut - 1, cut), None).await?;
        } else {
            found.truncate(whole);
        }
    }
    found.into_iter().map(Stored::believed).collect()
}

/// The first rows of all tables: they are among the first ones of each.
async fn first(
    transaction: &Transaction<'_>,
    limit: Duration,
    (lineage, after, upto): Range,
    max: Option<usize>,
) -> Result<Vec<Stored>, ArchiveError> {
    let most = max.map(|max| i64::try_from(max).unwrap_or(i64::MAX));
    let values: [Parameter<'_>; 4] =
        [(&lineage, Type::INT4), (&after, Type::INT8), (&upto, Type::INT8), (&most, Type::INT8)];
    let mut found = Vec::new();
    for table in Table::ALL {
        let question = format!(
            "{} WHERE t.cluster = $1 AND t.log_index > $2 AND t.log_index <= $3 ORDER BY t.log_index, t.ordinal LIMIT $4",
            select(table)
        );
        for row in ask(transaction, ROWS, limit, &question, &values).await? {
            found.push(Stored::of(table, &row)?);
        }
    }
    found.sort_by_key(Stored::place);
    found.truncate(max.unwrap_or(usize::MAX));
    Ok(found)
}
