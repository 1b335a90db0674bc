//! Sends a follower's intents to the leader: those that arrive while a call is on its way travel together.
//!
//! In: intents, each with somebody who waits. Out: the leader's verdicts, or a failure. Deliberately absent: HTTP
//! proxying; this node computed the root and will sign, the leader only orders.

use crate::cluster::OnFatal;
use crate::peer::link::Links;
use crate::peer::wire::{self, Failure};
use crate::types::{Logged, Member};
use consigner_rules::{SignIntent, Verdict};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// Calls on their way at once: one that waits for an agreement, one that fills, two for a leader that just changed.
const CALLS: usize = 4;

/// Intents waiting at once; beyond, requests are shed.
const WAITING_MAX: usize = 16_384;

/// Most intents in one call; far below [`wire::BODY_BYTES_MAX`].
const INTENTS_MAX: usize = 1_024;

struct Job {
    leader: u64,
    member: Member,
    intent: SignIntent,
    deadline: Duration,
    reply: oneshot::Sender<Result<Logged<Verdict>, Failure>>,
    _waiting: OwnedSemaphorePermit,
}

/// The way to the leader.
pub struct Forwarder {
    jobs: mpsc::UnboundedSender<Job>,
    waiting: Arc<Semaphore>,
}

impl Forwarder {
    /// Starts the forwarder.
    pub fn start(links: Arc<Links>, on_fatal: &OnFatal) -> Self {
        // Unbounded in form only: every job holds one of `waiting`.
        let (jobs, queue) = mpsc::unbounded_channel();
        crate::supervise("forwarder", on_fatal, run(links, queue));
        Self { jobs, waiting: Arc::new(Semaphore::new(WAITING_MAX)) }
    }

    /// Asks the leader for a verdict; gives up on this try after `deadline`.
    ///
    /// # Errors
    /// [`Failure`]; the outcome is unknown, the same intent may be sent again.
    pub async fn ask(
        &self,
        (leader, member): (u64, Member),
        intent: SignIntent,
        deadline: Duration,
    ) -> Result<Logged<Verdict>, Failure> {
        let waiting = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| Failure::Overloaded)?;
        let (reply, replied) = oneshot::channel();
        let job = Job { leader, member, intent, deadline, reply, _waiting: waiting };
        self.jobs.send(job).map_err(|_| Failure::Stopping)?;
        replied.await.unwrap_or(Err(Failure::Stopping))
    }
}

async fn run(links: Arc<Links>, mut queue: mpsc::UnboundedReceiver<Job>) {
    let calls = Arc::new(Semaphore::new(CALLS));
    let mut next = None;
    loop {
        let Some(first) = (match next.take() {
            Some(job) => Some(job),
            None => queue.recv().await,
        }) else {
            return;
        };
        let Ok(call) = Arc::clone(&calls).acquire_owned().await else { return };
        let mut jobs = vec![first];
        while jobs.len() < INTENTS_MAX {
            let Ok(job) = queue.try_recv() else { break };
            let same = jobs.first().is_some_and(|first| first.leader == job.leader && first.member == job.member);
            if same {
                jobs.push(job);
            } else {
                next = Some(job);
                break;
            }
        }
        jobs.retain(|job| !job.reply.is_closed());
        if !jobs.is_empty() {
            let links = Arc::clone(&links);
            tokio::spawn(async move {
                send(&links, jobs).await;
                drop(call);
            });
        }
    }
}

async fn send(links: &Links, jobs: Vec<Job>) {
    let Some(first) = jobs.first() else { return };
    let (leader, member) = (first.leader, first.member.clone());
    let deadline = jobs.iter().map(|job| job.deadline).max().unwrap_or_default();
    let intents: wire::Authorize = jobs.iter().map(|job| job.intent.clone()).collect();
    metrics::histogram!("consigner_forward_intents").record(f64::from(u32::try_from(intents.len()).unwrap_or(0)));
    let mut jobs = jobs;
    let called: Result<wire::Authorized, _> = {
        let call = links.call((leader, &member), wire::AUTHORIZE, &intents, deadline);
        let abandoned = futures::future::join_all(jobs.iter_mut().map(|job| job.reply.closed()));
        tokio::select! {
            called = call => called,
            // A call to a leader that nobody believes in any more must not hold a place.
            _ = abandoned => return,
        }
    };
    let mut answers = match called {
        Ok(answers) => answers.into_iter(),
        Err(error) => {
            let failure = Failure::Unreachable(crate::chain(&error));
            vec![Err(failure); jobs.len()].into_iter()
        }
    };
    for job in jobs {
        // A send fails only when nobody waits any more.
        drop(job.reply.send(answers.next().unwrap_or(Err(Failure::Unknown))));
    }
}
