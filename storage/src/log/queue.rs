//! What callers and the writer thread share: the index, the bounded queue, and the poison.
//!
//! In: calls. Out: batches for the writer, and the end of everything after the first error.
//! One mutex guards all of it, so that the order of the queue is the order of the index; nobody does I/O under it.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::index::Index;
use super::options::{Done, FRAME_TARGET_BYTES, QUEUE_BYTES, QUEUE_CALLS, WalOptions};
use super::record::{LogPosition, Record};
use super::stats::Counters;
use super::{WalError, repair};
use crate::disk::{Disk, DiskFile};

/// One call on its way to the writer.
pub(crate) struct Call {
    /// Records with the ticket of their slot (0 for records without one).
    pub(crate) records: Vec<(Record, u64)>,
    pub(crate) done: Done,
}

impl Call {
    fn bytes(&self) -> usize {
        self.records.iter().map(|(record, _)| record.encoded_len()).sum()
    }
}

/// What the writer takes at once.
pub(crate) struct Batch {
    pub(crate) calls: Vec<Call>,
    /// A committed position that has not been written yet.
    pub(crate) committed: Option<Option<LogPosition>>,
}

/// The guarded part.
pub(crate) struct State {
    pub(crate) index: Index,
    pub(crate) vote: Option<Bytes>,
    pub(crate) committed: Option<LogPosition>,
    pub(crate) committed_unwritten: bool,
    pub(crate) poisoned: Option<String>,
    /// Open segment files, for reads.
    pub(crate) files: BTreeMap<u64, Arc<dyn DiskFile>>,
    queue: VecDeque<Call>,
    queued_bytes: usize,
    closing: bool,
}

/// Shared by [`super::Wal`] and its writer.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) options: WalOptions,
    pub(crate) counters: Counters,
    state: Mutex<State>,
    not_empty: Condvar,
    not_full: Condvar,
}

impl State {
    pub(crate) fn new(
        index: Index,
        vote: Option<Bytes>,
        committed: Option<LogPosition>,
        files: BTreeMap<u64, Arc<dyn DiskFile>>,
    ) -> State {
        State {
            index,
            vote,
            committed,
            committed_unwritten: false,
            poisoned: None,
            files,
            queue: VecDeque::new(),
            queued_bytes: 0,
            closing: false,
        }
    }

    /// The error every call gets once the log is poisoned or closing.
    pub(crate) fn refusal(&self) -> Option<WalError> {
        match &self.poisoned {
            Some(reason) => Some(WalError::Poisoned(reason.clone())),
            None if self.closing => Some(WalError::Closed),
            None => None,
        }
    }

    fn full(&self) -> bool {
        self.queue.len() >= QUEUE_CALLS || self.queued_bytes >= QUEUE_BYTES
    }
}

impl Shared {
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: PathBuf, options: WalOptions, state: State) -> Shared {
        Shared {
            disk,
            dir,
            options,
            counters: Counters::default(),
            state: Mutex::new(state),
            not_empty: Condvar::new(),
            not_full: Condvar::new(),
        }
    }

    /// The guarded state. A panic elsewhere under the lock is no reason to panic here too: what the lock guards is
    /// only memory, and the writer's own end poisons the log.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room, then lets `prepare` change the index and queues what it returns, in one step.
    /// On an error `done` is called with it.
    pub(crate) fn submit(&self, done: Done, prepare: impl FnOnce(&mut State) -> Result<Vec<(Record, u64)>, WalError>) {
        let mut state = self.lock();
        while state.full() && state.refusal().is_none() {
            state = self.not_full.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let prepared = match state.refusal() {
            Some(refusal) => Err(refusal),
            None => prepare(&mut state),
        };
        match prepared {
            Ok(records) => {
                let call = Call { records, done };
                state.queued_bytes += call.bytes();
                state.queue.push_back(call);
                drop(state);
                self.not_empty.notify_one();
            }
            Err(error) => {
                drop(state);
                done(Err(error));
            }
        }
    }

    /// What the writer does next; waits for it. `None`: nothing more will come.
    pub(crate) fn next_batch(&self) -> Option<Batch> {
        let mut state = self.lock();
        while state.queue.is_empty() && state.refusal().is_none() {
            state = self.not_empty.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.poisoned.is_some() || state.queue.is_empty() {
            return None;
        }
        let mut calls = Vec::new();
        let mut bytes = 0;
        while let Some(call) = state.queue.pop_front() {
            bytes += call.bytes();
            calls.push(call);
            if bytes >= FRAME_TARGET_BYTES
                || state.queue.front().is_some_and(|next| bytes + next.bytes() > FRAME_TARGET_BYTES)
            {
                break;
            }
        }
        state.queued_bytes = state.queued_bytes.saturating_sub(bytes);
        let committed = std::mem::take(&mut state.committed_unwritten).then_some(state.committed);
        drop(state);
        self.not_full.notify_all();
        Some(Batch { calls, committed })
    }

    /// Lets the writer finish what is queued and end.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.not_empty.notify_all();
        self.not_full.notify_all();
    }

    /// Ends the log's life: nothing is acknowledged from here on. Only the first error counts.
    pub(crate) fn poison(&self, error: &WalError) {
        let reason = error.full_text();
        let waiting = {
            let mut state = self.lock();
            if state.poisoned.is_some() {
                return;
            }
            state.poisoned = Some(reason.clone());
            state.queued_bytes = 0;
            std::mem::take(&mut state.queue)
        };
        self.not_empty.notify_all();
        self.not_full.notify_all();
        repair::mark_suspect(&*self.disk, &self.dir, &reason);
        for call in waiting {
            (call.done)(Err(WalError::Poisoned(reason.clone())));
        }
        (self.options.on_fatal)(&reason);
    }
}
