//! An archive in a database, as the commands read it.

use super::line::Line;
use super::place::{APPLICATION, Database};
use super::wanted::Wanted;
use crate::cli::progress::Progress;
use consigner_rules::archive::{ArchiveMark, ArchiveRow};
use consigner_rules::command::HistoryImport;
use consigner_rules::primitives::ClusterId;
use consigner_storage::archive::project::Projection;
use consigner_storage::archive::{self, Archive, ArchiveError, Gap, Lineage, VerifyReport};

/// Rows that are read at one time: some megabytes.
const PAGE_ROWS: usize = 5_000;

/// Why a database cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum DatabaseError {
    /// It said no, or is away.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Nothing was archived yet, or not of that cluster.
    #[error("the archive holds nothing of cluster {0}")]
    Unknown(ClusterId),
    /// Nothing was archived yet.
    #[error("the archive is empty: no cluster has written to it")]
    Empty,
}

/// A connection, and the lineages that are meant, in the order in which they came.
pub(super) async fn open(database: &Database) -> Result<(Archive, Vec<Lineage>), DatabaseError> {
    let mut archive = database.config.database(APPLICATION).connect().await?;
    archive.check_schema().await?;
    let mut lineages = archive.lineages().await?;
    if let Some(wanted) = database.lineage {
        lineages.retain(|lineage| lineage.cluster_id == wanted);
        if lineages.is_empty() {
            return Err(DatabaseError::Unknown(wanted));
        }
    }
    if lineages.is_empty() { Err(DatabaseError::Empty) } else { Ok((archive, lineages)) }
}

/// The newest rows that are wanted; those of an older cluster first.
pub(super) async fn show(database: &Database, wanted: &Wanted) -> Result<Vec<Line>, DatabaseError> {
    let (mut archive, lineages) = open(database).await?;
    let mut lines = Vec::new();
    for lineage in &lineages {
        let id = lineage.cluster_id.to_string();
        let question = wanted.on(Some(&lineage.network)).question();
        let rows = archive.show(lineage, &question).await?;
        lines.extend(rows.iter().map(|row| Line::of(&id, row, &Projection::of(&row.change))));
    }
    let surplus = lines.len().saturating_sub(wanted.last);
    lines.drain(..surplus);
    Ok(lines)
}

/// Every row of a lineage, in log order; where it ends, and its gaps.
pub(super) async fn rows<E: From<DatabaseError>>(
    archive: &mut Archive,
    lineage: &Lineage,
    mut take: impl FnMut(ArchiveRow) -> Result<(), E>,
) -> Result<Vec<Gap>, E> {
    let failed = |error: ArchiveError| E::from(DatabaseError::Archive(error));
    let Some(head) = archive.head(lineage).await.map_err(failed)? else { return Ok(Vec::new()) };
    let mut progress = Progress::new("read", "rows", head.rows);
    let (mut after, mut done) = (0, 0);
    loop {
        let rows = archive.rows_after(lineage, after, head.index, PAGE_ROWS).await.map_err(failed)?;
        let Some(last) = rows.last() else { break };
        after = last.index;
        done += rows.len() as u64;
        rows.into_iter().try_for_each(&mut take)?;
        progress.reached(done);
    }
    archive.gaps(lineage).await.map_err(failed)
}

/// Proves a lineage.
pub(super) async fn verify(
    archive: &mut Archive,
    lineage: &Lineage,
    mark: Option<ArchiveMark>,
) -> Result<VerifyReport, DatabaseError> {
    let mut progress: Option<Progress> = None;
    let tell = |reached: archive::Progress| {
        progress.get_or_insert_with(|| Progress::new("verified", "rows", reached.total)).reached(reached.rows);
    };
    Ok(archive::verify(archive, lineage, mark, tell).await?)
}

/// What each validator has signed at most.
pub(super) async fn maxima(
    archive: &mut Archive,
    lineage: Option<&Lineage>,
) -> Result<Vec<HistoryImport>, DatabaseError> {
    Ok(archive.maxima(lineage).await?)
}
