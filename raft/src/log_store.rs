//! openraft's log storage on top of our write-ahead log.
//!
//! In: openraft's calls. Out: the same promises, kept by [`Wal`]: what is acknowledged is on the disk.
//! A purge waits until a durable snapshot covers it: openraft 0.9 may ask before the installed snapshot is durable.
//! Deliberately absent: retries. The first error of the log is the last thing that this node does.

use crate::typ::{self, Entry, LogId, StorageError, TypeConfig, Vote};
use consigner_rules::codec;
use consigner_storage::log::{Wal, WalError};
use consigner_storage::{LogPosition, PastMarker};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader, StorageIOError};
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// Most bytes of entries in one append: it has to cross within one heartbeat interval, or openraft resends for ever.
pub const APPEND_BYTES_MAX: usize = consigner_rules::command::COMMAND_BYTES_MAX;

/// Most bytes that one read of the log for `apply` or for recovery returns at once.
const READ_BYTES_MAX: usize = usize::MAX;

/// What a purge waits for: the position that durable snapshots cover.
pub type DurableSnapshot = watch::Receiver<Option<LogPosition>>;

/// The log as openraft sees it.
#[derive(Clone)]
pub struct LogStore {
    wal: Arc<Wal>,
    durable: Option<DurableSnapshot>,
    past: Option<Arc<PastMarker>>,
}

impl LogStore {
    /// A log whose purges wait for `durable`; `None` (the conformance suite) purges at once.
    pub fn new(wal: Arc<Wal>, durable: Option<DurableSnapshot>) -> Self {
        Self { wal, durable, past: None }
    }

    /// Writes `past` once the first record is durable, before it is acknowledged: a crash in between leaves a log that
    /// is not empty, which says the same.
    #[must_use]
    pub fn with_past(self, past: Arc<PastMarker>) -> Self {
        Self { past: Some(past), ..self }
    }

    /// Blocks for a disk write, once in the life of a data directory.
    fn mark_past(&self) -> io::Result<()> {
        self.past.as_ref().map_or(Ok(()), |past| past.write())
    }

    fn entries(&self, range: impl RangeBounds<u64>, max_bytes: usize) -> Result<Vec<Entry>, StorageError> {
        let found = self.wal.read(range, max_bytes).map_err(|error| StorageIOError::read_logs(&error))?;
        found
            .iter()
            .map(|(position, bytes)| {
                typ::decode_entry(position, bytes)
                    .map_err(|error| StorageIOError::read_log_entry(typ::log_id(position), &error).into())
            })
            .collect()
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        self.entries((range.start_bound().cloned(), range.end_bound().cloned()), READ_BYTES_MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, StorageError> {
        self.entries(start..end, APPEND_BYTES_MAX)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        Ok(LogState {
            last_purged_log_id: self.wal.purged().as_ref().map(typ::log_id),
            last_log_id: self.wal.last().as_ref().map(typ::log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        save_vote(&self.wal, vote).await.map_err(|error| StorageIOError::write_vote(&error))?;
        self.mark_past().map_err(|error| StorageIOError::write_vote(&error).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        read_vote(&self.wal).map_err(|error| StorageIOError::read_vote(&error).into())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        self.wal.save_committed(committed.as_ref().map(typ::position));
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        Ok(self.wal.committed().as_ref().map(typ::log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries =
            entries.into_iter().map(|entry| (typ::position(&entry.log_id), typ::encode_entry(&entry))).collect();
        let store = self.clone();
        let done = move |result: Result<(), WalError>| {
            callback.log_io_completed(result.map_err(io::Error::other).and_then(|()| store.mark_past()));
        };
        self.wal.append(entries, Box::new(done));
        Ok(())
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let written = written(|done| self.wal.truncate_from(log_id.index, done)).await;
        written.map_err(|error| StorageIOError::write_logs(&error).into())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        let upto = typ::position(&log_id);
        if let Some(durable) = &mut self.durable {
            let covered = durable.wait_for(|snapshot| snapshot.is_some_and(|snapshot| snapshot.index >= upto.index));
            // The sender lives in the state machine; without one nothing will ever cover the purge.
            covered.await.map_err(|error| StorageIOError::write_logs(&error))?;
        }
        written(|done| self.wal.purge(upto, done)).await.map_err(|error| StorageIOError::write_logs(&error).into())
    }
}

/// Saves a vote; durable on return.
pub async fn save_vote(wal: &Wal, vote: &Vote) -> Result<(), WalError> {
    let bytes = codec::encode(vote).into();
    written(|done| wal.save_vote(bytes, done)).await
}

/// The vote last saved.
pub fn read_vote(wal: &Wal) -> Result<Option<Vote>, codec::DecodeError> {
    wal.vote().map(|bytes| codec::decode(&bytes)).transpose()
}

/// Waits until the writer thread reports one request.
async fn written(request: impl FnOnce(consigner_storage::log::Done)) -> Result<(), WalError> {
    let (report, reported) = oneshot::channel();
    request(Box::new(move |result| {
        // The receiver is gone only when this node stops.
        drop(report.send(result));
    }));
    reported.await.unwrap_or_else(|_| Err(WalError::Misuse("the log writer is gone".to_owned())))
}

#[cfg(test)]
#[path = "log_store_tests.rs"]
mod tests;
