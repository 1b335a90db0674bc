//! Proves that an archive is what was written, or says where it is not.
//!
//! ```text
//! batches, in log order ---------------v
//! rows of all tables, merged ------> walk: the chain once more, from the columns --> report
//! the cluster's mark, if asked live ---^
//! ```
//! In: a lineage, and the mark that the cluster knows. Out: a [`VerifyReport`]. One read-only transaction sees one moment,
//! so an exporter may go on writing; what it writes is not looked at. Memory holds a few thousand rows, whatever the
//! archive holds. A batch that is wrong does not hide the next one: the walk goes on with what that one was written with.
//! Deliberately absent: repair.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::time::Duration;

use consigner_rules::Root;
use consigner_rules::archive::ArchiveMark;
use consigner_rules::codec;
use consigner_rules::command::HistoryImport;
use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

use super::lineage::all;
use super::numeric::Uint;
use super::project::{Marks, Table};
use super::read::{Gap, gaps, unsigned};
use super::rows::{Stored, select};
use super::session::{Parameter, ask, begin_read, column, failed, fixed};
use super::verify_report::{FaultKind, Place, Progress, VerifyReport};
use super::verify_walk::Walk;
use super::{Archive, ArchiveError, Lineage};

/// Rows of one table that are fetched at one time; seven tables and some hundred bytes per row make a few megabytes.
const FETCHED: usize = 2_000;

const WHAT: &str = "be verified";

const LINKS: &str = "SELECT after_index, last_index, rows, rows_after, chain_before, chain_after, gap
    FROM consigner.batches t";

const TOTAL: &str = "SELECT coalesce(sum(rows), 0)::bigint FROM consigner.batches WHERE cluster = $1";

const BASELINES: &str = "SELECT t.last_index, t.validator,
        (SELECT v.public_key FROM consigner.validators v WHERE v.id = t.validator),
        t.slot, t.source_epoch, t.target_epoch, t.content
    FROM consigner.baselines t";

/// Reads a whole lineage and proves it, up to the end that it has now. `mark` is what the cluster knows, read before this
/// call (the archive is never behind it). `progress` is told now and then.
///
/// # Errors
/// Those of every call: then nothing is known about the archive. What is wrong with the archive is in the report. The
/// deadline of the connection is for each part that is read, not for the whole.
pub async fn verify(
    archive: &mut Archive,
    lineage: &Lineage,
    mark: Option<ArchiveMark>,
    progress: impl FnMut(Progress),
) -> Result<VerifyReport, ArchiveError> {
    let limit = archive.deadline;
    let answer = verified(archive, limit, lineage, mark, progress).await;
    if matches!(answer, Err(ArchiveError::Deadline { .. })) {
        archive.session.close();
    }
    answer
}

async fn verified(
    archive: &mut Archive,
    limit: Duration,
    lineage: &Lineage,
    mark: Option<ArchiveMark>,
    mut progress: impl FnMut(Progress),
) -> Result<VerifyReport, ArchiveError> {
    let transaction = within(limit, begin_read(&mut archive.session.client, limit)).await?;
    let reader = Reader { transaction: &transaction, limit, lineage: lineage.id };
    let total = reader.total().await?;
    let mut links = reader.cursor("consigner_links", LINKS, "last_index, after_index").await?;
    let mut rows = Rows::open(&reader).await?;
    let mut walk = Walk::new(lineage, mark);
    let mut told = 0;
    while let Some(link) = links.next(&reader, Link::of).await? {
        walk.begin(&link);
        while rows.peek(&reader).await?.is_some_and(|(index, _)| index <= link.upto_column()) {
            if let Some(row) = rows.take() {
                walk.row(&link, row);
            }
            if walk.rows() >= told + FETCHED as u64 {
                told = walk.rows();
                progress(Progress { rows: told, total, index: link.after });
            }
        }
        walk.end(&link);
        progress(Progress { rows: walk.rows(), total, index: link.upto });
    }
    while rows.peek(&reader).await?.is_some() {
        if let Some(row) = rows.take() {
            walk.outside(&row);
        }
    }
    let explained = within(limit, gaps(&transaction, limit, lineage.id)).await?;
    let mut report = walk.over(explained);
    baselines(&reader, &mut report).await?;
    strays(&reader, &mut report).await?;
    Ok(report)
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, ArchiveError>>) -> Result<T, ArchiveError> {
    timeout(limit, work).await.unwrap_or(Err(ArchiveError::Deadline { what: WHAT, limit }))
}

/// A row of `batches`.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) after: u64,
    pub(super) upto: u64,
    pub(super) rows: u64,
    pub(super) rows_after: u64,
    pub(super) chain_before: Root,
    pub(super) chain_after: Root,
    pub(super) gap: bool,
}

impl Link {
    fn of(row: &Row) -> Result<Self, ArchiveError> {
        let number = |place| unsigned(column(row, place)?);
        Ok(Self {
            after: number(0)?,
            upto: number(1)?,
            rows: number(2)?,
            rows_after: number(3)?,
            chain_before: Root(fixed(row, 4)?),
            chain_after: Root(fixed(row, 5)?),
            gap: column(row, 6)?,
        })
    }

    const fn upto_column(&self) -> i64 {
        self.upto.cast_signed()
    }
}

/// The transaction, and what all its questions share.
struct Reader<'t> {
    transaction: &'t Transaction<'t>,
    limit: Duration,
    lineage: i32,
}

impl Reader<'_> {
    async fn total(&self) -> Result<u64, ArchiveError> {
        let values = [(&self.lineage as _, Type::INT4)];
        let rows = within(self.limit, ask(self.transaction, WHAT, self.limit, TOTAL, &values)).await?;
        rows.first().map_or(Ok(0), |row| unsigned(column(row, 0)?))
    }

    /// The number that a question answers, if any.
    async fn number(&self, question: &str, values: &[Parameter<'_>]) -> Result<Option<i32>, ArchiveError> {
        let rows = within(self.limit, ask(self.transaction, WHAT, self.limit, question, values)).await?;
        rows.first().map_or(Ok(None), |row| column(row, 0))
    }

    /// Opens a cursor over rows `t` of this lineage. It lives as long as the transaction, so a pooler does not mind.
    async fn cursor(&self, name: &str, question: &str, order: &str) -> Result<Cursor, ArchiveError> {
        let declared = format!(
            "DECLARE {name} NO SCROLL CURSOR FOR {question} WHERE t.cluster = {} ORDER BY {order}",
            self.lineage
        );
        let declare = async {
            let done = self.transaction.batch_execute(&declared).await;
            done.map_err(|error| failed(WHAT, self.limit, error))
        };
        within(self.limit, declare).await?;
        let fetch = format!("FETCH FORWARD {FETCHED} FROM {name}");
        Ok(Cursor { fetch, rows: VecDeque::new(), over: false })
    }
}

/// What a question answers, part by part.
struct Cursor {
    fetch: String,
    rows: VecDeque<Row>,
    over: bool,
}

impl Cursor {
    async fn fill(&mut self, reader: &Reader<'_>) -> Result<(), ArchiveError> {
        if self.rows.is_empty() && !self.over {
            let asked = ask(reader.transaction, WHAT, reader.limit, &self.fetch, &[]);
            self.rows = within(reader.limit, asked).await?.into();
            self.over = self.rows.len() < FETCHED;
        }
        Ok(())
    }

    async fn next<T>(
        &mut self,
        reader: &Reader<'_>,
        of: fn(&Row) -> Result<T, ArchiveError>,
    ) -> Result<Option<T>, ArchiveError> {
        self.fill(reader).await?;
        self.rows.pop_front().as_ref().map(of).transpose()
    }
}

/// The rows of all tables, in log order.
struct Rows {
    cursors: Vec<(Table, Cursor)>,
    /// The next row of each table.
    heads: Vec<Option<Stored>>,
}

impl Rows {
    async fn open(reader: &Reader<'_>) -> Result<Self, ArchiveError> {
        let mut cursors = Vec::new();
        for table in Table::ALL {
            let name = format!("consigner_{}", table.name());
            let cursor = reader.cursor(&name, &select(table), "t.log_index, t.ordinal").await?;
            cursors.push((table, cursor));
        }
        Ok(Self { heads: Table::ALL.map(|_| None).into(), cursors })
    }

    /// The place of the next row.
    async fn peek(&mut self, reader: &Reader<'_>) -> Result<Option<(i64, i32)>, ArchiveError> {
        for ((table, cursor), head) in self.cursors.iter_mut().zip(&mut self.heads) {
            if head.is_none() {
                cursor.fill(reader).await?;
                *head = cursor.rows.pop_front().map(|row| Stored::of(*table, &row)).transpose()?;
            }
        }
        Ok(self.heads.iter().flatten().map(Stored::place).min())
    }

    /// The next row, after [`Rows::peek`].
    fn take(&mut self) -> Option<Stored> {
        let first = self.heads.iter_mut().filter(|head| head.is_some());
        first.min_by_key(|head| head.as_ref().map(Stored::place))?.take()
    }
}

/// Rows under a number that no lineage has are in nobody's chain, and in every view: each number is named once. The rows
/// of other lineages are proven by a verification of their own.
async fn strays(reader: &Reader<'_>, report: &mut VerifyReport) -> Result<(), ArchiveError> {
    let lineages = within(reader.limit, all(reader.transaction, reader.limit)).await?;
    let tables = Table::ALL.map(Table::name).into_iter().chain(["batches", "gaps", "baselines"]);
    for table in tables {
        // From number to number by the index that begins with it: no row in between is read.
        let next = format!("SELECT min(cluster) FROM consigner.{table} WHERE cluster >= $1");
        let mut from = Some(i32::MIN);
        while let Some(least) = from {
            let Some(number) = reader.number(&next, &[(&least, Type::INT4)]).await? else { break };
            if !lineages.iter().any(|lineage| lineage.id == number) {
                report.add(Place { table: Some(table), ..Place::default() }, FaultKind::Unlisted { number });
            }
            if report.more_faults > 0 {
                return Ok(());
            }
            from = number.checked_add(1);
        }
    }
    Ok(())
}

/// What stands for the gaps is not in the chain: it is compared with itself, and with the gaps.
async fn baselines(reader: &Reader<'_>, report: &mut VerifyReport) -> Result<(), ArchiveError> {
    let mut cursor = reader.cursor("consigner_baselines", BASELINES, "t.last_index, t.validator").await?;
    let known: BTreeMap<u64, u64> = report.gaps.iter().map(|gap: &Gap| (gap.upto, gap.after)).collect();
    while let Some((upto, validator, fault)) = cursor.next(reader, baseline).await? {
        let after = u64::try_from(upto).ok().and_then(|upto| Some((*known.get(&upto)?, upto)));
        let fault = if after.is_none() { Some("there is no such gap".to_owned()) } else { fault };
        if let Some(why) = fault {
            let place = Place { table: Some("baselines"), index: Some(upto), batch: after, ..Place::default() };
            report.add(place, FaultKind::Baseline { validator, why });
        }
    }
    Ok(())
}

/// Last index, validator, what is wrong.
fn baseline(row: &Row) -> Result<(i64, i32, Option<String>), ArchiveError> {
    let (upto, validator) = (column(row, 0)?, column(row, 1)?);
    let compared = || -> Result<bool, ArchiveError> {
        let key: Option<&[u8]> = column(row, 2)?;
        let mark = |place| column::<Option<Uint>>(row, place).map(|number| number.map(|number| number.0));
        let marks = Marks { slot: mark(3)?, source_epoch: mark(4)?, target_epoch: mark(5)? };
        let content: &[u8] = column(row, 6)?;
        let decoded: Result<HistoryImport, _> = codec::decode(content);
        let history = decoded.map_err(|error| ArchiveError::Content(error.to_string()))?;
        Ok(key == Some(history.public_key.0.as_slice()) && marks == Marks::of_history(&history))
    };
    let why = match compared() {
        Ok(true) => None,
        Ok(false) => Some("its columns do not agree with its content".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    Ok((upto, validator, why))
}
