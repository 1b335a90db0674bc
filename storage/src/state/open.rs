//! Opening the store: trusted, or set aside and started over.
//!
//! In: a directory in any condition. Out: a usable store. sled is opened and read in full under `catch_unwind`: on
//! files torn by a crash it panics inside `open` more often than it reports an error.

use std::any::Any;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use super::{Loaded, Opened, StateError, StateStore, coverage, io_error, keys, marker, outbox, sled_error, sync_tree};
use crate::disk::{self, Disk, RealDisk};

pub(super) fn sled_dir(dir: &Path) -> PathBuf {
    dir.join("sled")
}

pub(super) fn open(dir: &Path) -> Result<(StateStore, Opened), StateError> {
    disk::create_dir_durably(&RealDisk, dir).map_err(io_error("creating the directory"))?;
    let found = RealDisk.exists(&sled_dir(dir)).map_err(io_error("looking for the database"))?;
    let clean = marker::read(dir).map_err(io_error("reading the clean-stop marker"))?;
    // Gone before the first write of this run, durably: a crash from here on is an unclean stop.
    marker::remove(dir).map_err(io_error("removing the clean-stop marker"))?;
    match (found, clean) {
        (false, None) if numbers(dir, RESCUE).map_err(io_error("listing the directory"))?.is_empty() => {
            Ok((fresh(dir)?, Opened::Clean(Loaded::default())))
        }
        (false, None) => start_over(dir, "an earlier rebuild was cut off".into(), true),
        (false, Some(_)) => start_over(dir, "the database is gone although the last stop was clean".into(), false),
        (true, None) => start_over(dir, "the last stop was not clean".into(), true),
        (true, Some(digest)) => match load(dir) {
            Ok((store, loaded)) if loaded.digest == digest => Ok((store, Opened::Clean(loaded))),
            Ok((store, _)) => {
                drop(store);
                start_over(dir, "the database is not at the state of the last clean stop".into(), true)
            }
            Err(reason) => start_over(dir, reason, false),
        },
    }
}

/// Opens and reads everything; whatever goes wrong is a reason to start over.
fn load(dir: &Path) -> Result<(StateStore, Loaded), String> {
    supervised(|| {
        let db = open_sled(&sled_dir(dir))?;
        let loaded = read_all(&db)?;
        Ok((store(dir, db)?, loaded))
    })
}

/// Runs what touches untrusted sled files; an error or a panic becomes text.
fn supervised<T>(work: impl FnOnce() -> Result<T, StateError>) -> Result<T, String> {
    match panic::catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(StateError::Sled { action, source })) => Err(format!("{action} failed: {source}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(panic) => Err(format!("sled panicked: {}", panic_text(&*panic))),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}

fn open_sled(path: &Path) -> Result<sled::Db, StateError> {
    sled::Config::new().path(path).cache_capacity(CACHE_BYTES).open().map_err(sled_error("opening"))
}

fn read_all(db: &sled::Db) -> Result<Loaded, StateError> {
    let get = |key: &[u8]| db.get(key).map_err(sled_error("reading"));
    if get(keys::FORMAT)?.is_none_or(|version| version.as_ref() != keys::VERSION.to_le_bytes()) {
        return Err(io_error("reading the format version")(io::ErrorKind::InvalidData.into()));
    }
    let meta = get(keys::META)?.map(|meta| meta.to_vec()).unwrap_or_default();
    let digest = get(keys::DIGEST)?.and_then(|digest| digest.as_ref().try_into().ok()).unwrap_or_default();
    let mut records = Vec::new();
    for item in db.scan_prefix([keys::RECORD]) {
        let (key, value) = item.map_err(sled_error("reading"))?;
        records.push((key.get(1..).unwrap_or_default().to_vec(), value.to_vec()));
    }
    Ok(Loaded { records, meta, digest })
}

fn store(dir: &Path, db: sled::Db) -> Result<StateStore, StateError> {
    let (rows, bytes) = outbox::measure(&db)?;
    let (outbox_rows, outbox_bytes) = (AtomicU64::new(rows), AtomicU64::new(bytes));
    Ok(StateStore { dir: dir.to_path_buf(), db, outbox_rows, outbox_bytes, noting: Mutex::default() })
}

/// An empty store in an empty place.
fn fresh(dir: &Path) -> Result<StateStore, StateError> {
    let made = panic::catch_unwind(AssertUnwindSafe(|| {
        let db = open_sled(&sled_dir(dir))?;
        db.insert(keys::FORMAT, &keys::VERSION.to_le_bytes()).map_err(sled_error("writing"))?;
        store(dir, db)
    }));
    made.unwrap_or_else(|panic| Err(StateError::Panicked(panic_text(&*panic).to_owned())))
}

/// Moves what is there aside and starts with an empty store; `salvage` the outbox when the old one can be read.
///
/// Outbox rows of purged log entries exist nowhere else on this node. What was moved keeps the name of something to be
/// rescued until its rows are durable in the new store, so that a kill at any point leaves them to the next start.
pub(super) fn start_over(dir: &Path, reason: String, salvage: bool) -> Result<(StateStore, Opened), StateError> {
    tracing::warn!(reason, dir = %dir.display(), "the state store is set aside and rebuilt from snapshot and log");
    set_aside(dir, if salvage { RESCUE } else { ASIDE }).map_err(io_error("setting the database aside"))?;
    let store = fresh(dir)?;
    let (mut outbox_rows, mut whole, mut known) = (0, true, Vec::new());
    let to_rescue = numbers(dir, RESCUE).map_err(io_error("listing the directory"))?;
    for number in &to_rescue {
        match supervised(|| outbox::copy(&open_sled(&numbered(dir, RESCUE, *number))?, &store)) {
            Ok(copied) => {
                outbox_rows += copied.rows;
                whole &= copied.whole;
                known.push(copied.coverage);
            }
            Err(reason) => {
                whole = false;
                tracing::error!(reason, "the outbox of an old state store could not be read in full");
            }
        }
    }
    if whole {
        store.note(&coverage::joined(&known))?;
    }
    store.db.flush().map_err(sled_error("flushing"))?;
    sync_tree(&RealDisk, &sled_dir(dir)).map_err(io_error("syncing"))?;
    RealDisk.sync_dir(dir).map_err(io_error("syncing the directory"))?;
    rescued(dir, &to_rescue).map_err(io_error("renaming what was set aside"))?;
    Ok((store, Opened::Rebuild { reason, outbox_rows }))
}

fn set_aside(dir: &Path, name: &str) -> io::Result<()> {
    if RealDisk.exists(&sled_dir(dir))? {
        let last = numbers(dir, ASIDE)?.into_iter().chain(numbers(dir, RESCUE)?).max();
        let number = last.map_or(1, |last| last.saturating_add(1));
        RealDisk.rename(&sled_dir(dir), &numbered(dir, name, number))?;
        RealDisk.sync_dir(dir)?;
    }
    Ok(())
}

/// Their rows are safe now: they are only evidence, of which the newest two are kept.
fn rescued(dir: &Path, done: &[u64]) -> io::Result<()> {
    for number in done {
        RealDisk.rename(&numbered(dir, RESCUE, *number), &numbered(dir, ASIDE, *number))?;
    }
    let kept = numbers(dir, ASIDE)?;
    for number in kept.iter().take(kept.len().saturating_sub(ASIDES_KEPT)) {
        std::fs::remove_dir_all(numbered(dir, ASIDE, *number))?;
    }
    RealDisk.sync_dir(dir)
}

fn numbers(dir: &Path, name: &str) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> =
        RealDisk.list(dir)?.iter().filter_map(|entry| entry.strip_prefix(name)?.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn numbered(dir: &Path, name: &str, number: u64) -> PathBuf {
    dir.join(format!("{name}{number}"))
}

/// sled's default is 1 GiB; a state of 100,000 validators is some 30 MB and lives in our own memory anyway.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// A store whose outbox rows are not in the new one yet.
const RESCUE: &str = "rescue-";
/// A store that nothing needs any more.
const ASIDE: &str = "aside-";
/// The newest two, for whoever wants to know what happened; older ones only fill the disk.
const ASIDES_KEPT: usize = 2;
