//! From which log index on the outbox has everything that was recorded: noted beside the rows, because an entry without
//! a change has no row, so a gap cannot be seen.
//!
//! In: where this node began to apply, snapshots that jumped over entries, what was purged. Out: one log index. Any
//! doubt raises it: what is said to be complete must be.

use super::{StateError, StateStore, keys, sled_error};

impl StateStore {
    /// The log index after which no row is missing; `None` until [`StateStore::outbox_begins`].
    ///
    /// # Errors
    /// sled failed.
    pub fn outbox_since(&self) -> Result<Option<u64>, StateError> {
        since(&self.db)
    }

    /// Notes that rows are written for every entry after `applied`, unless it is known better already: of a store that
    /// was carried over whole.
    ///
    /// # Errors
    /// sled failed.
    pub fn outbox_begins(&self, applied: u64) -> Result<(), StateError> {
        if self.outbox_since()?.is_none() {
            self.note_since(applied)?;
        }
        Ok(())
    }

    /// Notes, durably, that the entries up to `upto` come without their rows: a snapshot stands for them.
    ///
    /// # Errors
    /// sled or the file system failed.
    pub fn outbox_misses(&self, upto: u64) -> Result<(), StateError> {
        self.note_since(self.outbox_since()?.map_or(upto, |since| since.max(upto)))?;
        // Durable before the snapshot is: a crash in between must not leave the snapshot beside the older note.
        self.flush_durable()
    }

    pub(super) fn note_since(&self, since: u64) -> Result<(), StateError> {
        self.db.insert(keys::SINCE, &since.to_be_bytes()).map_err(sled_error("writing"))?;
        Ok(())
    }
}

/// What a database says of its rows.
pub(super) fn since(db: &sled::Db) -> Result<Option<u64>, StateError> {
    let noted = db.get(keys::SINCE).map_err(sled_error("reading"))?;
    Ok(noted.and_then(|noted| noted.as_ref().try_into().ok()).map(u64::from_be_bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::super::{Opened, StateWrite};
    use super::*;

    fn row(index: u64) -> StateWrite {
        StateWrite { outbox: Some((index, vec![7; 9])), meta: vec![1], ..StateWrite::default() }
    }

    #[test]
    fn a_new_store_is_complete_until_a_snapshot_jumps_or_rows_are_purged() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = StateStore::open(dir.path()).unwrap();
        assert_eq!(store.outbox_since().unwrap(), None);
        store.outbox_begins(0).unwrap();
        store.outbox_begins(9).unwrap();
        assert_eq!(store.outbox_since().unwrap(), Some(0), "known better already");
        store.commit(row(1)).unwrap();
        store.commit(row(2)).unwrap();
        store.outbox_purge(1).unwrap();
        assert_eq!(store.outbox_since().unwrap(), Some(1));
        store.outbox_misses(40).unwrap();
        store.outbox_misses(30).unwrap();
        assert_eq!(store.outbox_since().unwrap(), Some(40), "it is never lowered");
        store.close().unwrap();
        let (store, opened) = StateStore::open(dir.path()).unwrap();
        assert!(matches!(opened, Opened::Clean(_)));
        assert_eq!(store.outbox_since().unwrap(), Some(40));
    }

    #[test]
    fn a_store_that_is_rebuilt_keeps_the_note_only_with_all_its_rows() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = StateStore::open(dir.path()).unwrap();
        store.outbox_begins(3).unwrap();
        store.commit(row(4)).unwrap();
        store.flush_durable().unwrap();
        drop(store);
        let (store, opened) = StateStore::open(dir.path()).unwrap();
        assert!(matches!(opened, Opened::Rebuild { outbox_rows: 1, .. }), "{opened:?}");
        assert_eq!(store.outbox_since().unwrap(), Some(3), "every row was carried over");
        store.db.insert(keys::row(4), b"damaged".as_slice()).unwrap();
        store.flush_durable().unwrap();
        drop(store);
        let (store, opened) = StateStore::open(dir.path()).unwrap();
        assert!(matches!(opened, Opened::Rebuild { outbox_rows: 0, .. }), "{opened:?}");
        assert_eq!(store.outbox_since().unwrap(), None, "a row was left behind");
    }
}
