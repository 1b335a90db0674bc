#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::recover::renounce_leadership;
use consigner_storage::log::WalOptions;
use consigner_storage::{Disk, SimDisk};
use std::path::Path;
use std::time::Duration;

const DIR: &str = "/log";

fn open(disk: &SimDisk) -> Arc<Wal> {
    Arc::new(Wal::open(Arc::new(disk.clone()), Path::new(DIR), WalOptions::default()).unwrap())
}

/// A disk of which the power is cut the moment a call returns.
async fn survives(write: impl AsyncFnOnce(LogStore)) -> Arc<Wal> {
    let disk = Arc::new(SimDisk::new(7));
    disk.create_dir(Path::new(DIR)).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    let wal = Arc::new(Wal::open(Arc::clone(&disk) as Arc<dyn Disk>, Path::new(DIR), WalOptions::default()).unwrap());
    write(LogStore::new(Arc::clone(&wal), None)).await;
    disk.power_cut();
    drop(wal);
    disk.process_restart();
    open(&disk)
}

#[tokio::test]
async fn a_vote_is_on_the_disk_when_save_vote_returns() {
    for term in 1..20 {
        let vote = Vote::new(term, 3);
        let wal = survives(async |mut store| store.save_vote(&vote).await.unwrap()).await;
        assert_eq!(read_vote(&wal).unwrap(), Some(vote), "term {term}");
    }
}

#[tokio::test]
async fn a_vote_that_claims_leadership_is_renounced_before_the_start() {
    let wal = survives(async |mut store| {
        store.save_vote(&Vote::new_committed(4, 1)).await.unwrap();
        renounce_leadership(&store.wal, 1).await.unwrap();
    })
    .await;
    assert_eq!(read_vote(&wal).unwrap(), Some(Vote::new(5, 0)));
    for kept in [Vote::new(4, 1), Vote::new_committed(4, 2)] {
        let wal = survives(async |mut store| {
            store.save_vote(&kept).await.unwrap();
            renounce_leadership(&store.wal, 1).await.unwrap();
        })
        .await;
        assert_eq!(read_vote(&wal).unwrap(), Some(kept));
    }
}

#[tokio::test]
async fn a_purge_waits_for_a_durable_snapshot() {
    let disk = SimDisk::new(1);
    disk.create_dir(Path::new(DIR)).unwrap();
    let (durable, covered) = watch::channel(None);
    let mut store = LogStore::new(open(&disk), Some(covered));
    let upto = LogPosition { term: 1, node: 1, index: 5 };
    let early = tokio::time::timeout(Duration::from_millis(50), store.purge(typ::log_id(&upto))).await;
    assert!(early.is_err(), "purged before a snapshot covered it");
    assert_eq!(store.wal.purged(), None);
    durable.send_replace(Some(upto));
    store.purge(typ::log_id(&upto)).await.unwrap();
    assert_eq!(store.wal.purged(), Some(upto));
}

#[tokio::test]
async fn the_first_vote_leaves_a_mark_beside_the_log() {
    let disk = Arc::new(SimDisk::new(11));
    let open_dir = || {
        let identity = consigner_storage::NodeIdentity { node_id: 1, cluster_id: [7; 16] };
        let dir = consigner_storage::DataDir::open(Arc::clone(&disk) as Arc<dyn Disk>, Path::new("/data"), identity);
        dir.unwrap()
    };
    let dir = open_dir();
    let (wal, past) = (Arc::new(dir.open_wal(WalOptions::default()).unwrap()), Arc::new(dir.past().unwrap()));
    assert!(!past.is_written());
    let mut store = LogStore::new(wal, None).with_past(past);
    store.save_vote(&Vote::new(1, 1)).await.unwrap();
    disk.power_cut();
    drop((store, dir));
    disk.process_restart();
    assert!(open_dir().past().unwrap().is_written(), "an emptied log would look like a fresh one");
}
