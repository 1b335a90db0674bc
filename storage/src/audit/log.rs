//! The audit log as its owner sees it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::files::{self, LOCK};
use super::line::{self, Hash, Why};
use super::queue::{Item, Shared};
use super::reader::LineReader;
use super::writer::Writer;
use super::{AuditEntry, AuditError, AuditHead, AuditOptions, AuditStats, open};
use crate::disk::{self, Disk, DiskLock, RealDisk};

/// Called once, from the writer thread, with the number of the line when it is on the disk, or with the reason why it
/// is not. Must not block.
pub type Written = Box<dyn FnOnce(Result<u64, AuditError>) + Send>;

/// Where a line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// Here, with this hash.
    Here(Hash),
    /// Before the oldest file that is kept, or before a segment that was begun because something was missing.
    Behind,
    /// Nowhere, though it should be here.
    Missing,
}

/// An open audit log. Dropping it writes what is queued and a last checkpoint.
pub struct AuditLog {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    _lock: Box<dyn DiskLock>,
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("dir", self.shared.dir()).finish_non_exhaustive()
    }
}

impl AuditLog {
    /// Opens the log of a directory, or begins one. Reads the newest file as a whole.
    ///
    /// # Errors
    /// [`AuditError::InUse`], [`AuditError::Key`], [`AuditError::Options`], [`AuditError::Io`]. A broken chain is none:
    /// a new segment begins, which says so, and [`AuditStats::breaks`] counts it.
    pub fn open(options: AuditOptions) -> Result<AuditLog, AuditError> {
        Self::open_on(Arc::new(RealDisk), options)
    }

    /// [`AuditLog::open`] on another file system.
    ///
    /// # Errors
    /// As there.
    pub fn open_on(disk: Arc<dyn Disk>, options: AuditOptions) -> Result<AuditLog, AuditError> {
        options.check()?;
        disk::create_dir_durably(&*disk, &options.dir).map_err(AuditError::io("creating the directory"))?;
        let lock = disk.lock(&options.dir.join(LOCK)).map_err(AuditError::io("locking the directory"))?;
        let lock = lock.ok_or_else(|| AuditError::InUse(options.dir.clone()))?;
        let found = open::find(&*disk, &options)?;
        let writer = Writer::begin(disk, options, found)?;
        let shared = writer.shared();
        let run = thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run());
        let writer = Mutex::new(Some(run.map_err(AuditError::io("starting the writer thread"))?));
        Ok(AuditLog { shared, writer, _lock: lock })
    }

    /// Writes a line soon. Never waits: when the queue is full the line is counted, and the count becomes a line.
    pub fn append(&self, entry: AuditEntry) {
        self.shared.append(entry.bounded());
    }

    /// Writes a line; `done` hears when it would survive a power cut, or why not.
    pub fn append_durably(&self, entry: AuditEntry, done: Written) {
        self.shared.submit(Item::Line(Box::new(entry.bounded()), Some(done)));
    }

    /// Begins a new segment, numbered above `after`: for an owner that knows of lines which are not here. `done` hears
    /// the number of its first line.
    pub fn begin_segment(&self, after: u64, reason: String, done: Written) {
        self.shared.submit(Item::Segment { after, reason, done });
    }

    /// The newest line on the disk.
    pub fn head(&self) -> AuditHead {
        self.shared.lock().head
    }

    /// Counters since open.
    pub fn stats(&self) -> AuditStats {
        self.shared.stats()
    }

    /// Looks for the line `sequence`, from the newest file backwards.
    ///
    /// # Errors
    /// [`AuditError::Io`].
    pub fn find(&self, sequence: u64) -> Result<Lookup, AuditError> {
        let (disk, dir) = (&*self.shared.disk, self.shared.dir());
        let numbers = files::list(disk, dir).map_err(AuditError::io("listing the files"))?;
        // A log whose oldest file was deleted begins above the first line.
        let mut all_above = numbers.first().is_some_and(|oldest| *oldest > 1);
        for number in numbers.into_iter().rev() {
            let path = dir.join(files::name(number));
            let io = || AuditError::io(format!("reading {}", path.display()));
            let mut reader = LineReader::open(disk, &path).map_err(io())?;
            let mut first = true;
            while let Some(raw) = reader.next_line().map_err(io())? {
                let seq = line::claimed_seq(raw.bytes);
                if seq == Some(sequence) {
                    return Ok(line::parse(raw.bytes).map_or(Lookup::Missing, |parsed| Lookup::Here(parsed.hash)));
                }
                let above = seq.is_some_and(|seq| seq > sequence);
                all_above &= above || !first;
                if std::mem::take(&mut first) && above {
                    let parsed = line::parse(raw.bytes).ok();
                    if parsed.is_some_and(|parsed| parsed.fields.why == Some(Why::Break)) {
                        return Ok(Lookup::Behind);
                    }
                    break;
                }
            }
        }
        Ok(if all_above { Lookup::Behind } else { Lookup::Missing })
    }

    /// Writes what is queued and a last checkpoint, and ends. Further lines are counted as left out.
    pub fn close(&self) {
        self.shared.close();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if writer.is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the writer of the audit log panicked");
        }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.close();
    }
}
