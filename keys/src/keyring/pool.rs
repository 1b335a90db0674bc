//! The signing threads and the bounded queue before them.
//!
//! In: permits with a hold on their key. Out: signatures, through the reply of each work item. Threads of their own,
//! because a signature is 200 to 400 us of computation and async threads must stay free for the network. Deliberately
//! absent: waiting for room (the caller is told at once), and what is urgent (the caller says so).

use super::SignError;
use super::held::Hold;
use crate::bls;
use crate::root_cache::RootCache;
use consigner_rules::{SignPermit, Signature};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use tokio::sync::oneshot;

/// What is signed first when permits wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Urgency {
    /// Before everything else. For the few: others wait while there are any.
    High,
    /// Before what is not urgent.
    #[default]
    Middle,
    /// When nothing else waits.
    Low,
}

/// One signature to make.
pub(super) struct Work {
    pub(super) permit: SignPermit,
    pub(super) hold: Hold,
    pub(super) reply: oneshot::Sender<Result<Signature, SignError>>,
}

pub(super) struct Pool {
    queue: Arc<Queue>,
    pub(super) roots: Arc<RootCache>,
    threads: Vec<JoinHandle<()>>,
}

struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    limit: usize,
}

struct State {
    waiting: Waiting<Work>,
    open: bool,
}

/// Work in the order of its urgency, and of its arrival.
struct Waiting<T> {
    high: VecDeque<T>,
    middle: VecDeque<T>,
    low: VecDeque<T>,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { high: VecDeque::new(), middle: VecDeque::new(), low: VecDeque::new() }
    }
}

impl<T> Waiting<T> {
    fn len(&self) -> usize {
        self.high.len() + self.middle.len() + self.low.len()
    }

    fn push(&mut self, work: T, urgency: Urgency) {
        let queue = match urgency {
            Urgency::High => &mut self.high,
            Urgency::Middle => &mut self.middle,
            Urgency::Low => &mut self.low,
        };
        queue.push_back(work);
    }

    fn pop(&mut self) -> Option<T> {
        self.high.pop_front().or_else(|| self.middle.pop_front()).or_else(|| self.low.pop_front())
    }
}

impl Pool {
    pub(super) fn start(threads: usize, limit: usize, roots: RootCache) -> io::Result<Self> {
        let state = Mutex::new(State { waiting: Waiting::default(), open: true });
        let queue = Arc::new(Queue { state, filled: Condvar::new(), limit: limit.max(1) });
        // Built before the first thread starts, so that a failure half-way ends those already running.
        let mut pool = Self { queue, roots: Arc::new(roots), threads: Vec::new() };
        for number in 0..threads.max(1) {
            let (queue, roots) = (Arc::clone(&pool.queue), Arc::clone(&pool.roots));
            let thread = thread::Builder::new().name(format!("consigner-sign-{number}"));
            pool.threads.push(thread.spawn(move || queue.serve(&roots))?);
        }
        Ok(pool)
    }

    pub(super) fn submit(&self, work: Work, urgency: Urgency) -> Result<(), SignError> {
        let mut state = self.queue.lock();
        if !state.open {
            return Err(SignError::Stopped);
        }
        if state.waiting.len() >= self.queue.limit {
            return Err(SignError::Overloaded);
        }
        state.waiting.push(work, urgency);
        drop(state);
        self.queue.filled.notify_one();
        Ok(())
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.lock().waiting.len()
    }

    /// No new work; what waits is still done.
    pub(super) fn close(&self) {
        self.queue.lock().open = false;
        self.queue.filled.notify_all();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.close();
        // Nobody can be waiting for these: a caller of `sign` borrows the keyring.
        let abandoned = std::mem::take(&mut self.queue.lock().waiting);
        drop(abandoned);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a signing thread had panicked");
            }
        }
    }
}

impl Queue {
    fn serve(&self, roots: &RootCache) {
        while let Some(work) = self.next() {
            // Nobody waits any more, or the key is gone: the dropped reply says so.
            if work.reply.is_closed() || work.hold.is_removed() {
                continue;
            }
            let Work { permit, hold, reply } = work;
            let answer = sign(&permit, &hold, roots);
            // Before the caller is told, who holds the key as well: the secret is out of use here.
            drop(hold);
            // The caller may have left meanwhile; its signature is dropped.
            let _ = reply.send(answer);
        }
    }

    fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if let Some(work) = state.waiting.pop() {
                return Some(work);
            }
            if !state.open {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sign(permit: &SignPermit, hold: &Hold, roots: &RootCache) -> Result<Signature, SignError> {
    let secret = hold.secret_of(permit.public_key()).ok_or(SignError::Mismatch)?;
    Ok(bls::sign_hashed(&secret, &roots.hashed(permit.signing_root())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_urgent_comes_first_and_the_rest_in_its_order() {
        let mut waiting = Waiting::default();
        for (urgency, name) in [
            (Urgency::Low, "first low"),
            (Urgency::Middle, "first middle"),
            (Urgency::High, "first high"),
            (Urgency::Low, "second low"),
            (Urgency::High, "second high"),
            (Urgency::Middle, "second middle"),
        ] {
            waiting.push(name, urgency);
        }
        assert_eq!(waiting.len(), 6);
        let order: Vec<&str> = std::iter::from_fn(|| waiting.pop()).collect();
        let expected = ["first high", "second high", "first middle", "second middle", "first low", "second low"];
        assert_eq!(order, expected);
        assert_eq!(waiting.len(), 0);
    }
}
