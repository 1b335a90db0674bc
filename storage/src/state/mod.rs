//! The applied state and the outbox, in sled: a copy that can always be rebuilt from snapshot and log.
//!
//! In: one [`StateWrite`] per applied entry, written as one sled batch. Out: at the next open either exactly what was
//! there at the last clean stop, or an empty store and the order to rebuild.
//!
//! ```text
//! DIR/sled/  the database      DIR/clean  marker of a clean stop      DIR/aside-N/  what could not be trusted
//! DIR/rescue-N/  the same, while its outbox rows are copied
//! ```
//! Why a rebuild after every unclean stop: sled's `flush` is no fsync, and after a power cut it may open silently at an
//! older record; that would lower a watermark (S3). Decisions come from the verified state in memory, never from here.
//! Outbox rows lie here by log index and are carried over into the rebuilt store. What waits long is moved into segment
//! files ([`crate::outbox`]).
//! Deliberately absent: what records, meta and digest mean; the caller recomputes the digest over [`Loaded::records`].

mod coverage;
mod keys;
mod marker;
mod open;
mod outbox;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use thiserror::Error;

pub use outbox::FoundRow;

use crate::disk::{Disk, DiskFile, OpenMode, RealDisk};

/// What one applied entry changes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct StateWrite {
    /// Records by key; `None` removes.
    pub puts: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// The caller's description of where the state stands (last applied, membership), opaque.
    pub meta: Vec<u8>,
    /// Digest of all records after this write.
    pub digest: [u8; 32],
    /// A row for the archive: log index and content.
    pub outbox: Option<(u64, Vec<u8>)>,
}

impl fmt::Debug for StateWrite {
    /// Records may hold sealed keys: counts only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateWrite").field("puts", &self.puts.len()).finish_non_exhaustive()
    }
}

/// All of a store.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Loaded {
    /// Records in key order.
    pub records: Vec<(Vec<u8>, Vec<u8>)>,
    /// As in [`StateWrite::meta`]; empty in a new store.
    pub meta: Vec<u8>,
    /// As in [`StateWrite::digest`]; zeros in a new store.
    pub digest: [u8; 32],
}

impl fmt::Debug for Loaded {
    /// Records may hold sealed keys: counts only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("records", &self.records.len()).finish_non_exhaustive()
    }
}

/// What [`StateStore::open`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opened {
    /// The store as it was at the last clean stop (or new and empty). The caller compares the digest with the records
    /// and calls [`StateStore::set_aside`] when they differ.
    Clean(Loaded),
    /// The store is empty: rebuild it from snapshot and log.
    Rebuild {
        /// Why, for the log line and the counter.
        reason: String,
        /// Outbox rows carried over from the store that was set aside.
        outbox_rows: u64,
    },
}

/// Why the store could not do what was asked: stop the node.
#[derive(Debug, Error)]
pub enum StateError {
    /// sled failed, twice when opening: a fresh store in its place did not open either.
    #[error("state store: {action} failed")]
    Sled {
        /// What was being done.
        action: &'static str,
        /// sled's error.
        #[source]
        source: sled::Error,
    },
    /// sled panicked on a fresh store.
    #[error("state store: sled panicked: {0}")]
    Panicked(String),
    /// The file system failed.
    #[error("state store: {action} failed")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The operating system's error.
        #[source]
        source: io::Error,
    },
    /// A row of the outbox is not what was written.
    #[error("state store: outbox row {0} is damaged")]
    OutboxRow(u64),
}

/// The open store. One writer (the state machine); the archive reads the outbox beside it.
pub struct StateStore {
    dir: PathBuf,
    db: sled::Db,
    outbox_rows: AtomicU64,
    outbox_bytes: AtomicU64,
    /// Held while rows that are there are replaced or removed, and while what is known of them changes.
    noting: Mutex<()>,
}

impl fmt::Debug for StateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateStore").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl StateStore {
    /// Opens the store in `dir`, creating it. A store that does not open, panics, cannot be read in full, or was not
    /// closed cleanly is set aside (the last two are kept) and an empty one takes its place.
    ///
    /// # Errors
    /// The file system failed, or even an empty store does not open.
    pub fn open(dir: &Path) -> Result<(StateStore, Opened), StateError> {
        open::open(dir)
    }

    /// Writes one applied entry: all of it or nothing. Durable with the next [`StateStore::flush_durable`]; until then
    /// a crash means a rebuild.
    ///
    /// # Errors
    /// sled failed: the store is to be considered lost, stop the node.
    pub fn commit(&self, write: StateWrite) -> Result<(), StateError> {
        let mut batch = sled::Batch::default();
        for (key, value) in &write.puts {
            match value {
                Some(value) => batch.insert(keys::record(key), value.as_slice()),
                None => batch.remove(keys::record(key)),
            }
        }
        batch.insert(keys::META, write.meta);
        batch.insert(keys::DIGEST, &write.digest);
        let added = write.outbox.map(|(index, row)| self.add_row(&mut batch, index, &row)).transpose()?;
        // With a row, the row holds it.
        let _alone = added.is_none().then(|| self.lock_noting());
        self.db.apply_batch(batch).map_err(sled_error("writing"))?;
        if let Some(added) = added {
            self.count_row(added);
        }
        Ok(())
    }

    /// Replaces all records (snapshot install, rebuild); outbox rows stay, those given are added. A crash midway is
    /// noticed like any unclean stop, so the caller makes the snapshot durable first.
    ///
    /// # Errors
    /// As [`StateStore::commit`].
    pub fn replace_all(
        &self,
        records: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
        meta: Vec<u8>,
        digest: [u8; 32],
        outbox: impl IntoIterator<Item = (u64, Vec<u8>)>,
    ) -> Result<(), StateError> {
        let old = self.db.scan_prefix([keys::RECORD]).keys();
        self.in_batches(old, |batch, key| {
            batch.remove(key.map_err(sled_error("reading"))?);
            Ok(())
        })?;
        self.in_batches(records, |batch, (key, value)| {
            batch.insert(keys::record(&key), value);
            Ok(())
        })?;
        for (index, row) in outbox {
            self.put_row(index, &row)?;
        }
        self.commit(StateWrite { meta, digest, ..StateWrite::default() })
    }

    fn in_batches<T>(
        &self,
        items: impl IntoIterator<Item = T>,
        mut add: impl FnMut(&mut sled::Batch, T) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let mut batch = sled::Batch::default();
            for item in items.by_ref().take(BATCH_RECORDS) {
                add(&mut batch, item)?;
            }
            self.db.apply_batch(batch).map_err(sled_error("writing"))?;
        }
        Ok(())
    }

    /// Everything committed so far survives a power cut when this returns: sled's flush, then our own fsyncs, because
    /// sled's flush only starts the write-back (`sync_file_range`). Called before a snapshot or a log purge.
    ///
    /// # Errors
    /// As [`StateStore::commit`].
    pub fn flush_durable(&self) -> Result<(), StateError> {
        self.db.flush().map_err(sled_error("flushing"))?;
        sync_tree(&RealDisk, &open::sled_dir(&self.dir)).map_err(io_error("syncing"))
    }

    /// Makes everything durable and leaves the marker by which the next open knows that nothing is missing.
    ///
    /// # Errors
    /// As [`StateStore::commit`]; the next open then rebuilds.
    pub fn close(self) -> Result<(), StateError> {
        self.flush_durable()?;
        let digest = self.digest()?;
        let StateStore { dir, db, .. } = self;
        // sled writes once more when it is dropped (its id generator); the marker comes after that.
        drop(db);
        sync_tree(&RealDisk, &open::sled_dir(&dir)).map_err(io_error("syncing"))?;
        marker::write(&dir, &digest).map_err(io_error("writing the clean-stop marker"))
    }

    /// Sets this store aside and opens an empty one in its place: the digest did not match.
    ///
    /// # Errors
    /// As [`StateStore::open`].
    pub fn set_aside(self, reason: String) -> Result<(StateStore, Opened), StateError> {
        let StateStore { dir, db, .. } = self;
        drop(db);
        open::start_over(&dir, reason, true)
    }

    fn digest(&self) -> Result<[u8; 32], StateError> {
        let stored = self.db.get(keys::DIGEST).map_err(sled_error("reading"))?;
        Ok(stored.and_then(|digest| digest.as_ref().try_into().ok()).unwrap_or_default())
    }

    /// Bytes the database takes on the disk, as sled counts them.
    ///
    /// # Errors
    /// As [`StateStore::commit`].
    pub fn size_on_disk(&self) -> Result<u64, StateError> {
        self.db.size_on_disk().map_err(sled_error("measuring"))
    }
}

/// fdatasync of every file below `dir`, then fsync of the directories (sled keeps large values as files of their own).
fn sync_tree(disk: &RealDisk, dir: &Path) -> io::Result<()> {
    for name in disk.list(dir)? {
        let path = dir.join(name);
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => sync_tree(disk, &path)?,
            Ok(_) => sync_one(disk, &path)?,
            // sled's own thread removed it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    disk.sync_dir(dir)
}

fn sync_one(disk: &RealDisk, path: &Path) -> io::Result<()> {
    match disk.open(path, OpenMode::ReadWrite).and_then(|file: Box<dyn DiskFile>| file.sync_data()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn sled_error(action: &'static str) -> impl FnOnce(sled::Error) -> StateError {
    move |source| StateError::Sled { action, source }
}

fn io_error(action: &'static str) -> impl FnOnce(io::Error) -> StateError {
    move |source| StateError::Io { action, source }
}

/// Records per batch when all are replaced: bounds what sled holds at once.
const BATCH_RECORDS: usize = 4096;
