//! The numbers under which this database knows validators.
//!
//! They are asked for once per connection, not once per batch. A number is believed only while the archive's head is
//! the very batch that this connection wrote or saw last: behind a pooler the server may be exchanged for a restored one,
//! which gave the same validators other numbers, and then its head is another.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use consigner_rules::PublicKey;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::ArchiveError;
use super::session::{ask, column, fixed};

/// Validators whose number is remembered: five times the largest cluster that the design speaks of, about 40 MB.
const REMEMBERED_MAX: usize = 500_000;

const KNOWN: &str = "SELECT public_key, id FROM consigner.validators WHERE public_key = ANY ($1)";

/// In the order of the keys: two lineages that add the same validators wait for each other in turn, never in a circle.
const ADD: &str = "INSERT INTO consigner.validators (public_key) SELECT key FROM unnest($1::bytea[]) AS new (key)
    ORDER BY key ON CONFLICT (public_key) DO NOTHING";

const WHAT: &str = "say the numbers of validators";

/// Tells one batch from all others, of this database and of its copies: lineage, last index, time of writing (us).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) lineage: i32,
    pub(super) last: i64,
    pub(super) written_us: i64,
}

/// What this connection knows.
#[derive(Default)]
pub(super) struct ValidatorIds {
    stamp: Option<Stamp>,
    ids: HashMap<PublicKey, i32>,
}

impl ValidatorIds {
    /// Forgets what was learned before another head than `stamp`.
    pub(super) fn under(&mut self, stamp: Option<Stamp>) {
        if self.stamp.is_none() || self.stamp != stamp || self.ids.len() > REMEMBERED_MAX {
            self.ids.clear();
        }
        self.stamp = None;
    }

    /// Learns what holds from this batch on.
    pub(super) fn learn(&mut self, stamp: Stamp, ids: HashMap<PublicKey, i32>) {
        self.ids.extend(ids);
        self.stamp = Some(stamp);
    }

    /// The numbers of these validators; of those that were not remembered, apart, so that they are remembered only once
    /// the transaction is committed. New ones get a number.
    pub(super) async fn find<'k>(
        &self,
        transaction: &Transaction<'_>,
        limit: Duration,
        keys: impl Iterator<Item = &'k PublicKey>,
    ) -> Result<HashMap<PublicKey, i32>, ArchiveError> {
        let mut missing: BTreeSet<PublicKey> = keys.filter(|&key| !self.ids.contains_key(key)).copied().collect();
        let mut found = HashMap::new();
        // Found, or added by us or by somebody else meanwhile, and then found.
        for add in [false, true] {
            if missing.is_empty() {
                break;
            }
            let list: Vec<&[u8]> = missing.iter().map(|key| key.0.as_slice()).collect();
            if add {
                ask(transaction, "add validators", limit, ADD, &[(&list, Type::BYTEA_ARRAY)]).await?;
            }
            for row in ask(transaction, WHAT, limit, KNOWN, &[(&list, Type::BYTEA_ARRAY)]).await? {
                let key = PublicKey(fixed(&row, 0)?);
                found.insert(key, column(&row, 1)?);
            }
            missing.retain(|key| !found.contains_key(key));
        }
        if missing.is_empty() { Ok(found) } else { Err(ArchiveError::Content("a validator has no number".to_owned())) }
    }

    /// The number, from what was remembered or from what [`ValidatorIds::find`] found.
    pub(super) fn number(&self, fresh: &HashMap<PublicKey, i32>, key: &PublicKey) -> Result<i32, ArchiveError> {
        let number = self.ids.get(key).or_else(|| fresh.get(key)).copied();
        number.ok_or_else(|| ArchiveError::Content("a validator has no number".to_owned()))
    }
}
