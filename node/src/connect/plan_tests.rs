//! Tests of the plan: a table of what happens and what it does then.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;

const TRY: u64 = 400;
const DEADLINE: u64 = 2_800;

/// A plan and a clock that stands still until told.
struct Case {
    plan: Plan,
    start: Instant,
}

impl Case {
    fn new(nodes: usize, patience: Patience) -> Self {
        let start = Instant::now();
        let (try_timeout, deadline) = (Duration::from_millis(TRY), start + Duration::from_millis(DEADLINE));
        Self { plan: Plan::new((0..nodes).collect(), patience, try_timeout, start, deadline), start }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn tries(&mut self, ms: u64, node: usize, hedge: bool) {
        let now = self.at(ms);
        assert_eq!(self.plan.next(now), Next::Try { node, hedge }, "at {ms} ms");
    }

    fn waits(&mut self, ms: u64, until: u64) {
        let (now, until) = (self.at(ms), self.at(until));
        assert_eq!(self.plan.next(now), Next::Wait(until), "at {ms} ms");
    }

    fn fails(&mut self, ms: u64, node: usize) {
        let now = self.at(ms);
        self.plan.failed(node, now);
    }

    fn redirects(&mut self, ms: u64, node: usize, to: usize) -> bool {
        let now = self.at(ms);
        self.plan.redirected(node, to, now)
    }
}

#[test]
fn a_failure_moves_on_at_once() {
    let mut case = Case::new(3, Patience::UntilDeadline);
    case.tries(0, 0, false);
    case.waits(0, TRY);
    case.fails(3, 0);
    case.tries(3, 1, false);
    case.waits(3, 3 + TRY);
    case.fails(5, 1);
    case.tries(5, 2, false);
}

#[test]
fn silence_hedges_to_another_node_and_never_to_the_silent_one() {
    let mut case = Case::new(3, Patience::UntilDeadline);
    case.tries(0, 0, false);
    case.tries(TRY, 1, true);
    assert_eq!(case.plan.silent(case.at(TRY)).collect::<Vec<_>>(), [0]);
    case.fails(TRY + 10, 1);
    case.tries(TRY + 10, 2, true);
    case.fails(TRY + 20, 2);
    // A new round, without the silent one.
    case.waits(TRY + 20, TRY + 70);
    case.tries(TRY + 70, 1, true);
    case.fails(TRY + 80, 1);
    case.tries(TRY + 80, 2, true);
    case.fails(TRY + 90, 2);
    case.waits(TRY + 90, TRY + 190);
}

#[test]
fn when_everybody_is_silent_the_deadline_decides() {
    let mut case = Case::new(3, Patience::UntilDeadline);
    case.tries(0, 0, false);
    case.tries(TRY, 1, true);
    case.tries(2 * TRY, 2, true);
    case.waits(3 * TRY, DEADLINE);
    assert_eq!(case.plan.next(case.at(DEADLINE)), Next::GiveUp);
    assert_eq!(case.plan.asked().collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn many_nodes_are_not_all_asked_at_one_time() {
    let mut case = Case::new(7, Patience::UntilDeadline);
    case.tries(0, 0, false);
    case.tries(TRY, 1, true);
    case.tries(2 * TRY, 2, true);
    case.waits(3 * TRY, DEADLINE);
    case.fails(3 * TRY + 1, 1);
    case.tries(3 * TRY + 1, 3, true);
}

#[test]
fn a_redirect_is_followed_at_once() {
    let mut case = Case::new(3, Patience::UntilDeadline);
    case.tries(0, 0, false);
    assert!(case.redirects(2, 0, 2));
    case.tries(2, 2, false);
    // Outside of the list (`--follow-any`).
    assert!(case.redirects(4, 2, 9));
    case.tries(4, 9, false);
    case.fails(6, 9);
    case.tries(6, 1, false);
}

#[test]
fn a_redirect_to_the_trouble_itself_is_not_followed() {
    let mut case = Case::new(3, Patience::UntilDeadline);
    case.tries(0, 0, false);
    case.tries(TRY, 1, true);
    assert!(!case.redirects(TRY + 2, 1, 0), "0 is silent");
    case.tries(TRY + 2, 2, true);
    assert!(!case.redirects(TRY + 4, 2, 1), "1 was asked in this round");
    case.waits(TRY + 4, TRY + 54);
    case.tries(TRY + 54, 1, true);
    assert!(case.redirects(TRY + 56, 1, 2), "in a new round it may have come to lead");
    case.tries(TRY + 56, 2, true);
}

#[test]
fn redirects_without_end_are_given_up() {
    let mut case = Case::new(1, Patience::UntilDeadline);
    case.tries(0, 0, false);
    let mut node = 0;
    let followed = (1..100).take_while(|to| {
        let follow = case.redirects(1, node, *to);
        if follow {
            case.tries(1, *to, false);
            node = *to;
        }
        follow
    });
    assert_eq!(followed.count(), HOPS_MAX);
}

#[test]
fn a_look_asks_everybody_once() {
    let mut case = Case::new(2, Patience::OneRound);
    case.tries(0, 0, false);
    case.tries(TRY, 1, true);
    case.fails(TRY + 1, 1);
    case.waits(TRY + 1, DEADLINE);
    case.fails(TRY + 2, 0);
    assert_eq!(case.plan.next(case.at(TRY + 2)), Next::GiveUp);
}

#[test]
fn rounds_go_on_with_growing_pauses_until_the_deadline() {
    let mut case = Case::new(1, Patience::UntilDeadline);
    let (mut now, mut pauses) = (case.start, Vec::new());
    loop {
        match case.plan.next(now) {
            Next::Try { node, .. } => case.plan.failed(node, now),
            Next::Wait(until) => {
                pauses.push((until - now).as_millis());
                now = until;
            }
            Next::GiveUp => break,
        }
    }
    assert_eq!(pauses, [50, 100, 200, 400, 400, 400, 400, 400, 400, 50]);
    assert_eq!(now, case.at(DEADLINE));
}

#[test]
fn the_only_node_gets_a_second_connection_when_silent() {
    let mut case = Case::new(1, Patience::UntilDeadline);
    case.tries(0, 0, false);
    case.tries(TRY, 0, true);
    case.waits(2 * TRY, DEADLINE);
    case.fails(2 * TRY + 1, 0);
    // Not at once: it refuses.
    case.waits(2 * TRY + 1, 2 * TRY + 51);
    case.tries(2 * TRY + 51, 0, true);
}
