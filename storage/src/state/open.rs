//! Opening the store: trusted, or set aside and started over.
//!
//! In: a directory in any condition. Out: a usable store. sled is opened and read in full under `catch_unwind`: on
//! files torn by a crash it panics inside `open` more often than it reports an error.

use std::any::Any;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use super::{Loaded, Opened, StateError, StateStore, io_error, keys, marker, outbox, sled_error, sync_tree};
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
        (false, None) => Ok((fresh(dir)?, Opened::Clean(Loaded::default()))),
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
    Ok(StateStore { dir: dir.to_path_buf(), db, outbox_rows, outbox_bytes })
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
pub(super) fn start_over(dir: &Path, reason: String, salvage: bool) -> Result<(StateStore, Opened), StateError> {
    tracing::warn!(reason, dir = %dir.display(), "the state store is set aside and rebuilt from snapshot and log");
    let aside = set_aside(dir).map_err(io_error("setting the database aside"))?;
    let store = fresh(dir)?;
    let mut outbox_rows = 0;
    if let Some(aside) = aside.filter(|_| salvage) {
        match supervised(|| outbox::copy(&open_sled(&aside)?, &store)) {
            Ok(rows) => outbox_rows = rows,
            Err(reason) => tracing::error!(reason, "the outbox of the old state store could not be read in full"),
        }
    }
    sync_tree(&RealDisk, &sled_dir(dir)).map_err(io_error("syncing"))?;
    RealDisk.sync_dir(dir).map_err(io_error("syncing the directory"))?;
    Ok((store, Opened::Rebuild { reason, outbox_rows }))
}

fn set_aside(dir: &Path) -> io::Result<Option<PathBuf>> {
    let mut numbers: Vec<u64> =
        RealDisk.list(dir)?.iter().filter_map(|name| name.strip_prefix(ASIDE)?.parse().ok()).collect();
    numbers.sort_unstable();
    let aside = if RealDisk.exists(&sled_dir(dir))? {
        let number = numbers.last().map_or(1, |last| last.saturating_add(1));
        let aside = dir.join(format!("{ASIDE}{number}"));
        RealDisk.rename(&sled_dir(dir), &aside)?;
        RealDisk.sync_dir(dir)?;
        numbers.push(number);
        Some(aside)
    } else {
        None
    };
    let excess = numbers.len().saturating_sub(ASIDES_KEPT);
    for number in numbers.iter().take(excess) {
        std::fs::remove_dir_all(dir.join(format!("{ASIDE}{number}")))?;
    }
    Ok(aside)
}

/// sled's default is 1 GiB; a state of 100,000 validators is some 30 MB and lives in our own memory anyway.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;
const ASIDE: &str = "aside-";
/// The newest two, for whoever wants to know what happened; older ones only fill the disk.
const ASIDES_KEPT: usize = 2;
