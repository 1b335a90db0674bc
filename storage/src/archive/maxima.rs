//! What each validator has signed at most, by the archive: signed rows, imported history, baselines of gaps, floors.
//!
//! In: one lineage, or all. Out: one [`HistoryImport`] per validator, as an import takes it: no watermark of it lies below
//! anything that the archive holds. Deliberately absent: proof that the archive is complete ([`super::verify`]).

use std::collections::BTreeSet;
use std::time::Duration;

use consigner_rules::command::{Floor, HistoryImport};
use consigner_rules::interchange::{Interchange, SignedAttestation, SignedBlock, add_history};
use consigner_rules::{Change, PublicKey, Root, codec};
use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

use super::numeric::Uint;
use super::session::{ask, begin_read, column, ended, fixed};
use super::{Archive, ArchiveError, Lineage};

const WHAT: &str = "say what each validator signed at most";

/// `$1`: a lineage, or NULL for all. Two blocks at one slot are two rows.
const BLOCKS: &str = "SELECT v.public_key, m.slot, b.signing_root
    FROM (SELECT validator, max(slot) AS slot FROM consigner.signed_blocks
          WHERE cluster = coalesce($1, cluster) GROUP BY validator) m
    JOIN consigner.signed_blocks b
        ON b.validator = m.validator AND b.slot = m.slot AND b.cluster = coalesce($1, b.cluster)
    LEFT JOIN consigner.validators v ON v.id = m.validator";

const ATTESTATIONS: &str = "SELECT v.public_key, m.source, m.target, a.source_epoch, a.signing_root
    FROM (SELECT validator, max(source_epoch) AS source, max(target_epoch) AS target
          FROM consigner.signed_attestations WHERE cluster = coalesce($1, cluster) GROUP BY validator) m
    JOIN consigner.signed_attestations a
        ON a.validator = m.validator AND a.target_epoch = m.target AND a.cluster = coalesce($1, a.cluster)
    LEFT JOIN consigner.validators v ON v.id = m.validator";

/// Imports; keys that were added, for a floor speaks for them, too; floors.
const EVENTS: &str = "SELECT content FROM consigner.key_events
        WHERE cluster = coalesce($1, cluster) AND kind IN ('history_merged', 'key_added')
    UNION ALL SELECT content FROM consigner.cluster_events
        WHERE cluster = coalesce($1, cluster) AND kind = 'resumed'";

const BASELINES: &str = "SELECT content FROM consigner.baselines WHERE cluster = coalesce($1, cluster)";

impl Archive {
    /// What each validator has signed at most, by public key; of one lineage, or of all of the database. A floor after a
    /// restore speaks for every validator that is named anywhere in what was asked for.
    ///
    /// Reads every signed row: give the connection a deadline that fits.
    ///
    /// # Errors
    /// [`ArchiveError::Content`] for a row that is not understood; those of every call.
    pub async fn maxima(&mut self, lineage: Option<&Lineage>) -> Result<Vec<HistoryImport>, ArchiveError> {
        let limit = self.deadline;
        let client = &mut self.session.client;
        let lineage = lineage.map(|lineage| lineage.id);
        let work = async {
            let transaction = begin_read(client, limit).await?;
            let mut maxima = Maxima::new();
            maxima.signed(&transaction, limit, lineage).await?;
            maxima.named(&transaction, limit, lineage).await?;
            Ok(maxima.over())
        };
        let answer = timeout(limit, work).await;
        ended(&self.session, WHAT, limit, answer)
    }
}

/// The records that decide, of all validators.
struct Maxima {
    file: Interchange,
    keys: BTreeSet<PublicKey>,
    floors: Vec<Floor>,
}

impl Maxima {
    const fn new() -> Self {
        // The chain does not matter here: the caller knows the lineage's.
        Self { file: Interchange::new(Root([0; 32])), keys: BTreeSet::new(), floors: Vec::new() }
    }

    async fn signed(
        &mut self,
        transaction: &Transaction<'_>,
        limit: Duration,
        lineage: Option<i32>,
    ) -> Result<(), ArchiveError> {
        let values = [(&lineage as _, Type::INT4)];
        for row in ask(transaction, WHAT, limit, BLOCKS, &values).await? {
            let (slot, signing_root) = (number(&row, 1)?, Some(Root(fixed(&row, 2)?)));
            self.file.records_mut(key(&row)?).blocks.push(SignedBlock { slot, signing_root });
        }
        for row in ask(transaction, WHAT, limit, ATTESTATIONS, &values).await? {
            let (source, target_epoch) = (number(&row, 1)?, number(&row, 2)?);
            let (source_epoch, signing_root) = (number(&row, 3)?, Some(Root(fixed(&row, 4)?)));
            let records = self.file.records_mut(key(&row)?);
            records.attestations.push(SignedAttestation { source_epoch, target_epoch, signing_root });
            if source > source_epoch {
                // The greatest source may be another attestation's, whose target does not matter.
                let other = SignedAttestation { source_epoch: source, target_epoch: 0, signing_root: None };
                records.attestations.push(other);
            }
        }
        Ok(())
    }

    async fn named(
        &mut self,
        transaction: &Transaction<'_>,
        limit: Duration,
        lineage: Option<i32>,
    ) -> Result<(), ArchiveError> {
        let values = [(&lineage as _, Type::INT4)];
        for row in ask(transaction, WHAT, limit, EVENTS, &values).await? {
            let change: Change = decoded(&row)?;
            if let Change::HistoryMerged(history) = &change {
                add_history(&mut self.file, history);
            } else if let Change::KeyAdded(key) = change {
                self.keys.insert(key);
            } else if let Change::Resumed(floor) = change {
                self.floors.push(floor);
            }
        }
        for row in ask(transaction, WHAT, limit, BASELINES, &values).await? {
            let history: HistoryImport = decoded(&row)?;
            add_history(&mut self.file, &history);
        }
        Ok(())
    }

    fn over(mut self) -> Vec<HistoryImport> {
        self.keys.extend(self.file.validators().keys());
        for floor in &self.floors {
            for key in &self.keys {
                add_history(&mut self.file, &floor.as_import(*key));
            }
        }
        self.file.reduce()
    }
}

fn key(row: &Row) -> Result<PublicKey, ArchiveError> {
    let known: Option<&[u8]> = column(row, 0)?;
    if known.is_none() {
        return Err(ArchiveError::Content("a row is of a validator that is not in the table validators".to_owned()));
    }
    Ok(PublicKey(fixed(row, 0)?))
}

fn number(row: &Row, place: usize) -> Result<u64, ArchiveError> {
    column::<Uint>(row, place).map(|number| number.0)
}

fn decoded<T: serde::de::DeserializeOwned>(row: &Row) -> Result<T, ArchiveError> {
    let content: &[u8] = column(row, 0)?;
    codec::decode(content).map_err(|error| ArchiveError::Content(format!("content: {error}")))
}
