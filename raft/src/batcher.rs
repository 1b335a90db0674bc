//! Gathers commands into entries: what is queued when a slot frees travels together.
//!
//! openraft 0.9 neither groups separate writes nor bounds them; above disk speed it livelocks. All writes of commands
//! pass here, at most [`SLOTS`] entries are on their way at once, and nothing waits for a timer.
//!
//! In: commands, each with somebody who waits. Out: one outcome each, or a failure that says that the outcome is
//! unknown. Deliberately absent: retries; the caller knows whether it still wants an answer.

use crate::cluster::OnFatal;
use crate::machine::Shared;
use crate::peer::wire::Failure;
use crate::typ::{Proposal, Raft, TypeConfig};
use crate::types::Logged;
use consigner_rules::command::COMMAND_BYTES_MAX;
use consigner_rules::slashing::AgreedDuty;
use consigner_rules::{Command, CommandBatch, Outcome, codec};
use openraft::raft::ClientWriteResult;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, mpsc, oneshot};
use tokio::time::Instant;

/// Entries on their way at once. Measured: two keep the disks busy, four are slower.
const SLOTS: usize = 2;

/// Commands waiting at once; beyond, requests are shed. Half a minute of a large operator's attestations.
const WAITING_MAX: usize = 16_384;

/// Commands other than intents waiting at once, apart from those: an import must not push out a block.
const OTHERS_WAITING_MAX: usize = 8_192;

/// Most commands in one entry, so that one slow `apply` never blocks heartbeats.
const BATCH_COMMANDS_MAX: usize = 1_024;

/// Encoded bytes of a batch besides its commands.
const BATCH_OVERHEAD: usize = 256;

/// How long one entry may take to be agreed before its outcome is called unknown.
const AGREE_DEADLINE: Duration = Duration::from_secs(2);

struct Job {
    command: Command,
    bytes: usize,
    reply: oneshot::Sender<Result<Logged<Outcome>, Failure>>,
    _waiting: OwnedSemaphorePermit,
}

/// The way into the log.
pub struct Batcher {
    jobs: mpsc::UnboundedSender<Job>,
    waiting: Arc<Semaphore>,
    others: Arc<Semaphore>,
    slots: Arc<Semaphore>,
}

impl Batcher {
    /// Starts the batcher.
    /// `lease` bounds how old a quorum's acknowledgement may be for a leader to propose at all.
    pub fn start(raft: Raft, shared: Arc<Shared>, lease: Duration, on_fatal: &OnFatal) -> Self {
        // Unbounded in form only: every job holds one of `waiting`.
        let (jobs, queue) = mpsc::unbounded_channel();
        let slots = Arc::new(Semaphore::new(SLOTS));
        let worker = Worker { raft, shared, lease, slots: Arc::clone(&slots), queue, lanes: Lanes::default() };
        crate::supervise("batcher", on_fatal, worker.run());
        let waiting = Arc::new(Semaphore::new(WAITING_MAX));
        Self { jobs, waiting, others: Arc::new(Semaphore::new(OTHERS_WAITING_MAX)), slots }
    }

    /// Proposes one command and waits for its outcome.
    ///
    /// # Errors
    /// [`Failure`]: nothing is known about the command's fate, except for `TooLarge`, `Overloaded` and `Stopping`,
    /// which never reached the log.
    pub async fn submit(&self, command: Command) -> Result<Logged<Outcome>, Failure> {
        let reply = self.enqueue(command)?;
        reply.await.unwrap_or(Err(Failure::Stopping))
    }

    /// As [`Batcher::submit`], but returns once the command stands in line, to keep an order between several.
    ///
    /// # Errors
    /// `TooLarge`, `Overloaded` or `Stopping`.
    pub fn enqueue(&self, command: Command) -> Result<oneshot::Receiver<Result<Logged<Outcome>, Failure>>, Failure> {
        let bytes = encoded_bytes(&command);
        if bytes > COMMAND_BYTES_MAX - BATCH_OVERHEAD {
            return Err(Failure::TooLarge);
        }
        let line = if matches!(command, Command::Sign(_)) { &self.waiting } else { &self.others };
        let waiting = Arc::clone(line).try_acquire_owned().map_err(|error| match error {
            TryAcquireError::NoPermits => Failure::Overloaded,
            TryAcquireError::Closed => Failure::Stopping,
        })?;
        let (reply, replied) = oneshot::channel();
        self.jobs.send(Job { command, bytes, reply, _waiting: waiting }).map_err(|_| Failure::Stopping)?;
        Ok(replied)
    }

    /// Waits until nothing is on its way; nothing sets out until what is returned is dropped. `None`: it has stopped.
    pub async fn pause(&self) -> Option<OwnedSemaphorePermit> {
        let all = u32::try_from(SLOTS).unwrap_or(u32::MAX);
        Arc::clone(&self.slots).acquire_many_owned(all).await.ok()
    }

    /// Takes nothing more and waits until nothing is on its way.
    pub async fn drain(&self) {
        self.waiting.close();
        self.others.close();
        // Both slots are free only when no entry is on its way; closing them stops the worker.
        if let Ok(slots) = self.slots.acquire_many(u32::try_from(SLOTS).unwrap_or(u32::MAX)).await {
            slots.forget();
        }
        self.slots.close();
    }
}

/// An upper bound for intents, whose fields are of fixed size but for the client's name; exact for the rest.
fn encoded_bytes(command: &Command) -> usize {
    match command {
        Command::Sign(intent) => 192 + intent.peer.len(),
        Command::Initialise(_)
        | Command::AddDataKey(_)
        | Command::ImportKey { .. }
        | Command::ImportHistory(_)
        | Command::SetHighWatermark(_)
        | Command::RenewPolicy
        | Command::DeleteKey { .. }
        | Command::Reseal(_)
        | Command::RemoveDataKey(_)
        | Command::SetPolicy { .. }
        | Command::AddToken { .. }
        | Command::RevokeToken { .. }
        | Command::AnchorAudit(_)
        | Command::RaiseRules { .. }
        | Command::AddJoinToken(_)
        | Command::RevokeJoinToken { .. }
        | Command::AdmitNode { .. }
        | Command::RetireNode { .. }
        | Command::NotePositions(_)
        | Command::Resume(_)
        | Command::AdvanceArchive { .. } => codec::encode(command).len(),
    }
}

struct Worker {
    raft: Raft,
    shared: Arc<Shared>,
    lease: Duration,
    slots: Arc<Semaphore>,
    queue: mpsc::UnboundedReceiver<Job>,
    lanes: Lanes,
}

impl Worker {
    async fn run(mut self) {
        loop {
            if self.lanes.is_empty() {
                match self.queue.recv().await {
                    Some(job) => self.lanes.push(job),
                    None => return,
                }
            }
            let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else { return };
            while let Ok(job) = self.queue.try_recv() {
                self.lanes.push(job);
            }
            let jobs = self.lanes.take();
            if !jobs.is_empty() {
                self.propose(jobs, slot).await;
            }
        }
    }

    fn lacks_quorum(&self) -> bool {
        let metrics = self.raft.metrics();
        let since = metrics.borrow().millis_since_quorum_ack;
        since.is_some_and(|millis| Duration::from_millis(millis) > self.lease)
    }

    /// Hands one entry to openraft, in this task so that entries keep the order of their commands, and awaits its
    /// answer in another.
    async fn propose(&self, jobs: Vec<Job>, slot: OwnedSemaphorePermit) {
        let (commands, replies): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| (job.command, job.reply)).unzip();
        if self.lacks_quorum() {
            // The log of a leader that is cut off must not grow with intents that nobody waits for when it heals.
            return answer_all(replies, &Failure::Unknown);
        }
        metrics::histogram!("consigner_batch_commands").record(f64::from(u32::try_from(commands.len()).unwrap_or(0)));
        let checkpoint = self.shared.checkpoint();
        let batch = CommandBatch { proposed_at_ms: now_ms(), checkpoint, commands };
        let began = Instant::now();
        match self.raft.client_write_ff(Proposal(Arc::new(batch))).await {
            Err(_) => answer_all(replies, &Failure::Stopping),
            Ok(written) => {
                let raft = self.raft.clone();
                tokio::spawn(async move {
                    let agreed = agree(&raft, written).await;
                    drop(slot);
                    metrics::histogram!("consigner_agreement_duration_seconds").record(began.elapsed().as_secs_f64());
                    match agreed {
                        Ok(outcomes) => answer_each(replies, outcomes),
                        Err(failure) => answer_all(replies, &failure),
                    }
                });
            }
        }
    }
}

/// Waits for openraft's answer, but not for ever: openraft 0.9 never answers a write whose leader was deposed and
/// caught up by snapshot, so a change of term or leader frees the slot with an unknown outcome.
async fn agree(
    raft: &Raft,
    written: oneshot::Receiver<ClientWriteResult<TypeConfig>>,
) -> Result<Logged<Vec<Outcome>>, Failure> {
    let mut server = raft.server_metrics();
    let (leader_id, id) = {
        let now = server.borrow_and_update();
        (*now.vote.leader_id(), now.id)
    };
    let deposed = server.wait_for(|now| *now.vote.leader_id() != leader_id);
    tokio::select! {
        biased;
        answer = written => match answer {
            // An answer for the entry of another leader at the same index answers nothing of ours.
            Ok(Ok(response)) if response.log_id.leader_id == leader_id && leader_id.node_id == id => {
                Ok(Logged { index: response.log_id.index, answer: response.data.0 })
            }
            Ok(Ok(_)) => Err(Failure::Unknown),
            Ok(Err(_)) => Err(Failure::NotLeader { node: id }),
            Err(_) => Err(Failure::Stopping),
        },
        _ = deposed => Err(Failure::Unknown),
        () = tokio::time::sleep(AGREE_DEADLINE) => Err(Failure::Unknown),
    }
}

type Replies = Vec<oneshot::Sender<Result<Logged<Outcome>, Failure>>>;

fn answer_each(replies: Replies, outcomes: Logged<Vec<Outcome>>) {
    let Logged { index, answer: outcomes } = outcomes;
    let mut outcomes = outcomes.into_iter().map(|answer| Logged { index, answer });
    for reply in replies {
        // A send fails only when nobody waits any more; the record stands, and a retry finds it.
        drop(reply.send(outcomes.next().ok_or(Failure::Unknown)));
    }
}

fn answer_all(replies: Replies, failure: &Failure) {
    for reply in replies {
        drop(reply.send(Err(failure.clone())));
    }
}

/// Waiting commands by priority: a block is worth more than an attestation, both more than the rest.
#[derive(Default)]
struct Lanes {
    blocks: VecDeque<Job>,
    attestations: VecDeque<Job>,
    others: VecDeque<Job>,
}

impl Lanes {
    fn push(&mut self, job: Job) {
        let lane = match &job.command {
            Command::Sign(intent) => match intent.duty {
                AgreedDuty::Block { .. } => &mut self.blocks,
                AgreedDuty::Attestation { .. } => &mut self.attestations,
                AgreedDuty::VoluntaryExit { .. } => &mut self.others,
            },
            Command::Initialise(_)
            | Command::AddDataKey(_)
            | Command::ImportKey { .. }
            | Command::ImportHistory(_)
            | Command::SetHighWatermark(_)
            | Command::RenewPolicy
            | Command::DeleteKey { .. }
            | Command::Reseal(_)
            | Command::RemoveDataKey(_)
            | Command::SetPolicy { .. }
            | Command::AddToken { .. }
            | Command::RevokeToken { .. }
            | Command::AnchorAudit(_)
            | Command::RaiseRules { .. }
            | Command::AddJoinToken(_)
            | Command::RevokeJoinToken { .. }
            | Command::AdmitNode { .. }
            | Command::RetireNode { .. }
            | Command::NotePositions(_)
            | Command::Resume(_)
            | Command::AdvanceArchive { .. } => &mut self.others,
        };
        lane.push_back(job);
    }

    fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.attestations.is_empty() && self.others.is_empty()
    }

    /// Takes one batch, within its limits, leaving out jobs that nobody waits for any more.
    fn take(&mut self) -> Vec<Job> {
        let mut taken = Vec::new();
        let mut bytes = BATCH_OVERHEAD;
        for lane in [&mut self.blocks, &mut self.attestations, &mut self.others] {
            while let Some(job) = lane.front() {
                if job.reply.is_closed() {
                    lane.pop_front();
                    continue;
                }
                if taken.len() == BATCH_COMMANDS_MAX || bytes + job.bytes > COMMAND_BYTES_MAX {
                    return taken;
                }
                bytes += job.bytes;
                taken.extend(lane.pop_front());
            }
        }
        taken
    }
}

/// Wall time, for the archive only.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "batcher_tests.rs"]
mod tests;
