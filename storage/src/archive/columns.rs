//! The rows of one table as one statement: an array per column, and the arrays as parameters.
//!
//! Text is the same for any number of rows, and so is the number of parameters. (`COPY` would need a named statement,
//! which a pooler in transaction mode may give to another client.)

use std::collections::HashMap;

use consigner_rules::archive::ArchiveRow;
use consigner_rules::{AgreedDuty, PublicKey};
use tokio_postgres::types::Type;

use super::ArchiveError;
use super::numeric::Uint;
use super::place::ValidatorIds;
use super::project::{EventColumns, Marks, Projection, RefusedColumns, SignedColumns, Table};
use super::session::Parameter;

/// A column: its name and the name of its type.
type Column = (&'static str, &'static str);

const PLACE: [Column; 3] = [("log_index", "bigint"), ("ordinal", "integer"), ("proposed_at_ms", "bigint")];
const MARKS: [Column; 3] = [("slot", "numeric"), ("source_epoch", "numeric"), ("target_epoch", "numeric")];

/// Rows of one table, column by column.
pub(super) struct TableRows<'a> {
    pub(super) table: Table,
    names: Vec<Column>,
    values: Vec<Values<'a>>,
}

/// The values of one column.
enum Values<'a> {
    Int(Vec<Option<i32>>),
    Big(Vec<Option<i64>>),
    Number(Vec<Option<Uint>>),
    Bytes(Vec<&'a [u8]>),
    Text(Vec<&'a str>),
}

impl<'a> TableRows<'a> {
    /// The rows that belong to this table, with the numbers of their validators; `None`: there are none.
    pub(super) fn of(
        table: Table,
        rows: &'a [(&'a ArchiveRow, Projection)],
        ids: &ValidatorIds,
        fresh: &HashMap<PublicKey, i32>,
    ) -> Result<Option<Self>, ArchiveError> {
        let own: Vec<&(&ArchiveRow, Projection)> =
            rows.iter().filter(|(_, columns)| columns.table() == table).collect();
        if own.is_empty() {
            return Ok(None);
        }
        let validators =
            own.iter().map(|(_, columns)| columns.public_key().map(|key| ids.number(fresh, key)).transpose());
        let validators = validators.collect::<Result<Vec<Option<i32>>, _>>()?;
        let (mut names, mut values) = (PLACE.to_vec(), place(&own)?);
        let (more, own_values) = match table {
            Table::Blocks | Table::Attestations | Table::Exits => signed(table, validators, &own),
            Table::Refusals => refused(validators, &own),
            Table::KeyEvents | Table::PolicyEvents | Table::ClusterEvents => events(validators, &own),
        };
        names.extend(more);
        values.extend(own_values);
        Ok(Some(Self { table, names, values }))
    }

    /// Inserts all; `known_too`: some may be there already.
    pub(super) fn insert(&self, known_too: bool) -> String {
        let names = self.joined(|(name, _)| (*name).to_owned());
        let conflict = if known_too { " ON CONFLICT (cluster, log_index, ordinal) DO NOTHING" } else { "" };
        let table = self.table.name();
        format!(
            "INSERT INTO consigner.{table} (cluster, {names}) SELECT $1, * FROM unnest({}){conflict}",
            self.arrays()
        )
    }

    /// Finds the first of these rows that lies there with another content, or not at all.
    pub(super) fn differing(&self) -> String {
        let names = self.joined(|(name, _)| (*name).to_owned());
        let (own, theirs) =
            (self.joined(|(name, _)| format!("o.{name}")), self.joined(|(name, _)| format!("t.{name}")));
        format!(
            "SELECT o.log_index, o.ordinal FROM unnest({}) AS o ({names})
             LEFT JOIN consigner.{} t ON t.cluster = $1 AND t.log_index = o.log_index AND t.ordinal = o.ordinal
             WHERE ({own}) IS DISTINCT FROM ({theirs}) ORDER BY 1, 2 LIMIT 1",
            self.arrays(),
            self.table.name()
        )
    }

    /// The parameters of both: the lineage, then the columns.
    pub(super) fn parameters<'s>(&'s self, lineage: &'s i32) -> Vec<Parameter<'s>> {
        let mut parameters: Vec<Parameter<'s>> = vec![(lineage, Type::INT4)];
        parameters.extend(self.values.iter().map(Values::parameter));
        parameters
    }

    fn arrays(&self) -> String {
        let arrays = (2..).zip(&self.names).map(|(number, (_, kind))| format!("${number}::{kind}[]"));
        arrays.collect::<Vec<_>>().join(", ")
    }

    fn joined(&self, each: impl FnMut(&Column) -> String) -> String {
        self.names.iter().map(each).collect::<Vec<_>>().join(", ")
    }
}

impl Values<'_> {
    fn parameter(&self) -> Parameter<'_> {
        match self {
            Self::Int(values) => (values, Type::INT4_ARRAY),
            Self::Big(values) => (values, Type::INT8_ARRAY),
            Self::Number(values) => (values, Type::NUMERIC_ARRAY),
            Self::Bytes(values) => (values, Type::BYTEA_ARRAY),
            Self::Text(values) => (values, Type::TEXT_ARRAY),
        }
    }
}

/// A log index as the tables have it.
pub(super) fn signed_index(index: u64) -> Result<i64, ArchiveError> {
    i64::try_from(index).map_err(|_| ArchiveError::Batch("a log index has more than 63 bits"))
}

fn place<'a>(own: &[&'a (&'a ArchiveRow, Projection)]) -> Result<Vec<Values<'a>>, ArchiveError> {
    let indices = own.iter().map(|(row, _)| signed_index(row.index).map(Some)).collect::<Result<_, _>>()?;
    let ordinal = |row: &ArchiveRow| i32::try_from(row.ordinal).map(Some);
    let ordinals = own.iter().map(|(row, _)| ordinal(row)).collect::<Result<_, _>>();
    let ordinals = ordinals.map_err(|_| ArchiveError::Batch("an entry has more than 31 bits of changes"))?;
    let times = own.iter().map(|(row, _)| Some(row.proposed_at_ms.cast_signed())).collect();
    Ok(vec![Values::Big(indices), Values::Int(ordinals), Values::Big(times)])
}

type Named<'a> = (Vec<Column>, Vec<Values<'a>>);

fn signed<'a>(table: Table, validators: Vec<Option<i32>>, own: &[&'a (&'a ArchiveRow, Projection)]) -> Named<'a> {
    let rows: Vec<&SignedColumns> = own
        .iter()
        .filter_map(|(_, columns)| match columns {
            Projection::Signed(signed) => Some(signed),
            Projection::Refused(_) | Projection::Event(..) => None,
        })
        .collect();
    let (mut names, mut values) = (vec![("validator", "integer")], vec![Values::Int(validators)]);
    let number =
        |of: fn(AgreedDuty) -> Option<u64>| Values::Number(rows.iter().map(|row| of(row.duty).map(Uint)).collect());
    match table {
        Table::Attestations => {
            names.extend([("source_epoch", "numeric"), ("target_epoch", "numeric")]);
            values.extend([number(|duty| duty_marks(duty)[1]), number(|duty| duty_marks(duty)[2])]);
        }
        Table::Exits => {
            names.extend([("epoch", "numeric"), ("validator_index", "numeric")]);
            values.extend([number(|duty| duty_marks(duty)[3]), number(|duty| duty_marks(duty)[4])]);
        }
        Table::Blocks | Table::Refusals | Table::KeyEvents | Table::PolicyEvents | Table::ClusterEvents => {
            names.push(("slot", "numeric"));
            values.push(number(|duty| duty_marks(duty)[0]));
        }
    }
    let (more, asked) = asked(rows.iter().copied());
    names.extend(more);
    values.extend(asked);
    (names, values)
}

/// Slot; source, target; epoch and index of an exit.
const fn duty_marks(duty: AgreedDuty) -> [Option<u64>; 5] {
    match duty {
        AgreedDuty::Block { slot } => [Some(slot), None, None, None, None],
        AgreedDuty::Attestation { source_epoch, target_epoch } => {
            [None, Some(source_epoch), Some(target_epoch), None, None]
        }
        AgreedDuty::VoluntaryExit { epoch, validator_index } => [None, None, None, Some(epoch), Some(validator_index)],
    }
}

fn asked<'a>(rows: impl Iterator<Item = &'a SignedColumns> + Clone) -> Named<'a> {
    let names = vec![("signing_root", "bytea"), ("peer", "text"), ("node", "bigint")];
    let roots = rows.clone().map(|row| row.signing_root.0.as_slice()).collect();
    let peers = rows.clone().map(|row| row.peer.as_str()).collect();
    let nodes = rows.map(|row| row.node.map(u64::cast_signed)).collect();
    (names, vec![Values::Bytes(roots), Values::Text(peers), Values::Big(nodes)])
}

fn refused<'a>(validators: Vec<Option<i32>>, own: &[&'a (&'a ArchiveRow, Projection)]) -> Named<'a> {
    let rows: Vec<&RefusedColumns> = own
        .iter()
        .filter_map(|(_, columns)| match columns {
            Projection::Refused(refused) => Some(refused),
            Projection::Signed(_) | Projection::Event(..) => None,
        })
        .collect();
    let mut names = vec![("validator", "integer"), ("duty", "text")];
    let kinds = rows.iter().map(|row| row.kind.as_str()).collect();
    let mut values = vec![Values::Int(validators), Values::Text(kinds)];
    names.extend(MARKS);
    values.extend(marks(rows.iter().map(|row| row.marks)));
    let (more, asked) = asked(rows.iter().map(|row| &row.asked));
    names.extend(more);
    values.extend(asked);
    names.extend([("reason", "text"), ("content", "bytea")]);
    values.push(Values::Text(rows.iter().map(|row| row.reason.as_str()).collect()));
    values.push(Values::Bytes(rows.iter().map(|row| row.content.as_slice()).collect()));
    (names, values)
}

fn events<'a>(validators: Vec<Option<i32>>, own: &[&'a (&'a ArchiveRow, Projection)]) -> Named<'a> {
    let rows: Vec<&EventColumns> = own
        .iter()
        .filter_map(|(_, columns)| match columns {
            Projection::Event(_, event) => Some(event),
            Projection::Signed(_) | Projection::Refused(_) => None,
        })
        .collect();
    let mut names = vec![("kind", "text"), ("validator", "integer"), ("node", "bigint"), ("subject", "text")];
    let mut values = vec![
        Values::Text(rows.iter().map(|row| row.kind.as_str()).collect()),
        Values::Int(validators),
        Values::Big(rows.iter().map(|row| row.node.map(u64::cast_signed)).collect()),
        Values::Text(rows.iter().map(|row| row.subject.as_str()).collect()),
    ];
    names.extend(MARKS);
    values.extend(marks(rows.iter().map(|row| row.marks)));
    names.push(("content", "bytea"));
    values.push(Values::Bytes(rows.iter().map(|row| row.content.as_slice()).collect()));
    (names, values)
}

fn marks<'a>(rows: impl Iterator<Item = Marks> + Clone) -> [Values<'a>; 3] {
    let of = |each: fn(Marks) -> Option<u64>| Values::Number(rows.clone().map(|marks| each(marks).map(Uint)).collect());
    [of(|marks| marks.slot), of(|marks| marks.source_epoch), of(|marks| marks.target_epoch)]
}
