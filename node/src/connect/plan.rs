//! Whom to ask next for one request, and when: retries, hedges, redirects, rounds. Pure; time is a parameter.
//!
//! ```text
//!            order of the nodes, deadlines
//!                      |
//!   started ---->  +--------+ ---> Try { node }      ask this node now, beside those that are being asked
//!   failed  ---->  |  Plan  | ---> Wait(until)       for an end of a try, at most until then
//!   redirected ->  +--------+ ---> GiveUp            the deadline passed, or everybody said no
//! ```
//!
//! Requests may be repeated at will: a signing request that was committed before gives the same signature again, and
//! everything else only looks. Deliberately absent: sockets, what an answer means, which answer wins (the first).

use super::surface::Patience;
use std::time::{Duration, Instant};

/// Tries of one request at one time. One more than a frozen leader needs; more would only multiply an overload.
const TRIES_AT_ONCE_MAX: usize = 3;

/// A redirect to a leader takes one hop, two during an election; and each round may begin anew.
const HOPS_MAX: usize = 8;

/// After every node refused: nodes hold a request through most of an election, so the next round may well succeed.
const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// The pause doubles up to here.
const PAUSE_MAX: Duration = Duration::from_millis(400);

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Ask this node; the plan counts it as being asked from now on.
    Try {
        /// Its position.
        node: usize,
        /// Others are being asked already.
        hedge: bool,
    },
    /// Nothing before a try ends or this moment comes.
    Wait(Instant),
    /// Nothing any more.
    GiveUp,
}

/// The plan of one request.
#[derive(Debug)]
pub(crate) struct Plan {
    order: Vec<usize>,
    patience: Patience,
    try_timeout: Duration,
    deadline: Instant,
    /// Asked in this round.
    tried: Vec<usize>,
    /// Being asked, and since when.
    running: Vec<(usize, Instant)>,
    /// A redirect names who is next.
    named: Option<usize>,
    hops: usize,
    /// No try begins before.
    due: Instant,
    /// Before the next round.
    pause: Duration,
    /// The last thing that happened was a failure, not silence.
    refused: bool,
}

impl Plan {
    /// `order` is not empty.
    pub(crate) fn new(
        order: Vec<usize>,
        patience: Patience,
        try_timeout: Duration,
        now: Instant,
        deadline: Instant,
    ) -> Self {
        let (tried, running) = (Vec::new(), Vec::new());
        let (named, hops, due, pause, refused) = (None, 0, now, PAUSE_FIRST, false);
        Self { order, patience, try_timeout, deadline, tried, running, named, hops, due, pause, refused }
    }

    /// What to do at `now`.
    pub(crate) fn next(&mut self, now: Instant) -> Next {
        if now >= self.deadline {
            return Next::GiveUp;
        }
        if now < self.due {
            return Next::Wait(self.due.min(self.deadline));
        }
        if self.running.len() >= TRIES_AT_ONCE_MAX {
            return Next::Wait(self.deadline);
        }
        if let Some(node) = self.named.take().or_else(|| self.untried()) {
            return self.begin(node, now);
        }
        match (self.patience, self.running.is_empty()) {
            (Patience::OneRound, true) => Next::GiveUp,
            (Patience::OneRound, false) => Next::Wait(self.deadline),
            (Patience::UntilDeadline, _) => self.next_round(now),
        }
    }

    /// The try at this node gave nothing: the next one may begin at once.
    pub(crate) fn failed(&mut self, node: usize, now: Instant) {
        self.end(node);
        self.due = now;
        self.refused = true;
    }

    /// The node sent us on to another one. `false`: not followed, which counts as failed (the other one was asked in
    /// this round or is being asked, so it is the trouble itself; or there were too many hops).
    pub(crate) fn redirected(&mut self, node: usize, to: usize, now: Instant) -> bool {
        self.failed(node, now);
        self.hops += 1;
        let follow = self.hops <= HOPS_MAX && !self.tried.contains(&to) && !self.is_running(to);
        if follow {
            self.named = Some(to);
        }
        follow
    }

    /// Who is being asked and has not answered in the time that a try has.
    pub(crate) fn silent(&self, now: Instant) -> impl Iterator<Item = usize> {
        let late = move |(_, since): &&(usize, Instant)| now.duration_since(*since) >= self.try_timeout;
        self.running.iter().filter(late).map(|(node, _)| *node)
    }

    /// Who is being asked.
    pub(crate) fn asked(&self) -> impl Iterator<Item = usize> {
        self.running.iter().map(|(node, _)| *node)
    }

    fn begin(&mut self, node: usize, now: Instant) -> Next {
        let hedge = !self.running.is_empty();
        self.tried.push(node);
        self.running.push((node, now));
        self.due = now + self.try_timeout;
        self.refused = false;
        Next::Try { node, hedge }
    }

    fn end(&mut self, node: usize) {
        if let Some(position) = self.running.iter().position(|(running, _)| *running == node) {
            self.running.swap_remove(position);
        }
    }

    fn is_running(&self, node: usize) -> bool {
        self.running.iter().any(|(running, _)| *running == node)
    }

    fn untried(&self) -> Option<usize> {
        self.order.iter().copied().find(|node| !self.tried.contains(node) && !self.is_running(*node))
    }

    /// Everybody was asked; those who failed are asked again after a pause.
    fn next_round(&mut self, now: Instant) -> Next {
        // The one node there is, silent: on another connection, in case that one is lost or leads to another machine.
        let only = match self.order.as_slice() {
            &[only] if self.running.len() == 1 => Some(only),
            _ => None,
        };
        let someone = self.order.iter().any(|node| !self.is_running(*node)) || only.is_some();
        match only {
            _ if !someone => Next::Wait(self.deadline),
            Some(only) if !self.refused => self.begin(only, now),
            Some(_) | None => {
                self.tried.clear();
                self.refused = false;
                self.due = now + self.pause;
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                Next::Wait(self.due.min(self.deadline))
            }
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
