//! The log on the machine's own file system, with the sizes it is shipped with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use consigner_storage::log::WalError;
use consigner_storage::{DataDir, Done, LogPosition, NodeIdentity, RealDisk, Wal, WalOptions};

fn open(dir: &Path) -> Result<Wal, WalError> {
    Wal::open(Arc::new(RealDisk), dir, WalOptions { cache_bytes: 100_000, ..WalOptions::default() })
}

fn wait(call: impl FnOnce(Done)) {
    let (answer, answered) = mpsc::channel();
    call(Box::new(move |result| answer.send(result).unwrap()));
    answered.recv_timeout(Duration::from_secs(60)).unwrap().unwrap();
}

fn entry(index: u64) -> (LogPosition, Bytes) {
    (LogPosition { term: 1, node: 1, index }, Bytes::from(vec![u8::try_from(index % 256).unwrap(); 60_000]))
}

fn segments(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn segments_of_full_size_are_filled_left_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path()).unwrap();
    for first in (0..400).step_by(20) {
        wait(|done| wal.append((first..first + 20).map(entry).collect(), done));
    }
    assert_eq!(segments(dir.path()).len(), 4, "{:?}", segments(dir.path()));
    for name in segments(dir.path()) {
        assert_eq!(fs::metadata(dir.path().join(name)).unwrap().len(), 8 * 1024 * 1024);
    }
    assert_eq!(wal.read(.., usize::MAX).unwrap(), (0..400).map(entry).collect::<Vec<_>>(), "most are read from files");
    wait(|done| wal.purge(entry(399).0, done));
    assert_eq!(segments(dir.path()).len(), 1);
    wait(|done| wal.append(vec![entry(400)], done));
    drop(wal);
    let wal = open(dir.path()).unwrap();
    assert_eq!(wal.read(.., usize::MAX).unwrap(), [entry(400)]);
    assert_eq!(wal.purged(), Some(entry(399).0));
}

#[test]
fn trap_5_a_removed_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let wal = open(dir.path()).unwrap();
    for first in (0..400).step_by(20) {
        wait(|done| wal.append((first..first + 20).map(entry).collect(), done));
    }
    drop(wal);
    fs::remove_file(dir.path().join(segments(dir.path()).last().unwrap())).unwrap();
    assert!(matches!(open(dir.path()), Err(WalError::Incomplete(_))));
}

#[test]
fn directories_are_made_for_their_owner_alone_and_those_that_are_there_are_left() {
    let dir = tempfile::tempdir().unwrap();
    let there = dir.path().join("there");
    fs::create_dir(&there).unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o755)).unwrap();
    let data = there.join("consigner/data");
    let identity = NodeIdentity { cluster_id: [7; 16], node_id: 1 };
    drop(DataDir::open(Arc::new(RealDisk), &data, identity).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&there), 0o755);
    assert_eq!(mode(&data), 0o700);
}

#[test]
fn trap_4_a_directory_that_cannot_be_written_stops_the_log_once() {
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("log");
    fs::create_dir(&gone).unwrap();
    let (told, fatal) = mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let on_fatal = Arc::new(move |why: &str| told.lock().unwrap().send(why.to_owned()).unwrap());
    let wal = Wal::open(Arc::new(RealDisk), &gone, WalOptions { on_fatal, ..WalOptions::default() }).unwrap();
    fs::remove_dir_all(&gone).unwrap();
    // The open segment still takes frames; the next one cannot be made.
    let (answer, answers) = mpsc::channel();
    for first in (0..200).step_by(20) {
        let answer = answer.clone();
        wal.append((first..first + 20).map(entry).collect(), Box::new(move |result| answer.send(result).unwrap()));
    }
    let results: Vec<_> = (0..10).map(|_| answers.recv_timeout(Duration::from_secs(60)).unwrap().is_ok()).collect();
    assert!(results.is_sorted_by(|before, after| before >= after) && !results[9], "{results:?}");
    assert!(fatal.recv_timeout(Duration::from_secs(60)).unwrap().contains("creating segment"));
    assert!(fatal.try_recv().is_err(), "told twice");
    assert!(matches!(wal.read(.., 1), Err(WalError::Poisoned(_))));
}
