//! Keeps at most one connection to one node, and at most one attempt to make one.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::ChannelError;
use super::connect::{Connected, Sender, Target, connect};
use crate::peer::PeerCertificate;

/// The pause after the first failed attempt; doubled with each further one ...
const BACKOFF_MIN: Duration = Duration::from_millis(10);

/// ... up to this: a dead node costs ten attempts a second, a restarted one is found within a tenth.
const BACKOFF_MAX: Duration = Duration::from_millis(100);

/// A connection in use.
pub(super) struct Conn {
    id: u64,
    pub(super) sender: Sender,
    /// What the server showed on this connection.
    pub(super) server: Option<Arc<PeerCertificate>>,
    /// Since when requests have been sent without any answer; `None` while answers come.
    silent_since: Mutex<Option<Instant>>,
}

impl Conn {
    pub(super) fn asked(&self, now: Instant) {
        lock(&self.silent_since).get_or_insert(now);
    }

    pub(super) fn answered(&self) {
        *lock(&self.silent_since) = None;
    }

    /// How long requests have been sent without any answer.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        lock(&self.silent_since).map_or(Duration::ZERO, |since| now.duration_since(since))
    }
}

type Attempt = watch::Receiver<Option<Result<Arc<Conn>, ChannelError>>>;

enum Phase {
    Down,
    Connecting(Attempt),
    Up(Arc<Conn>),
}

struct State {
    phase: Phase,
    next_id: u64,
    failures: u32,
    /// The last failure, and when the next attempt may begin.
    failed: Option<(ChannelError, Instant)>,
}

/// The one connection to one node.
pub(super) struct Link {
    target: Target,
    state: Mutex<State>,
}

enum Step {
    Use(Arc<Conn>),
    Await(Attempt),
    Pause(ChannelError, Instant),
}

impl Link {
    pub(super) fn new(target: Target) -> Arc<Self> {
        let state = State { phase: Phase::Down, next_id: 0, failures: 0, failed: None };
        Arc::new(Self { target, state: Mutex::new(state) })
    }

    pub(super) fn addr(&self) -> &Arc<str> {
        &self.target.addr
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(&lock(&self.state).phase, Phase::Up(conn) if !conn.sender.is_closed())
    }

    /// The connection, made if there is none. One attempt serves all who wait; each waits no longer than `until`, and
    /// the attempt goes on without them.
    pub(super) async fn obtain(
        self: &Arc<Self>,
        until: Instant,
        deadline: Duration,
    ) -> Result<Arc<Conn>, ChannelError> {
        let late = || ChannelError::Deadline { addr: self.addr().clone(), deadline, sent: false };
        loop {
            let step = self.step();
            match step {
                Step::Use(conn) => return Ok(conn),
                Step::Pause(failure, next) if next >= until => return Err(failure),
                Step::Pause(_, next) => sleep_until(next).await,
                Step::Await(mut attempt) => {
                    let finished = timeout_at(until, attempt.wait_for(Option::is_some)).await.map_err(|_| late())?;
                    return match finished.as_deref() {
                        Ok(Some(result)) => result.clone(),
                        Ok(None) | Err(_) => Err(self.abandoned()),
                    };
                }
            }
        }
    }

    /// Forgets a connection that is of no more use; calls that still run on it end by themselves.
    pub(super) fn retire(&self, conn: &Conn) {
        let mut state = lock(&self.state);
        if matches!(&state.phase, Phase::Up(current) if current.id == conn.id) {
            state.phase = Phase::Down;
        }
    }

    fn step(self: &Arc<Self>) -> Step {
        let mut state = lock(&self.state);
        match &state.phase {
            Phase::Up(conn) if !conn.sender.is_closed() => return Step::Use(conn.clone()),
            Phase::Connecting(attempt) => return Step::Await(attempt.clone()),
            Phase::Up(_) | Phase::Down => {}
        }
        if let Some((failure, next)) = &state.failed
            && Instant::now() < *next
        {
            return Step::Pause(failure.clone(), *next);
        }
        let (done, attempt) = watch::channel(None);
        state.phase = Phase::Connecting(attempt.clone());
        let (link, id) = (self.clone(), state.next_id);
        state.next_id += 1;
        drop(state);
        // A task of its own: a caller that gives up must not take the attempt of the others with it.
        tokio::spawn(async move {
            let result = connect(&link.target).await;
            let result = link.finished(id, result);
            done.send_replace(Some(result));
        });
        Step::Await(attempt)
    }

    fn finished(&self, id: u64, result: Result<Connected, ChannelError>) -> Result<Arc<Conn>, ChannelError> {
        let mut state = lock(&self.state);
        match result {
            Ok(Connected { sender, server }) => {
                let conn = Arc::new(Conn { id, sender, server, silent_since: Mutex::new(None) });
                (state.phase, state.failures, state.failed) = (Phase::Up(conn.clone()), 0, None);
                Ok(conn)
            }
            Err(failure) => {
                let backoff = BACKOFF_MIN.saturating_mul(1 << state.failures.min(8)).min(BACKOFF_MAX);
                state.failures = state.failures.saturating_add(1);
                state.failed = Some((failure.clone(), Instant::now() + backoff));
                state.phase = Phase::Down;
                Err(failure)
            }
        }
    }

    /// The attempt's task ended without a result (the runtime is shutting down).
    fn abandoned(&self) -> ChannelError {
        lock(&self.state).phase = Phase::Down;
        let source = Arc::new(io::Error::other("the attempt to connect was abandoned"));
        ChannelError::Connect { addr: self.addr().clone(), source }
    }
}

/// No code panics while it holds one of these locks, and every state they guard is whole at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
