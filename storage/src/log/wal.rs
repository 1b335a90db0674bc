//! The log as its users see it.
//!
//! In: calls, each with a callback. Out: callbacks in the order of the calls, reads at once from memory.
//! Deliberately absent: I/O other than reading old entries; the writer thread does the rest.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use bytes::Bytes;

use super::index::Location;
use super::options::{Done, IndexRule, MAX_CALL_BYTES, MAX_PAYLOAD_BYTES, MIN_SEGMENT_BYTES, WalOptions};
use super::queue::{Shared, State};
use super::record::{LogPosition, RECORD_HEADER, RECORD_TRAILER, Record};
use super::stats::WalStats;
use super::writer::Writer;
use super::{WalError, recover, repair};
use crate::disk::{Disk, DiskFile};

/// An open log. Cheap to share behind an `Arc`; dropping it writes what is queued and ends the writer.
pub struct Wal {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

impl Wal {
    /// Opens the log in `dir` (which exists): checks every byte, cuts a torn tail, makes durable what it will serve.
    ///
    /// # Errors
    /// [`WalError::Corrupt`], [`WalError::Incomplete`], [`WalError::Format`]: refuse to start with the reason.
    /// [`WalError::Io`]: the disk failed; nothing was served.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: WalOptions) -> Result<Wal, WalError> {
        let mut options = options;
        options.segment_bytes = options.segment_bytes.max(MIN_SEGMENT_BYTES).next_multiple_of(MIN_SEGMENT_BYTES);
        let recovered = recover::recover(&*disk, dir, &options)?;
        // DESIGN 8, trap 1: a restarted node reads what a crash left in the page cache only. It must be on the disk
        // before anything is answered from it, or the next power cut takes back what this process has promised.
        repair::make_durable(&*disk, dir, &recovered)?;
        let files: BTreeMap<u64, Arc<dyn DiskFile>> =
            recovered.segments.iter().map(|segment| (segment.number, Arc::clone(&segment.file))).collect();
        let recover::Recovered { index, checkpoint, segments, valid_end, next, .. } = recovered;
        let state = State::new(index, checkpoint.vote.clone(), checkpoint.committed, files);
        let shared = Arc::new(Shared::new(disk, dir.to_path_buf(), options, state));
        let writer = Writer::new(Arc::clone(&shared), segments, valid_end, next, checkpoint);
        let thread = thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run())
            .map_err(WalError::io("starting the writer thread"))?;
        Ok(Wal { shared, writer: Mutex::new(Some(thread)) })
    }

    /// Appends entries; they can be read as soon as this returns and are durable once `done` is called with `Ok`.
    /// Entries at or below the purged position are skipped (DESIGN 8, trap 8). Waits while the queue is full.
    pub fn append(&self, entries: Vec<(LogPosition, Bytes)>, done: Done) {
        let rule = self.shared.options.indexes;
        self.shared.submit(done, |state| {
            let purged = state.index.purged().map(|position| position.index);
            let entries: Vec<_> = entries
                .into_iter()
                .filter(|(position, _)| purged.is_none_or(|purged| position.index > purged))
                .collect();
            check_append(&entries, state.index.last(), rule)?;
            let push = |(position, payload): (LogPosition, Bytes)| {
                let ticket = state.index.push(position, payload.clone(), None);
                (Record::Entry(position, payload), ticket)
            };
            Ok(entries.into_iter().map(push).collect())
        });
    }

    /// Keeps a vote in place of the one before; durable once `done` is called with `Ok`. An equal vote is written
    /// again: only then is it known to be on the disk.
    pub fn save_vote(&self, vote: Bytes, done: Done) {
        self.shared.submit(done, |state| {
            check_payload(&vote)?;
            state.vote = Some(vote.clone());
            Ok(vec![(Record::Vote(vote), 0)])
        });
    }

    /// Drops entries from `index` on; durable once `done` is called with `Ok`. Nothing to drop is no error.
    pub fn truncate_from(&self, index: u64, done: Done) {
        self.shared.submit(done, |state| {
            if state.index.purged().is_some_and(|purged| index <= purged.index) {
                return Err(WalError::Misuse(format!("truncation from {index}, which is purged")));
            }
            if state.index.last().is_none_or(|last| last.index < index) {
                return Ok(Vec::new());
            }
            state.index.truncate(index);
            Ok(vec![(Record::Truncate(index), 0)])
        });
    }

    /// Drops entries up to and with `upto`; durable once `done` is called with `Ok`, and only then are segment files
    /// unlinked. The caller makes the state or a snapshot that covers `upto` durable first.
    pub fn purge(&self, upto: LogPosition, done: Done) {
        self.shared.submit(done, |state| {
            if state.index.purged().is_some_and(|purged| upto.index <= purged.index) {
                return Ok(Vec::new());
            }
            state.index.purge(upto);
            Ok(vec![(Record::Purge(upto), 0)])
        });
    }

    /// Remembers how far the cluster has agreed. Rides in the next frame, never with an fsync of its own: after a
    /// crash an older value may be found, which only means that more is applied again.
    pub fn save_committed(&self, position: Option<LogPosition>) {
        let mut state = self.shared.lock();
        if state.committed != position {
            state.committed = position;
            state.committed_unwritten = true;
        }
    }

    /// The newest vote handed in or found at open.
    pub fn vote(&self) -> Option<Bytes> {
        self.shared.lock().vote.clone()
    }

    /// The newest committed position handed in or found at open.
    pub fn committed(&self) -> Option<LogPosition> {
        self.shared.lock().committed
    }

    /// Up to where entries were purged.
    pub fn purged(&self) -> Option<LogPosition> {
        self.shared.lock().index.purged()
    }

    /// The newest entry, or the purged position when there is none.
    pub fn last(&self) -> Option<LogPosition> {
        self.shared.lock().index.last()
    }

    /// The oldest entry still here.
    pub fn first(&self) -> Option<LogPosition> {
        self.shared.lock().index.first()
    }

    /// Number of entries still here.
    pub fn entries(&self) -> usize {
        self.shared.lock().index.len()
    }

    /// Bytes that the entries behind `index` take on the disk, at most (each in a frame of its own); `None`: all entries.
    pub fn bytes_after(&self, index: Option<u64>) -> u64 {
        self.shared.lock().index.bytes_after(index)
    }

    /// The newest entry behind which at least `bytes` lie, counted as in [`Wal::bytes_after`]: what may be purged where
    /// so much is to be kept. Looks at every entry that is kept; not for every request.
    pub fn before_last(&self, bytes: u64) -> Option<LogPosition> {
        self.shared.lock().index.before_last(bytes)
    }

    /// Segment files that are open. Each has [`WalOptions::segment_bytes`], more for a frame that would not fit.
    pub fn segments(&self) -> usize {
        self.shared.lock().files.len()
    }

    /// Why the log stopped, once it has.
    pub fn poisoned(&self) -> Option<String> {
        self.shared.lock().poisoned.clone()
    }

    /// Counters since open.
    pub fn stats(&self) -> WalStats {
        self.shared.counters.read()
    }

    /// The entries of `range` that exist, oldest first: as many as fit `max_bytes` of payload, at least one.
    ///
    /// # Errors
    /// [`WalError::Io`] or [`WalError::Corrupt`] when an old entry cannot be read back; the log is poisoned then.
    pub fn read(&self, range: impl RangeBounds<u64>, max_bytes: usize) -> Result<Vec<(LogPosition, Bytes)>, WalError> {
        let found = self.collect((range.start_bound().cloned(), range.end_bound().cloned()), max_bytes)?;
        let entries: Result<Vec<_>, WalError> = found.into_iter().map(Found::load).collect();
        entries.inspect_err(|error| self.shared.poison(error))
    }

    fn collect(&self, range: (Bound<u64>, Bound<u64>), max_bytes: usize) -> Result<Vec<Found>, WalError> {
        let state = self.shared.lock();
        if let Some(refusal) = state.refusal() {
            return Err(refusal);
        }
        let mut found = Vec::new();
        let mut bytes = 0_usize;
        for slot in state.index.range(range) {
            bytes = bytes.saturating_add(slot.len);
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            let file = slot.location.and_then(|location| state.files.get(&location.segment).cloned());
            let place = match (&slot.payload, slot.location, file) {
                (Some(payload), _, _) => Place::Memory(payload.clone()),
                (None, Some(location), Some(file)) => Place::File { file, location, len: slot.len },
                (None, _, _) => return Err(WalError::Corrupt(format!("entry {} has no place", slot.position.index))),
            };
            found.push(Found { position: slot.position, place });
        }
        Ok(found)
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        self.shared.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A callback may hold the last reference; a thread cannot wait for itself.
        if let Some(writer) = writer.filter(|writer| writer.thread().id() != thread::current().id())
            && writer.join().is_err()
        {
            tracing::error!("the log's writer thread panicked");
        }
    }
}

/// An entry that was found in the index and is read after the lock is released.
struct Found {
    position: LogPosition,
    place: Place,
}

enum Place {
    Memory(Bytes),
    File { file: Arc<dyn DiskFile>, location: Location, len: usize },
}

impl Found {
    fn load(self) -> Result<(LogPosition, Bytes), WalError> {
        let payload = match self.place {
            Place::Memory(payload) => payload,
            Place::File { file, location, len } => read_entry(&*file, location, len, self.position)?,
        };
        Ok((self.position, payload))
    }
}

fn read_entry(file: &dyn DiskFile, at: Location, len: usize, wanted: LogPosition) -> Result<Bytes, WalError> {
    let mut bytes = vec![0; RECORD_HEADER + len + RECORD_TRAILER];
    let what = || format!("reading entry {} from segment {}", wanted.index, at.segment);
    file.read_exact_at(&mut bytes, at.offset).map_err(|error| WalError::io(what())(error))?;
    match Record::decode(&Bytes::from(bytes)) {
        Ok((Record::Entry(position, payload), _)) if position == wanted => Ok(payload),
        Ok(_) => Err(WalError::Corrupt(format!("{}: another record stands there", what()))),
        Err(bad) => Err(WalError::Corrupt(format!("{}: {}", what(), bad.0))),
    }
}

fn check_append(
    entries: &[(LogPosition, Bytes)],
    mut last: Option<LogPosition>,
    rule: IndexRule,
) -> Result<(), WalError> {
    let mut bytes = 0_usize;
    for (position, payload) in entries {
        check_payload(payload)?;
        bytes = bytes.saturating_add(payload.len());
        if !rule.allows(last, *position) {
            return Err(WalError::Misuse(format!("entry {} cannot follow {last:?}", position.index)));
        }
        last = Some(*position);
    }
    if bytes > MAX_CALL_BYTES {
        return Err(WalError::Misuse(format!("{bytes} bytes in one append, more than {MAX_CALL_BYTES}")));
    }
    Ok(())
}

fn check_payload(payload: &Bytes) -> Result<(), WalError> {
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(WalError::Misuse(format!("a record of {} bytes, more than {MAX_PAYLOAD_BYTES}", payload.len())));
    }
    Ok(())
}

impl IndexRule {
    /// Whether `next` may follow `last`, which is the purged position in an empty log.
    pub(crate) fn allows(self, last: Option<LogPosition>, next: LogPosition) -> bool {
        match (self, last) {
            (IndexRule::Consecutive, None) => next.index == 0,
            (IndexRule::Consecutive, Some(last)) => last.index.checked_add(1) == Some(next.index),
            (IndexRule::Rising, None) => true,
            (IndexRule::Rising, Some(last)) => next.index > last.index,
        }
    }
}
