//! A disk that does not answer: whoever reads a segment waits, and so does whoever moves rows behind it. What a signature
//! waits for does not: rows of new entries go to the store all the same.

use super::*;
use crate::disk::{DiskFile, DiskLock, OpenMode};
use std::io;
use std::sync::Condvar;

/// Opening a segment waits until this is told otherwise.
#[derive(Default)]
struct Gate {
    /// Whether it is shut, and how many wait.
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    fn shut(&self, shut: bool) {
        lock(&self.state).0 = shut;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut state = lock(&self.state);
        state.1 += 1;
        self.changed.notify_all();
        while state.0 {
            state = self.changed.wait(state).unwrap();
        }
        state.1 -= 1;
    }

    fn until_somebody_waits(&self) {
        let mut state = lock(&self.state);
        while state.1 == 0 {
            state = self.changed.wait(state).unwrap();
        }
    }
}

struct HungDisk {
    disk: SimDisk,
    gate: Arc<Gate>,
}

impl Disk for HungDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        if path.extension().is_some_and(|extension| extension == "seg") {
            self.gate.pass();
        }
        self.disk.open(path, mode)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.disk.lock(path)
    }
}

#[test]
fn a_segment_that_hangs_keeps_no_new_row_out_of_the_store() {
    let bench = Bench::with(1..=6);
    bench.spill(6);
    let gate = Arc::new(Gate::default());
    let disk = Arc::new(HungDisk { disk: bench.sim.clone(), gate: Arc::clone(&gate) });
    let outbox = Outbox::open_on(disk, bench.store.clone(), Path::new(DIR), LINEAGE).unwrap();
    gate.shut(true);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| outbox.read_after(0, 100));
        gate.until_somebody_waits();
        // It wants the catalog for itself, and stands before every later reader of it.
        let mover = scope.spawn(|| outbox.purge(&chain(begin(), 1..=3)));
        let looker = scope.spawn(|| outbox.since());
        // The state machine knows the store alone; did it wait for the others, this test would not end.
        bench.apply(7..=200);
        assert!(!reader.is_finished());
        gate.shut(false);
        assert!(reader.join().unwrap().unwrap().len() >= 6);
        mover.join().unwrap().unwrap();
        looker.join().unwrap().unwrap();
    });
    assert_eq!(outbox.read_after(190, 100).unwrap().len(), 10);
}
