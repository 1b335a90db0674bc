//! Says that rows are lost: for ever, and in the chain itself, so that nobody can pass a gap off as complete.

use std::time::Duration;

use consigner_rules::archive::ArchiveMark;
use consigner_rules::{HistoryImport, codec};
use tokio::time::timeout;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::link::Link;
use super::numeric::Uint;
use super::place::ValidatorIds;
use super::project::{Marks, escape};
use super::session::{Parameter, ask, begin, failed};
use super::write::no_strays;
use super::{Archive, ArchiveError, Lineage};

const GAP: &str = "INSERT INTO consigner.gaps (cluster, after_index, last_index, reason, written_by)
    VALUES ($1, $2, $3, $4, $5)";

const BASELINE: &str = "INSERT INTO consigner.baselines
    (cluster, last_index, validator, slot, source_epoch, target_epoch, content)
    SELECT $1, $2, * FROM unnest($3::integer[], $4::numeric[], $5::numeric[], $6::numeric[], $7::bytea[])";

const WHAT: &str = "write a gap";

impl Archive {
    /// Writes that the rows of (before, after] are lost, why, and what each validator had signed at most by then.
    ///
    /// # Errors
    /// As [`Archive::write`]; [`ArchiveError::Conflict`] if any row of the gap lies there.
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
        self.settled(WHAT, answer)
    }
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
    // What lies there is not lost: a gap over it could never be verified.
    no_strays(&transaction, limit, link).await?;
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
    ask(&transaction, WHAT, limit, GAP, &values).await?;
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
    transaction.commit().await.map_err(|error| failed(WHAT, limit, error))?;
    validators.learn(stamp, fresh);
    Ok(())
}
