//! Old rows out of the store, into a segment.
//!
//! In: how much the store may keep, and how far entries are applied. Out: one segment more. The order is the rule: the
//! segment is durable under its name and was read back; then, and only then, its rows leave the store. A crash in between
//! leaves them in both places: they are compared and leave the store at the next spill. A full disk leaves them where
//! they are.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Outbox, OutboxError, lock, since};
use crate::segments::{Page, Ranges, Segment, SegmentError, SegmentFault, SegmentWriter, write_base};

/// What the store may hold before its oldest rows become a segment; then half of it stays. Zeros: everything is spilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpillLimits {
    /// Rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What a spill did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spilled {
    /// Rows in the new segment; 0 if there was nothing to do.
    pub rows: u64,
    /// Their bytes before compression.
    pub plain_bytes: u64,
    /// Bytes of the segment.
    pub bytes: u64,
    /// The store still holds more than its limits: call again.
    pub is_more: bool,
}

impl Outbox {
    /// Moves the oldest rows of the store into one segment if it holds more than `limits`; never a row of an entry
    /// beyond `upto`, the last that is applied.
    ///
    /// # Errors
    /// Nothing is lost: what is not in a durable segment is still in the store.
    pub fn spill(&self, limits: SpillLimits, upto: u64) -> Result<Spilled, OutboxError> {
        let _moving = self.start_moving();
        self.take_doubled()?;
        let (rows, bytes) = (self.store.outbox_len(), self.store.outbox_bytes());
        if rows <= limits.rows && bytes <= limits.bytes {
            return Ok(Spilled::default());
        }
        let goal = Goal {
            rows: rows.saturating_sub(limits.rows / 2).min(SEGMENT_ROWS),
            bytes: bytes.saturating_sub(limits.bytes / 2).min(SEGMENT_BYTES),
        };
        let mut only_here = self.store_coverage()?;
        only_here.remove_all(&self.catalog().coverage());
        let open_from = since(&only_here);
        for &(after, end) in only_here.within(0, upto).as_slice() {
            // An island is covered to its end, also where its last entries have no rows.
            let end = (end, after < open_from);
            if let Some(segment) = self.write_run(after, end, goal)? {
                return self.take_spilled(segment, limits);
            }
        }
        Ok(Spilled::default())
    }

    /// Writes rows of one run into a segment; `None` if it has none.
    fn write_run(&self, after: u64, end: (u64, bool), goal: Goal) -> Result<Option<Segment>, OutboxError> {
        let (end, is_island) = end;
        let mut rows = self.scan(after, end, SCANNED)?;
        if rows.first().is_none_or(|(_, row)| row.is_none()) {
            return Ok(None);
        }
        let mut writer = self.begin_segment(after)?;
        let (mut upto, mut taken, mut is_drained) = (after, Taken::default(), false);
        'run: while !is_drained {
            for (index, row) in rows {
                // What is damaged ends the segment: its entry is a hole, and the rest goes into another one.
                let Some(row) = row else { break 'run };
                if let Err(error) = writer.add(index, &row) {
                    writer.give_up();
                    return Err(error.into());
                }
                upto = index;
                taken = Taken { rows: taken.rows + 1, bytes: taken.bytes + row.len() as u64 };
                if goal.is_reached(taken) {
                    break 'run;
                }
            }
            rows = self.scan(upto, end, SCANNED)?;
            is_drained = rows.is_empty();
        }
        let upto = if is_drained && is_island { end } else { upto };
        Ok(Some(self.finish_segment(writer, upto)?))
    }

    fn take_spilled(&self, segment: Segment, limits: SpillLimits) -> Result<Spilled, OutboxError> {
        let info = segment.info.clone();
        self.adopt(segment);
        self.store.outbox_take_spilled(info.after, info.upto, &BTreeSet::new())?;
        let (rows, bytes) = (self.store.outbox_len(), self.store.outbox_bytes());
        let is_more = rows > limits.rows || bytes > limits.bytes;
        Ok(Spilled { rows: info.entries, plain_bytes: info.plain_bytes, bytes: info.bytes, is_more })
    }

    /// Shows a segment to readers: those that look from now on find its rows there.
    pub(super) fn adopt(&self, segment: Segment) {
        let mut catalog = self.catalog_mut();
        catalog.segments.push(Arc::new(segment));
        catalog.sort();
    }

    /// Begins a segment behind what the chain has.
    pub(super) fn begin_segment(&self, after: u64) -> Result<SegmentWriter<'_>, SegmentError> {
        let (mark, unwritten) = {
            let catalog = self.catalog();
            (catalog.mark_before(after, &self.lineage), catalog.base.filter(|_| !catalog.is_base_durable))
        };
        if let Some(base) = unwritten {
            // A segment that begins behind it, read without it, would begin behind a hole.
            write_base(&*self.disk, &self.dir, &self.lineage, &base)?;
            self.catalog_mut().is_base_durable = true;
        }
        SegmentWriter::begin(&*self.disk, &self.dir, self.lineage, mark, after)
    }

    /// Makes a segment durable and reads it back, every block.
    pub(super) fn finish_segment(&self, writer: SegmentWriter<'_>, upto: u64) -> Result<Segment, SegmentError> {
        let name = writer.finish(upto)?;
        let checked = self.read_back(&name);
        if checked.is_err() {
            // The rows are still where they were; what was never good is no evidence of anything.
            let _removed = self.disk.remove(&self.dir.join(&name));
        }
        checked
    }

    fn read_back(&self, name: &str) -> Result<Segment, SegmentError> {
        let segment = self.open_segment(name)?;
        let file = segment.file(&*self.disk)?;
        for block in segment.blocks_after(0) {
            segment.read_block(&*file, block)?;
        }
        let fault = segment.faults().first().cloned();
        fault.map_or(Ok(segment), |fault| Err(SegmentError::Fault(fault)))
    }

    fn open_segment(&self, name: &str) -> Result<Segment, SegmentError> {
        let opened = Segment::open(&*self.disk, &self.dir, name, &self.lineage)?;
        opened.map_err(|unfit| {
            let why = format!("what was just written is not what is read: {unfit:?}");
            SegmentError::Fault(SegmentFault { name: name.to_owned(), after: 0, upto: 0, why })
        })
    }

    /// Rows that lie in a segment and in the store: after a crash between the two steps of a spill, and after the store
    /// was rebuilt by applying old entries again. They leave the store once they are seen to be the same.
    pub(super) fn take_doubled(&self) -> Result<(), OutboxError> {
        let covered = self.catalog().coverage();
        for &(after, upto) in covered.as_slice() {
            let mut after = after;
            while let Some(next) = self.take_doubled_after(after, upto, &covered)? {
                after = next;
            }
        }
        Ok(())
    }

    /// One page of it; `None` when there is no more.
    fn take_doubled_after(&self, after: u64, upto: u64, covered: &Ranges) -> Result<Option<u64>, OutboxError> {
        let rows = self.scan(after, upto, SCANNED)?;
        let Some(last) = rows.last().map(|(index, _)| *index) else { return Ok(None) };
        let mut page = Page::new(after, last, usize::MAX);
        page.read(&*self.disk, &self.catalog().segments)?;
        let end = page.bound();
        let held = match page.finish() {
            Err(SegmentError::Conflict(index)) => {
                // Two segments differ: spilling goes on all the same.
                self.note_conflict(index);
                return Ok(None);
            }
            held => held?,
        };
        if self.catalog().coverage() != *covered {
            // A block turned out damaged: what the store has of it is precious. Next time.
            return Ok(None);
        }
        let mut kept = BTreeSet::new();
        for (index, row) in rows.into_iter().take_while(|(index, _)| *index <= end) {
            let in_segment = held.binary_search_by_key(&index, |(held, _)| *held).ok().and_then(|at| held.get(at));
            let is_same = match (&row, in_segment) {
                (Some(row), Some((_, held))) => row == held,
                // Damaged here and good there.
                (None, Some(_)) => true,
                (_, None) => false,
            };
            if !is_same {
                kept.insert(index);
                self.note_conflict(index);
            }
        }
        self.store.outbox_take_spilled(after, end, &kept)?;
        lock(&self.damaged).retain(|index| *index <= after || *index > end);
        Ok(Some(end))
    }

    fn note_conflict(&self, index: u64) {
        if lock(&self.conflicts).insert(index) {
            tracing::error!(index, "the outbox has two different rows of one log index; both are kept");
        }
    }
}

/// When a segment is large enough.
#[derive(Clone, Copy)]
struct Goal {
    rows: u64,
    bytes: u64,
}

/// What a segment took out of the store.
#[derive(Clone, Copy, Default)]
struct Taken {
    rows: u64,
    bytes: u64,
}

impl Goal {
    /// Both, or the most that a segment may have of either.
    fn is_reached(&self, Taken { rows, bytes }: Taken) -> bool {
        (rows >= self.rows && bytes >= self.bytes) || rows >= SEGMENT_ROWS || bytes >= SEGMENT_BYTES
    }
}

/// Rows read from the store at once.
const SCANNED: usize = 4096;
/// A segment goes as a whole, so it bounds how coarse purge and retention are; and it is read back before rows move.
const SEGMENT_ROWS: u64 = 500_000;
/// Bytes before compression, for the same reason.
const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
