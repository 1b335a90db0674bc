//! Reading rows in log order, out of both parts.
//!
//! In: a log index. Out: the rows behind it, bounded in number and bytes. [`Outbox::read_after`] gives what there is;
//! [`Outbox::read_whole`] gives nothing behind a hole, so that whoever copies rows elsewhere cannot pass over one.

use super::{Outbox, OutboxError, since};
use crate::segments::{Page, Row};

impl Outbox {
    /// Up to `max` rows of the entries after `after`, in log order, each index once; fewer where they are long, none
    /// only if there is none. Entries whose rows are missing are passed over: see [`Outbox::since`].
    ///
    /// # Errors
    /// The disk failed, or two different rows of one index are found.
    pub fn read_after(&self, after: u64, max: usize) -> Result<Vec<Row>, OutboxError> {
        let mut page = Page::new(after, u64::MAX, max.max(1));
        self.gather(&self.catalog(), &mut page)?;
        Ok(page.finish()?)
    }

    /// The same, but only as far as no row is missing: judged after reading, so that damage found meanwhile counts.
    ///
    /// # Errors
    /// As [`Outbox::read_after`]; [`OutboxError::Hole`] if the entry right behind `after` belongs to a hole.
    pub fn read_whole(&self, after: u64, max: usize) -> Result<Vec<Row>, OutboxError> {
        let mut page = Page::new(after, u64::MAX, max.max(1));
        let catalog = self.catalog();
        self.gather(&catalog, &mut page)?;
        let coverage = self.coverage(&catalog)?;
        if coverage.reach(after).is_none() {
            let hole = coverage.gaps(after, since(&coverage));
            let upto = hole.as_slice().first().map_or(u64::MAX, |&(_, upto)| upto);
            return Err(OutboxError::Hole { after, upto });
        }
        page.cut(&coverage);
        Ok(page.finish()?)
    }

    /// Up to where no row behind `after` is missing, as of now; `None` if the entry right behind `after` belongs to a
    /// hole. Asked after reading, it says how far what was read is everything.
    ///
    /// # Errors
    /// The store failed.
    pub fn reach(&self, after: u64) -> Result<Option<u64>, OutboxError> {
        Ok(self.coverage(&self.catalog())?.reach(after))
    }
}
