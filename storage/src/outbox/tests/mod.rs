//! The outbox over a real state store and a simulated disk that loses what a power cut may lose.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod course;
mod crash;
mod damage;
mod hung;
mod removal;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use consigner_rules::archive::{ArchiveMark, archive_rows};
use consigner_rules::primitives::ClusterId;
use consigner_rules::{Change, codec};

use super::*;
use crate::disk::SimDisk;
use crate::segments::{SegmentsReport, verify_on};
use crate::state::StateWrite;

const LINEAGE: ClusterId = ClusterId([9; 16]);
const DIR: &str = "/data/archive";
const EVERYTHING: SpillLimits = SpillLimits { rows: 0, bytes: 0 };

/// A store, a disk for the segments, and the outbox over both.
struct Bench {
    _home: tempfile::TempDir,
    sim: SimDisk,
    store: Arc<StateStore>,
    outbox: Outbox,
}

impl Bench {
    fn new(seed: u64) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (store, _) = StateStore::open(home.path()).unwrap();
        store.outbox_begins(0).unwrap();
        let (sim, store) = (SimDisk::new(seed), Arc::new(store));
        let outbox = open(&sim, &store).unwrap();
        Self { _home: home, sim, store, outbox }
    }

    /// A bench with rows of these entries in the store.
    fn with(indexes: impl IntoIterator<Item = u64>) -> Self {
        let bench = Self::new(1);
        bench.apply(indexes);
        bench
    }

    fn apply(&self, indexes: impl IntoIterator<Item = u64>) {
        for index in indexes {
            self.store.commit(StateWrite { outbox: Some((index, row(index))), ..StateWrite::default() }).unwrap();
        }
    }

    fn reopen(&mut self) {
        self.outbox = open(&self.sim, &self.store).unwrap();
    }

    fn spill(&self, upto: u64) -> Spilled {
        self.outbox.spill(EVERYTHING, upto).unwrap()
    }

    fn indexes(&self) -> Vec<u64> {
        let rows = self.outbox.read_after(0, usize::MAX).unwrap();
        assert!(rows.iter().all(|(index, found)| *found == row(*index)), "each row is what was written");
        rows.into_iter().map(|(index, _)| index).collect()
    }

    fn since(&self) -> u64 {
        self.outbox.since().unwrap()
    }

    fn verify(&self) -> SegmentsReport {
        verify_on(&self.sim, Path::new(DIR), &LINEAGE, &mut |_| {}).unwrap()
    }

    /// Paths of the segments, oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let names = self.sim.list(Path::new(DIR)).unwrap();
        names.into_iter().filter(|name| name.ends_with(".seg")).map(|name| Path::new(DIR).join(name)).collect()
    }
}

fn open(sim: &SimDisk, store: &Arc<StateStore>) -> Result<Outbox, OutboxError> {
    Outbox::open_on(Arc::new(sim.clone()), store.clone(), Path::new(DIR), LINEAGE)
}

/// The row of an entry: two changes, proposed at a second per entry.
fn row(index: u64) -> Vec<u8> {
    codec::encode(&(index * 1000, changes(index)))
}

fn changes(index: u64) -> Vec<Change> {
    vec![Change::PolicyRenewed(index), Change::KeysResealed { data_key: [3; 16], keys: index }]
}

/// A row so long that two of them are more than a block.
fn long_row(index: u64) -> Vec<u8> {
    let mut state = index;
    let mut letters = || {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        char::from(b'a' + u8::try_from(state >> 60).unwrap())
    };
    let name: String = (0..600 * 1024).map(|_| letters()).collect();
    codec::encode(&(index * 1000, vec![Change::TokenAdded { id: [1; 8], name }]))
}

/// The chain over these entries, as whoever writes them to a database computes it.
fn chain(mut mark: ArchiveMark, indexes: impl IntoIterator<Item = u64>) -> ArchiveMark {
    for index in indexes {
        archive_rows(index, index * 1000, changes(index)).for_each(|row| mark.add(&row));
    }
    mark
}

fn begin() -> ArchiveMark {
    ArchiveMark::begin(&LINEAGE)
}
