//! The log of the record, open or not yet: a file or a disk that cannot be used must not keep a signer from starting.
//!
//! In: where the log lies. Out: the log once it is open; until then the reason, and a count of what was not written.
//! A thread of its own opens, because a volume that hangs would hold a start, and later a stop, for ever.
//! Deliberately absent: a way around a directory that another process writes or that is another node's; those end a start.

use consigner_storage::{AuditEntry, AuditError, AuditLog, AuditOptions};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a start waits: a file of the default size is read in a second or two, on a slow disk in ten.
const START: Duration = Duration::from_secs(30);

/// Between two tries: somebody must free a disk or mount it first.
const PAUSE: Duration = Duration::from_secs(30);

/// When to give up waiting, and when to try again.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    start: Duration,
    pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { start: START, pause: PAUSE }
    }
}

/// The log, once it is open.
pub(super) struct Slot {
    state: Mutex<State>,
    /// Lines that came before it was.
    left_out: AtomicU64,
    /// Tries that failed.
    errors: AtomicU64,
    /// Dropped to end the tries.
    stop: Mutex<Option<Sender<()>>>,
}

enum State {
    /// Not open, and why.
    Waiting(String),
    Open(Arc<AuditLog>),
    /// Closed before it was open.
    Closed,
}

impl Slot {
    /// Opens the log, or starts without it and goes on trying.
    ///
    /// # Errors
    /// What no second try cures: [`AuditError::InUse`], [`AuditError::Foreign`], [`AuditError::Options`]; or there is no
    /// thread to be had.
    pub(super) fn open(options: AuditOptions, patience: Patience) -> Result<Arc<Self>, AuditError> {
        let ((stop, stopped), (first, seen)) = (channel(), channel());
        let slot = Arc::new(Self {
            state: Mutex::new(State::Waiting("the record is still being opened".to_owned())),
            left_out: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            stop: Mutex::new(Some(stop)),
        });
        let (owner, pause) = (Arc::downgrade(&slot), patience.pause);
        let dir = options.dir.display().to_string();
        let run = move || until_open(&options, &owner, &first, &stopped, pause);
        let thread = thread::Builder::new().name("audit-open".to_owned()).spawn(run);
        thread.map_err(|error| AuditError::Failing(format!("starting the thread that opens it: {error}")))?;
        match seen.recv_timeout(patience.start) {
            Ok(first) => first?,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                slot.errors.fetch_add(1, Ordering::Relaxed);
                tracing::error!(dir, "the audit is not open yet: changes are refused until it is");
            }
        }
        Ok(slot)
    }

    /// The log, or why it is not open.
    pub(super) fn log(&self) -> Result<Arc<AuditLog>, String> {
        match &*self.lock() {
            State::Open(log) => Ok(log.clone()),
            State::Waiting(reason) => Err(reason.clone()),
            State::Closed => Err(AuditError::Closed.full_text()),
        }
    }

    /// Counts a line that cannot be written.
    pub(super) fn leave_out(&self) {
        self.left_out.fetch_add(1, Ordering::Relaxed);
    }

    /// Lines that were left out before the log was open, and tries that failed.
    pub(super) fn missed(&self) -> (u64, u64) {
        (self.left_out.load(Ordering::Relaxed), self.errors.load(Ordering::Relaxed))
    }

    /// Ends the tries, or writes what is queued and a last checkpoint. Blocks on the disk.
    pub(super) fn close(&self) {
        drop(self.stop.lock().unwrap_or_else(PoisonError::into_inner).take());
        let log = {
            let mut state = self.lock();
            match &*state {
                State::Open(log) => Some(log.clone()),
                State::Waiting(_) | State::Closed => {
                    *state = State::Closed;
                    None
                }
            }
        };
        log.iter().for_each(|log| log.close());
    }

    /// What it guards is only memory, so a panic elsewhere is no reason to panic here.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: &AuditError) {
        let reason = error.full_text();
        self.errors.fetch_add(1, Ordering::Relaxed);
        tracing::error!(error = reason, "the audit cannot be opened: changes are refused, it is tried again");
        let mut state = self.lock();
        if matches!(*state, State::Waiting(_)) {
            *state = State::Waiting(reason);
        }
    }

    fn opened(&self, log: AuditLog) {
        let mut state = self.lock();
        let State::Waiting(reason) = &*state else { return };
        let (left_out, errors) = self.missed();
        if left_out + errors > 0 {
            tracing::warn!(left_out, "the audit is open at last");
            log.append(late(left_out, reason));
        }
        *state = State::Open(Arc::new(log));
    }
}

/// Tries until the log is open, its owner is gone or closes it, or a start heard that it is hopeless.
fn until_open(
    options: &AuditOptions,
    owner: &Weak<Slot>,
    first: &Sender<Result<(), AuditError>>,
    stopped: &Receiver<()>,
    pause: Duration,
) {
    loop {
        let opened = AuditLog::open(options.clone());
        let Some(slot) = owner.upgrade() else { return };
        match opened {
            Ok(log) => {
                slot.opened(log);
                let _nobody_waits = first.send(Ok(()));
                return;
            }
            Err(error) if is_final(&error) && first.send(Err(error.clone())).is_ok() => return,
            Err(error) => slot.failed(&error),
        }
        let _nobody_waits = first.send(Ok(()));
        drop(slot);
        if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// Whether the directory is not this node's to write, or the settings cannot work.
const fn is_final(error: &AuditError) -> bool {
    match error {
        AuditError::InUse(_) | AuditError::Foreign { .. } | AuditError::Options(_) => true,
        AuditError::Io { .. }
        | AuditError::Key { .. }
        | AuditError::Full
        | AuditError::Failing(_)
        | AuditError::Closed
        | AuditError::Nothing(_) => false,
    }
}

/// The first line of a log that was opened late.
fn late(left_out: u64, reason: &str) -> AuditEntry {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    AuditEntry {
        time_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        door: None,
        identity: "node".to_owned(),
        proof: "node".to_owned(),
        address: None,
        operation: "audit_open".to_owned(),
        key: None,
        log_index: None,
        outcome: "done".to_owned(),
        reason: format!("the record was opened late, {left_out} lines were left out before: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use consigner_storage::audit::{Filter, show};
    use std::path::Path;
    use std::time::Instant;

    const DEADLINE: Duration = Duration::from_secs(60);

    fn slot(dir: &Path) -> Result<Arc<Slot>, AuditError> {
        let patience = Patience { start: DEADLINE, pause: Duration::from_millis(5) };
        Slot::open(AuditOptions::new(dir.to_owned(), 1, [7; 16]), patience)
    }

    #[test]
    fn a_disk_that_cannot_be_used_is_tried_again_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let (volume, record) = (dir.path().join("volume"), dir.path().join("volume/audit"));
        // A file where the volume belongs.
        std::fs::write(&volume, "").unwrap();
        let slot = slot(&record).unwrap();
        assert!(slot.log().is_err_and(|reason| reason.contains("creating the directory")));
        slot.leave_out();
        assert!(slot.missed() >= (1, 1));
        std::fs::remove_file(&volume).unwrap();
        std::fs::create_dir(&volume).unwrap();
        let begun = Instant::now();
        let (_never_sends, pause) = channel::<()>();
        while slot.log().is_err() {
            assert!(begun.elapsed() < DEADLINE, "it is never opened");
            let _timeout = pause.recv_timeout(Duration::from_millis(5));
        }
        slot.close();
        let shown: Vec<_> = show(&record, Filter::default()).unwrap().map(|shown| shown.unwrap().text).collect();
        assert!(shown.len() == 1 && shown[0].contains("1 lines were left out"), "{shown:?}");
    }

    #[test]
    fn the_directory_of_another_process_or_node_ends_a_start() {
        let dir = tempfile::tempdir().unwrap();
        let held = slot(dir.path()).unwrap();
        assert!(matches!(slot(dir.path()), Err(AuditError::InUse(_))));
        held.close();
        drop(held);
        let other = AuditOptions::new(dir.path().to_owned(), 2, [7; 16]);
        assert!(matches!(Slot::open(other, Patience::default()), Err(AuditError::Foreign { .. })));
    }

    #[test]
    fn a_close_ends_the_tries() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("volume"), "").unwrap();
        let slot = slot(&dir.path().join("volume/audit")).unwrap();
        slot.close();
        assert_eq!(slot.log().err(), Some(AuditError::Closed.full_text()));
    }
}
