//! Batches of secrets on their way to the cluster, sent while the next ones are still decrypted.
//!
//! In: secrets, one by one. Out: a [`Line`] for each. At most two batches are in memory. A batch that gets no answer
//! is sent again (a duplicate is none), through whichever endpoint answers, until patience ends; then nothing is sent.

use super::Line;
use super::history::History;
use crate::client::keys::{self, KeyStatus};
use crate::client::{CallError, ClusterClient};
use crate::report::one_line;
use consigner_keys::SecretKey;
use consigner_rules::PublicKey;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Keys sent at one time: small enough to be acknowledged within a moment, large enough not to wait for each.
pub(in crate::cli::keys) const BATCH: usize = 100;

/// A batch that decrypts slowly is sent anyway: what was acknowledged need not be decrypted again after a break.
const BATCH_AGE_MAX: Duration = Duration::from_secs(5);

/// How long a cluster may be without a leader, or unreachable, before the import is broken off.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// A secret with its origin.
pub(super) struct Ready {
    pub(super) origin: String,
    pub(super) public_key: PublicKey,
    pub(super) secret: SecretKey,
}

enum Message {
    Send(Vec<Ready>),
    Tell(Line),
}

/// Gathers and sends.
pub(super) struct Batches {
    waiting: Vec<Ready>,
    oldest: Option<Instant>,
    sender: mpsc::Sender<Message>,
    broken_off: watch::Receiver<Option<String>>,
    task: tokio::task::JoinHandle<()>,
}

impl Batches {
    /// The second half yields what became of the keys.
    pub(super) fn start(client: ClusterClient, history: Arc<Option<History>>) -> (Self, mpsc::Receiver<Vec<Line>>) {
        let (sender, messages) = mpsc::channel(1);
        let (results, lines) = mpsc::channel(16);
        let (break_off, broken_off) = watch::channel(None);
        let task = tokio::spawn(send_all(client, history, messages, results, break_off));
        (Self { waiting: Vec::new(), oldest: None, sender, broken_off, task }, lines)
    }

    /// Takes a secret; waits while two batches are on their way.
    pub(super) async fn add(&mut self, ready: Ready) {
        self.waiting.push(ready);
        let oldest = *self.oldest.get_or_insert_with(Instant::now);
        if self.waiting.len() >= BATCH || oldest.elapsed() > BATCH_AGE_MAX {
            self.flush().await;
        }
    }

    /// A result that needs no sending.
    pub(super) async fn tell(&self, line: Line) {
        let _broken_off = self.sender.send(Message::Tell(line)).await;
    }

    /// Whether nothing more is sent.
    pub(super) fn is_broken_off(&self) -> bool {
        self.broken_off.borrow().is_some()
    }

    /// Sends the rest and waits until all is answered; why that was broken off, if it was.
    pub(super) async fn finish(mut self) -> Option<String> {
        self.flush().await;
        let Self { sender, broken_off, task, .. } = self;
        drop(sender);
        let _ended = task.await;
        broken_off.borrow().clone()
    }

    async fn flush(&mut self) {
        self.oldest = None;
        let batch = std::mem::take(&mut self.waiting);
        if !batch.is_empty() {
            let _broken_off = self.sender.send(Message::Send(batch)).await;
        }
    }
}

async fn send_all(
    client: ClusterClient,
    history: Arc<Option<History>>,
    mut messages: mpsc::Receiver<Message>,
    results: mpsc::Sender<Vec<Line>>,
    break_off: watch::Sender<Option<String>>,
) {
    while let Some(message) = messages.recv().await {
        let batch = match message {
            Message::Tell(line) => {
                let _nobody_listens = results.send(vec![line]).await;
                continue;
            }
            Message::Send(batch) => batch,
        };
        // After a break-off the rest is told, not sent.
        let broken = break_off.borrow().clone();
        let sent = match broken {
            Some(why) => Err(why),
            None => send(&client, history.as_ref().as_ref(), &batch).await.map_err(|error| one_line(&error)),
        };
        let lines = match sent {
            Ok(statuses) => batch.into_iter().zip(statuses).map(|(ready, status)| line(ready, status)).collect(),
            Err(why) => {
                let lines = batch.into_iter().map(|ready| not_known(ready, &why)).collect();
                break_off.send_replace(Some(why));
                lines
            }
        };
        let _nobody_listens = results.send(lines).await;
    }
}

async fn send(client: &ClusterClient, history: Option<&History>, batch: &[Ready]) -> Result<Vec<KeyStatus>, CallError> {
    let secrets: Vec<&SecretKey> = batch.iter().map(|ready| &ready.secret).collect();
    let text = history.and_then(|history| history.of(batch.iter().map(|ready| &ready.public_key)));
    send_secrets(client, &secrets, text.as_deref()).await
}

/// Sends one batch, through elections and restarts of nodes; an answer per secret, in order.
///
/// # Errors
/// What was said last, once patience ended or it cannot pass.
pub(in crate::cli::keys) async fn send_secrets(
    client: &ClusterClient,
    secrets: &[&SecretKey],
    history: Option<&str>,
) -> Result<Vec<KeyStatus>, CallError> {
    let begun = Instant::now();
    loop {
        match keys::import(client, secrets, history).await {
            Err(error) if error.may_pass() && begun.elapsed() < PATIENCE => tokio::time::sleep(RETRY_PAUSE).await,
            ended => return ended,
        }
    }
}

fn line(ready: Ready, done: KeyStatus) -> Line {
    let status = match done.status.as_str() {
        "imported" => "imported",
        "duplicate" => "duplicate",
        _ => "error",
    };
    let message = done.message.filter(|message| !message.is_empty());
    Line { origin: ready.origin, pubkey: Some(ready.public_key), status, message }
}

fn not_known(ready: Ready, why: &str) -> Line {
    Line::failed(ready.origin, Some(ready.public_key), format!("not known to be imported, repeat the command: {why}"))
}
