//! The outbox: rows not yet archived, by log index.
//!
//! In: rows with the entries that made them. Out: rows in log order, until the archive has them.
//! Deliberately absent: who reads them, and the cursor (replicated state).

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

use super::{StateError, StateStore, coverage, keys, sled_error};
use crate::segments::Ranges;

impl StateStore {
    /// Up to `max` rows from log index `from` on, in log order.
    ///
    /// # Errors
    /// sled failed, or a row is not what was written.
    pub fn outbox_read(&self, from: u64, max: usize) -> Result<Vec<(u64, Vec<u8>)>, StateError> {
        let mut rows = Vec::new();
        let _alone = self.lock_noting();
        for item in self.db.range(keys::row(from)..=keys::row(u64::MAX)).take(max) {
            let (key, value) = item.map_err(sled_error("reading the outbox"))?;
            let index = keys::row_index(&key).unwrap_or_default();
            let row = keys::decode_row(index, &value).ok_or(StateError::OutboxRow(index))?;
            rows.push((index, row.to_vec()));
        }
        Ok(rows)
    }

    /// Up to `max` rows of the entries after `after`, up to and with `upto`, in log order; `None` in the place of a row
    /// that is not what was written.
    ///
    /// # Errors
    /// sled failed.
    pub fn outbox_scan(&self, after: u64, upto: u64, max: usize) -> Result<Vec<FoundRow>, StateError> {
        let mut rows = Vec::new();
        if after >= upto {
            return Ok(rows);
        }
        let (mut bytes, mut from) = (0, after);
        while from < upto && rows.len() < max && bytes <= SCAN_BYTES_MAX {
            // In parts, so that the state machine never waits for the whole of it.
            let _alone = self.lock_noting();
            let part = SCAN_ROWS.min(max - rows.len());
            let mut found = 0;
            for item in self.db.range(keys::row(from + 1)..=keys::row(upto)).take(part) {
                let (key, value) = item.map_err(sled_error("reading the outbox"))?;
                let index = keys::row_index(&key).unwrap_or_default();
                rows.push((index, keys::decode_row(index, &value).map(<[u8]>::to_vec)));
                (found, from) = (found + 1, index.max(from + 1));
                bytes += value.len();
                if bytes > SCAN_BYTES_MAX {
                    break;
                }
            }
            if found < part {
                break;
            }
        }
        Ok(rows)
    }

    /// The newest row, if it is what was written.
    ///
    /// # Errors
    /// sled failed.
    pub fn outbox_last(&self) -> Result<Option<(u64, Vec<u8>)>, StateError> {
        let _alone = self.lock_noting();
        let last = self.db.range(keys::row(0)..=keys::row(u64::MAX)).next_back();
        let Some((key, value)) = last.transpose().map_err(sled_error("reading the outbox"))? else { return Ok(None) };
        let index = keys::row_index(&key).unwrap_or_default();
        Ok(keys::decode_row(index, &value).map(|row| (index, row.to_vec())))
    }

    /// Removes rows up to and with log index `upto`: the archive has them.
    ///
    /// # Errors
    /// sled failed.
    pub fn outbox_purge(&self, upto: u64) -> Result<(), StateError> {
        self.remove_rows(0, upto, &BTreeSet::new())
    }

    /// Removes the rows of the entries after `after`, up to and with `upto`, but for those of `kept`: a segment has them,
    /// durably. What this store says of itself is made smaller with the first of them.
    ///
    /// # Errors
    /// sled failed.
    pub fn outbox_take_spilled(&self, after: u64, upto: u64, kept: &BTreeSet<u64>) -> Result<(), StateError> {
        self.remove_rows(after, upto, kept)
    }

    fn remove_rows(&self, after: u64, upto: u64, kept: &BTreeSet<u64>) -> Result<(), StateError> {
        let mut from = after;
        while from < upto {
            // Per batch, so that the state machine never waits for the whole of it.
            let _noting = self.lock_noting();
            let mut batch = sled::Batch::default();
            let (mut rows, mut bytes, mut last) = (0, 0, None);
            for item in self.db.range(keys::row(from + 1)..=keys::row(upto)).take(PURGE_ROWS) {
                let (key, value) = item.map_err(sled_error("reading the outbox"))?;
                last = keys::row_index(&key);
                if last.is_some_and(|index| kept.contains(&index)) {
                    continue;
                }
                rows += 1;
                bytes += value.len() as u64;
                batch.remove(key);
            }
            if from == after {
                let mut coverage = coverage::coverage(&self.db)?;
                let known = coverage.clone();
                coverage.remove(after, upto);
                if coverage == known && rows == 0 {
                    return Ok(());
                }
                coverage::put(&mut batch, &coverage);
            }
            self.db.apply_batch(batch).map_err(sled_error("purging the outbox"))?;
            self.outbox_rows.fetch_sub(rows, Ordering::Relaxed);
            self.outbox_bytes.fetch_sub(bytes, Ordering::Relaxed);
            let Some(last) = last else { return Ok(()) };
            from = last;
        }
        Ok(())
    }

    /// Rows waiting.
    pub fn outbox_len(&self) -> u64 {
        self.outbox_rows.load(Ordering::Relaxed)
    }

    /// Bytes they take.
    pub fn outbox_bytes(&self) -> u64 {
        self.outbox_bytes.load(Ordering::Relaxed)
    }

    /// Adds a row to a batch (a rebuild writes the same rows again).
    pub(super) fn add_row(&self, batch: &mut sled::Batch, index: u64, row: &[u8]) -> Result<AddedRow<'_>, StateError> {
        let key = keys::row(index);
        let value = keys::encode_row(index, row);
        let bytes = value.len() as u64;
        batch.insert(&key, value);
        // It must not be moved into a segment between this look and the write: it would be counted wrongly.
        let noting = self.lock_noting();
        let known = self.db.get(key).map_err(sled_error("reading the outbox"))?;
        Ok(AddedRow { bytes, replaced: known.map(|known| known.len() as u64), _noting: noting })
    }

    pub(super) fn count_row(&self, added: AddedRow<'_>) {
        self.outbox_bytes.fetch_add(added.bytes, Ordering::Relaxed);
        match added.replaced {
            Some(replaced) => self.outbox_bytes.fetch_sub(replaced, Ordering::Relaxed),
            None => self.outbox_rows.fetch_add(1, Ordering::Relaxed),
        };
    }

    pub(super) fn put_row(&self, index: u64, row: &[u8]) -> Result<(), StateError> {
        let mut batch = sled::Batch::default();
        let added = self.add_row(&mut batch, index, row)?;
        self.db.apply_batch(batch).map_err(sled_error("writing the outbox"))?;
        self.count_row(added);
        Ok(())
    }

    /// Also keeps scans and batches apart: sled 0.34 is known to hang where one thread iterates while another writes a batch
    /// (its issues 1301 and 1412), and before rows were moved into segments only one thread ever did either.
    pub(super) fn lock_noting(&self) -> MutexGuard<'_, ()> {
        self.noting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A row that is about to be written.
pub(super) struct AddedRow<'a> {
    bytes: u64,
    /// Bytes of the row that it replaces.
    replaced: Option<u64>,
    _noting: MutexGuard<'a, ()>,
}

/// The log index of an entry, and its row; `None` if that is not what was written.
pub type FoundRow = (u64, Option<Vec<u8>>);

/// Number and bytes of the rows in a database.
pub(super) fn measure(db: &sled::Db) -> Result<(u64, u64), StateError> {
    let (mut rows, mut bytes) = (0, 0);
    for item in db.scan_prefix([keys::OUTBOX]) {
        let (_, value) = item.map_err(sled_error("reading the outbox"))?;
        rows += 1;
        bytes += value.len() as u64;
    }
    Ok((rows, bytes))
}

/// What was carried over from an old store.
pub(super) struct Copied {
    /// How many rows.
    pub(super) rows: u64,
    /// Whether it is known whose row each of the others was.
    pub(super) whole: bool,
    /// What the old store said of its rows ([`StateStore::outbox_coverage`]), without those that are damaged.
    pub(super) coverage: Ranges,
}

/// Copies the good rows of an old store into a new one. One that is damaged is missing from what the old one said.
pub(super) fn copy(old: &sled::Db, new: &StateStore) -> Result<Copied, StateError> {
    let (mut rows, mut whole, mut coverage) = (0, true, coverage::coverage(old)?);
    for item in old.scan_prefix([keys::OUTBOX]) {
        let (key, value) = item.map_err(sled_error("reading the outbox"))?;
        let Some(index) = keys::row_index(&key) else {
            whole = false;
            tracing::error!("a key of the old state store's outbox is damaged: whose row it was is not known");
            continue;
        };
        match keys::decode_row(index, &value) {
            Some(row) => {
                new.put_row(index, row)?;
                rows += 1;
            }
            None => {
                coverage.remove(index.saturating_sub(1), index);
                tracing::error!(index, "an outbox row of the old state store is damaged and left behind");
            }
        }
    }
    Ok(Copied { rows, whole, coverage })
}

/// Rows that are read while the state machine waits: well below a millisecond.
const SCAN_ROWS: usize = 512;
/// Rows per batch when purging: bounds what sled holds at once, and how long the state machine waits.
const PURGE_ROWS: usize = 1024;
/// Bytes read at once: a row may be a quarter of a megabyte.
const SCAN_BYTES_MAX: usize = 16 * 1024 * 1024;

#[cfg(test)]
impl StateStore {
    /// Makes a row something that was never written.
    pub(crate) fn damage_row(&self, index: u64) {
        assert!(self.db.insert(keys::row(index), b"damaged".as_slice()).is_ok());
    }
}
