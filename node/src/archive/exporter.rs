//! The exporter's task: carries out the steps of the [`Plan`] while this node leads.
//!
//! In: steps, wishes for a backfill. Out: events. A connection that failed is not used again: the next one is made with
//! the certificates and the password of then. Deliberately absent: what follows from what (`plan`, `facts`).

use super::backoff::Backoff;
use super::batch::Batch;
use super::facts::{Facts, Holes};
use super::link::Link;
use super::plan::{Committed, Event, Plan, Step};
use super::shown::Shown;
use super::trouble::Trouble;
use consigner_api::{ArchiveFault, Backfilled};
use consigner_raft::{Cluster, Healing, Leadership};
use consigner_rules::Command;
use consigner_rules::archive::ArchiveMark;
use consigner_rules::command::ClusterIdentity;
use consigner_storage::archive::{ArchiveDb, ArchiveError};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};

/// How often a node that rests looks whether it (still) leads.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// How long a look waits until this node has applied what was agreed before.
const BARRIER_DEADLINE: Duration = Duration::from_secs(5);

/// Entries read from the outbox at one time; one has at most 256 KiB.
const ENTRIES_AT_ONCE: usize = 32;

/// A wish for a backfill, and where its outcome goes.
pub(super) struct Wish {
    pub(super) accept_gap: bool,
    pub(super) answer: oneshot::Sender<Result<Backfilled, ArchiveFault>>,
}

/// Copies records to the database.
pub(super) struct Exporter {
    pub(super) cluster: Cluster,
    pub(super) database: ArchiveDb,
    pub(super) batch_rows: usize,
    pub(super) flush_interval: Duration,
    pub(super) shown: Arc<Shown>,
    pub(super) wishes: mpsc::Receiver<Wish>,
    pub(super) wish: Option<Wish>,
    pub(super) link: Option<Link>,
    pub(super) backoff: Backoff,
}

impl Exporter {
    /// Until it is dropped.
    pub(super) async fn run(&mut self) {
        loop {
            self.lead().await;
            self.link = None;
            self.shown.follows();
            if let Some(wish) = self.wish.take() {
                let _nobody_waits = wish.answer.send(Err(not_leader(&self.cluster)));
            }
            self.rest(LOOK_INTERVAL).await;
        }
    }

    async fn lead(&mut self) {
        let (mut plan, mut step) = Plan::begin();
        while leads(&self.cluster) {
            if let Some(wish) = self.wish.take() {
                let filled = self.backfill(wish.accept_gap).await;
                let _nobody_waits = wish.answer.send(filled);
                (plan, step) = Plan::begin();
            }
            let event = self.perform(step).await.unwrap_or_else(Event::Failed);
            step = plan.next(event);
        }
    }

    async fn perform(&mut self, step: Step) -> Result<Event, Trouble> {
        match step {
            Step::Look => self.look().await.map(Event::Looked),
            Step::Replay { from, upto } => self.replay(from, upto).await.map(Event::Replayed),
            Step::Gather { from, upto } => self.gather(from, upto).await,
            Step::Write(batch) => self.write(&batch).await.map(|()| Event::Written),
            Step::WriteGap { before, after } => {
                let reason = "recorded before the first export, and kept by no member";
                self.write_gap(&before, &after, reason).await.map(|_| Event::Written)
            }
            Step::Advance(committed) => self.advance(&committed).await.map(|()| Event::Advanced),
            Step::Rest => {
                self.shown.exports();
                self.backoff.reset();
                self.rest(self.flush_interval).await;
                Ok(Event::Rested)
            }
            Step::Pause(trouble) => {
                self.shown.stopped(&trouble, now_ms());
                // Whatever it was, the connection may be a part of it.
                self.link = None;
                let pause = self.backoff.next(chance());
                self.rest(pause).await;
                Ok(Event::Rested)
            }
        }
    }

    /// Rests, but not beyond the leadership, nor while somebody wishes something.
    async fn rest(&mut self, time: Duration) {
        let (until, led) = (tokio::time::Instant::now() + time, leads(&self.cluster));
        while self.wish.is_none() && tokio::time::Instant::now() < until && leads(&self.cluster) == led {
            let slice = until.min(tokio::time::Instant::now() + LOOK_INTERVAL);
            tokio::select! {
                () = tokio::time::sleep_until(slice) => {}
                Some(wish) = self.wishes.recv() => self.wish = Some(wish),
            }
        }
    }

    pub(super) async fn look(&mut self) -> Result<Facts, Trouble> {
        let cluster = self.cluster.clone();
        let identity = identity(&cluster)?;
        let deadline = cluster.barrier(BARRIER_DEADLINE).await;
        deadline.map_err(|error| Trouble::new("cluster", error.to_string()))?;
        wait_for_rules(&cluster).await?;
        let head = self.linked(&identity).await?;
        let mark = cluster.archive_mark();
        let begin = ArchiveMark::begin(&cluster.lineage());
        let holes = blocking(&cluster, holes).await?;
        let applied = cluster.applied_index();
        self.shown.head(head.as_ref());
        Ok(Facts { begin, mark, head, applied, holes })
    }

    /// The head of the database, through a connection that there is from now on.
    async fn linked(&mut self, identity: &ClusterIdentity) -> Result<Option<ArchiveMark>, Trouble> {
        if self.link.is_none() {
            self.link = Some(Link::open(&self.database, identity).await?);
        }
        let Some(link) = &mut self.link else { return Err(unconnected()) };
        let head = link.archive.head(&link.lineage).await;
        self.kept(head)
    }

    /// A connection on which something failed is dropped.
    fn kept<T>(&mut self, answer: Result<T, ArchiveError>) -> Result<T, Trouble> {
        answer.map_err(|error| {
            self.link = None;
            error.into()
        })
    }

    pub(super) async fn replay(&self, from: ArchiveMark, upto: u64) -> Result<ArchiveMark, Trouble> {
        blocking(&self.cluster, move |cluster| {
            let (mut reached, mut after) = (from, from.index);
            loop {
                let entries = cluster.recorded_after(after, ENTRIES_AT_ONCE)?;
                let last = entries.last().map(|entry| entry.index);
                for entry in entries.into_iter().take_while(|entry| entry.index <= upto) {
                    let mut batch = Batch::new(reached);
                    batch.take(entry);
                    reached = batch.after;
                }
                after = last.unwrap_or(u64::MAX);
                if after >= upto {
                    break;
                }
            }
            // Without all rows it cannot be told whether the database has the same.
            if cluster.recorded_reach(from.index)?.is_none_or(|reach| reach < upto) {
                let reason =
                    format!("records of the log indexes after {} up to {upto} are missing on this node", from.index);
                return Err(Trouble::new("hole", reason));
            }
            Ok(reached)
        })
        .await
    }

    /// Reads what comes behind `from`, as far as no row is missing here.
    pub(super) async fn gather(&self, from: ArchiveMark, upto: u64) -> Result<Event, Trouble> {
        let rows = self.batch_rows;
        blocking(&self.cluster, move |cluster| {
            let (mut batch, mut is_read) = (Batch::new(from), false);
            while !is_read && !batch.is_full(rows) {
                let entries = cluster.recorded_after(batch.after.index, ENTRIES_AT_ONCE)?;
                is_read = entries.is_empty();
                for entry in entries {
                    is_read = entry.index > upto;
                    if is_read || batch.is_full(rows) {
                        break;
                    }
                    batch.take(entry);
                }
                is_read |= batch.after.index >= upto;
            }
            // Asked after reading: what went missing meanwhile must not be passed over.
            if !batch.closes(cluster.recorded_reach(from.index)?, upto, is_read) {
                return Err(Trouble::look_again("hole", "records are missing among those that were read"));
            }
            let is_full = batch.is_full(rows);
            Ok(Event::Gathered { batch, is_full })
        })
        .await
    }

    pub(super) async fn write(&mut self, batch: &Batch) -> Result<(), Trouble> {
        let (begun, node) = (Instant::now(), self.cluster.node_id());
        let Some(link) = &mut self.link else { return Err(unconnected()) };
        let Link { archive, lineage } = link;
        let written = archive.write(lineage, &batch.before, &batch.rows, &batch.after, node).await;
        self.kept(written)?;
        self.shown.wrote(batch.rows.len(), begun.elapsed());
        self.shown.head(Some(&batch.after));
        Ok(())
    }

    /// Answers how many validators' histories stand in place of what is lost.
    pub(super) async fn write_gap(
        &mut self,
        before: &ArchiveMark,
        after: &ArchiveMark,
        reason: &str,
    ) -> Result<u64, Trouble> {
        let baseline: Vec<_> = self.cluster.read(|state| state.histories().collect());
        let node = self.cluster.node_id();
        let Some(link) = &mut self.link else { return Err(unconnected()) };
        let Link { archive, lineage } = link;
        let written = archive.write_gap(lineage, before, after, &baseline, reason, node).await;
        self.kept(written)?;
        tracing::warn!(after = before.index, upto = after.index, reason, "the archive has a gap");
        self.shown.head(Some(after));
        Ok(baseline.len() as u64)
    }

    pub(super) async fn advance(&mut self, committed: &Committed) -> Result<(), Trouble> {
        self.cluster.advance_archive(committed.after(), committed.mark()).await?;
        self.shown.exports();
        self.backoff.reset();
        Ok(())
    }
}

/// What this node's outbox misses.
fn holes(cluster: &Cluster) -> Result<Holes, Trouble> {
    let (since, known) = (cluster.recorded_since()?, cluster.recorded_holes()?);
    let mark = cluster.archive_mark().map_or(0, |mark| mark.index);
    // What the members said counts for the hole that they were asked about alone.
    let next = known.iter().find(|(_, upto)| *upto > mark);
    let about = |healing: &Healing| next.is_some_and(|(after, upto)| healing.after <= *after && *upto <= healing.upto);
    let is_hopeless = cluster.outbox_status().healing.is_some_and(|healing| about(&healing) && healing.is_hopeless());
    Ok(Holes { since, known, is_hopeless })
}

fn identity(cluster: &Cluster) -> Result<ClusterIdentity, Trouble> {
    let identity = cluster.read(|state| state.identity().cloned());
    identity.ok_or_else(|| Trouble::waiting("cluster", "the cluster is not initialised yet"))
}

/// The mark is a command of newer rules than a cluster is born with.
async fn wait_for_rules(cluster: &Cluster) -> Result<(), Trouble> {
    let mark = ArchiveMark::begin(&cluster.lineage());
    let needed = Command::AdvanceArchive { after: 0, mark }.rules_needed();
    let current = cluster.read(|state| state.rules_version());
    if current >= needed {
        return Ok(());
    }
    let lacking = cluster.members_lacking_rules(needed).await;
    let lacking: Vec<String> = lacking.iter().map(ToString::to_string).collect();
    let reason = format!(
        "the cluster judges by version {current} of its rules, the archive needs {needed}; nodes that do not know it or \
         do not answer: {}",
        if lacking.is_empty() { "none, it is about to be raised".to_owned() } else { lacking.join(", ") }
    );
    Err(Trouble::waiting("rules", reason))
}

/// Off the async threads: it reads the disk, and hashes.
async fn blocking<T: Send + 'static>(
    cluster: &Cluster,
    work: impl FnOnce(&Cluster) -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let cluster = cluster.clone();
    let done = tokio::task::spawn_blocking(move || work(&cluster)).await;
    done.unwrap_or_else(|_| Err(Trouble::new("other", "reading the outbox failed")))
}

fn unconnected() -> Trouble {
    Trouble::new("address", "the connection to the archive's database is gone")
}

pub(super) fn leads(cluster: &Cluster) -> bool {
    matches!(cluster.leadership(), Leadership::This)
}

pub(super) fn not_leader(cluster: &Cluster) -> ArchiveFault {
    ArchiveFault::NotLeader(match cluster.leadership() {
        Leadership::Other { id, member } if member.api_url.is_empty() => format!("node {id}"),
        Leadership::Other { id, member } => format!("node {id}, {}", member.api_url),
        Leadership::This | Leadership::Unknown => "an election is going on".to_owned(),
    })
}

/// Milliseconds since the Unix epoch.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Without randomness all pauses are whole: nothing depends on it.
fn chance() -> u8 {
    let mut byte = [u8::MAX];
    let _without = getrandom::fill(&mut byte);
    byte[0]
}
