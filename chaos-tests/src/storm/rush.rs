//! A rush: clients that want one key's signature, as fast as they are answered.
//!
//! In: a key, a courier. Out: exchanges in the history. Closed-loop, so that every node always has as many requests of
//! the key under way as it has clients: whatever happens to the key happens in the middle of some. Deliberately absent:
//! judgement.
//!
//! | script | messages |
//! |---|---|
//! | [`everything`] | half are blocks and votes, two rivals of each, the other half is every type that is not slashable |
//! | [`at_or_below`] | blocks and votes that must be refused to a key that came with a history |

use super::body::{Chain, UNSLASHABLE};
use crate::oracle::courier::Agent;
use crate::oracle::message::MessageError;
use crate::oracle::{Content, Courier, Marks, Message, Phase, Reply};
use crate::rng::Rng;
use consigner_rules::{Epoch, PublicKey, Slot};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Roots of messages that are not slashable: as many as can be new, and some come back.
const NUMBERS: u64 = 1 << 20;

/// After an answer without a signature a client waits a little: a node that does not know the key answers in no time.
pub const CALM: Duration = Duration::from_millis(50);

/// The same where the moment counts in which the key comes: a window between two commits is some milliseconds wide.
pub const EAGER: Duration = Duration::from_millis(4);

/// Which messages come.
#[derive(Debug)]
struct Script {
    rng: Rng,
    chain: Chain,
    key: PublicKey,
    slot: Slot,
    target: Epoch,
    /// The rival of the last slashable message.
    rival: Option<Arc<Message>>,
}

/// Gives the next message; `None` ends the client that asked.
pub type Source = Arc<Mutex<dyn FnMut() -> Option<Arc<Message>> + Send>>;

/// Running clients.
pub struct Rush {
    courier: Arc<Courier>,
    source: Source,
    stop: watch::Sender<bool>,
    clients: JoinSet<()>,
    pause: Duration,
}

/// Every type; slots and targets rise from the given epoch on.
///
/// # Errors
/// Bodies do not mean what was meant: a slip of this program, found before anything is sent.
pub fn everything(chain: &Chain, key: PublicKey, epoch: Epoch, seed: u64) -> Result<Source, MessageError> {
    let slot = epoch * chain.slots_per_epoch();
    let slashable = [Content::Block { slot }, Content::Attestation { source: epoch, target: epoch + 1 }];
    for content in slashable.into_iter().chain(UNSLASHABLE.map(|kind| Content::Unslashable { kind })) {
        chain.message(key, content, 0)?;
    }
    let mut script = Script { rng: Rng::new(seed), chain: chain.clone(), key, slot, target: epoch, rival: None };
    Ok(Arc::new(Mutex::new(move || script.next())))
}

/// Blocks and votes at and below these marks, over and over; `head` tells them from all others.
///
/// # Errors
/// As [`everything`].
pub fn at_or_below(chain: &Chain, key: PublicKey, marks: &Marks, head: u64) -> Result<Source, MessageError> {
    let slot = marks.block.map_or(1, |(slot, _)| slot);
    let (source, target) = (marks.source.unwrap_or(1), marks.target.map_or(2, |(target, _)| target));
    let below = [
        Content::Block { slot },
        Content::Block { slot: slot - 1 },
        Content::Attestation { source, target },
        Content::Attestation { source: source - 1, target },
        Content::Attestation { source: source - 1, target: target + 1 },
    ];
    let messages: Result<Vec<_>, _> =
        below.map(|content| chain.message(key, content, head).map(Arc::new)).into_iter().collect();
    let mut messages = messages?.into_iter().cycle();
    Ok(Arc::new(Mutex::new(move || messages.next())))
}

impl Rush {
    /// Lets `clients` clients begin; each keeps to one node, and waits for `pause` after an answer without a signature.
    #[must_use]
    pub fn start(courier: &Arc<Courier>, source: &Source, clients: usize, pause: Duration) -> Self {
        let (courier, source) = (courier.clone(), source.clone());
        let (stop, _) = watch::channel(false);
        let nodes: Vec<u64> = courier.nodes().iter().map(|address| address.node).collect();
        let mut running = JoinSet::new();
        for (_, node) in (0..clients).zip(nodes.into_iter().cycle()) {
            running.spawn(client(courier.clone(), source.clone(), node, pause, stop.subscribe()));
        }
        Self { courier, source, stop, clients: running, pause }
    }

    /// Sends `count` more requests to a node at once, without waiting for any answer.
    pub fn burst(&mut self, node: u64, count: usize) {
        for _ in 0..count {
            let (courier, message) = (self.courier.clone(), next(&self.source));
            self.clients.spawn(async move {
                if let Some(message) = message {
                    let _reply = courier.ask(node, &message, Agent::Unknown, Phase::Storm).await;
                }
            });
        }
    }

    /// As many more clients, with the messages that follow.
    #[must_use]
    pub fn again(&self, clients: usize) -> Self {
        Self::start(&self.courier, &self.source, clients, self.pause)
    }

    /// Stops sending; answers that are still under way are read on.
    pub fn halt(&self) {
        let _ended_already = self.stop.send(true);
    }

    /// Stops sending and waits for the answers that are still under way.
    pub async fn stop(mut self) {
        self.halt();
        while self.clients.join_next().await.is_some() {}
    }
}

async fn client(courier: Arc<Courier>, source: Source, node: u64, pause: Duration, mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        let Some(message) = next(&source) else { return };
        match courier.ask(node, &message, Agent::Unknown, Phase::Storm).await {
            Some(Reply::Answer { status: 200 | 412, .. }) => {}
            Some(Reply::Answer { .. } | Reply::Lost(_)) => {
                let _elapsed = timeout(pause, stopped.changed()).await;
            }
            None => return,
        }
    }
}

fn next(source: &Source) -> Option<Arc<Message>> {
    source.lock().unwrap_or_else(PoisonError::into_inner)()
}

impl Script {
    /// `None`: a body does not mean what was meant, which [`everything`] has ruled out.
    fn next(&mut self) -> Option<Arc<Message>> {
        if let Some(rival) = self.rival.take() {
            return Some(rival);
        }
        let content = match self.rng.below(4) {
            0 => {
                self.slot += 1;
                Content::Block { slot: self.slot }
            }
            1 => {
                self.target += 1;
                Content::Attestation { source: self.target - 1, target: self.target }
            }
            _ => {
                let kind = UNSLASHABLE.get(self.rng.index(UNSLASHABLE.len())).copied()?;
                let number = self.rng.below(NUMBERS);
                return self.make(Content::Unslashable { kind }, number);
            }
        };
        self.rival = self.make(content, 2);
        self.make(content, 1)
    }

    fn make(&self, content: Content, head: u64) -> Option<Arc<Message>> {
        self.chain.message(self.key, content, head).ok().map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn what_must_be_refused_stands_at_or_below() {
        let chain = Chain::mainnet().unwrap();
        let marks = Marks { block: Some((100, None)), source: Some(3), target: Some((4, None)) };
        let source = at_or_below(&chain, PublicKey([1; 48]), &marks, 7).unwrap();
        for _ in 0..10 {
            match next(&source).unwrap().content {
                Content::Block { slot } => assert!(slot <= 100),
                Content::Attestation { source, target } => assert!(source < 3 || target <= 4),
                Content::Unslashable { kind } => panic!("{kind}"),
            }
        }
    }

    #[test]
    fn a_script_holds_rivals_and_every_type() {
        let chain = Chain::mainnet().unwrap();
        let epoch = chain.modern_epoch();
        let slot = epoch * chain.slots_per_epoch();
        let key = PublicKey([1; 48]);
        let mut script = Script { rng: Rng::new(1), chain, key, slot, target: epoch, rival: None };
        let messages: Vec<Arc<Message>> = (0..400).map(|_| script.next().unwrap()).collect();
        let kinds: BTreeSet<Content> = messages
            .iter()
            .map(|message| message.content)
            .filter(|content| matches!(content, Content::Unslashable { .. }))
            .collect();
        assert_eq!(kinds.len(), UNSLASHABLE.len());
        let rivals = |one: &Message| {
            messages.iter().filter(|other| one.root != other.root && one.content.is_rival_of(other.content)).count()
        };
        let slashable = messages.iter().filter(|one| !matches!(one.content, Content::Unslashable { .. }));
        let (with, all) = slashable.fold((0, 0), |(with, all), one| (with + usize::from(rivals(one) == 1), all + 1));
        assert!(all > 150 && with + 1 >= all, "{with} of {all} have exactly one rival");
    }
}
