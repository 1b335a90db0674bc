//! What a sequence of records amounts to.
//!
//! In: records in log order. Out: the index and the checkpoint, or the rule that a record breaks.
//! Deliberately absent: files; the same checks hold for any source of records.

use bytes::Bytes;

use super::WalError;
use super::index::{Index, Location};
use super::options::{IndexRule, WalOptions};
use super::record::{LogPosition, Record};

/// All that is left of older segments once they are gone.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Checkpoint {
    pub(crate) vote: Option<Bytes>,
    pub(crate) purged: Option<LogPosition>,
    pub(crate) committed: Option<LogPosition>,
    /// Index of the last entry, or the purged one.
    pub(crate) last: Option<u64>,
}

impl Checkpoint {
    /// The records that stand at the head of a segment.
    pub(crate) fn records(&self) -> Vec<Record> {
        let vote = self.vote.clone().map(Record::Vote);
        let purged = self.purged.map(Record::Purge);
        let rest = [Record::Committed(self.committed), Record::Last(self.last)];
        vote.into_iter().chain(purged).chain(rest).collect()
    }

    /// Takes in one record.
    pub(crate) fn note(&mut self, record: &Record) {
        match record {
            Record::Entry(position, _) => self.last = Some(position.index),
            Record::Vote(vote) => self.vote = Some(vote.clone()),
            Record::Truncate(from) => self.last = from.checked_sub(1),
            Record::Purge(upto) => {
                self.purged = Some(*upto);
                self.last = self.last.max(Some(upto.index));
            }
            Record::Committed(position) => self.committed = *position,
            Record::Last(last) => self.last = *last,
        }
    }
}

/// The log so far.
pub(crate) struct Replay {
    index: Index,
    checkpoint: Checkpoint,
    rule: IndexRule,
}

impl Replay {
    pub(crate) fn new(options: &WalOptions) -> Replay {
        Replay { index: Index::new(options.cache_bytes), checkpoint: Checkpoint::default(), rule: options.indexes }
    }

    /// Takes in the head of a segment. The first segment's is where we start; a later one repeats what we know.
    pub(crate) fn checkpoint(&mut self, records: impl Iterator<Item = Record>, first: bool) -> Result<(), String> {
        let mut found = Checkpoint::default();
        for record in records {
            match record {
                Record::Vote(_) | Record::Purge(_) | Record::Committed(_) | Record::Last(_) => found.note(&record),
                Record::Entry(..) | Record::Truncate(_) => {
                    return Err("an entry or a truncation in a checkpoint".into());
                }
            }
        }
        if first {
            self.index.set_purged(found.purged);
            self.checkpoint = found;
        } else if found != self.checkpoint {
            return Err(format!("the checkpoint says {found:?}, the records before it {:?}", self.checkpoint));
        }
        Ok(())
    }

    /// Takes in one record behind the checkpoint.
    pub(crate) fn record(&mut self, record: Record, location: Location) -> Result<(), String> {
        match &record {
            Record::Entry(position, payload) => {
                self.check_entry(*position)?;
                self.index.push(*position, payload.clone(), Some(location));
            }
            Record::Truncate(from) => {
                if self.checkpoint.purged.is_some_and(|purged| *from <= purged.index) {
                    return Err(format!("truncation from {from} below the purged {:?}", self.checkpoint.purged));
                }
                self.index.truncate(*from);
            }
            Record::Purge(upto) => {
                if self.checkpoint.purged.is_some_and(|purged| upto.index <= purged.index) {
                    return Err(format!("purge up to {} goes back", upto.index));
                }
                self.index.purge(*upto);
            }
            Record::Last(_) => return Err("a checkpoint record among the others".into()),
            Record::Vote(_) | Record::Committed(_) => {}
        }
        self.checkpoint.note(&record);
        Ok(())
    }

    fn check_entry(&self, position: LogPosition) -> Result<(), String> {
        let last = self.checkpoint.last;
        let follows = match self.rule {
            IndexRule::Consecutive => last.map_or(Some(0), |last| last.checked_add(1)) == Some(position.index),
            IndexRule::Rising => self.index.last().is_none_or(|last| last.index < position.index),
        };
        if follows { Ok(()) } else { Err(format!("entry {} cannot follow {last:?}", position.index)) }
    }

    /// The whole log has been read: checks that nothing is missing at its front (DESIGN 8, trap 5).
    pub(crate) fn finish(self) -> Result<(Index, Checkpoint), WalError> {
        let Replay { index, checkpoint, rule } = self;
        let missing = |what: String| Err(WalError::Incomplete(what));
        if rule == IndexRule::Consecutive {
            let purged = checkpoint.purged.map(|purged| purged.index);
            let wanted = purged.map_or(Some(0), |purged| purged.checked_add(1));
            match index.first() {
                Some(first) if Some(first.index) != wanted => {
                    return missing(format!("the first entry is {}, purged up to {purged:?}", first.index));
                }
                None if checkpoint.last != purged => {
                    return missing(format!(
                        "entries up to {:?} are missing, purged up to {purged:?}",
                        checkpoint.last
                    ));
                }
                _ => {}
            }
        }
        Ok((index, checkpoint))
    }
}
