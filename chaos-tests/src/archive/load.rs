//! Slot-shaped load with rivals: committees that vote at once, a proposer, and now and then the same duty with another
//! root through another node.
//!
//! In: keys, nodes, a seed. Out: exchanges in the history, and how many were decided. A client tries the next node until
//! it knows what became of its duty, as validator clients do; a few hang up in the middle and never learn. Deliberately
//! absent: judgement.

use crate::oracle::courier::Agent;
use crate::oracle::{Content, Courier, Message, Phase, Reply};
use crate::rng::Rng;
use crate::storm::Chain;
use consigner_rules::{Epoch, PublicKey};
use futures::future::join_all;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Validators of a committee: they vote at the same moment.
pub const COMMITTEE: usize = 8;

/// One duty in so many has a rival with another root.
const RIVALS: u64 = 5;

/// One duty in so many is left by its client while it is under way: its reply is lost, and nobody asks again.
const LEFT: u64 = 40;

/// The longest that such a client waits, in milliseconds: as long as a decision takes, so that it is lost before and after.
const LEFT_AFTER_MS_MAX: u64 = 60;

/// Between two tries of one duty.
const AGAIN: Duration = Duration::from_millis(30);

/// After this a duty is given up; its fate stays open.
const DUTY_MAX: Duration = Duration::from_secs(40);

/// How many duties were decided so far, as the clients were told.
#[derive(Debug, Default)]
struct Counts {
    signed: AtomicU64,
    refused: AtomicU64,
}

/// What keeps the committees going.
#[derive(Debug, Clone)]
pub struct Pace {
    /// Chooses rivals and nodes.
    pub seed: u64,
    /// Between two slots of a committee.
    pub pause: Duration,
}

/// Running committees.
#[derive(Debug)]
pub struct Load {
    counts: Arc<Counts>,
    stop: watch::Sender<bool>,
    committees: JoinSet<()>,
}

impl Load {
    /// Begins; epochs rise from `epoch` on.
    #[must_use]
    pub fn start(courier: &Arc<Courier>, chain: &Chain, keys: &[PublicKey], epoch: Epoch, pace: &Pace) -> Self {
        let (stop, _) = watch::channel(false);
        let (mut committees, counts) = (JoinSet::new(), Arc::<Counts>::default());
        for (number, keys) in keys.chunks(COMMITTEE).enumerate() {
            let committee = Committee {
                courier: courier.clone(),
                chain: chain.clone(),
                keys: keys.to_vec(),
                nodes: courier.nodes().iter().map(|address| address.node).collect(),
                rng: Rng::new(pace.seed.wrapping_add(number as u64)),
                counts: counts.clone(),
                epoch,
                head: 0,
            };
            committees.spawn(committee.run(pace.pause, stop.subscribe()));
        }
        Self { counts, stop, committees }
    }

    /// Signatures so far.
    #[must_use]
    pub fn signed(&self) -> u64 {
        self.counts.signed.load(Ordering::Relaxed)
    }

    /// Refusals so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.counts.refused.load(Ordering::Relaxed)
    }

    /// Stops after the slots under way.
    pub async fn stop(mut self) -> (u64, u64) {
        let _ended_already = self.stop.send(true);
        while self.committees.join_next().await.is_some() {}
        (self.signed(), self.refused())
    }
}

struct Duty {
    message: Arc<Message>,
    /// Place of the node that is asked first.
    first: usize,
    /// When its client hangs up, if it does.
    left_after: Option<Duration>,
}

struct Committee {
    courier: Arc<Courier>,
    chain: Chain,
    keys: Vec<PublicKey>,
    nodes: Vec<u64>,
    rng: Rng,
    counts: Arc<Counts>,
    epoch: Epoch,
    head: u64,
}

impl Committee {
    async fn run(mut self, pause: Duration, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            let slot = self.slot(true);
            if slot.is_empty() {
                return;
            }
            join_all(slot.into_iter().map(|duty| self.perform(duty))).await;
            let _elapsed = timeout(pause, stopped.changed()).await;
        }
        // Decided after whatever a client has left behind: nothing comes into the archive later.
        let last = self.slot(false);
        join_all(last.into_iter().map(|duty| self.perform(duty))).await;
    }

    /// The duties of the next slot; perhaps with clients that leave.
    fn slot(&mut self, may_leave: bool) -> Vec<Duty> {
        self.epoch += 1;
        let vote = Content::Attestation { source: self.epoch - 1, target: self.epoch };
        let block = Content::Block { slot: self.epoch * self.chain.slots_per_epoch() };
        let proposer = self.rng.index(self.keys.len());
        let mut wanted: Vec<(PublicKey, Content)> = self.keys.iter().map(|key| (*key, vote)).collect();
        wanted.extend(self.keys.get(proposer).map(|key| (*key, block)));
        let mut duties = Vec::new();
        for (key, content) in wanted {
            let rivals = if self.rng.below(RIVALS) == 0 { 2 } else { 1 };
            let first = self.rng.index(self.nodes.len());
            for rival in 0..rivals {
                self.head += 1;
                let message = self.chain.message(key, content, self.head).ok().map(Arc::new);
                let leaves = may_leave && self.rng.below(LEFT) == 0;
                let left_after = leaves.then(|| Duration::from_millis(1 + self.rng.below(LEFT_AFTER_MS_MAX)));
                duties.extend(message.map(|message| Duty { message, first: first + rival, left_after }));
            }
        }
        duties
    }

    async fn perform(&self, duty: Duty) {
        let asked = self.ask_until_decided(&duty);
        match duty.left_after {
            // The request is dropped with its connection; it may have been decided, and may be still.
            Some(after) => drop(timeout(after, asked).await),
            None => asked.await,
        }
    }

    async fn ask_until_decided(&self, duty: &Duty) {
        let Duty { message, first, .. } = duty;
        let clock = *self.courier.history().clock();
        let until = clock.now() + DUTY_MAX;
        for number in *first.. {
            let Some(node) = number.checked_rem(self.nodes.len()).and_then(|place| self.nodes.get(place)) else {
                return;
            };
            match self.courier.ask(*node, message, Agent::Unknown, Phase::Storm).await {
                Some(Reply::Answer { status: 200, .. }) => {
                    self.counts.signed.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                Some(Reply::Answer { status: 412, .. }) => {
                    self.counts.refused.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                // Another node, or this one later, may know. `None`: sent to and fro, or nothing may be sent any more.
                Some(Reply::Answer { .. } | Reply::Lost(_)) | None => {}
            }
            if clock.now() > until {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}
