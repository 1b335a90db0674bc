//! A row of a table as the row that was archived, or what is wrong with it.
//!
//! In: the columns of a row. Out: the [`ArchiveRow`] that they are the columns of. Deliberately absent: any belief in
//! `content` alone; a change is taken only if every column says the same.

use consigner_rules::archive::ArchiveRow;
use consigner_rules::{AgreedDuty, Change, PublicKey, Root, codec};
use thiserror::Error;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use super::ArchiveError;
use super::numeric::Uint;
use super::project::{EventColumns, Events, Marks, Projection, ProjectionError, RefusedColumns, SignedColumns, Table};
use super::session::{column, fixed};

/// Columns before those of the table itself: place, time, number and key of the validator.
const FIRST: usize = 5;

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RowFault {
    /// A column holds what no row of this program holds.
    #[error("a column was altered: {0}")]
    Unreadable(String),
    /// It names a validator that `consigner.validators` does not have.
    #[error("it is of validator number {0}, which is not in the table validators")]
    Validator(i32),
    /// Content and columns.
    #[error("it was altered: {0}")]
    Altered(#[from] ProjectionError),
}

impl From<ArchiveError> for RowFault {
    fn from(error: ArchiveError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// A row where it lies.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) table: Table,
    pub(super) index: i64,
    pub(super) ordinal: i32,
    /// Milliseconds, bits of an unsigned number.
    pub(super) proposed_at_ms: i64,
    pub(super) change: Result<Change, RowFault>,
}

impl Stored {
    /// The row, from a question that begins with [`select`].
    pub(super) fn of(table: Table, row: &Row) -> Result<Self, ArchiveError> {
        let (index, ordinal, proposed_at_ms) = (column(row, 0)?, column(row, 1)?, column(row, 2)?);
        Ok(Self { table, index, ordinal, proposed_at_ms, change: change(table, row) })
    }

    pub(super) const fn place(&self) -> (i64, i32) {
        (self.index, self.ordinal)
    }

    /// As it was archived.
    pub(super) fn archived(self) -> Result<ArchiveRow, RowFault> {
        let below = |_| RowFault::Unreadable("its place is below zero".to_owned());
        let index = u64::try_from(self.index).map_err(below)?;
        let ordinal = u32::try_from(self.ordinal).map_err(below)?;
        Ok(ArchiveRow { index, ordinal, proposed_at_ms: self.proposed_at_ms.cast_unsigned(), change: self.change? })
    }

    /// As it was archived, for those who do not verify: what is wrong is an error that names the place.
    pub(super) fn believed(self) -> Result<ArchiveRow, ArchiveError> {
        let place = format!("{}, log index {}, place {}", self.table.name(), self.index, self.ordinal);
        self.archived()
            .map_err(|fault| ArchiveError::Content(format!("{place}: {fault}; run `consigner archive verify`")))
    }
}

/// The question for rows `t` of this table, up to its conditions. The key by a question within it: a join could lose the
/// order in which the index has the rows.
pub(super) fn select(table: Table) -> String {
    format!(
        "SELECT t.log_index, t.ordinal, t.proposed_at_ms, t.validator,
            (SELECT v.public_key FROM consigner.validators v WHERE v.id = t.validator), {}
         FROM consigner.{} t",
        columns(table),
        table.name()
    )
}

const fn columns(table: Table) -> &'static str {
    match table {
        Table::Blocks => "t.signing_root, t.peer, t.node, t.slot",
        Table::Attestations => "t.signing_root, t.peer, t.node, t.source_epoch, t.target_epoch",
        Table::Exits => "t.signing_root, t.peer, t.node, t.epoch, t.validator_index",
        Table::Refusals => {
            "t.signing_root, t.peer, t.node, t.slot, t.source_epoch, t.target_epoch, t.content, t.duty, t.reason"
        }
        Table::KeyEvents | Table::PolicyEvents | Table::ClusterEvents => {
            "t.kind, t.subject, t.node, t.slot, t.source_epoch, t.target_epoch, t.content"
        }
    }
}

/// A column of the table itself.
fn own<'a, T: FromSql<'a>>(row: &'a Row, place: usize) -> Result<T, ArchiveError> {
    column(row, FIRST + place)
}

fn change(table: Table, row: &Row) -> Result<Change, RowFault> {
    let public_key = public_key(row)?;
    let number = |place| own::<Uint>(row, place).map(|number| number.0);
    let signed = |duty| -> Result<SignedColumns, RowFault> { asked(row, public_key, duty) };
    let projection = match table {
        Table::Blocks => Projection::Signed(signed(AgreedDuty::Block { slot: number(3)? })?),
        Table::Attestations => {
            let (source_epoch, target_epoch) = (number(3)?, number(4)?);
            Projection::Signed(signed(AgreedDuty::Attestation { source_epoch, target_epoch })?)
        }
        Table::Exits => {
            let (epoch, validator_index) = (number(3)?, number(4)?);
            Projection::Signed(signed(AgreedDuty::VoluntaryExit { epoch, validator_index })?)
        }
        Table::Refusals => refused(row, public_key)?,
        Table::KeyEvents => event(Events::Key, row, public_key)?,
        Table::PolicyEvents => event(Events::Policy, row, public_key)?,
        Table::ClusterEvents => event(Events::Cluster, row, public_key)?,
    };
    Ok(projection.change()?)
}

fn public_key(row: &Row) -> Result<Option<PublicKey>, RowFault> {
    let (number, key): (Option<i32>, Option<&[u8]>) = (column(row, 3)?, column(row, 4)?);
    match (number, key) {
        (None, _) => Ok(None),
        (Some(number), None) => Err(RowFault::Validator(number)),
        (Some(_), Some(_)) => Ok(Some(PublicKey(fixed(row, 4)?))),
    }
}

fn asked(row: &Row, public_key: Option<PublicKey>, duty: AgreedDuty) -> Result<SignedColumns, RowFault> {
    let public_key = public_key.ok_or_else(|| RowFault::Unreadable("it names no validator".to_owned()))?;
    let (signing_root, peer) = (Root(fixed(row, FIRST)?), own(row, 1)?);
    Ok(SignedColumns { public_key, duty, signing_root, peer, node: node(row)? })
}

fn node(row: &Row) -> Result<Option<u64>, RowFault> {
    Ok(own::<Option<i64>>(row, 2)?.map(i64::cast_unsigned))
}

fn marks(row: &Row) -> Result<Marks, RowFault> {
    let mark = |place| own::<Option<Uint>>(row, place).map(|number| number.map(|number| number.0));
    Ok(Marks { slot: mark(3)?, source_epoch: mark(4)?, target_epoch: mark(5)? })
}

/// The duty is in the content alone (an exit has numbers without a column here); everything else must agree.
fn refused(row: &Row, public_key: Option<PublicKey>) -> Result<Projection, RowFault> {
    let content: Vec<u8> = own(row, 6)?;
    let decoded: Result<Change, _> = codec::decode(&content);
    let change = decoded.map_err(|error| ProjectionError::Content(error.to_string()))?;
    let duty = change.refused().map(|refused| refused.duty).ok_or(ProjectionError::Columns)?;
    let asked = asked(row, public_key, duty)?;
    let (kind, reason) = (own(row, 7)?, own(row, 8)?);
    Ok(Projection::Refused(RefusedColumns { asked, kind, marks: marks(row)?, reason, content }))
}

fn event(events: Events, row: &Row, public_key: Option<PublicKey>) -> Result<Projection, RowFault> {
    let (kind, subject, content) = (own(row, 0)?, own(row, 1)?, own(row, 6)?);
    let columns = EventColumns { kind, public_key, node: node(row)?, subject, marks: marks(row)?, content };
    Ok(Projection::Event(events, columns))
}
