//! The chain of batches: where it ends, and the link that goes on from there.

use std::time::Duration;

use consigner_rules::Root;
use consigner_rules::archive::ArchiveMark;
use tokio::time::timeout;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::columns::signed_index;
use super::place::Stamp;
use super::session::{Parameter, ask, begin, column, ended, fixed};
use super::{Archive, ArchiveError, Lineage};

/// One writer per lineage at a time. The first number is this program's ("CNSG"), the second the lineage's (other locks: from 0 down).
const LOCK: &str = "SELECT pg_advisory_xact_lock(1129206599, $1)";

const HEAD: &str = "SELECT last_index, rows_after, chain_after, (extract(epoch FROM written_at) * 1000000)::bigint
    FROM consigner.batches WHERE cluster = $1 ORDER BY last_index DESC LIMIT 1";

const LINK: &str = "INSERT INTO consigner.batches
    (cluster, after_index, last_index, rows, rows_after, chain_before, chain_after, gap, written_by)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING (extract(epoch FROM written_at) * 1000000)::bigint";

const WHAT: &str = "link a batch";

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
}

/// A row of `batches`, in the types of the columns.
pub(super) struct Link<'a> {
    pub(super) lineage: &'a Lineage,
    before: &'a ArchiveMark,
    after: &'a ArchiveMark,
    pub(super) after_index: i64,
    pub(super) last_index: i64,
    rows: i64,
    rows_after: i64,
    gap: bool,
    pub(super) node: i64,
}

impl<'a> Link<'a> {
    pub(super) fn new(
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
    pub(super) async fn begins_at_head(
        &self,
        transaction: &Transaction<'_>,
        limit: Duration,
    ) -> Result<Option<Stamp>, ArchiveError> {
        ask(transaction, WHAT, limit, LOCK, &[(&self.lineage.id, Type::INT4)]).await?;
        // A question of its own: it sees what was committed while this side waited for the lock.
        let found = head(transaction, limit, self.lineage.id).await?;
        let at = found.map_or_else(|| ArchiveMark::begin(&self.lineage.cluster_id), |(mark, _)| mark);
        if at == *self.before {
            Ok(found.map(|(_, stamp)| stamp))
        } else {
            Err(ArchiveError::HeadMoved { head: found.map(|(mark, _)| mark) })
        }
    }

    pub(super) async fn insert(&self, transaction: &Transaction<'_>, limit: Duration) -> Result<Stamp, ArchiveError> {
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
        let rows = ask(transaction, WHAT, limit, LINK, &values).await?;
        let row = rows.first().ok_or_else(|| ArchiveError::Content("no time of writing".to_owned()))?;
        Ok(Stamp { lineage: self.lineage.id, last: self.last_index, written_us: column(row, 0)? })
    }

    /// The parameters of a question about everything that this batch covers.
    pub(super) fn range(&self) -> [Parameter<'_>; 3] {
        [(&self.lineage.id, Type::INT4), (&self.after_index, Type::INT8), (&self.last_index, Type::INT8)]
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
