//! What leaves the node for good: what the archive has, and what the operator does not want to keep.
//!
//! In: the mark of the archive, or how long rows stay. Out: rows and whole segments less, oldest first. What ended where
//! is durable before a segment goes, so that what was removed on purpose is never taken for missing, and so that the
//! chain goes on behind it. Damaged files are never removed. Deliberately absent: whether the archive really has them.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use consigner_rules::archive::ArchiveMark;

use super::{Outbox, OutboxError, lock};
use crate::segments::{Segment, SegmentError, decode_row, write_base};

/// How long rows stay where no archive takes them; `None` is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// By the time of their proposal.
    pub age: Option<Duration>,
    /// By what they take, oldest first.
    pub bytes: Option<u64>,
}

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Segments.
    pub segments: u64,
    /// Entries with a row in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
}

impl Outbox {
    /// Removes what the archive has confirmed: rows up to `mark`, and segments that end there or before. A segment with
    /// the mark in its middle stays whole. To be called with the mark at every start too: the chain goes on from it.
    ///
    /// # Errors
    /// Something failed; what could not be removed is removed the next time.
    pub fn purge(&self, mark: &ArchiveMark) -> Result<Removed, OutboxError> {
        let _moving = self.start_moving();
        let old: Vec<_> = {
            let mut catalog = self.catalog_mut();
            if catalog.base.is_none_or(|base| base.index < mark.index) {
                // Without a segment the file would tell no more than the mark in the state: it is not written every second.
                (catalog.base, catalog.is_base_durable) = (Some(*mark), false);
            }
            catalog.segments.iter().filter(|segment| segment.info.upto <= mark.index).cloned().collect()
        };
        // A trouble of the one must not keep the other: on a full disk each makes room.
        let purged = self.store.outbox_purge(mark.index);
        let removed = self.remove_segments(&old, *mark, true);
        purged?;
        lock(&self.damaged).retain(|index| *index > mark.index);
        lock(&self.conflicts).retain(|index| *index > mark.index);
        removed
    }

    /// Removes the oldest segments that are older or take more than they shall; what is not in a segment yet, or is the
    /// newest, stays. Age counts from the newest row or from `now_ms` (milliseconds since the Unix epoch), whichever is
    /// earlier: a clock that jumps ahead must not empty the archive.
    ///
    /// # Errors
    /// As [`Outbox::purge`].
    pub fn retain(&self, retention: Retention, now_ms: u64) -> Result<Removed, OutboxError> {
        let _moving = self.start_moving();
        let mut segments = self.catalog().segments.clone();
        if self.store.outbox_len() == 0 {
            segments.pop();
        }
        let old = self.too_much(&segments, retention.bytes).max(self.too_old(&segments, retention.age, now_ms)?);
        segments.truncate(old);
        let Some(last) = segments.last() else { return Ok(Removed::default()) };
        let mut end = last.info.end;
        // Of one whose end is damaged the chain knows a part.
        end.skip(last.info.upto);
        self.remove_segments(&segments, end, false)
    }

    /// How many segments, from the oldest, are more than `limit` leaves room for.
    fn too_much(&self, segments: &[Arc<Segment>], limit: Option<u64>) -> usize {
        let Some(limit) = limit else { return 0 };
        let mut bytes = self.bytes();
        let mut count = 0;
        for segment in segments {
            if bytes <= limit {
                break;
            }
            bytes = bytes.saturating_sub(segment.info.bytes);
            count += 1;
        }
        count
    }

    /// How many, from the oldest, are older than `age`.
    fn too_old(&self, segments: &[Arc<Segment>], age: Option<Duration>, now_ms: u64) -> Result<usize, OutboxError> {
        let Some(age) = age else { return Ok(0) };
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let now_ms = now_ms.min(self.newest_ms()?.unwrap_or(now_ms));
        let Some(oldest_kept) = now_ms.checked_sub(age) else { return Ok(0) };
        // No row was proposed later than those behind it: a single wrong clock does not keep a segment for ever.
        let mut newest = u64::MAX;
        let mut count = 0;
        for (place, segment) in segments.iter().enumerate().rev() {
            newest = newest.min(segment.info.newest_ms);
            if newest < oldest_kept && count == 0 {
                count = place + 1;
            }
        }
        Ok(count)
    }

    /// When the newest row was proposed.
    fn newest_ms(&self) -> Result<Option<u64>, OutboxError> {
        if let Some((index, row)) = self.store.outbox_last()? {
            return Ok(decode_row(index, &row).map(|(ms, _)| Some(ms))?);
        }
        Ok(self.catalog().segments.last().map(|segment| segment.info.newest_ms))
    }

    /// Removes these, behind the note of where they ended. Where the replicated state has the mark too (`is_in_state`), a
    /// full disk does not keep them: then the note is written behind them. One that cannot be removed stays.
    fn remove_segments(
        &self,
        old: &[Arc<Segment>],
        mark: ArchiveMark,
        is_in_state: bool,
    ) -> Result<Removed, OutboxError> {
        if old.is_empty() {
            return Ok(Removed::default());
        }
        let is_news = self.catalog().base.is_none_or(|base| base.index <= mark.index);
        let mut is_durable = true;
        if is_news {
            match write_base(&*self.disk, &self.dir, &self.lineage, &mark) {
                Err(error) if is_in_state && is_full(&error) => is_durable = false,
                written => written?,
            }
        }
        {
            let mut catalog = self.catalog_mut();
            if is_news {
                (catalog.base, catalog.is_base_durable) = (Some(mark), is_durable);
            }
            catalog.segments.retain(|kept| !old.iter().any(|gone| Arc::ptr_eq(kept, gone)));
        }
        // Readers do not wait for the disk.
        let removed = self.unlink(old);
        if !is_durable {
            match write_base(&*self.disk, &self.dir, &self.lineage, &mark) {
                // The next segment brings it, or the purge of the next start.
                Err(error) if is_full(&error) => {}
                written => {
                    written?;
                    self.catalog_mut().is_base_durable = true;
                }
            }
        }
        removed
    }

    /// Removes files of segments that the catalog does not have any more; it gets those back whose removal failed.
    fn unlink(&self, old: &[Arc<Segment>]) -> Result<Removed, OutboxError> {
        let (mut removed, mut failed) = (Removed::default(), None);
        for segment in old {
            match self.disk.remove(segment.path()) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    let mut catalog = self.catalog_mut();
                    catalog.segments.push(segment.clone());
                    catalog.sort();
                    failed.get_or_insert(io("removing", segment)(error));
                }
                _ => {
                    removed.segments += 1;
                    removed.rows += segment.info.entries;
                    removed.bytes += segment.info.bytes;
                }
            }
        }
        // A name that comes back after a crash does no harm: it is removed again.
        failed.map_or(Ok(removed), |error| Err(error.into()))
    }
}

fn is_full(error: &SegmentError) -> bool {
    matches!(error, SegmentError::Io { source, .. } if source.kind() == ErrorKind::StorageFull)
}

fn io(action: &'static str, segment: &Segment) -> impl FnOnce(std::io::Error) -> SegmentError {
    move |source| SegmentError::Io { action, path: segment.path().to_path_buf(), source }
}
