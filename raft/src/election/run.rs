//! Drives the [`Driver`] with openraft, sockets and the clock; watches who leads.
//!
//! In: openraft's metrics, accepted appends, dropped connections, peers' questions. Out: elections, pre-votes,
//! heartbeats on and off, and the news that the leader changed. Deliberately absent: decisions.

use super::driver::Driver;
use super::messages::{Action, Answer, Input, Now, Settings, View};
use crate::clock;
use crate::cluster::Cluster;
use crate::peer::wire::{self, Pong};
use crate::typ::Vote;
use crate::types::{Election, Leadership, Member, Timing};
use openraft::ServerState;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How often the driver looks by itself: noise against X, and nothing against a processor.
const LOOK: Duration = Duration::from_millis(10);

/// No sleep is shorter: the timer of the runtime counts milliseconds.
const WAKE_MIN: Duration = Duration::from_millis(1);

/// How long a peer may take to answer a pre-vote: as long as openraft gives it for a vote, at least.
const ASK_MIN: Duration = Duration::from_millis(60);

/// After a connection dropped, new ones are tried for so long: the kernel closes connections before the listener.
const PROBE: Duration = Duration::from_millis(100);

/// Deadline of one try.
const PROBE_TRY: Duration = Duration::from_millis(40);

/// Pause between two.
const PROBE_PAUSE: Duration = Duration::from_millis(3);

/// Who leads is looked at so often even if nothing seems to change.
const LED_LOOK: Duration = Duration::from_millis(100);

/// The driver and what it has decided.
pub struct Elections {
    driver: Mutex<Driver>,
    origin: clock::Instant,
    /// Something happened that the task should look at now.
    news: Notify,
    /// The leader that this node is, or used to be, stands without a quorum.
    without_quorum: AtomicBool,
    /// Leadership is on its way to another node: nothing new is proposed meanwhile.
    pub handing_over: AtomicBool,
    /// This node stops: it stands no more, whatever else it is told.
    is_leaving: AtomicBool,
    is_probing: AtomicBool,
    /// When this node last stood for election.
    stood: Mutex<Option<clock::Instant>>,
    /// Since when this node leads.
    led_since: Mutex<Option<clock::Instant>>,
    led: watch::Sender<Option<u64>>,
}

impl Elections {
    /// Knows nothing yet.
    pub fn new(me: u64, timing: &Timing) -> Self {
        let mut seed = [0; 8];
        // Without randomness the ids alone keep nodes out of step.
        let seed = if getrandom::fill(&mut seed).is_ok() { u64::from_le_bytes(seed) } else { me.wrapping_mul(7_919) };
        let settings = Settings {
            me,
            silence: timing.lease,
            lease: timing.voters_faith(),
            campaigns: timing.election == Election::Driver,
            seed,
        };
        Self {
            driver: Mutex::new(Driver::new(settings, Duration::ZERO)),
            origin: clock::Instant::now(),
            news: Notify::new(),
            without_quorum: AtomicBool::new(false),
            handing_over: AtomicBool::new(false),
            is_leaving: AtomicBool::new(false),
            is_probing: AtomicBool::new(false),
            stood: Mutex::default(),
            led_since: Mutex::default(),
            led: watch::channel(None).0,
        }
    }

    /// Now, by the driver's clock.
    pub fn now(&self) -> Now {
        self.origin.elapsed()
    }

    /// Whether a leader here must not propose or vouch: it is alone, or about to hand over.
    pub fn is_suspended(&self) -> bool {
        self.lacks_quorum() || self.is_handing_over()
    }

    /// Whether this node leads, by the word of Raft, without a quorum.
    pub fn lacks_quorum(&self) -> bool {
        self.without_quorum.load(Ordering::Relaxed)
    }

    /// Whether leadership is on its way to another node.
    pub fn is_handing_over(&self) -> bool {
        self.handing_over.load(Ordering::Relaxed)
    }

    /// Changes whenever another node, or none, is known to lead and ready to.
    pub fn watch_leader(&self) -> watch::Receiver<Option<u64>> {
        self.led.subscribe()
    }

    /// An append or a part of a snapshot came in under this vote.
    pub fn heard(&self, vote: &Vote, arrived: Now, accepted: bool) {
        let leader = vote.leader_id();
        let heard = Input::Heard { leader: leader.node_id, term: leader.term, arrived, accepted };
        // A sign of life asks for no action.
        drop(self.step(heard));
    }

    /// The answer to a peer's pre-vote.
    pub fn answer(&self) -> Answer {
        self.lock().answer(self.now())
    }

    /// This node stops: it stands no more.
    pub fn retire(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
        drop(self.step(Input::Retire));
    }

    /// The peer has gone: its door is closed, or it said so.
    pub fn gone(&self, node: u64) {
        // What follows from it is done at the look that it causes.
        drop(self.step(Input::Gone(node)));
        self.news.notify_one();
    }

    fn step(&self, input: Input) -> Vec<Action> {
        let mut driver = self.lock();
        let now = self.now();
        driver.step(now, input)
    }

    fn lock(&self) -> MutexGuard<'_, Driver> {
        self.driver.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn kept<T: Copy>(cell: &Mutex<Option<T>>) -> Option<T> {
    *cell.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep<T>(cell: &Mutex<Option<T>>, value: Option<T>) {
    *cell.lock().unwrap_or_else(PoisonError::into_inner) = value;
}

impl Cluster {
    pub(crate) fn elections(&self) -> &Elections {
        &self.inner.elections
    }

    /// Asked by the leader, which leaves: stand at once, whatever is heard of it.
    pub(crate) fn stand_for_election(&self) -> bool {
        let actions = self.elections().step(Input::Stand);
        let stands = actions.contains(&Action::Elect);
        tracing::info!(stands, "asked to stand for election");
        self.perform(actions);
        stands
    }

    /// Whether this node stands for elections; it votes in any case.
    pub(crate) fn stand_for_elections(&self, stands: bool) {
        if self.elections().is_leaving.load(Ordering::Relaxed) {
            return;
        }
        drop(self.elections().step(if stands { Input::Return } else { Input::Retire }));
        self.raft().runtime_config().elect(stands && self.may_vote() && self.timing().election == Election::Builtin);
    }

    /// A peer stops.
    pub(crate) fn take_leave(&self, node: u64) {
        tracing::info!(node, "a peer stops");
        self.elections().gone(node);
    }

    /// Looks, asks and stands for ever.
    pub(crate) async fn drive_elections(self) {
        let mut server = self.raft().server_metrics();
        let mut linked = None;
        loop {
            let (view, leader) = self.view();
            self.perform(self.elections().step(Input::Look(view)));
            linked = self.watch_link(linked, leader);
            let wake = self.elections().lock().wake();
            let pause = wake.map_or(LOOK, |wake| wake.saturating_sub(self.elections().now()));
            tokio::select! {
                () = tokio::time::sleep(pause.clamp(WAKE_MIN, LOOK)) => {}
                () = self.elections().news.notified() => {}
                changed = server.changed() => if changed.is_err() { return },
            }
        }
    }

    fn view(&self) -> (View, Option<(u64, Member)>) {
        let metrics = self.raft().metrics();
        let now = metrics.borrow();
        let leads = now.state == ServerState::Leader;
        let membership = now.membership_config.membership();
        let vote = now.vote;
        let view = View {
            term: vote.leader_id().term,
            voted_for: vote.leader_id().node_id,
            leader: now.current_leader,
            leads,
            voters: membership.get_joint_config().clone(),
            last: self.inner.wal.last(),
            may_vote: self.may_vote(),
            quorum_silence: leads.then(|| self.quorum_silence()),
        };
        let leader = now.current_leader.filter(|_| !leads);
        (view, leader.and_then(|id| Some((id, membership.get_node(&id)?.clone()))))
    }

    /// How long no quorum has stood behind this leader. Its lease says so even while openraft hangs on a disk.
    fn quorum_silence(&self) -> Duration {
        let elections = self.elections();
        let mut led_since = elections.led_since.lock().unwrap_or_else(PoisonError::into_inner);
        let since_election = led_since.get_or_insert_with(clock::Instant::now).elapsed();
        let since_renewal = self.inner.lease.age(self.node_id());
        since_renewal.map_or(since_election, |age| age.min(since_election))
    }

    fn perform(&self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Ask { asked, to } => self.ask_voters(asked, &to),
                Action::Elect => {
                    keep(&self.elections().stood, Some(clock::Instant::now()));
                    metrics::counter!("consigner_elections_total").increment(1);
                    tracing::info!("standing for election");
                    let raft = self.raft().clone();
                    tokio::spawn(async move {
                        if let Err(error) = raft.trigger().elect().await {
                            tracing::warn!(%error, "could not stand for election");
                        }
                    });
                }
                Action::Heartbeats(are_sent) => {
                    self.elections().without_quorum.store(!are_sent, Ordering::Relaxed);
                    if !self.elections().is_handing_over() {
                        self.raft().runtime_config().heartbeat(are_sent);
                    }
                    if !are_sent {
                        tracing::warn!(
                            "this leader has heard of no quorum for too long: it serves nobody until it does"
                        );
                    }
                }
            }
        }
    }

    fn ask_voters(&self, asked: Now, to: &[u64]) {
        let metrics = self.raft().metrics();
        let membership = metrics.borrow().membership_config.membership().clone();
        let deadline = ASK_MIN.max(self.timing().voters_faith() / 2);
        for node in to.iter().copied() {
            let Some(member) = membership.get_node(&node).cloned() else { continue };
            let cluster = self.clone();
            tokio::spawn(async move {
                let call = cluster.inner.links.call((node, &member), wire::PRE_VOTE, &(), deadline);
                let answered: Result<Answer, _> = call.await;
                if let Ok(answer) = answered {
                    let actions = cluster.elections().step(Input::Answered { node, asked, answer });
                    cluster.perform(actions);
                    // It may have set an earlier time to wake at.
                    cluster.elections().news.notify_one();
                }
            });
        }
    }

    /// Notices that the connection to the leader dropped. Answers the leader to which one stands.
    fn watch_link(&self, linked: Option<u64>, leader: Option<(u64, Member)>) -> Option<u64> {
        let (id, member) = leader?;
        if self.inner.links.is_connected(id) {
            return Some(id);
        }
        if linked == Some(id) && !self.elections().is_probing.swap(true, Ordering::Relaxed) {
            let cluster = self.clone();
            tokio::spawn(async move {
                cluster.probe(id, &member).await;
                cluster.elections().is_probing.store(false, Ordering::Relaxed);
            });
        }
        None
    }

    /// Whether a dropped connection means a dead process: its door is closed, too.
    async fn probe(&self, id: u64, member: &Member) {
        let until = Instant::now() + PROBE;
        while Instant::now() < until {
            let call = self.inner.links.call((id, member), wire::PING, &(), PROBE_TRY);
            let answered: Result<Pong, _> = call.await;
            match answered {
                Ok(_) => return,
                Err(error) if error.is_refused() => {
                    tracing::info!(node = id, "the leader's connection dropped and its door is closed");
                    return self.elections().gone(id);
                }
                Err(_) => tokio::time::sleep(PROBE_PAUSE).await,
            }
        }
    }

    /// Keeps everybody who waits for a leader informed, and the new leader's lease.
    pub(crate) async fn watch_leader(self) {
        let mut server = self.raft().server_metrics();
        let mut metrics = self.raft().metrics();
        let elections = self.elections();
        loop {
            let is_leading = metrics.borrow_and_update().state == ServerState::Leader;
            let leader = match self.leadership() {
                Leadership::This => Some(self.node_id()),
                Leadership::Other { id, .. } => Some(id),
                Leadership::Unknown => None,
            };
            if !is_leading {
                keep(&elections.led_since, None);
            }
            if leader != *elections.led.borrow() {
                if leader == Some(self.node_id()) {
                    self.begin_lease();
                }
                elections.led.send_replace(leader);
            }
            // Between election and the first applied entry of the term every turn of openraft counts.
            let applies = is_leading && leader.is_none();
            tokio::select! {
                changed = server.changed() => if changed.is_err() { return },
                changed = metrics.changed(), if applies => if changed.is_err() { return },
                () = tokio::time::sleep(LED_LOOK) => {}
            }
        }
    }

    /// The first entry of a leader's term is proposed after it stood for election; a quorum has acknowledged it when it
    /// is applied. That says as much as a confirmation that was asked for when it stood.
    fn begin_lease(&self) {
        if let Some(stood) = kept(&self.elections().stood) {
            self.inner.lease.renew(self.node_id(), stood);
        }
    }
}
