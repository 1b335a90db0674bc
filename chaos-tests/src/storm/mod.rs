//! A storm: requests that must not all be signed, sent to all nodes at once, faster than they are answered.
//!
//! In: a plan with a seed, a courier. Out: exchanges in the history. Open-loop: when to send is decided by the clock
//! and not by the answers; bounded by a rate, a number of rounds and the requests under way per node. Deliberately
//! absent: judgement.

pub mod body;
pub mod duties;
pub mod generator;
pub mod rush;
pub mod steady;

pub use body::Chain;
pub use duties::{Doors, Duties, Duty};
pub use generator::{Generator, Shot};
pub use rush::Rush;
pub use steady::Steady;

use crate::oracle::{Courier, Phase};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

/// Requests under way per node; more would only measure this program's own queue while a node is frozen.
const UNDER_WAY_PER_NODE: usize = 96;

/// How many rounds a storm has at most, whatever happens: ten minutes at the usual rate.
const ROUNDS_MAX: u64 = 20_000;

/// Challenges that wait to be sent; faults are seconds apart.
const CHALLENGES_MAX: usize = 4;

/// Pause between two pulses: one fresh vote of a validator that nobody attacks, which measures gaps.
const PULSE: Duration = Duration::from_millis(50);

/// What a storm is made of.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Seed of the messages.
    pub seed: u64,
    /// Validators, interop keys from 0; the last one gives the pulse.
    pub validators: u64,
    /// Rounds per second; a round is up to nine requests.
    pub rounds_per_second: u32,
}

/// How much was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Rounds.
    pub rounds: u64,
    /// Requests.
    pub requests: u64,
    /// Requests that were not sent because their node had too many under way.
    pub shed: u64,
}

/// A running storm.
#[derive(Debug)]
pub struct Storm {
    stop: watch::Sender<bool>,
    challenger: Challenger,
    task: JoinHandle<Sent>,
}

/// Asks a storm for rivals at the worst moment.
#[derive(Debug, Clone)]
pub struct Challenger(mpsc::Sender<()>);

impl Challenger {
    /// Sends rivals of the newest messages of all attacked validators to all nodes, now.
    pub fn challenge(&self) {
        // Full: challenges are under way already.
        let _under_way = self.0.try_send(());
    }
}

impl Storm {
    /// Begins to send.
    pub fn start(courier: Arc<Courier>, generator: Generator, plan: &Plan) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (challenge, challenges) = mpsc::channel(CHALLENGES_MAX);
        let pause = Duration::from_secs(1) / plan.rounds_per_second.max(1);
        let task = tokio::spawn(Gale::new(courier, generator).blow(pause, stopped, challenges));
        Self { stop, challenger: Challenger(challenge), task }
    }

    /// The way to ask for challenges.
    #[must_use]
    pub fn challenger(&self) -> Challenger {
        self.challenger.clone()
    }

    /// Stops sending and waits for the answers that are still under way.
    pub async fn stop(self) -> Sent {
        let _ended_already = self.stop.send(true);
        self.task.await.unwrap_or_default()
    }
}

struct Gale {
    courier: Arc<Courier>,
    generator: Generator,
    places: Vec<(u64, Arc<Semaphore>)>,
    under_way: JoinSet<()>,
    sent: Sent,
}

impl Gale {
    fn new(courier: Arc<Courier>, generator: Generator) -> Self {
        let place = |node| (node, Arc::new(Semaphore::new(UNDER_WAY_PER_NODE)));
        let places = courier.nodes().iter().map(|address| place(address.node)).collect();
        Self { courier, generator, places, under_way: JoinSet::new(), sent: Sent::default() }
    }

    async fn blow(
        mut self,
        pause: Duration,
        mut stopped: watch::Receiver<bool>,
        mut challenges: mpsc::Receiver<()>,
    ) -> Sent {
        let (mut rounds, mut pulses) = (interval(pause), interval(PULSE));
        rounds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        pulses.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while self.sent.rounds < ROUNDS_MAX {
            tokio::select! {
                _ = stopped.changed() => break,
                Some(()) = challenges.recv() => {
                    for shot in self.generator.challenge() {
                        self.send(shot);
                    }
                }
                _ = rounds.tick() => {
                    self.sent.rounds += 1;
                    for shot in self.generator.round() {
                        self.send(shot);
                    }
                }
                _ = pulses.tick() => {
                    let shot = self.generator.pulse();
                    self.send(shot);
                }
            }
            while self.under_way.try_join_next().is_some() {}
        }
        while self.under_way.join_next().await.is_some() {}
        self.sent
    }

    fn send(&mut self, shot: Shot) {
        let Shot { node, message, agent } = shot;
        let place = self
            .places
            .iter()
            .find(|(id, _)| *id == node)
            .and_then(|(_, places)| places.clone().try_acquire_owned().ok());
        let Some(place) = place else {
            self.sent.shed += 1;
            return;
        };
        self.sent.requests += 1;
        let courier = self.courier.clone();
        self.under_way.spawn(async move {
            let _reply = courier.ask(node, &message, agent, Phase::Storm).await;
            drop(place);
        });
    }
}
