//! Duties of validator clients that know several nodes: each duty is tried at one node after the other until it is
//! signed.
//!
//! In: keys, the doors that clients are configured with, which change while nodes come and go. Out: exchanges in the
//! history, and how long each duty took. Nothing here is refused for good reason: each message of a key stands above the
//! one before. Deliberately absent: rivals (see [`super::generator`]) and judgement of signatures.

use super::body::Chain;
use crate::oracle::courier::Agent;
use crate::oracle::{Content, Courier, Message, Phase, Reply};
use consigner_rules::{Epoch, PublicKey};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Between two duties of a key: the load runs beside what is tested and is not the test.
const PAUSE: Duration = Duration::from_millis(60);

/// Between two tries of one duty.
const AGAIN: Duration = Duration::from_millis(20);

/// What a client gives one node before it tries the next; the answer is read all the same.
const TRY_MAX: Duration = Duration::from_secs(2);

/// After this a duty is given up. Longer than any wait that is judged.
const DUTY_MAX: Duration = Duration::from_secs(150);

/// The nodes that clients ask, as their configuration says at the moment.
#[derive(Debug, Clone, Default)]
pub struct Doors(Arc<RwLock<Vec<u64>>>);

/// What became of one duty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duty {
    /// Whose.
    pub key: PublicKey,
    /// What.
    pub content: Content,
    /// When it was due.
    pub begun: Duration,
    /// When it was signed; `None`: it was refused or given up.
    pub signed: Option<Duration>,
    /// How many answers it took.
    pub tries: usize,
    /// The last answer that was no signature.
    pub trouble: Option<String>,
}

/// Running clients, one for each key.
#[derive(Debug)]
pub struct Duties {
    courier: Arc<Courier>,
    done: Arc<Mutex<Vec<Duty>>>,
    stop: watch::Sender<bool>,
    clients: JoinSet<Epoch>,
}

impl Doors {
    /// These nodes.
    #[must_use]
    pub fn to(nodes: &[u64]) -> Self {
        Self(Arc::new(RwLock::new(nodes.to_vec())))
    }

    /// From now on these nodes.
    pub fn set(&self, nodes: &[u64]) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = nodes.to_vec();
    }

    /// The one to ask at this try.
    fn at(&self, number: usize) -> Option<u64> {
        let nodes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        nodes.get(number.checked_rem(nodes.len())?).copied()
    }
}

impl Duties {
    /// Begins; epochs rise from `epoch` on, which must lie above all that these keys have signed.
    #[must_use]
    pub fn start(courier: &Arc<Courier>, chain: &Chain, keys: &[PublicKey], doors: &Doors, epoch: Epoch) -> Self {
        let (stop, _) = watch::channel(false);
        let (mut clients, done) = (JoinSet::new(), Arc::default());
        for (number, key) in keys.iter().enumerate() {
            let (courier, chain, doors, done) = (courier.clone(), chain.clone(), doors.clone(), Arc::clone(&done));
            let client = Client { courier, chain, key: *key, doors, done, number, epoch };
            clients.spawn(client.run(stop.subscribe()));
        }
        Self { courier: courier.clone(), done, stop, clients }
    }

    /// How many duties were signed so far.
    #[must_use]
    pub fn signed(&self) -> usize {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|duty| duty.signed.is_some()).count()
    }

    /// Waits for so many more signed duties; whether they came in time.
    pub async fn more(&self, count: usize, within: Duration) -> bool {
        let (enough, clock) = (self.signed() + count, *self.courier.history().clock());
        let until = clock.now() + within;
        while self.signed() < enough {
            if clock.now() > until {
                return false;
            }
            tokio::time::sleep(AGAIN).await;
        }
        true
    }

    /// Stops after the duties under way; answers with all of them and the first epoch that was not used.
    pub async fn stop(mut self) -> (Vec<Duty>, Epoch) {
        let _ended_already = self.stop.send(true);
        let mut epoch = 0;
        while let Some(ended) = self.clients.join_next().await {
            epoch = epoch.max(ended.unwrap_or_default() + 1);
        }
        (std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner)), epoch)
    }
}

impl Duty {
    /// How long it took; [`None`] if it was never signed.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        self.signed.map(|signed| signed.saturating_sub(self.begun))
    }
}

impl fmt::Display for Duty {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, content, begun, tries, .. } = self;
        write!(formatter, "{content} of {key} due {:.3} s, {tries} tries: ", begun.as_secs_f64())?;
        match self.took() {
            Some(took) => write!(formatter, "signed after {:.3} s", took.as_secs_f64())?,
            None => formatter.write_str("never signed")?,
        }
        self.trouble.iter().try_for_each(|trouble| write!(formatter, "; {trouble}"))
    }
}

struct Client {
    courier: Arc<Courier>,
    chain: Chain,
    key: PublicKey,
    doors: Doors,
    done: Arc<Mutex<Vec<Duty>>>,
    number: usize,
    epoch: Epoch,
}

impl Client {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) -> Epoch {
        while !*stopped.borrow() {
            let Some(message) = self.next() else { break };
            let duty = self.perform(&message).await;
            self.done.lock().unwrap_or_else(PoisonError::into_inner).push(duty);
            let _elapsed = timeout(PAUSE, stopped.changed()).await;
        }
        self.epoch
    }

    /// Blocks and votes by turns, each above the one before.
    fn next(&mut self) -> Option<Arc<Message>> {
        self.epoch += 1;
        let content = if self.epoch.is_multiple_of(3) {
            Content::Block { slot: self.epoch * self.chain.slots_per_epoch() }
        } else {
            Content::Attestation { source: self.epoch - 1, target: self.epoch }
        };
        self.chain.message(self.key, content, self.epoch).ok().map(Arc::new)
    }

    async fn perform(&mut self, message: &Arc<Message>) -> Duty {
        let clock = *self.courier.history().clock();
        let begun = clock.now();
        let mut duty = Duty { key: self.key, content: message.content, begun, signed: None, tries: 0, trouble: None };
        while clock.now() < begun + DUTY_MAX {
            duty.tries += 1;
            match self.once(message).await {
                Ok(()) => {
                    duty.signed = Some(clock.now());
                    return duty;
                }
                Err(Trouble::Refused(why)) => {
                    duty.trouble = Some(why);
                    return duty;
                }
                Err(Trouble::Passing(why)) => duty.trouble = Some(why),
            }
            self.number += 1;
            tokio::time::sleep(AGAIN).await;
        }
        duty
    }

    async fn once(&self, message: &Arc<Message>) -> Result<(), Trouble> {
        let Some(node) = self.doors.at(self.number) else { return Err(Trouble::Passing("no door".to_owned())) };
        let (courier, message) = (self.courier.clone(), message.clone());
        let asked = async move { courier.ask(node, &message, Agent::Unknown, Phase::Storm).await };
        // Not dropped when the client turns away: a signature that comes late is evidence, too.
        let reply = match timeout(TRY_MAX, tokio::spawn(asked)).await {
            Ok(Ok(Some(reply))) => reply,
            Ok(Ok(None) | Err(_)) => return Err(Trouble::Refused("the history is full".to_owned())),
            Err(_late) => return Err(Trouble::Passing(format!("node {node}: no answer within {TRY_MAX:?}"))),
        };
        match reply {
            Reply::Answer { status: 200, .. } => Ok(()),
            Reply::Answer { status: status @ (400 | 401 | 403 | 412), body, .. } => {
                Err(Trouble::Refused(format!("node {node}: {status} {}", String::from_utf8_lossy(&body))))
            }
            Reply::Answer { status, body, .. } => {
                Err(Trouble::Passing(format!("node {node}: {status} {}", String::from_utf8_lossy(&body))))
            }
            Reply::Lost(why) => Err(Trouble::Passing(format!("node {node}: {why}"))),
        }
    }
}

enum Trouble {
    /// For ever.
    Refused(String),
    /// Another node, or this one later, may sign.
    Passing(String),
}
