//! The questions, all in one transaction, and what the answers mean.

use std::time::Duration;

use consigner_rules::command::{HighWatermark, ImportedAttestation, ImportedBlock};
use consigner_rules::{HistoryImport, PublicKey, Root};
use futures::TryStreamExt as _;
use tokio_postgres::{Client, IsolationLevel, Row, Transaction};

use super::{SCHEMA_VERSION, SignerRecords, SignerValidator, Web3SignerError};

/// One row per validator. Numbers come as text: they are NUMERIC(20), which has no type of 64 bits. The joins to the
/// newest rows find at most one each: (validator, slot) and (validator, target) are unique in this schema.
const VALIDATORS: &str = "
SELECT v.id, v.public_key, v.enabled,
       coalesce(b.records, 0), b.slot::text, newest_block.signing_root,
       coalesce(a.records, 0), a.source::text, a.target::text,
       newest_vote.source_epoch::text, newest_vote.signing_root,
       low.slot::text, low.source_epoch::text, low.target_epoch::text
FROM validators v
LEFT JOIN (SELECT validator_id, count(*) AS records, max(slot) AS slot
           FROM signed_blocks GROUP BY validator_id) b ON b.validator_id = v.id
LEFT JOIN signed_blocks newest_block ON newest_block.validator_id = v.id AND newest_block.slot = b.slot
LEFT JOIN (SELECT validator_id, count(*) AS records, max(source_epoch) AS source, max(target_epoch) AS target
           FROM signed_attestations GROUP BY validator_id) a ON a.validator_id = v.id
LEFT JOIN signed_attestations newest_vote ON newest_vote.validator_id = v.id AND newest_vote.target_epoch = a.target
LEFT JOIN low_watermarks low ON low.validator_id = v.id
ORDER BY v.public_key";

const METADATA: &str =
    "SELECT genesis_validators_root, high_watermark_epoch::text, high_watermark_slot::text FROM metadata WHERE id = 1";

pub(super) async fn all(client: &mut Client, deadline: Duration) -> Result<SignerRecords, Web3SignerError> {
    let begun = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    let transaction = begun.start().await.map_err(asked("a transaction"))?;
    // The server must not go on with a question that nobody waits for any more.
    let limit = format!("SET LOCAL statement_timeout = {}", deadline.as_millis());
    transaction.batch_execute(&limit).await.map_err(asked("a time limit"))?;
    check_server(&transaction).await?;
    let (genesis_validators_root, high_watermark) = metadata(&transaction).await?;
    let unowned = "SELECT EXISTS (SELECT FROM signed_attestations WHERE validator_id IS NULL)";
    let unowned_attestations = one(&transaction, "attestations", unowned).await?.try_get(0);
    // All columns but these two are hidden from a role without rights.
    let sessions =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let other_sessions = one(&transaction, "the sessions", sessions).await?.try_get(0);
    let mut found = SignerRecords {
        genesis_validators_root,
        high_watermark,
        validators: Vec::new(),
        unreadable: Vec::new(),
        unowned_attestations: unowned_attestations.map_err(asked("attestations"))?,
        other_sessions: other_sessions.map_err(asked("the sessions"))?,
    };
    let parameters: [&str; 0] = [];
    let rows = transaction.query_raw(VALIDATORS, parameters).await.map_err(asked("the validators"))?;
    let mut rows = std::pin::pin!(rows);
    while let Some(row) = rows.try_next().await.map_err(asked("the validators"))? {
        match validator(&row) {
            Ok(validator) => found.validators.push(validator),
            Err(why) => found.unreadable.push(why),
        }
    }
    let recorded = found.validators.iter().any(|validator| validator.history.is_some()) || !found.unreadable.is_empty();
    if found.genesis_validators_root.is_none() && recorded {
        return Err(Web3SignerError::NoRoot);
    }
    Ok(found)
}

async fn check_server(transaction: &Transaction<'_>) -> Result<(), Web3SignerError> {
    let standby = one(transaction, "the server's role", "SELECT pg_is_in_recovery()").await?.try_get(0);
    if standby.map_err(asked("the server's role"))? {
        return Err(Web3SignerError::Standby);
    }
    let known = one(transaction, "the tables", "SELECT to_regclass('database_version') IS NOT NULL").await?.try_get(0);
    if !known.map_err(asked("the tables"))? {
        return Err(Web3SignerError::NotWeb3Signer);
    }
    let version = transaction.query_opt("SELECT version FROM database_version WHERE id = 1", &[]).await;
    let version = version.map_err(asked("the schema version"))?.ok_or(Web3SignerError::NotWeb3Signer)?;
    match version.try_get(0).map_err(asked("the schema version"))? {
        SCHEMA_VERSION => Ok(()),
        found => Err(Web3SignerError::Schema { found }),
    }
}

async fn metadata(transaction: &Transaction<'_>) -> Result<(Option<Root>, Option<HighWatermark>), Web3SignerError> {
    let row = transaction.query_opt(METADATA, &[]).await.map_err(asked("the metadata"))?;
    let Some(row) = row else { return Ok((None, None)) };
    let root: Vec<u8> = row.try_get(0).map_err(asked("the metadata"))?;
    let root = <[u8; 32]>::try_from(root).map_err(|root| Web3SignerError::Root(root.len()))?;
    let epoch = number(&row, 1).map_err(Web3SignerError::HighWatermark)?;
    let slot = number(&row, 2).map_err(Web3SignerError::HighWatermark)?;
    let limit = (epoch.is_some() || slot.is_some())
        .then(|| HighWatermark { epoch: epoch.unwrap_or(u64::MAX), slot: slot.unwrap_or(u64::MAX) });
    Ok((Some(Root(root)), limit))
}

async fn one(transaction: &Transaction<'_>, what: &'static str, question: &str) -> Result<Row, Web3SignerError> {
    transaction.query_one(question, &[]).await.map_err(asked(what))
}

fn asked(what: &'static str) -> impl FnOnce(tokio_postgres::Error) -> Web3SignerError {
    move |source| Web3SignerError::Query { what, source }
}

/// Understands one row of [`VALIDATORS`], or says what is wrong with it.
fn validator(row: &Row) -> Result<SignerValidator, String> {
    let id: i32 = column(row, 0)?;
    let key: Vec<u8> = column(row, 1)?;
    let public_key = <[u8; 48]>::try_from(key)
        .map(PublicKey)
        .map_err(|key| format!("validator {id}: its public key has {} bytes, not 48", key.len()))?;
    let named = |why: String| format!("validator {public_key}: {why}");
    let history = history(public_key, row).map_err(named)?;
    let (enabled, blocks, attestations) =
        (column(row, 2).map_err(named)?, column(row, 3).map_err(named)?, column(row, 6).map_err(named)?);
    Ok(SignerValidator { public_key, enabled, blocks, attestations, history })
}

/// The maxima over rows and low watermarks: Web3Signer prunes what lies below those, and refuses it.
fn history(public_key: PublicKey, row: &Row) -> Result<Option<HistoryImport>, String> {
    let newest_slot = number(row, 4)?;
    let block = newest_slot.max(number(row, 11)?).map(|slot| {
        let of_newest = (newest_slot == Some(slot)).then(|| root(row, 5)).flatten();
        ImportedBlock { slot, signing_root: of_newest }
    });
    let (newest_target, newest_source) = (number(row, 8)?, number(row, 9)?);
    let source = number(row, 7)?.max(number(row, 12)?);
    let target = newest_target.max(number(row, 13)?);
    let attestation = source.zip(target).map(|(max_source_epoch, max_target_epoch)| {
        let at_max_target =
            (newest_target == Some(max_target_epoch)).then(|| newest_source.zip(root(row, 10))).flatten();
        ImportedAttestation { max_source_epoch, max_target_epoch, at_max_target }
    });
    Ok((block.is_some() || attestation.is_some()).then_some(HistoryImport { public_key, block, attestation }))
}

fn column<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, String> {
    row.try_get(index).map_err(|error| error.to_string())
}

/// NUMERIC(20) goes up to twenty nines, more than 64 bits hold.
fn number(row: &Row, index: usize) -> Result<Option<u64>, String> {
    let text: Option<&str> = column(row, index)?;
    let name = row.columns().get(index).map_or("a number", |column| column.name());
    text.map(|text| text.parse().map_err(|_| format!("{name} is {text}, which is no number of 64 bits"))).transpose()
}

/// A root of another length counts as unknown, which is the most careful reading.
fn root(row: &Row, index: usize) -> Option<Root> {
    let bytes: Option<Vec<u8>> = column(row, index).ok()?;
    bytes.and_then(|bytes| bytes.try_into().ok()).map(Root)
}
