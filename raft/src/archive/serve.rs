//! Rows of this node for a member that misses some.
//!
//! In: a range of log indexes. Out: the rows that lie here, and how far the answer can be relied upon: only after `since`
//! and up to `upto`. It is judged for each question: who misses rows itself may still have others, between its holes, that
//! nobody else has. Deliberately absent: whether the asker needs them.

use super::KeepError;
use crate::cluster::Cluster;
use crate::peer::wire::{AskRows, Row, Rows};
use consigner_storage::{Outbox, OutboxError};
use std::sync::Arc;

/// Rows in one answer.
pub(super) const ROWS_MAX: usize = 8_192;

/// Bytes of rows after which an answer is full; with one row more, which holds the changes of one entry, it stays below
/// [`crate::peer::wire::BODY_BYTES_MAX`].
const BYTES_MAX: usize = 1024 * 1024;

/// Answers that are read at once, each on a thread of its own that a hung disk keeps; who comes then comes again.
pub(super) const ANSWERS_MAX: usize = 2;

/// Rows read at once: entries are small, but the limit must hold for large ones, too.
const READ_ROWS: usize = 128;

impl Cluster {
    /// Answers a member. Reads off the async threads.
    ///
    /// # Errors
    /// [`KeepError`].
    pub(crate) async fn rows_for_peer(&self, asked: AskRows) -> Result<Rows, KeepError> {
        let place = Arc::clone(&self.inner.outbox.answers).try_acquire_owned().map_err(|_| KeepError::Busy)?;
        // Before the rows: what is applied now has its row in the store.
        let (outbox, applied) = (self.outbox()?, self.applied_index());
        super::off_the_runtime(move || {
            let answer = read(&outbox, asked, applied);
            // Held until the disk has answered, even if the asker gives up before.
            drop(place);
            Ok(answer?)
        })
        .await
    }
}

pub(super) fn read(outbox: &Outbox, asked: AskRows, applied: u64) -> Result<Rows, OutboxError> {
    let nothing = |since| Rows { since, applied, upto: asked.after, rows: Vec::new() };
    let Some((since, end)) = outbox.covered_after(asked.after)? else { return Ok(nothing(u64::MAX)) };
    let max = usize::try_from(asked.max).unwrap_or(ROWS_MAX).min(ROWS_MAX);
    if max == 0 || since > asked.after {
        // Asked only where its rows begin, or from where they do not: the next question begins there.
        return Ok(nothing(since));
    }
    let mut answer = Rows { upto: asked.upto.min(applied).min(end), ..nothing(since) };
    let (mut after, mut bytes) = (asked.after, 0);
    'read: loop {
        let some = outbox.read_after(after, READ_ROWS)?;
        if some.is_empty() {
            break;
        }
        for (index, content) in some {
            if index > answer.upto {
                break 'read;
            }
            if answer.rows.len() >= max || bytes >= BYTES_MAX {
                // The rows up to the one before are all there are; this one comes with the next question.
                answer.upto = after;
                break 'read;
            }
            bytes += content.len();
            after = index;
            answer.rows.push(Row { index, content });
        }
    }
    // Rows may have been purged or found damaged while they were read, or filled in after they should have been: the
    // worse one counts.
    match outbox.covered_after(asked.after)? {
        Some((since, end)) if since == asked.after => {
            answer.upto = answer.upto.min(end);
            answer.rows.retain(|row| row.index <= answer.upto);
            Ok(answer)
        }
        Some((since, _)) => Ok(nothing(since)),
        None => Ok(nothing(u64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use consigner_rules::primitives::ClusterId;
    use consigner_rules::{Change, codec};
    use consigner_storage::{StateStore, StateWrite};

    fn content(index: u64) -> Vec<u8> {
        codec::encode(&(index, Vec::<Change>::new()))
    }

    /// Complete from 10 up to 20 and after 40, with a row for every second entry.
    fn with_an_island(dir: &std::path::Path) -> Outbox {
        let (store, _) = StateStore::open(&dir.join("state")).unwrap();
        store.outbox_begins(10).unwrap();
        let write = |index| {
            let outbox = Some((index, content(index)));
            store.commit(StateWrite { outbox, meta: vec![1], ..StateWrite::default() }).unwrap();
        };
        (6..=10).map(|half| 2 * half).for_each(write);
        store.outbox_misses(20, 40).unwrap();
        (21..=25).map(|half| 2 * half).for_each(write);
        Outbox::open(Arc::new(store), &dir.join("archive"), ClusterId([7; 16])).unwrap()
    }

    fn told(outbox: &Outbox, after: u64, upto: u64, max: u32) -> (u64, u64, Vec<u64>) {
        let answer = read(outbox, AskRows { after, upto, max }, 49).unwrap();
        (answer.since, answer.upto, answer.rows.iter().map(|row| row.index).collect())
    }

    #[test]
    fn who_misses_rows_answers_with_those_that_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = with_an_island(dir.path());
        assert_eq!(outbox.since().unwrap(), 40);
        assert_eq!(told(&outbox, 0, 60, 0), (10, 0, vec![]), "the next entries that it has");
        assert_eq!(told(&outbox, 0, 60, 9), (10, 0, vec![]), "what was asked for is not there");
        assert_eq!(told(&outbox, 10, 60, 9), (10, 20, vec![12, 14, 16, 18, 20]), "up to the end of the island");
        assert_eq!(told(&outbox, 13, 17, 9), (13, 17, vec![14, 16]));
        assert_eq!(told(&outbox, 10, 60, 2), (10, 14, vec![12, 14]), "the rest comes next");
        assert_eq!(told(&outbox, 20, 60, 9), (40, 20, vec![]), "and from there on");
        assert_eq!(told(&outbox, 40, 60, 9), (40, 49, vec![42, 44, 46, 48]), "up to what is applied");
    }
}
