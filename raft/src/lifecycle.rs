//! How a node's part in the cluster starts, keeps itself alive, and stops.
//!
//! In: options. Out: a running [`Cluster`] and its background tasks: lease pings, metrics, a watch on openraft.
//! Deliberately absent: elections ([`crate::election`], [`crate::hand_over`]).

use crate::archive::guard::OutboxGuard;
use crate::batcher::Batcher;
use crate::clock;
use crate::cluster::{Cluster, ClusterOptions, Inner};
use crate::disk_guard::DiskGuard;
use crate::election::Elections;
use crate::entry_gate::electorate::Electorate;
use crate::entry_gate::floors::Floors;
use crate::entry_gate::{EntryGate, hello, notes};
use crate::forward::Forwarder;
use crate::hand_over::HandOverError;
use crate::lease::Lease;
use crate::log_store::{APPEND_BYTES_MAX, LogStore};
use crate::machine::{Machine, MachineParts, Shared};
use crate::membership::finish_joint_changes;
use crate::peer::guard::Guard;
use crate::peer::link::{Links, Me};
use crate::peer::network::Network;
use crate::peer::service::PeerService;
use crate::peer::wire::{self, Pong};
use crate::recover::{self, OpenError, Recovered};
use crate::rounds::Rounds;
use crate::settle::SETTLES_MAX;
use crate::typ::Raft;
use crate::types::{Election, Leadership, Member, NodeStatus, Role, Timing};
use crate::versions;
use consigner_storage::log::WalOptions;
use openraft::{Config, SnapshotPolicy};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Log entries kept behind a snapshot, so that a follower that lags a little needs no snapshot.
const LOG_KEPT_BEHIND_SNAPSHOT: u64 = 1_000;

/// Snapshot bytes per call between nodes.
const SNAPSHOT_CHUNK_BYTES: u64 = 1024 * 1024;

/// How long one snapshot chunk may take, installation included.
const SNAPSHOT_CHUNK_DEADLINE: Duration = Duration::from_secs(10);

/// Entries per append; their bytes are capped by [`APPEND_BYTES_MAX`]. A leader that was just elected finds out where a
/// follower's log ends by some ten full appends, one after the other, before anything is agreed: they must be small.
const APPEND_ENTRIES_MAX: u64 = 16;

/// Appends handed to openraft at once. The leader resends what it gave up on after one heartbeat, and cancelling a call
/// does not take the message back out of openraft's queue: a hung disk would fill the memory.
const APPENDS_MAX: usize = 8;

/// How often metrics are published.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

/// Pings per lease length.
const PINGS_PER_LEASE: u32 = 5;

/// As [`PINGS_PER_LEASE`] while the lease is not alive: signatures wait for it, after an election above all.
const PINGS_PER_DEAD_LEASE: u32 = 50;

/// How long a node that stops waits for a successor before it stops all the same; the usual time is some 20 ms, and it
/// has tried before.
const HAND_OVER_DEADLINE: Duration = Duration::from_millis(1_500);

/// How long a node that stops waits for the end of what still reads or writes its store: one segment is written in less.
const LAST_USE: Duration = Duration::from_secs(5);

/// Pause between two looks whether it has ended.
const LAST_USE_PAUSE: Duration = Duration::from_millis(5);

const _: () = assert!(APPEND_BYTES_MAX < wire::BODY_BYTES_MAX / 2, "an append must fit a body with room to spare");

impl Cluster {
    /// Opens the node's data, checks it, starts Raft.
    ///
    /// # Errors
    /// [`OpenError`] with the reason why this node must not take part.
    pub async fn open(options: ClusterOptions) -> Result<(Self, PeerService), OpenError> {
        let config = Arc::new(raft_config(&options.timing, options.snapshot_every)?);
        let mut recovered = recover_blocking(&options).await?;
        recover::renounce_leadership(&recovered.wal, options.node_id).await?;
        let shared = Arc::new(Shared::new(std::mem::take(&mut recovered.state), recovered.standing.clone()));
        let (durable, covered) = watch::channel(recovered.snapshots.latest_info().and_then(|info| info.position));
        let parts = MachineParts {
            store: Arc::clone(&recovered.store),
            snapshots: Arc::clone(&recovered.snapshots),
            durable,
            writing: std::sync::Mutex::default(),
            on_keys: options.on_keys,
            on_policy: options.on_policy,
            on_fatal: Arc::clone(&options.on_fatal),
        };
        let machine = Machine::new(Arc::clone(&shared), parts);
        let wal = Arc::clone(&recovered.wal);
        let me = Me { node_id: options.node_id, cluster_id: options.cluster_id, boot: recovered.boot };
        let boots = Arc::clone(&recovered.boots);
        let floors = Arc::new(Floors::new(recovered.electorate.noted().clone()));
        let entry = Arc::new(EntryGate::new(recovered.electorate.is_empty()));
        let links = Links::new(me.clone(), options.peer_tls, Arc::clone(&boots), Arc::clone(&entry), &options.on_fatal);
        let links = Arc::new(links);
        let network = Network::new(Arc::clone(&links), Arc::clone(&wal), Arc::clone(&floors));
        let log = LogStore::new(Arc::clone(&wal), Some(covered)).with_past(Arc::clone(&recovered.past));
        let raft = Raft::new(options.node_id, config, network, log, machine)
            .await
            .map_err(|error| OpenError::Raft(crate::chain(&error)))?;
        // Closed, the gate keeps openraft's own timers from standing, too.
        raft.runtime_config().elect(entry.is_open() && options.timing.election == Election::Builtin);
        let electorate = std::mem::take(&mut recovered.electorate);
        let inner = Inner {
            member: Member { incarnation: recovered.boot.incarnation_hex(), ..options.member },
            lease: Lease::new(options.timing.lease),
            elections: Elections::new(options.node_id, &options.timing),
            disk: DiskGuard::new(options.disk, options.data_dir),
            outbox: OutboxGuard::new(options.outbox),
            batcher: Batcher::start(raft.clone(), Arc::clone(&shared), options.timing.lease, &options.on_fatal),
            timing: options.timing,
            forwarder: Forwarder::start(Arc::clone(&links), &options.on_fatal),
            guard: Guard::new(me, Arc::clone(&wal), Arc::clone(&shared), Arc::clone(&boots)),
            entry,
            boots,
            floors,
            raft,
            wal,
            shared,
            links,
            stopping: AtomicBool::new(false),
            tasks: CancellationToken::new(),
            on_fatal: options.on_fatal,
            describe: options.describe,
            join_token: options.join_token,
            changing: tokio::sync::Mutex::default(),
            appends: Arc::new(Semaphore::new(APPENDS_MAX)),
            on_settle: options.on_settle,
            settles: Semaphore::new(SETTLES_MAX),
            barriers: Rounds::default(),
            confirmations: Rounds::default(),
            recovered: std::sync::Mutex::new(Some(recovered)),
        };
        let cluster = Self { inner: Arc::new(inner) };
        cluster.spawn_tasks(electorate);
        Ok((cluster.clone(), PeerService::new(cluster)))
    }

    fn spawn_tasks(&self, electorate: Electorate) {
        self.spawn_task("entry", hello::introduce(self.clone(), electorate));
        self.spawn_task("positions", notes::note_positions(self.clone()));
        self.spawn_task("elections", self.clone().drive_elections());
        self.spawn_task("leader watch", self.clone().watch_leader());
        self.spawn_task("disk", self.clone().watch_disk());
        self.spawn_task("outbox", self.clone().keep_outbox());
        self.spawn_task("lease", keep_lease(self.clone()));
        self.spawn_task("membership", finish_joint_changes(self.clone()));
        self.spawn_task("metrics", publish_metrics(self.clone()));
        self.spawn_task("raft watch", watch_raft(self.clone()));
        self.spawn_task("rules", versions::raise_rules(self.clone()));
    }

    fn spawn_task(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let until = self.inner.tasks.clone();
        crate::supervise(name, &self.inner.on_fatal, async move {
            until.run_until_cancelled(task).await;
        });
    }

    /// Refuses new proposals, finishes those in flight, hands leadership over as well as possible, stops Raft and
    /// closes the storage cleanly.
    pub async fn shutdown(&self, deadline: Duration) {
        let until = Instant::now() + deadline;
        let led = self.leadership() == Leadership::This;
        self.inner.stopping.store(true, Ordering::Relaxed);
        self.elections().retire();
        if led {
            let left = until.saturating_duration_since(Instant::now()).min(HAND_OVER_DEADLINE);
            match self.move_leadership(None, left).await {
                Ok(_) | Err(HandOverError::NobodyElse | HandOverError::Refused) => {}
                Err(error) => tracing::warn!(%error, "this leader stops without a successor"),
            }
        }
        if tokio::time::timeout_at(until, self.inner.batcher.drain()).await.is_err() {
            tracing::warn!("entries were still on their way at the deadline");
        }
        if Instant::now() < until {
            self.say_goodbye().await;
        }
        self.inner.tasks.cancel();
        if let Err(error) = self.raft().shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
        let recovered = self.inner.recovered.lock().ok().and_then(|mut recovered| recovered.take());
        if let Some(recovered) = recovered {
            close(recovered).await;
        }
    }
}

async fn recover_blocking(options: &ClusterOptions) -> Result<Recovered, OpenError> {
    let (path, node_id, cluster_id) = (options.data_dir.clone(), options.node_id, options.cluster_id);
    let wal = WalOptions { on_fatal: Arc::clone(&options.on_fatal), ..WalOptions::default() };
    let recovered = tokio::task::spawn_blocking(move || recover::recover(&path, node_id, cluster_id, wal)).await;
    recovered.unwrap_or_else(|error| Err(OpenError::Raft(format!("recovery panicked: {error}"))))
}

/// Gives everything up in the right order: the marker of a clean stop is the last write.
async fn close(recovered: Recovered) {
    let Recovered { dir, store, outbox, wal, snapshots, .. } = recovered;
    drop((outbox, wal, snapshots));
    // The outbox may be in use on a thread of its own: by its keeper, by a reader.
    let until = Instant::now() + LAST_USE;
    while Arc::strong_count(&store) > 1 && Instant::now() < until {
        tokio::time::sleep(LAST_USE_PAUSE).await;
    }
    let closed = tokio::task::spawn_blocking(move || {
        let closed = match Arc::try_unwrap(store) {
            Ok(store) => store.close().map_err(|error| crate::chain(&error)),
            Err(_) => Err("the state machine is still in use".to_owned()),
        };
        drop(dir);
        closed
    })
    .await;
    match closed {
        Ok(Ok(())) => tracing::info!("storage closed cleanly"),
        Ok(Err(reason)) => tracing::warn!(reason, "state store not closed cleanly; the next start rebuilds it"),
        Err(error) => tracing::warn!(%error, "state store not closed cleanly; the next start rebuilds it"),
    }
}

fn raft_config(timing: &Timing, snapshot_every: u64) -> Result<Config, OpenError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config = Config {
        cluster_name: "consigner".to_owned(),
        heartbeat_interval: millis(timing.heartbeat),
        election_timeout_min: millis(timing.vote_deadline()).max(millis(timing.heartbeat) + 1),
        election_timeout_max: millis(timing.voters_faith()),
        enable_elect: timing.election == Election::Builtin,
        install_snapshot_timeout: millis(SNAPSHOT_CHUNK_DEADLINE),
        max_payload_entries: APPEND_ENTRIES_MAX,
        replication_lag_threshold: snapshot_every.saturating_mul(2),
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot_every),
        snapshot_max_chunk_size: SNAPSHOT_CHUNK_BYTES,
        max_in_snapshot_log_to_keep: LOG_KEPT_BEHIND_SNAPSHOT,
        purge_batch_size: 256,
        ..Config::default()
    };
    config.validate().map_err(|error| OpenError::Timing(error.to_string()))
}

/// Renews the lease: a leader by confirming its quorum, a follower by pinging the leader. Every renewal counts from
/// before the question was sent.
///
/// The leader's confirmations are appends of their own, beside the replication streams: openraft sends no heartbeat to
/// a follower while a snapshot is on its way to it, and only these keep such a follower from standing for election.
async fn keep_lease(cluster: Cluster) {
    let lease = cluster.inner.lease.length();
    let mut leader = cluster.elections().watch_leader();
    let mut began = Instant::now();
    loop {
        // A leader that hears nobody need not ask as often as somebody who waits for a leader.
        let is_urgent = !cluster.lease_is_alive() && !cluster.elections().lacks_quorum();
        let pings = if is_urgent { PINGS_PER_DEAD_LEASE } else { PINGS_PER_LEASE };
        // A new leader is asked at once: who vouches for it sends clients there.
        drop(tokio::time::timeout_at(began + lease / pings, leader.changed()).await);
        began = Instant::now();
        let sent = clock::Instant::now();
        match cluster.leadership_in_raft() {
            Leadership::This => {
                let confirmed = tokio::time::timeout(lease / 2, cluster.confirm_commit_index()).await;
                let Ok(Ok(index)) = confirmed else { continue };
                if cluster.await_applied(index, Instant::now() + lease / 2).await.is_ok() {
                    cluster.inner.lease.renew(cluster.node_id(), sent);
                }
            }
            Leadership::Other { id, member } => {
                let call = cluster.inner.links.call((id, &member), wire::PING, &(), lease / 2);
                let pong: Option<Result<Pong, _>> = cluster.unless_deposed(id, call).await;
                let term = cluster.raft().metrics().borrow().current_term;
                let pong = pong.and_then(Result::ok).filter(|pong| pong.leads && pong.term == term);
                let Some(pong) = pong else { continue };
                if cluster.await_applied(pong.commit_index, Instant::now() + lease / 2).await.is_ok() {
                    cluster.inner.lease.renew(id, sent);
                }
            }
            Leadership::Unknown => {}
        }
    }
}

async fn publish_metrics(cluster: Cluster) {
    let mut tick = tokio::time::interval(PUBLISH_EVERY);
    let mut stuck = Stuck::default();
    loop {
        tick.tick().await;
        let status = cluster.status();
        crate::observe::publish(&status, &cluster.inner.wal.stats());
        if stuck.look(&status, Instant::now()) > STUCK_MAX && !cluster.inner.stopping.load(Ordering::Relaxed) {
            (cluster.inner.on_fatal)("entries are not agreed although a quorum answers: replication has ended");
        }
    }
}

/// How long a leader that hears its quorum may fail to commit what is in its log. openraft's replication tasks can end
/// without a word; another leader starts with new ones.
const STUCK_MAX: Duration = Duration::from_secs(10);

/// Watches whether a leader's commit index moves while there is something to commit.
#[derive(Default)]
struct Stuck {
    at: Option<(Option<u64>, Instant)>,
}

impl Stuck {
    /// For how long nothing has moved.
    fn look(&mut self, status: &NodeStatus, now: Instant) -> Duration {
        let waits = status.role == Role::Leader && status.ready && status.last_log_index > status.commit_index;
        if !waits {
            self.at = None;
            return Duration::ZERO;
        }
        match self.at {
            Some((commit, since)) if commit == status.commit_index => now.saturating_duration_since(since),
            Some(_) | None => {
                self.at = Some((status.commit_index, now));
                Duration::ZERO
            }
        }
    }
}

/// openraft stops itself on a storage error; the node must not live on without it.
async fn watch_raft(cluster: Cluster) {
    let mut metrics = cluster.raft().metrics();
    loop {
        let failed = metrics.borrow_and_update().running_state.clone();
        if let Err(fatal) = failed {
            if !cluster.inner.stopping.load(Ordering::Relaxed) {
                cluster.stop_for(&fatal);
            }
            return;
        }
        if metrics.changed().await.is_err() {
            // The core is gone without a word: it panicked.
            if !cluster.inner.stopping.load(Ordering::Relaxed) {
                (cluster.inner.on_fatal)("raft's core ended unexpectedly");
            }
            return;
        }
    }
}
