//! A steady load in which nothing is refused: one client per key, each message above the one before.
//!
//! In: keys that the cluster holds. Out: exchanges in the history; every answer other than 200 is a failed signature.
//! Blocks, votes and messages that are not slashable take turns, and so do the nodes. Deliberately absent: rivals.

use super::body::{Chain, UNSLASHABLE};
use crate::oracle::courier::Agent;
use crate::oracle::{Content, Courier, Message, Phase};
use crate::rng::Rng;
use consigner_rules::{Epoch, PublicKey};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Pause between two requests of a client: the load shall run beside what is tested and not be the test.
const PAUSE: Duration = Duration::from_millis(25);

/// A running load.
#[derive(Debug)]
pub struct Steady {
    courier: Arc<Courier>,
    keys: Vec<PublicKey>,
    begun: Duration,
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
}

impl Steady {
    /// Begins to ask these nodes; epochs rise from `epoch` on, which must lie above all that these keys have signed.
    #[must_use]
    pub fn start(courier: &Arc<Courier>, chain: &Chain, keys: &[PublicKey], nodes: &[u64], epoch: Epoch) -> Self {
        let (stop, _) = watch::channel(false);
        let mut clients = JoinSet::new();
        for (number, key) in keys.iter().enumerate() {
            let client = Client {
                courier: courier.clone(),
                chain: chain.clone(),
                key: *key,
                nodes: nodes.to_vec(),
                rng: Rng::new(number as u64),
                epoch,
            };
            clients.spawn(client.run(stop.subscribe()));
        }
        let begun = courier.history().clock().now();
        Self { courier: courier.clone(), keys: keys.to_vec(), begun, stop, clients }
    }

    /// How many requests were answered with a signature so far.
    #[must_use]
    pub fn signed(&self) -> usize {
        self.courier.history().exchanges().iter().filter(|one| self.is_own(one) && one.is_ok()).count()
    }

    /// Stops, and answers with how many were signed and everything that was not.
    pub async fn stop(mut self) -> (usize, Vec<String>) {
        let _ended_already = self.stop.send(true);
        while self.clients.join_next().await.is_some() {}
        let exchanges = self.courier.history().exchanges();
        let failed = exchanges.iter().filter(|one| self.is_own(one) && !one.is_ok());
        (self.signed(), failed.map(ToString::to_string).collect())
    }

    fn is_own(&self, exchange: &crate::oracle::Exchange) -> bool {
        exchange.sent_at >= self.begun && self.keys.contains(&exchange.message.validator)
    }
}

struct Client {
    courier: Arc<Courier>,
    chain: Chain,
    key: PublicKey,
    nodes: Vec<u64>,
    rng: Rng,
    epoch: Epoch,
}

impl Client {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        while !*stopped.borrow() {
            let Some(message) = self.next() else { return };
            let node = self.nodes.get(self.rng.index(self.nodes.len())).copied().unwrap_or(1);
            let _reply = self.courier.ask(node, &message, Agent::Unknown, Phase::Storm).await;
            let _elapsed = timeout(PAUSE, stopped.changed()).await;
        }
    }

    fn next(&mut self) -> Option<Arc<Message>> {
        self.epoch += 1;
        let content = match self.rng.below(3) {
            0 => Content::Block { slot: self.epoch * self.chain.slots_per_epoch() },
            1 => Content::Attestation { source: self.epoch - 1, target: self.epoch },
            _ => Content::Unslashable { kind: *UNSLASHABLE.get(self.rng.index(UNSLASHABLE.len()))? },
        };
        self.chain.message(self.key, content, self.epoch).ok().map(Arc::new)
    }
}
