//! The outbox: rows not yet archived, by log index.
//!
//! In: rows with the entries that made them. Out: rows in log order, until the archive has them.
//! Deliberately absent: who reads them, and the cursor (replicated state).

use std::sync::atomic::Ordering;

use super::{StateError, StateStore, coverage, keys, sled_error};

impl StateStore {
    /// Up to `max` rows from log index `from` on, in log order.
    ///
    /// # Errors
    /// sled failed, or a row is not what was written.
    pub fn outbox_read(&self, from: u64, max: usize) -> Result<Vec<(u64, Vec<u8>)>, StateError> {
        let mut rows = Vec::new();
        for item in self.db.range(keys::row(from)..=keys::row(u64::MAX)).take(max) {
            let (key, value) = item.map_err(sled_error("reading the outbox"))?;
            let index = keys::row_index(&key).unwrap_or_default();
            let row = keys::decode_row(index, &value).ok_or(StateError::OutboxRow(index))?;
            rows.push((index, row.to_vec()));
        }
        Ok(rows)
    }

    /// Removes rows up to and with log index `upto`: the archive has them.
    ///
    /// # Errors
    /// sled failed.
    pub fn outbox_purge(&self, upto: u64) -> Result<(), StateError> {
        loop {
            let mut batch = sled::Batch::default();
            let (mut rows, mut bytes) = (0, 0);
            for item in self.db.range(keys::row(0)..=keys::row(upto)).take(PURGE_ROWS) {
                let (key, value) = item.map_err(sled_error("reading the outbox"))?;
                rows += 1;
                bytes += value.len() as u64;
                batch.remove(key);
            }
            if rows == 0 {
                return Ok(());
            }
            let since = self.outbox_since()?.map_or(upto, |since| since.max(upto));
            batch.insert(keys::SINCE, &since.to_be_bytes());
            self.db.apply_batch(batch).map_err(sled_error("purging the outbox"))?;
            self.outbox_rows.fetch_sub(rows, Ordering::Relaxed);
            self.outbox_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Rows waiting.
    pub fn outbox_len(&self) -> u64 {
        self.outbox_rows.load(Ordering::Relaxed)
    }

    /// Bytes they take.
    pub fn outbox_bytes(&self) -> u64 {
        self.outbox_bytes.load(Ordering::Relaxed)
    }

    /// Adds a row to a batch; returns its size when it is new (a rebuild writes the same rows again).
    pub(super) fn add_row(&self, batch: &mut sled::Batch, index: u64, row: &[u8]) -> Result<Option<u64>, StateError> {
        let key = keys::row(index);
        let value = keys::encode_row(index, row);
        let known = self.db.get(key).map_err(sled_error("reading the outbox"))?;
        let size = value.len() as u64;
        batch.insert(&key, value);
        if let Some(known) = known {
            self.outbox_bytes.fetch_add(size, Ordering::Relaxed);
            self.outbox_bytes.fetch_sub(known.len() as u64, Ordering::Relaxed);
            return Ok(None);
        }
        Ok(Some(size))
    }

    pub(super) fn count_row(&self, bytes: Option<u64>) {
        if let Some(bytes) = bytes {
            self.outbox_rows.fetch_add(1, Ordering::Relaxed);
            self.outbox_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(super) fn put_row(&self, index: u64, row: &[u8]) -> Result<(), StateError> {
        let mut batch = sled::Batch::default();
        let bytes = self.add_row(&mut batch, index, row)?;
        self.db.apply_batch(batch).map_err(sled_error("writing the outbox"))?;
        self.count_row(bytes);
        Ok(())
    }
}

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
    /// Whether that is all of them.
    pub(super) whole: bool,
    /// What the old store said of its rows ([`StateStore::outbox_since`]).
    pub(super) since: Option<u64>,
}

/// Copies the good rows of an old store into a new one.
pub(super) fn copy(old: &sled::Db, new: &StateStore) -> Result<Copied, StateError> {
    let (mut rows, mut whole) = (0, true);
    for item in old.scan_prefix([keys::OUTBOX]) {
        let (key, value) = item.map_err(sled_error("reading the outbox"))?;
        let index = keys::row_index(&key).unwrap_or_default();
        match keys::decode_row(index, &value) {
            Some(row) => {
                new.put_row(index, row)?;
                rows += 1;
            }
            None => {
                whole = false;
                tracing::error!(index, "an outbox row of the old state store is damaged and left behind");
            }
        }
    }
    Ok(Copied { rows, whole, since: coverage::since(old)? })
}

/// Rows per batch when purging: bounds what sled holds at once.
const PURGE_ROWS: usize = 4096;
