//! Rows of other nodes, where this one has a hole.
//!
//! In: all rows of some entries, as another node has them. Out: a segment for each part of a hole that they fill,
//! durable; [`Outbox::since`] falls once nothing is missing above. Where both nodes have a row they must be the same:
//! a node that contradicts is not believed, and nothing of what it gave is used.

use std::collections::BTreeMap;

use super::{Outbox, OutboxError, check_order, since};
use crate::segments::{Catalog, Page, Row, SegmentError};

impl Outbox {
    /// Takes `rows`, all that the entries after `after`, up to and with `upto`, left on another node. What is not missing
    /// here is compared and otherwise ignored; so is what was purged.
    ///
    /// # Errors
    /// [`SegmentError::Conflict`] with the log index of a row that is another one here, or that only one of the two has;
    /// or the disk failed. Parts of the hole may be filled, each of them whole.
    pub fn fill(&self, after: u64, upto: u64, rows: Vec<Row>) -> Result<(), OutboxError> {
        check_order(&rows, after, upto)?;
        let _moving = self.start_moving();
        let rows: BTreeMap<u64, Vec<u8>> = rows.into_iter().collect();
        let gaps = {
            let catalog = self.catalog();
            let from = after.max(catalog.floor());
            self.compare(&catalog, from, upto, &rows)?;
            let coverage = self.coverage(&catalog)?;
            coverage.gaps(from, upto.min(since(&coverage)))
        };
        for &(after, upto) in gaps.as_slice() {
            self.fill_gap(after, upto, &rows)?;
        }
        // Rows of the gap that lay in the store, though nobody could say whether all of them.
        self.take_doubled()
    }

    fn fill_gap(&self, after: u64, upto: u64, rows: &BTreeMap<u64, Vec<u8>>) -> Result<(), OutboxError> {
        let mut writer = self.begin_segment(after)?;
        for (index, row) in rows.range(after + 1..=upto) {
            if let Err(error) = writer.add(*index, row) {
                writer.give_up();
                return Err(error.into());
            }
        }
        let segment = self.finish_segment(writer, upto)?;
        self.adopt(segment);
        Ok(())
    }

    /// What is here must be there, and what is complete here must be all.
    fn compare(
        &self,
        catalog: &Catalog,
        after: u64,
        upto: u64,
        theirs: &BTreeMap<u64, Vec<u8>>,
    ) -> Result<(), OutboxError> {
        let mut after = after;
        while after < upto {
            let mut page = Page::new(after, upto, COMPARED);
            self.gather(catalog, &mut page)?;
            let end = page.bound();
            let ours: BTreeMap<u64, Vec<u8>> = page.finish()?.into_iter().collect();
            let other = ours.iter().find(|(index, row)| theirs.get(index) != Some(row)).map(|(index, _)| *index);
            let coverage = self.coverage(catalog)?;
            let mut unknown = theirs.range(after + 1..=end).map(|(index, _)| *index);
            let more = unknown.find(|index| !ours.contains_key(index) && coverage.covers(*index));
            if let Some(index) = other.or(more) {
                return Err(SegmentError::Conflict(index).into());
            }
            after = end;
        }
        Ok(())
    }
}

/// Rows compared at once.
const COMPARED: usize = 4096;
