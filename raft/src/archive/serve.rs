//! Rows of this node for a member that misses some.
//!
//! In: a range of log indexes. Out: the rows that lie here, and how far the answer can be relied upon: only after `since`
//! and up to `upto`. Deliberately absent: whether the asker needs them.

use super::KeepError;
use crate::cluster::Cluster;
use crate::peer::wire::{AskRows, Row, Rows};
use consigner_storage::{Outbox, OutboxError};

/// Rows in one answer.
pub(super) const ROWS_MAX: usize = 8_192;

/// Bytes of rows after which an answer is full; with one row more, which holds the changes of one entry, it stays below
/// [`crate::peer::wire::BODY_BYTES_MAX`].
const BYTES_MAX: usize = 1024 * 1024;

/// Rows read at once: entries are small, but the limit must hold for large ones, too.
const READ_ROWS: usize = 128;

impl Cluster {
    /// Answers a member. Reads off the async threads.
    ///
    /// # Errors
    /// [`KeepError`].
    pub(crate) async fn rows_for_peer(&self, asked: AskRows) -> Result<Rows, KeepError> {
        // Before the rows: what is applied now has its row in the store.
        let (outbox, applied) = (self.outbox()?, self.applied_index());
        super::off_the_runtime(move || Ok(read(&outbox, asked, applied)?)).await
    }
}

fn read(outbox: &Outbox, asked: AskRows, applied: u64) -> Result<Rows, OutboxError> {
    let before = outbox.since()?;
    let mut answer = Rows { since: before, applied, upto: asked.upto.min(applied), rows: Vec::new() };
    let max = usize::try_from(asked.max).unwrap_or(ROWS_MAX).min(ROWS_MAX);
    if max == 0 {
        // Asked only where its rows begin.
        answer.upto = asked.after.min(answer.upto);
        return Ok(answer);
    }
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
    answer.since = before.max(outbox.since()?);
    Ok(answer)
}
