//! The writer thread: one batch, one frame, one fdatasync, then the callbacks.
//!
//! In: batches from the queue. Out: frames on the disk and the callers' answers.
//! The first error of any write, fsync, rename or unlink poisons the log and ends the thread (DESIGN 8, trap 4).
//! Deliberately absent: retries.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use super::WalError;
use super::frame::{self, Expected, FRAME_HEADER};
use super::index::Location;
use super::queue::{Batch, Shared};
use super::record::Record;
use super::recover::{Segment, note_indexes};
use super::replay::Checkpoint;
use super::segment::{self, FRAMES_START, SegmentHead};

/// State of the thread: where the next frame goes and what a new segment must repeat.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    segments: VecDeque<Segment>,
    /// Offset of the next frame in the last segment.
    at: u64,
    next: Expected,
    /// What the frames on the disk amount to.
    durable: Checkpoint,
}

/// Poisons the log when the thread ends by a panic: callers must not wait for ever.
struct PanicGuard(Arc<Shared>);

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.poison(&WalError::Poisoned("the writer thread panicked".into()));
        }
    }
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        segments: VecDeque<Segment>,
        at: u64,
        next: Expected,
        durable: Checkpoint,
    ) -> Writer {
        Writer { shared, segments, at, next, durable }
    }

    /// Works until the log is closed and its queue empty, or poisoned.
    pub(crate) fn run(mut self) {
        let _guard = PanicGuard(Arc::clone(&self.shared));
        while let Some(batch) = self.shared.next_batch() {
            let Batch { calls, committed } = batch;
            let (records, answers): (Vec<_>, Vec<_>) = calls.into_iter().map(|call| (call.records, call.done)).unzip();
            let records: Vec<_> = records.into_iter().flatten().collect();
            let result = self.write(records, committed.map(Record::Committed));
            if let Err(error) = &result {
                self.shared.poison(error);
            }
            for done in answers {
                done(result.clone());
            }
            if result.is_err() {
                return;
            }
        }
    }

    fn write(&mut self, numbered: Vec<(Record, u64)>, committed: Option<Record>) -> Result<(), WalError> {
        if numbered.is_empty() {
            // Nothing to make durable, so the committed position waits for the next frame too.
            self.shared.lock().committed_unwritten |= committed.is_some();
            return Ok(());
        }
        let (mut records, tickets): (Vec<_>, Vec<_>) = numbered.into_iter().unzip();
        records.extend(committed);
        let body: usize = records.iter().map(Record::encoded_len).sum();
        let start = self.make_room(frame::extent(body) as u64)?;
        self.write_frame(&records)?;
        self.locate(&records, &tickets, start);
        for record in &records {
            note_indexes(&mut self.segments, record);
            self.durable.note(record);
        }
        if records.iter().any(|record| matches!(record, Record::Purge(_))) {
            self.unlink_purged()?;
        }
        Ok(())
    }

    /// Writes and syncs the frame at `self.at`, and moves on behind it.
    fn write_frame(&mut self, records: &[Record]) -> Result<(), WalError> {
        let (bytes, chain) = frame::encode(self.next, records);
        let active = self.active()?;
        let what =
            |action: &str| WalError::io(format!("{action} frame {} in segment {}", self.next.sequence, active.number));
        active.file.write_all_at(&bytes, self.at).map_err(what("writing"))?;
        let begun = Instant::now();
        active.file.sync_data().map_err(what("syncing"))?;
        let entries = records.iter().filter(|record| matches!(record, Record::Entry(..))).count();
        self.shared.counters.frame(entries as u64, bytes.len() as u64, begun.elapsed());
        self.at += bytes.len() as u64;
        self.next = Expected { sequence: self.next.sequence + 1, chain, ..self.next };
        Ok(())
    }

    fn active(&self) -> Result<&Segment, WalError> {
        self.segments.back().ok_or_else(|| WalError::Incomplete("the log has no segment to write to".into()))
    }

    /// Starts a new segment when the frame does not fit; returns where the frame goes.
    fn make_room(&mut self, extent: u64) -> Result<u64, WalError> {
        let active = self.active()?;
        if self.at.saturating_add(extent) <= active.size {
            return Ok(self.at);
        }
        let (old, old_number) = (Arc::clone(&active.file), active.number);
        let number = old_number + 1;
        let (checkpoint, chain) = frame::encode(self.next, &self.durable.records());
        let frames = FRAMES_START + checkpoint.len() as u64;
        let size = self.shared.options.segment_bytes.max(frames.saturating_add(extent));
        let head = SegmentHead { number, size, first: self.next };
        let file = segment::create(&*self.shared.disk, &self.shared.dir, head, &checkpoint)?;
        segment::seal(&*old, old_number, self.next.nonce)
            .map_err(WalError::io(format!("sealing segment {old_number}")))?;
        self.shared.counters.segment();
        self.shared.lock().files.insert(number, Arc::clone(&file));
        self.segments.push_back(Segment { number, size, max_index: None, file });
        self.at = frames;
        self.next = Expected { sequence: self.next.sequence + 1, chain, ..self.next };
        Ok(frames)
    }

    /// Tells the index where the frame's entries lie, so that their payloads may leave the cache.
    fn locate(&self, records: &[Record], tickets: &[u64], start: u64) {
        let Some(segment) = self.segments.back().map(|segment| segment.number) else { return };
        let mut offset = start + FRAME_HEADER as u64;
        let mut state = self.shared.lock();
        for (place, record) in records.iter().enumerate() {
            if let (Record::Entry(position, _), Some(ticket)) = (record, tickets.get(place)) {
                state.index.locate(position.index, *ticket, Location { segment, offset });
            }
            offset += record.encoded_len() as u64;
        }
        state.index.evict();
    }

    /// Removes segments without a live entry from the front. Only now is the purge record durable; each unlink is
    /// made durable before the next, so that no crash leaves a gap in the numbers (DESIGN 8, trap 6).
    fn unlink_purged(&mut self) -> Result<(), WalError> {
        let purged = self.durable.purged.map(|purged| purged.index);
        while self.segments.len() > 1
            && let Some(front) = self.segments.front()
            && front.max_index <= purged
        {
            let (number, path) = (front.number, segment::path(&self.shared.dir, front.number));
            let fail = || WalError::io(format!("removing segment {number}"));
            self.shared.disk.remove(&path).map_err(fail())?;
            self.shared.disk.sync_dir(&self.shared.dir).map_err(fail())?;
            self.segments.pop_front();
            self.shared.lock().files.remove(&number);
        }
        Ok(())
    }
}
