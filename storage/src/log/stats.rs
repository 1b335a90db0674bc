//! Counters of the log's writer: what the node's metrics are read from.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the fsync latency buckets, microseconds; the last bucket of [`WalStats::fsync_buckets`] is above.
pub const FSYNC_BUCKETS_US: [u64; 10] = [50, 100, 200, 500, 1_000, 2_000, 5_000, 20_000, 100_000, 1_000_000];

/// Counters since open.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WalStats {
    /// fdatasyncs of frames: one per frame.
    pub fsyncs: u64,
    /// Frames written.
    pub frames: u64,
    /// Entries written.
    pub entries: u64,
    /// Bytes written as frames, padding included.
    pub bytes: u64,
    /// Segment files created.
    pub segments: u64,
    /// Time spent in those fdatasyncs, microseconds.
    pub fsync_total_us: u64,
    /// The longest of them, microseconds.
    pub fsync_max_us: u64,
    /// How many took up to the bound of the same place in [`FSYNC_BUCKETS_US`] (not cumulative); the last: longer.
    pub fsync_buckets: [u64; FSYNC_BUCKETS_US.len() + 1],
}

/// The live counters; one writer thread adds, anybody reads.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    frames: AtomicU64,
    entries: AtomicU64,
    bytes: AtomicU64,
    segments: AtomicU64,
    fsync_total_us: AtomicU64,
    fsync_max_us: AtomicU64,
    fsync_buckets: [AtomicU64; FSYNC_BUCKETS_US.len() + 1],
}

impl Counters {
    pub(crate) fn frame(&self, entries: u64, bytes: u64, fsync: Duration) {
        let micros = u64::try_from(fsync.as_micros()).unwrap_or(u64::MAX);
        let add = |counter: &AtomicU64, value| counter.fetch_add(value, Ordering::Relaxed);
        add(&self.frames, 1);
        add(&self.entries, entries);
        add(&self.bytes, bytes);
        add(&self.fsync_total_us, micros);
        self.fsync_max_us.fetch_max(micros, Ordering::Relaxed);
        let bucket = FSYNC_BUCKETS_US.partition_point(|bound| *bound < micros);
        if let Some(counter) = self.fsync_buckets.get(bucket) {
            add(counter, 1);
        }
    }

    pub(crate) fn segment(&self) {
        self.segments.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> WalStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut fsync_buckets = [0; FSYNC_BUCKETS_US.len() + 1];
        for (value, counter) in fsync_buckets.iter_mut().zip(&self.fsync_buckets) {
            *value = get(counter);
        }
        let frames = get(&self.frames);
        WalStats {
            fsyncs: frames,
            frames,
            entries: get(&self.entries),
            bytes: get(&self.bytes),
            segments: get(&self.segments),
            fsync_total_us: get(&self.fsync_total_us),
            fsync_max_us: get(&self.fsync_max_us),
            fsync_buckets,
        }
    }
}
