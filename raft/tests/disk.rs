//! A disk that fills up, by a probe of the test and for real; and a log that stays within its bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

mod support;

use consigner_raft::{AuthorizeError, Cluster, DiskLevel, DiskOptions, Leadership};
use consigner_rules::command::{ClusterIdentity, Rejection};
use consigner_rules::{Command, Outcome};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use support::{DEADLINE, GENESIS, Lab, attestation, disk_at, sign, steady, try_sign, until};

/// One more vote; they must rise within a test.
async fn attest(cluster: &Cluster, target: u64) -> Result<(), AuthorizeError> {
    sign(cluster, &attestation(target - 1, target, 1)).await.map(drop)
}

async fn lab_with(disk: impl Fn(u64) -> DiskOptions, nodes: u64) -> Lab {
    let mut lab = Lab::new(nodes, 10_000);
    lab.timing = steady();
    lab.disks = (1..=nodes).map(|id| (id, disk(id))).collect();
    lab.found().await;
    lab
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_disk_is_full_hands_over_and_comes_back() {
    let percent: Vec<Arc<AtomicU64>> = (0..3).map(|_| Arc::new(AtomicU64::new(50))).collect();
    let lab = lab_with(|id| disk_at(Arc::clone(&percent[usize::try_from(id).unwrap() - 1])), 3).await;
    let full = lab.leader().await;
    let disk = &percent[usize::try_from(full).unwrap() - 1];
    attest(lab.cluster(full), 1).await.unwrap();

    disk.store(85, Ordering::Relaxed);
    until("the early warning", || lab.cluster(full).disk().level == DiskLevel::Warned).await;
    assert_eq!(lab.cluster(full).leadership(), Leadership::This, "a warning changes nothing");
    attest(lab.cluster(full), 2).await.unwrap();

    disk.store(95, Ordering::Relaxed);
    let others: Vec<u64> = lab.nodes.keys().copied().filter(|id| *id != full).collect();
    let led = || others.iter().find(|id| lab.cluster(**id).leadership() == Leadership::This);
    until("another leader", || led().is_some()).await;
    let refused = try_sign(lab.cluster(full), &attestation(2, 3, 1)).await.unwrap_err();
    let AuthorizeError::Unavailable { reason } = &refused else { panic!("{refused:?}") };
    assert!(reason.contains("the disk of this node is 95 % full"), "{reason}");
    let ready = lab.cluster(full).ready().unwrap_err();
    assert!(ready.reason.contains("takes no proposals and does not lead"), "{ready}");
    let status = lab.cluster(full).status();
    assert!(!status.ready && status.not_ready.unwrap().contains("95 % full"));
    let proposed = lab.cluster(full).propose(vec![Command::RenewPolicy], DEADLINE).await;
    assert!(proposed.unwrap_err().to_string().contains("95 % full"), "commands, too");
    for other in &others {
        attest(lab.cluster(*other), 3 + *other).await.unwrap();
    }
    let reached = lab.cluster(others[0]).status().applied_index;
    until("it follows all the same", || lab.cluster(full).status().applied_index >= reached).await;

    disk.store(93, Ordering::Relaxed);
    until("another look", || lab.cluster(full).disk().used_percent == 93).await;
    assert!(lab.cluster(full).ready().is_err(), "not before there is some room to spare");
    disk.store(92, Ordering::Relaxed);
    until("it is ready again", || lab.cluster(full).ready().is_ok()).await;
    attest(lab.cluster(full), 9).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_stays_within_its_bytes_and_nothing_unarchived_is_lost() {
    const LIMIT: u64 = 1 << 20;
    const SEGMENT: u64 = 8 << 20;
    let disk = DiskOptions { snapshot_bytes: LIMIT, ..disk_at(Arc::new(AtomicU64::new(10))) };
    let mut lab = lab_with(|_| disk.clone(), 1).await;
    let mut signed = 0;
    // Five segments of commands that are refused, which leave nothing but their entries.
    for round in 0..40 {
        let outcomes = lab.cluster(1).propose((0..8).map(|_| heavy()).collect(), DEADLINE).await.unwrap();
        assert!(matches!(outcomes[0], Outcome::Rejected(Rejection::AlreadyInitialised(_))), "{:?}", outcomes[0]);
        attest(lab.cluster(1), 100 + round).await.unwrap();
        signed += 1;
    }
    let dir = lab.data_dir(1);
    let segments = || files(&dir.join("log"), "wal");
    until("old segments are gone", || segments() <= 3).await;
    assert!(lab.cluster(1).status().snapshot_index.is_some(), "by bytes: far fewer entries than between snapshots");
    until("old snapshots are gone", || (1..=2).contains(&files(&dir.join("snapshots"), "snapshot"))).await;
    // What is purged from the log still waits for the archive.
    let waiting = || lab.cluster(1).disk().outbox_rows;
    until("the outbox is counted", || waiting() >= signed).await;
    let before = waiting();
    until("parts are summed up", || (1..=3 * SEGMENT + SEGMENT / 2).contains(&lab.cluster(1).disk().log_bytes)).await;
    lab.stop(1).await;
    lab.start(1).await;
    until("the outbox is counted again", || lab.cluster(1).disk().outbox_rows >= before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_disk_fills_up_and_the_node_lives() {
    let mut lab = Lab::new(3, 10_000);
    lab.timing = steady();
    let small = match SmallDisk::mount(&lab.data_dir(3)) {
        Ok(small) => small,
        Err(reason) => {
            println!("SKIPPED: a file system that is really full: {reason}");
            return;
        }
    };
    lab.disks.insert(3, DiskOptions::default());
    lab.found().await;
    until("node 3 follows", || lab.cluster(3).ready().is_ok()).await;

    small.leave_free(24 << 20);
    until("it notices", || lab.cluster(3).disk().level == DiskLevel::Stopped).await;
    until("another node leads", || (1..=2).any(|id| lab.cluster(id).leadership() == Leadership::This)).await;
    attest(lab.cluster(1), 1).await.unwrap();
    let reached = lab.cluster(1).status().applied_index;
    until("it still follows", || lab.cluster(3).status().applied_index >= reached).await;
    assert!(try_sign(lab.cluster(3), &attestation(1, 2, 1)).await.is_err());

    small.leave_free(6 << 20);
    until("it sees that nothing fits", || lab.cluster(3).disk().free_bytes < 12 << 20).await;
    let begun = lab.cluster(3).status().last_log_index;
    // More than a segment: it would have to make another one.
    for round in 0..10 {
        lab.cluster(1).propose((0..8).map(|_| heavy()).collect(), DEADLINE).await.unwrap();
        attest(lab.cluster(2), 10 + round).await.unwrap();
    }
    assert_eq!(*lab.nodes[&3].fatal.lock().unwrap(), Vec::<String>::new(), "it waits instead of dying");
    assert!(lab.cluster(3).status().last_log_index < lab.cluster(1).status().last_log_index, "{begun:?}");

    small.free();
    until("it is ready again", || lab.cluster(3).ready().is_ok()).await;
    let reached = lab.cluster(1).status().applied_index;
    until("it caught up", || lab.cluster(3).status().applied_index >= reached).await;
    attest(lab.cluster(3), 30).await.unwrap();
    assert_eq!(*lab.nodes[&3].fatal.lock().unwrap(), Vec::<String>::new());
    lab.stop(3).await;
    drop(small);
}

/// A command that is refused, and large.
fn heavy() -> Command {
    let network = "x".repeat(128 * 1024);
    Command::Initialise(ClusterIdentity { cluster_id: support::CLUSTER, network, genesis_validators_root: GENESIS })
}

fn files(dir: &Path, extension: &str) -> usize {
    let entries = std::fs::read_dir(dir).unwrap().filter_map(Result::ok);
    entries.filter(|entry| entry.path().extension().and_then(OsStr::to_str) == Some(extension)).count()
}

/// An ext4 of its own below a data directory, taken down when dropped.
struct SmallDisk {
    at: PathBuf,
    _image: tempfile::NamedTempFile,
}

/// Sparse. Large enough that two segments, sled and the reserve fit with room to spare.
const SMALL_BYTES: u64 = 256 << 20;

impl SmallDisk {
    fn mount(at: &Path) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("loop mounts need root".to_owned());
        }
        let said = |error: std::io::Error| error.to_string();
        let image = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).map_err(said)?;
        image.as_file().set_len(SMALL_BYTES).map_err(said)?;
        std::fs::create_dir_all(at).map_err(said)?;
        let file = image.path().as_os_str();
        run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), "-m".as_ref(), "0".as_ref(), file])?;
        run("mount", &["-o".as_ref(), "loop".as_ref(), file, at.as_os_str()])?;
        // A data directory must be empty before its first use.
        let disk = Self { at: at.to_owned(), _image: image };
        std::fs::remove_dir(at.join("lost+found")).map_err(said)?;
        Ok(disk)
    }

    /// Takes room until so much is left, beside what the node writes meanwhile.
    fn leave_free(&self, bytes: u64) {
        let file = std::fs::File::options().create(true).append(true).open(self.at.join("ballast")).unwrap();
        let free = consigner_storage::disk_space(&self.at).unwrap().free;
        let len = file.metadata().unwrap().len() + free.saturating_sub(bytes);
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, len).unwrap();
    }

    fn free(&self) {
        std::fs::remove_file(self.at.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the node may still be closing its files.
        if let Err(error) = run("umount", &["-l".as_ref(), self.at.as_os_str()]) {
            println!("{} is still mounted: {error}", self.at.display());
        }
    }
}

fn run(program: &str, arguments: &[&OsStr]) -> Result<(), String> {
    let output = std::process::Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{program}: {said}")) }
}
