//! What callers and the writer thread of the audit log share.
//!
//! In: entries. Out: batches for the writer. Never waits for the writer: what does not fit is counted, and the count
//! becomes a line. Nobody does I/O under the lock.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::log::Written;
use super::options::{BATCH_BYTES, QUEUE_LINES, QUEUE_RESERVE};
use super::{AuditEntry, AuditError, AuditHead, AuditOptions, AuditStats};
use crate::disk::Disk;

/// What the writer is asked for.
pub(crate) enum Item {
    /// A line, and who waits for it.
    Line(Box<AuditEntry>, Option<Written>),
    /// A new segment: the chain does not hold what it should.
    Segment { after: u64, reason: String, done: Written },
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Item::Line(entry, _) => LINE_FRAME_BYTES + entry.identity.len() + entry.reason.len(),
            Item::Segment { reason, .. } => LINE_FRAME_BYTES + reason.len(),
        }
    }

    /// Tells who waits that it was not done.
    pub(crate) fn refuse(self, error: &AuditError) {
        match self {
            Item::Line(_, Some(done)) | Item::Segment { done, .. } => done(Err(error.clone())),
            Item::Line(_, None) => {}
        }
    }
}

/// Lines that were not written, by why.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LeftOut {
    pub(crate) full: u64,
    pub(crate) failed: u64,
}

impl LeftOut {
    fn is_none(self) -> bool {
        self == LeftOut::default()
    }
}

/// The guarded part.
pub(crate) struct State {
    queue: VecDeque<Item>,
    pub(crate) left_out: LeftOut,
    pub(crate) failing: Option<String>,
    pub(crate) head: AuditHead,
    closing: bool,
}

/// Counters since open.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) lines: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) left_out: AtomicU64,
    pub(crate) write_errors: AtomicU64,
    pub(crate) breaks: AtomicU64,
    pub(crate) torn: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, value: u64) {
    counter.fetch_add(value, Ordering::Relaxed);
}

/// Shared by [`super::AuditLog`] and its writer.
pub(crate) struct Shared {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: AuditOptions,
    pub(crate) counters: Counters,
    state: Mutex<State>,
    changed: Condvar,
}

/// What the writer does next.
pub(crate) enum Work {
    /// These, and the lines that were left out.
    Batch(Vec<Item>),
    /// The time it asked for has come.
    Due,
    /// Nothing more will come.
    Close,
}

impl Shared {
    pub(crate) fn new(disk: Arc<dyn Disk>, options: AuditOptions, head: AuditHead) -> Shared {
        let (queue, left_out) = (VecDeque::new(), LeftOut::default());
        let state = Mutex::new(State { queue, left_out, failing: None, head, closing: false });
        Shared { disk, options, counters: Counters::default(), state, changed: Condvar::new() }
    }

    pub(crate) fn dir(&self) -> &PathBuf {
        &self.options.dir
    }

    /// The guarded state; what it guards is only memory, so a panic elsewhere is no reason to panic here.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a line that nobody waits for, or counts it.
    pub(crate) fn append(&self, entry: AuditEntry) {
        let mut state = self.lock();
        if state.closing || state.queue.len() >= QUEUE_LINES {
            state.left_out.full += 1;
            add(&self.counters.left_out, 1);
        } else {
            state.queue.push_back(Item::Line(Box::new(entry), None));
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Queues what somebody waits for, or refuses it at once.
    pub(crate) fn submit(&self, item: Item) {
        let mut state = self.lock();
        let refusal = match &state.failing {
            _ if state.closing => Some(AuditError::Closed),
            Some(reason) => Some(AuditError::Failing(reason.clone())),
            None if state.queue.len() >= QUEUE_LINES + QUEUE_RESERVE => Some(AuditError::Full),
            None => None,
        };
        let Some(refusal) = refusal else {
            state.queue.push_back(item);
            drop(state);
            self.changed.notify_one();
            return;
        };
        drop(state);
        item.refuse(&refusal);
    }

    /// Waits for work, at most until `due`. While `paused` the queue is left alone.
    pub(crate) fn next(&self, due: Option<Instant>, paused: bool) -> Work {
        let mut state = self.lock();
        loop {
            if !paused && (!state.queue.is_empty() || !state.left_out.is_none()) {
                return Work::Batch(take_batch(&mut state.queue));
            }
            if state.closing {
                return Work::Close;
            }
            let Some(due) = due else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Work::Due;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Notes that the disk failed: whoever waits is told, and what nobody waits for stays queued for a fresh file.
    pub(crate) fn fail(&self, error: &AuditError, lost: u64) {
        let reason = error.full_text();
        add(&self.counters.write_errors, 1);
        add(&self.counters.left_out, lost);
        let mut state = self.lock();
        state.left_out.failed += lost;
        state.failing = Some(reason.clone());
        let queue = std::mem::take(&mut state.queue);
        let (waiting, kept): (VecDeque<_>, VecDeque<_>) =
            queue.into_iter().partition(|item| !matches!(item, Item::Line(_, None)));
        state.queue = kept;
        // They are decisions like the others, only that somebody waited: counted as left out too.
        let waited = waiting.len() as u64;
        state.left_out.failed += waited;
        drop(state);
        add(&self.counters.left_out, waited);
        waiting.into_iter().for_each(|item| item.refuse(&AuditError::Failing(reason.clone())));
    }

    /// Nothing is accepted any more; the writer finishes.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_all();
    }

    /// The writer is gone: whoever still waits is told.
    pub(crate) fn bury(&self, error: &AuditError) {
        let mut state = self.lock();
        state.closing = true;
        let queue = std::mem::take(&mut state.queue);
        drop(state);
        queue.into_iter().for_each(|item| item.refuse(error));
    }

    pub(crate) fn stats(&self) -> AuditStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let state = self.lock();
        AuditStats {
            lines: get(&self.counters.lines),
            checkpoints: get(&self.counters.checkpoints),
            batches: get(&self.counters.batches),
            left_out: get(&self.counters.left_out),
            write_errors: get(&self.counters.write_errors),
            breaks: get(&self.counters.breaks),
            torn: get(&self.counters.torn),
            queued: state.queue.len() as u64,
            failing: state.failing.is_some(),
        }
    }
}

/// As many lines as one write should carry; a segment stands alone.
fn take_batch(queue: &mut VecDeque<Item>) -> Vec<Item> {
    let mut batch = Vec::new();
    let mut bytes = 0;
    while let Some(next) = queue.front() {
        let alone = matches!(next, Item::Segment { .. });
        bytes += next.bytes();
        if !batch.is_empty() && (alone || bytes > BATCH_BYTES) {
            break;
        }
        batch.extend(queue.pop_front());
        if alone {
            break;
        }
    }
    batch
}

/// What a line costs besides its longest texts.
const LINE_FRAME_BYTES: usize = 640;
