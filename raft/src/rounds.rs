//! Many callers, one question at a time: a caller takes part in the next round, never in one that began before it came.
//!
//! In: a question that says something about now. Out: its answer, for all who came before it was asked. Deliberately
//! absent: deadlines and retries; the caller bounds its wait, and the question must end by itself.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Rounds of one question. At most one is being asked, and at most one is gathering callers.
pub struct Rounds<A> {
    /// Held while a round is asked.
    turn: tokio::sync::Mutex<()>,
    /// The round that newcomers join.
    gathering: Mutex<Option<Round<A>>>,
}

type Round<A> = Arc<OnceLock<A>>;

impl<A> Default for Rounds<A> {
    fn default() -> Self {
        Self { turn: tokio::sync::Mutex::default(), gathering: Mutex::default() }
    }
}

impl<A: Clone> Rounds<A> {
    /// The answer to a question that was asked after this call. `question` is asked only if no other caller of the same
    /// round has asked its own; if that one gives up on the way, the next of the round asks.
    pub async fn ask(&self, question: impl Future<Output = A>) -> A {
        let round = self.join();
        let _turn = self.turn.lock().await;
        if let Some(answer) = round.get() {
            return answer.clone();
        }
        self.close(&round);
        let answer = question.await;
        round.get_or_init(|| answer).clone()
    }

    fn join(&self) -> Round<A> {
        let mut gathering = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(gathering.get_or_insert_with(Arc::default))
    }

    /// From here on newcomers gather for the next round.
    fn close(&self, round: &Round<A>) {
        let mut gathering = self.gathering.lock().unwrap_or_else(PoisonError::into_inner);
        if gathering.as_ref().is_some_and(|gathering| Arc::ptr_eq(gathering, round)) {
            *gathering = None;
        }
    }
}

#[cfg(test)]
#[path = "rounds_tests.rs"]
mod tests;
