//! A database whose disk is full, and one that takes a question and never answers: both are named, signing goes on until
//! the outbox is full, and everything resumes by itself.

use crate::postgres::Postgres;
use crate::site::Site;
use crate::support::{attestation, try_sign, until};
use consigner_raft::{AuthorizeError, DiskOptions, OutboxLevel, OutboxMode, OutboxOptions};
use consigner_storage::DiskSpace;
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const GIB: u64 = 1 << 30;

/// A size of the disk, bytes, of which a fifth is less than a few rows take.
const TINY: u64 = 1_000;

pub async fn a_database_that_hangs_or_is_full_is_waited_for(postgres: &Postgres) {
    let size = Arc::new(AtomicU64::new(100 * GIB));
    let outbox = OutboxOptions { mode: OutboxMode::Archived, ..OutboxOptions::default() };
    let mut site = Site::start(postgres, "troubles", [(1, outbox)].into(), &[1], Some(disk_of_size(&size))).await;
    site.attest(1, 3).await;
    site.archived(1, &[1]).await;

    // As Postgres says it when a disk is full.
    site.sql(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN RAISE EXCEPTION ''no space left on device'' USING ERRCODE = ''53100''; END';
         CREATE TRIGGER full_disk BEFORE INSERT ON consigner.batches FOR EACH ROW EXECUTE FUNCTION full_disk()",
    );
    site.attest(1, 8).await;
    assert!(site.troubled(1, "full").await.reason.contains("disk of the archive's database is full"));
    site.attest(1, 1).await;

    // Until the rows that wait take all of their share.
    size.store(TINY, Ordering::Relaxed);
    until("a full outbox", || site.cluster(1).outbox_status().level == OutboxLevel::Full).await;
    let next = site.newest() + 1;
    until_refused(&site, next).await;
    let not_ready = || site.cluster(1).ready().err().map(|error| error.reason).unwrap_or_default();
    until("the reason", || not_ready().contains("the outbox of this node is full")).await;
    // Room in the database is all that it takes; nobody restarts anything.
    site.sql("DROP TRIGGER full_disk ON consigner.batches");
    site.later("readiness", || site.cluster(1).ready().is_ok()).await;
    site.attest(1, 1).await;
    site.archived(1, &[1]).await;
    size.store(100 * GIB, Ordering::Relaxed);

    // It takes the question, and does not answer. The stopped one holds nothing: it was at rest.
    let pid = site.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'consigner archive'");
    let stopped = Stopped::new(&pid);
    site.attest(1, 1).await;
    assert!(site.troubled(1, "deadline").await.reason.contains("within"));
    site.archived(1, &[1]).await;
    drop(stopped);
    let report = site.verified(1).await;
    assert!(report.gaps.is_empty(), "{report:?}");
    assert_eq!(site.targets(), site.newest());
}

/// A request is refused for that reason, as soon as no other one stands before it.
async fn until_refused(site: &Site<'_>, target: u64) {
    let mut reason = String::new();
    for _ in 0..1_000 {
        match try_sign(site.cluster(1), &attestation(target - 1, target, 9)).await {
            Err(AuthorizeError::Unavailable { reason: why }) if why.contains("the outbox of this node is full") => {
                return;
            }
            Err(AuthorizeError::Unavailable { reason: why }) => reason = why,
            other => panic!("{other:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{reason}");
}

/// A process that does nothing until this is dropped.
struct Stopped(Pid);

impl Stopped {
    fn new(pid: &str) -> Self {
        let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _over_already = kill_process(self.0, Signal::CONT);
    }
}

/// A disk of so many bytes, of which nothing is used.
fn disk_of_size(total: &Arc<AtomicU64>) -> DiskOptions {
    let total = Arc::clone(total);
    let probe = move |_: &Path| Ok(DiskSpace { total: total.load(Ordering::Relaxed), used: 0, free: GIB });
    DiskOptions { probe: Arc::new(probe), ..DiskOptions::default() }
}
