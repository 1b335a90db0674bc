//! What happened, for people: rows by validator, epoch, slot, time, client and node.
//!
//! In: a [`Question`]. Out: the newest rows that answer it, newest last. Deliberately absent: texts for people.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use consigner_rules::PublicKey;
use consigner_rules::archive::ArchiveRow;
use tokio::time::timeout;
use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};

use super::numeric::Uint;
use super::project::{Table, escape};
use super::read::index_of;
use super::rows::{Stored, select};
use super::session::{Parameter, ask, begin_read, ended};
use super::{Archive, ArchiveError, Lineage};

/// The most rows of an answer: what a person may want to read, times a hundred.
pub const SHOWN_MAX: usize = 10_000;

/// Which rows. What is left out restricts nothing.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// Of this validator.
    pub public_key: Option<PublicKey>,
    /// Attestations with their target, exits with their epoch in this range. Other rows, unless `slots` lets them in, are
    /// left out.
    pub epochs: Option<RangeInclusive<u64>>,
    /// Blocks with their slot in this range. Other rows, unless `epochs` lets them in, are left out.
    pub slots: Option<RangeInclusive<u64>>,
    /// Proposed since then, in milliseconds since the Unix epoch.
    pub since_ms: Option<u64>,
    /// From these tables.
    pub tables: Option<BTreeSet<Table>>,
    /// Asked by this client: the common name in its certificate. Events are left out.
    pub client: Option<String>,
    /// Through (or about) this node.
    pub node: Option<u64>,
    /// At most so many, the newest; at most [`SHOWN_MAX`].
    pub max: usize,
}

impl Archive {
    /// The newest rows of a lineage that answer the question, in log order.
    ///
    /// # Errors
    /// [`ArchiveError::Content`] names a row that was altered; those of every call.
    pub async fn show(&mut self, lineage: &Lineage, question: &Question) -> Result<Vec<ArchiveRow>, ArchiveError> {
        let limit = self.deadline;
        let client = &mut self.session.client;
        let work = async {
            let transaction = begin_read(client, limit).await?;
            newest(&transaction, limit, lineage.id, question).await
        };
        let answer = timeout(limit, work).await;
        ended(&self.session, "show rows", limit, answer)
    }
}

async fn newest(
    transaction: &Transaction<'_>,
    limit: Duration,
    lineage: i32,
    question: &Question,
) -> Result<Vec<ArchiveRow>, ArchiveError> {
    let mut found = Vec::new();
    for table in Table::ALL {
        let Some(conditions) = Conditions::of(table, lineage, question) else { continue };
        let text = conditions.text(table);
        for row in ask(transaction, "show rows", limit, &text, &conditions.parameters()).await? {
            found.push(Stored::of(table, &row)?);
        }
    }
    found.sort_by_key(Stored::place);
    let surplus = found.len().saturating_sub(question.max.min(SHOWN_MAX));
    found.into_iter().skip(surplus).map(Stored::believed).collect()
}

/// The conditions of one table, with their values.
struct Conditions {
    texts: Vec<String>,
    values: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
    max: usize,
}

impl Conditions {
    /// `None`: no row of this table can answer.
    fn of(table: Table, lineage: i32, question: &Question) -> Option<Self> {
        if question.tables.as_ref().is_some_and(|tables| !tables.contains(&table)) {
            return None;
        }
        let mut own = Self { texts: Vec::new(), values: Vec::new(), max: question.max.min(SHOWN_MAX) };
        own.add("t.cluster = ?", lineage, Type::INT4);
        if let Some(key) = &question.public_key {
            let text = "t.validator = (SELECT k.id FROM consigner.validators k WHERE k.public_key = ?)";
            own.add(text, key.0.to_vec(), Type::BYTEA);
        }
        if let Some(since) = question.since_ms {
            own.add("t.proposed_at_ms >= ?", index_of(since), Type::INT8);
        }
        if let Some(client) = &question.client {
            if matches!(table, Table::KeyEvents | Table::PolicyEvents | Table::ClusterEvents) {
                return None;
            }
            own.add("t.peer = ?", escape(client).into_owned(), Type::TEXT);
        }
        if let Some(node) = question.node {
            own.add("t.node = ?", node.cast_signed(), Type::INT8);
        }
        if question.epochs.is_some() || question.slots.is_some() {
            own.within(table, question)?;
        }
        Some(own)
    }

    fn within(&mut self, table: Table, question: &Question) -> Option<()> {
        let mut either = Vec::new();
        let (slot, epoch) = match table {
            Table::Blocks => (Some("t.slot"), None),
            Table::Attestations => (None, Some("t.target_epoch")),
            Table::Exits => (None, Some("t.epoch")),
            Table::Refusals => (Some("t.slot"), Some("t.target_epoch")),
            Table::KeyEvents | Table::PolicyEvents | Table::ClusterEvents => return None,
        };
        for (name, range) in [(slot, &question.slots), (epoch, &question.epochs)] {
            let (Some(name), Some(range)) = (name, range) else { continue };
            let (first, last) = (self.value(Uint(*range.start())), self.value(Uint(*range.end())));
            either.push(format!("{name} BETWEEN {first} AND {last}"));
        }
        if either.is_empty() {
            return None;
        }
        self.texts.push(format!("({})", either.join(" OR ")));
        Some(())
    }

    fn value(&mut self, value: Uint) -> String {
        self.values.push((Box::new(value), Type::NUMERIC));
        format!("${}", self.values.len())
    }

    fn add(&mut self, text: &str, value: impl ToSql + Sync + Send + 'static, kind: Type) {
        self.values.push((Box::new(value), kind));
        self.texts.push(text.replace('?', &format!("${}", self.values.len())));
    }

    fn text(&self, table: Table) -> String {
        let conditions = self.texts.join(" AND ");
        let order = "ORDER BY t.log_index DESC, t.ordinal DESC";
        format!("{} WHERE {conditions} {order} LIMIT {}", select(table), self.max)
    }

    fn parameters(&self) -> Vec<Parameter<'_>> {
        self.values.iter().map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone())).collect()
    }
}
