//! The archive in a database as the HTTP surface and the rest of the node know it.

use super::backoff::Backoff;
use super::exporter::{Exporter, Wish, leads, not_leader, now_ms};
use super::link::Link;
use super::shown::{Shown, describe};
use super::trouble::Trouble;
use crate::config::{PostgresConfig, PostgresServer};
use crate::report::one_line;
use consigner_api::{ArchiveAccess, ArchiveCall, ArchiveFault, Backfilled, ExporterStatus};
use consigner_raft::{Cluster, Recorded};
use consigner_rules::archive::{ArchiveMark, ArchiveRow};
use consigner_storage::archive::{ArchiveDb, ArchiveError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

/// One operator at a time; another one waits, a third is told to.
const WISHES_MAX: usize = 1;

/// Between two looks at how much waits: the outbox is looked at as often.
const LAG_INTERVAL: Duration = Duration::from_secs(1);

/// After a fault of this program.
const PANIC_PAUSE: Duration = Duration::from_secs(60);

/// Rows per question of an export: some megabytes.
const READ_ROWS: usize = 10_000;

/// What the server shows of the connections.
const EXPORTER: &str = "consigner archive";
const READER: &str = "consigner history export";

/// See the module.
pub struct DatabaseArchive {
    cluster: Cluster,
    reader: ArchiveDb,
    shown: Arc<Shown>,
    wishes: mpsc::Sender<Wish>,
}

/// The archive of a node, and what exports to it until it is dropped.
pub fn start(config: &PostgresConfig, cluster: Cluster) -> (Arc<DatabaseArchive>, impl Future<Output = ()> + use<>) {
    let insecure = config.server == PostgresServer::InTheClear;
    if insecure {
        tracing::warn!(
            database = config.place(),
            "archive.postgres.insecure-no-tls: records and password cross the network in the clear, and nobody proves \
             who the database is"
        );
    }
    describe();
    let shown = Arc::new(Shown::new(config.place(), insecure));
    let (sender, wishes) = mpsc::channel(WISHES_MAX);
    let exporter = Exporter {
        cluster: cluster.clone(),
        database: config.database(EXPORTER),
        batch_rows: config.batch_rows,
        flush_interval: config.flush_interval,
        shown: shown.clone(),
        wishes,
        wish: None,
        link: None,
        backoff: Backoff::default(),
    };
    let run = run(exporter, shown.clone(), cluster.clone());
    (Arc::new(DatabaseArchive { cluster, reader: config.database(READER), shown, wishes: sender }), run)
}

/// A fault of the exporter must not become one of the node: it begins anew.
async fn run(exporter: Exporter, shown: Arc<Shown>, cluster: Cluster) {
    let _lag = AbortOnDropHandle::new(tokio::spawn(lag(shown.clone(), cluster)));
    let exporter = Arc::new(Mutex::new(exporter));
    loop {
        let running = exporter.clone();
        let running = AbortOnDropHandle::new(tokio::spawn(async move { running.lock().await.run().await }));
        if let Err(panic) = running.await {
            let reason = format!("a fault of this program: {panic}");
            tracing::error!(reason, "the exporter ended, and begins anew");
            shown.stopped(&Trouble::new("other", reason), now_ms());
        }
        tokio::time::sleep(PANIC_PAUSE).await;
    }
}

/// Tells each second how much waits, on every node.
async fn lag(shown: Arc<Shown>, cluster: Cluster) {
    loop {
        let mark = cluster.archive_mark().map_or(0, |mark| mark.index);
        let reader = cluster.clone();
        let oldest = tokio::task::spawn_blocking(move || reader.recorded_after(mark, 1)).await;
        if let Ok(Ok(oldest)) = oldest {
            let (entries, seconds) = waiting(&cluster, mark, &oldest);
            shown.lags(mark, entries, seconds);
        }
        tokio::time::sleep(LAG_INTERVAL).await;
    }
}

/// Entries that wait for the archive, and how many seconds the oldest has.
fn waiting(cluster: &Cluster, mark: u64, oldest: &[Recorded]) -> (u64, u64) {
    let Some(oldest) = oldest.first() else { return (0, 0) };
    let status = cluster.outbox_status();
    // What is archived and not purged yet does not wait; what the last look did not see yet does.
    let behind = cluster.applied_index().saturating_sub(mark);
    (status.rows.clamp(1, behind.max(1)), waited(now_ms(), oldest.proposed_at_ms))
}

/// Seconds since a proposal. A proposer whose clock was ahead, or a clock that was set back here, makes no negative wait.
const fn waited(now_ms: u64, proposed_at_ms: u64) -> u64 {
    now_ms.saturating_sub(proposed_at_ms) / 1000
}

impl DatabaseArchive {
    async fn link(&self) -> Result<Link, ArchiveFault> {
        let identity = self.cluster.read(|state| state.identity().cloned());
        let identity =
            identity.ok_or_else(|| ArchiveFault::Refused("the cluster is not initialised yet".to_owned()))?;
        let mark = self.cluster.archive_mark();
        let link = Link::find(&self.reader, &identity).await.map_err(away)?;
        let Some(mut link) = link else {
            return Err(ArchiveFault::Away("the database holds nothing of this cluster".to_owned()));
        };
        // After the mark was read: a database behind it would be taken for one that holds everything.
        let head = link.archive.head(&link.lineage).await.map_err(away)?;
        match mark.map(|mark| holds(&mark, head.as_ref())) {
            Some(Err(reason)) => Err(ArchiveFault::Away(reason)),
            Some(Ok(())) | None => Ok(link),
        }
    }

    async fn read(&self, after: u64, upto: u64, rows: usize) -> Result<Vec<Recorded>, ArchiveFault> {
        let mut link = self.link().await?;
        let (mut entries, mut read, mut after) = (Vec::new(), 0, after);
        while read < rows && after < upto {
            let found = link.archive.rows_after(&link.lineage, after, upto, READ_ROWS).await.map_err(away)?;
            let Some(last) = found.last().map(|row| row.index) else { break };
            (read, after) = (read + found.len(), last);
            add_entries(&mut entries, found);
        }
        Ok(entries)
    }
}

/// Whether a database with this head can hold everything up to the mark.
fn holds(mark: &ArchiveMark, head: Option<&ArchiveMark>) -> Result<(), String> {
    let index = head.map_or(0, |head| head.index);
    if index < mark.index {
        return Err(format!(
            "the database holds rows up to log index {index} only, and had confirmed them up to {}; see `consigner archive \
             status`",
            mark.index
        ));
    }
    let is_other = head.is_some_and(|head| head.index == mark.index && head.chain != mark.chain);
    if is_other { Err("the database holds another content than was written to it".to_owned()) } else { Ok(()) }
}

/// Rows of one entry stand together.
fn add_entries(entries: &mut Vec<Recorded>, rows: Vec<ArchiveRow>) {
    for ArchiveRow { index, proposed_at_ms, change, .. } in rows {
        match entries.last_mut() {
            Some(entry) if entry.index == index => entry.changes.push(change),
            Some(_) | None => entries.push(Recorded { index, proposed_at_ms, changes: vec![change] }),
        }
    }
}

impl ArchiveAccess for DatabaseArchive {
    fn status(&self) -> ExporterStatus {
        self.shown.status()
    }

    fn recorded(&self, after: u64, upto: u64, rows: usize) -> ArchiveCall<'_, Vec<Recorded>> {
        Box::pin(self.read(after, upto, rows))
    }

    fn complete_after(&self) -> ArchiveCall<'_, u64> {
        Box::pin(async {
            let mut link = self.link().await?;
            let gaps = link.archive.gaps(&link.lineage).await.map_err(away)?;
            Ok(gaps.iter().map(|gap| gap.upto).max().unwrap_or(0))
        })
    }

    fn backfill(&self, accept_gap: bool) -> ArchiveCall<'_, Backfilled> {
        Box::pin(async move {
            if !leads(&self.cluster) {
                return Err(not_leader(&self.cluster));
            }
            let (answer, outcome) = oneshot::channel();
            let wished = self.wishes.try_send(Wish { accept_gap, answer });
            wished.map_err(|_| ArchiveFault::Refused("another backfill is going on on this node".to_owned()))?;
            outcome.await.unwrap_or_else(|_| Err(ArchiveFault::Away("the node is stopping".to_owned())))
        })
    }
}

fn away(error: ArchiveError) -> ArchiveFault {
    ArchiveFault::Away(one_line(&error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use consigner_rules::primitives::ClusterId;

    #[test]
    fn a_clock_that_jumps_makes_no_negative_wait() {
        assert_eq!(waited(1_700_000_003_999, 1_700_000_000_000), 3);
        assert_eq!(
            waited(1_700_000_000_000, 1_700_000_900_000),
            0,
            "the proposer's was ahead, or this one was set back"
        );
        assert_eq!((waited(0, u64::MAX), waited(u64::MAX, u64::MAX)), (0, 0));
        assert_eq!(waited(1_700_000_000_000, 0), 1_700_000_000, "a clock without a battery: that is said as it is");
    }

    #[test]
    fn a_database_that_lost_rows_is_not_read_as_if_it_had_them() {
        let mark = ArchiveMark { index: 100, rows: 7, ..ArchiveMark::begin(&ClusterId([1; 16])) };
        let at = |index| ArchiveMark { index, ..mark };
        let other = ArchiveMark { index: 100, rows: 7, ..ArchiveMark::begin(&ClusterId([2; 16])) };
        assert_eq!(holds(&mark, Some(&at(100))), Ok(()));
        assert_eq!(holds(&mark, Some(&at(101))), Ok(()), "the mark follows");
        assert!(holds(&mark, Some(&at(99))).unwrap_err().contains("up to log index 99 only"));
        assert!(holds(&mark, None).is_err());
        assert!(holds(&mark, Some(&other)).unwrap_err().contains("another content"));
    }
}
