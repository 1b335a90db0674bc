//! What the log holds, in memory: positions, where each entry lies, and the payloads of the newest.
//!
//! In: records in log order, from recovery and from callers. Out: what a read needs. An entry is visible as soon as
//! it was handed in; its payload is kept at least until the writer has said where it lies on disk.
//! Deliberately absent: files.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::frame;
use super::record::{LogPosition, RECORD_HEADER, RECORD_TRAILER};

/// Where a record lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Location {
    pub(crate) segment: u64,
    /// Offset of the record header in the segment file.
    pub(crate) offset: u64,
}

/// One live entry.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) position: LogPosition,
    /// Tells this entry from an earlier one of the same index that was truncated.
    pub(crate) ticket: u64,
    pub(crate) len: usize,
    /// `None` until durable.
    pub(crate) location: Option<Location>,
    /// `None` once evicted; always there while `location` is not.
    pub(crate) payload: Option<Bytes>,
    /// [`Index::end`] right behind this entry.
    end: u64,
}

/// Live entries, oldest first, and the positions around them.
#[derive(Debug, Default)]
pub(crate) struct Index {
    slots: BTreeMap<u64, Slot>,
    purged: Option<LogPosition>,
    /// Bytes of cached payloads.
    cached: usize,
    cache_limit: usize,
    /// Every cached payload has an index at or above this.
    evict_from: u64,
    next_ticket: u64,
    /// Bytes on the disk of all entries that were here and not truncated, at most: see [`footprint`].
    end: u64,
    /// The same of those that are purged.
    start: u64,
}

impl Index {
    pub(crate) fn new(cache_limit: usize) -> Index {
        Index { cache_limit, ..Index::default() }
    }

    /// The newest entry, or the purged position when there is none.
    pub(crate) fn last(&self) -> Option<LogPosition> {
        self.slots.last_key_value().map(|(_, slot)| slot.position).or(self.purged)
    }

    pub(crate) fn first(&self) -> Option<LogPosition> {
        self.slots.first_key_value().map(|(_, slot)| slot.position)
    }

    pub(crate) fn purged(&self) -> Option<LogPosition> {
        self.purged
    }

    pub(crate) fn set_purged(&mut self, purged: Option<LogPosition>) {
        self.purged = purged;
    }

    /// Adds an entry at the end; returns its ticket.
    pub(crate) fn push(&mut self, position: LogPosition, payload: Bytes, location: Option<Location>) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.cached += payload.len();
        self.evict_from = self.evict_from.min(position.index);
        self.end = self.end.saturating_add(footprint(payload.len()));
        let slot = Slot { position, ticket, len: payload.len(), location, payload: Some(payload), end: self.end };
        self.slots.insert(position.index, slot);
        self.evict();
        ticket
    }

    /// Notes where an entry lies, unless it was truncated or purged meanwhile.
    pub(crate) fn locate(&mut self, index: u64, ticket: u64, location: Location) {
        if let Some(slot) = self.slots.get_mut(&index).filter(|slot| slot.ticket == ticket) {
            slot.location = Some(location);
        }
    }

    /// Drops entries from `from` on.
    pub(crate) fn truncate(&mut self, from: u64) {
        let gone = self.slots.split_off(&from);
        self.end = self.slots.last_key_value().map_or(self.start, |(_, slot)| slot.end);
        self.forget(&gone);
    }

    /// Drops entries up to and with `upto`; a position at or below the purged one changes nothing.
    pub(crate) fn purge(&mut self, upto: LogPosition) {
        let kept = match upto.index.checked_add(1) {
            Some(next) => self.slots.split_off(&next),
            None => BTreeMap::new(),
        };
        let gone = std::mem::replace(&mut self.slots, kept);
        self.start = gone.last_key_value().map_or(self.start, |(_, slot)| slot.end);
        self.forget(&gone);
        if self.purged.is_none_or(|purged| purged.index < upto.index) {
            self.purged = Some(upto);
        }
    }

    fn forget(&mut self, gone: &BTreeMap<u64, Slot>) {
        let bytes: usize = gone.values().filter_map(|slot| slot.payload.as_ref()).map(Bytes::len).sum();
        self.cached = self.cached.saturating_sub(bytes);
    }

    /// Entries in a range, oldest first.
    pub(crate) fn range(&self, range: (Bound<u64>, Bound<u64>)) -> impl Iterator<Item = &Slot> {
        let empty = match range {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to))
            | (Bound::Excluded(from), Bound::Included(to)) => from >= to,
            _ => false,
        };
        // `BTreeMap::range` panics on a reversed range; a reversed question has no entries.
        let range = if empty { (Bound::Included(0), Bound::Excluded(0)) } else { range };
        self.slots.range(range).map(|(_, slot)| slot)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Bytes on the disk of the entries behind `index`, at most; of all without one.
    pub(crate) fn bytes_after(&self, index: Option<u64>) -> u64 {
        let upto = index.and_then(|index| self.slots.range(..=index).next_back());
        self.end.saturating_sub(upto.map_or(self.start, |(_, slot)| slot.end))
    }

    /// The newest entry behind which at least `bytes` lie; `None`: there is not that much.
    pub(crate) fn before_last(&self, bytes: u64) -> Option<LogPosition> {
        let reaches = |slot: &&Slot| self.end.saturating_sub(slot.end) >= bytes;
        self.slots.values().rev().find(reaches).map(|slot| slot.position)
    }

    /// Drops the oldest durable payloads until the cache is within its limit.
    pub(crate) fn evict(&mut self) {
        if self.cached <= self.cache_limit {
            return;
        }
        for (index, slot) in self.slots.range_mut(self.evict_from..) {
            if self.cached <= self.cache_limit || slot.location.is_none() {
                self.evict_from = *index;
                return;
            }
            if let Some(payload) = slot.payload.take() {
                self.cached = self.cached.saturating_sub(payload.len());
            }
        }
    }
}

/// What an entry takes when it is written alone: a frame of its own, whole sectors. Entries that share a frame take less.
const fn footprint(payload: usize) -> u64 {
    frame::extent(RECORD_HEADER.saturating_add(payload).saturating_add(RECORD_TRAILER)) as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SMALL: u64 = 512;
    const LARGE: u64 = 1536;

    fn filled() -> Index {
        let mut index = Index::new(usize::MAX);
        for (number, bytes) in [(1, 10), (2, 1000), (3, 10), (4, 10)] {
            index.push(position(number), vec![0; bytes].into(), None);
        }
        index
    }

    fn position(index: u64) -> LogPosition {
        LogPosition { term: 1, node: 1, index }
    }

    #[test]
    fn bytes_are_those_of_whole_frames_and_follow_truncation_and_purge() {
        let mut index = filled();
        assert_eq!(index.bytes_after(None), 3 * SMALL + LARGE);
        assert_eq!(index.bytes_after(Some(1)), 2 * SMALL + LARGE);
        assert_eq!(index.bytes_after(Some(2)), 2 * SMALL);
        assert_eq!(index.bytes_after(Some(9)), 0);
        index.truncate(4);
        assert_eq!(index.bytes_after(None), 2 * SMALL + LARGE);
        index.purge(position(2));
        assert_eq!(index.bytes_after(None), SMALL);
        assert_eq!(index.bytes_after(Some(2)), SMALL, "what is purged lies behind nothing");
        index.purge(position(7));
        assert_eq!(index.bytes_after(None), 0);
        index.push(position(8), vec![0; 10].into(), None);
        index.truncate(8);
        assert_eq!(index.bytes_after(None), 0);
    }

    #[test]
    fn the_entry_before_the_last_bytes_is_found() {
        let index = filled();
        assert_eq!(index.before_last(0), Some(position(4)));
        assert_eq!(index.before_last(1), Some(position(3)));
        assert_eq!(index.before_last(2 * SMALL), Some(position(2)));
        assert_eq!(index.before_last(2 * SMALL + LARGE), Some(position(1)));
        assert_eq!(index.before_last(u64::MAX), None);
    }
}
