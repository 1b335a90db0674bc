//! From which log index on the outbox has everything that was recorded: noted beside the rows, because an entry without
//! a change has no row, so a gap cannot be seen.
//!
//! In: where this node began to apply, snapshots that jumped over entries, what was purged or went into a segment. Out:
//! ranges of log indexes: behind the note everything is there, and before a snapshot's jump there may be older islands.
//! Any doubt makes them smaller: what is said to be complete must be. They speak of this store alone; what segments
//! hold is said by the segments.

use super::{StateError, StateStore, keys, sled_error};
use crate::segments::Ranges;

impl StateStore {
    /// The log index after which no row is missing in this store; `None` until [`StateStore::outbox_begins`].
    ///
    /// # Errors
    /// sled failed.
    pub fn outbox_since(&self) -> Result<Option<u64>, StateError> {
        since(&self.db)
    }

    /// The entries whose rows are all in this store. The newest range has no end (`u64::MAX`), once it is known.
    ///
    /// # Errors
    /// sled failed.
    pub fn outbox_coverage(&self) -> Result<Ranges, StateError> {
        coverage(&self.db)
    }

    /// Notes that rows are written for every entry after `applied`, unless it is known better already: of a store that
    /// was carried over whole.
    ///
    /// # Errors
    /// sled failed.
    pub fn outbox_begins(&self, applied: u64) -> Result<(), StateError> {
        let _noting = self.lock_noting();
        if self.outbox_since()?.is_none() {
            let mut coverage = self.outbox_coverage()?;
            coverage.add(applied, u64::MAX);
            self.note(&coverage)?;
        }
        Ok(())
    }

    /// Notes, durably, that the entries after `applied`, the last that was applied here, up to `upto` come without their
    /// rows: a snapshot stands for them.
    ///
    /// # Errors
    /// sled or the file system failed.
    pub fn outbox_misses(&self, applied: u64, upto: u64) -> Result<(), StateError> {
        let noting = self.lock_noting();
        let mut coverage = self.outbox_coverage()?;
        coverage.remove(applied, u64::MAX);
        coverage.remove(0, dropped_islands(&coverage));
        // Also where nothing was known yet: the snapshot says where this node goes on.
        coverage.add(upto.max(applied), u64::MAX);
        self.note(&coverage)?;
        drop(noting);
        // Durable before the snapshot is: a crash in between must not leave the snapshot beside the older note.
        self.flush_durable()
    }

    pub(super) fn note(&self, coverage: &Ranges) -> Result<(), StateError> {
        let mut batch = sled::Batch::default();
        put(&mut batch, coverage);
        self.db.apply_batch(batch).map_err(sled_error("writing"))
    }
}

/// The end of the oldest islands that are one too many to remember.
fn dropped_islands(coverage: &Ranges) -> u64 {
    let ranges = coverage.as_slice();
    let excess = ranges.len().saturating_sub(ISLANDS_MAX);
    excess.checked_sub(1).and_then(|last| ranges.get(last)).map_or(0, |&(_, upto)| upto)
}

/// What is known of the rows of several stores once they lie in one: all islands, and the latest of the notes, since an
/// earlier one holds only for as long as its store was written.
pub(super) fn joined(stores: &[Ranges]) -> Ranges {
    let all = || stores.iter().flat_map(|store| store.as_slice());
    let since = all().filter(|(_, upto)| *upto == u64::MAX).map(|(after, _)| *after).max();
    let mut joined = Ranges::default();
    for &(after, upto) in all().filter(|(_, upto)| *upto < u64::MAX) {
        joined.add(after, upto);
    }
    if let Some(since) = since {
        joined.add(since, u64::MAX);
    }
    joined
}

/// What a database says of its rows.
pub(super) fn coverage(db: &sled::Db) -> Result<Ranges, StateError> {
    let mut ranges = Ranges::default();
    let islands = db.get(keys::ISLANDS).map_err(sled_error("reading"))?;
    for island in islands.as_deref().unwrap_or_default().chunks_exact(16) {
        let (after, upto) = island.split_at(8);
        let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_be_bytes);
        ranges.add(word(after), word(upto));
    }
    if let Some(since) = since(db)? {
        ranges.add(since, u64::MAX);
    }
    Ok(ranges)
}

/// The note behind which everything is there.
pub(super) fn since(db: &sled::Db) -> Result<Option<u64>, StateError> {
    let noted = db.get(keys::SINCE).map_err(sled_error("reading"))?;
    Ok(noted.and_then(|noted| noted.as_ref().try_into().ok()).map(u64::from_be_bytes))
}

/// Notes ranges. A binary that knows no islands reads the note alone, and claims less.
pub(super) fn put(batch: &mut sled::Batch, coverage: &Ranges) {
    let (open, islands): (Vec<_>, Vec<_>) = coverage.as_slice().iter().partition(|&&(_, upto)| upto == u64::MAX);
    match open.first() {
        Some((since, _)) => batch.insert(keys::SINCE, &since.to_be_bytes()),
        None => batch.remove(keys::SINCE),
    }
    let islands: Vec<u8> =
        islands.iter().flat_map(|(after, upto)| [after.to_be_bytes(), upto.to_be_bytes()]).flatten().collect();
    batch.insert(keys::ISLANDS, islands);
}

/// An island comes with each snapshot that is installed and goes when its rows are purged or filled in.
const ISLANDS_MAX: usize = 1024;

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
        store.outbox_misses(2, 40).unwrap();
        assert_eq!(store.outbox_since().unwrap(), Some(40));
        assert_eq!(store.outbox_coverage().unwrap().as_slice(), [(1, 2), (40, u64::MAX)], "row 2 is an island");
        store.outbox_misses(40, 30).unwrap();
        assert_eq!(store.outbox_since().unwrap(), Some(40), "it is never lowered");
        store.close().unwrap();
        let (store, opened) = StateStore::open(dir.path()).unwrap();
        assert!(matches!(opened, Opened::Clean(_)));
        assert_eq!(store.outbox_since().unwrap(), Some(40));
    }

    #[test]
    fn a_store_that_is_rebuilt_keeps_the_note_but_for_damaged_rows() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = StateStore::open(dir.path()).unwrap();
        store.outbox_begins(3).unwrap();
        store.commit(row(4)).unwrap();
        store.flush_durable().unwrap();
        drop(store);
        let (store, opened) = StateStore::open(dir.path()).unwrap();
        assert!(matches!(opened, Opened::Rebuild { outbox_rows: 1, .. }), "{opened:?}");
        assert_eq!(store.outbox_since().unwrap(), Some(3), "every row was carried over");
        (5..=6).for_each(|index| store.commit(row(index)).unwrap());
        store.damage_row(5);
        store.flush_durable().unwrap();
        drop(store);
        let (store, opened) = StateStore::open(dir.path()).unwrap();
        assert!(matches!(opened, Opened::Rebuild { outbox_rows: 2, .. }), "{opened:?}");
        assert_eq!(store.outbox_coverage().unwrap().as_slice(), [(3, 4), (5, u64::MAX)], "row 5 was left behind");
    }
}
