//! S9: after the policy that takes a client out is acknowledged no node releases a signature to that client, and until
//! it is sent no node refuses one.
//!
//! In: the exchanges of one client, and nobody else's. What "after" means between sockets is said in
//! [`crate::oracle::custody`]; what a freeze excuses, in [`super::s6`].

use super::{Violation, s6};
use crate::oracle::{Exchange, Fault, Release, release};
use std::time::Duration;

/// Name in reports.
pub const NAME: &str = "S9";

/// What a client outside policy gets.
const FORBIDDEN: u16 = 403;

/// A client was taken out of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// When the policy without it was sent.
    pub sent_at: Duration,
    /// When it was acknowledged.
    pub at: Duration,
}

/// Complains about signatures after the acknowledgement, about refusals before, and about a node that was not asked
/// in vain. Signatures of before the acknowledgement are not verified: they cost time and prove nothing here.
#[must_use]
pub fn check(nodes: &[u64], exchanges: &[Exchange], revocation: &Revocation, faults: &[Fault]) -> Vec<Violation> {
    let is_after = |one: &&Exchange| one.answered_at().is_some_and(|at| at > revocation.at);
    let after: Vec<Exchange> = exchanges.iter().filter(is_after).cloned().collect();
    let releases: Vec<Release> = release::releases(&after).into_iter().filter(|one| one.is_genuine).collect();
    let mut violations = released(&releases, revocation, faults);
    violations.extend(refused_early(exchanges, revocation));
    violations.extend(nodes.iter().filter_map(|node| not_asked(*node, exchanges, revocation)));
    violations
}

fn released(releases: &[Release], revocation: &Revocation, faults: &[Fault]) -> Vec<Violation> {
    let late = s6::late(faults, revocation.at, releases.iter());
    let what = "a signature was released to a client outside policy";
    late.into_iter().map(|one| Violation::new(NAME, what, vec![one.to_string(), line(revocation)])).collect()
}

fn refused_early(exchanges: &[Exchange], revocation: &Revocation) -> Option<Violation> {
    let is_early = |one: &&Exchange| one.answered_at().is_some_and(|at| at < revocation.sent_at);
    let early = exchanges.iter().filter(is_early).find(|one| one.status() == Some(FORBIDDEN))?;
    let what = "a client was refused before it was taken out of the policy";
    Some(Violation::new(NAME, what, vec![early.to_string(), line(revocation)]))
}

fn not_asked(node: u64, exchanges: &[Exchange], revocation: &Revocation) -> Option<Violation> {
    let of_node = || exchanges.iter().filter(|one| one.node == node);
    let signed = of_node().any(|one| one.is_ok() && one.sent_at < revocation.sent_at);
    let refused = of_node().any(|one| one.status() == Some(FORBIDDEN) && one.sent_at >= revocation.at);
    let what = match (signed, refused) {
        (true, true) => return None,
        (false, _) => format!("node {node} was not seen to sign before: nothing was shown"),
        (true, false) => format!("node {node} was not seen to answer {FORBIDDEN} after the revocation"),
    };
    Some(Violation::new(NAME, what, vec![line(revocation)]))
}

fn line(Revocation { sent_at, at }: &Revocation) -> String {
    format!("policy sent {:.3} s, acknowledged {:.3} s", sent_at.as_secs_f64(), at.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{at, exchange, fault, release, vote};
    use super::*;
    use crate::oracle::Phase;

    const REVOCATION: Revocation = Revocation { sent_at: Duration::from_secs(10), at: Duration::from_secs(12) };

    fn answer(seconds: u64, status: u16) -> Exchange {
        exchange(1, Phase::Storm, vote(1, 2), 1, seconds, status)
    }

    #[test]
    fn signatures_up_to_the_acknowledgement_and_refusals_after_it_are_right() {
        let exchanges = [answer(9, 200), answer(11, 200), answer(11, 403), answer(13, 403)];
        assert_eq!(check(&[1], &exchanges, &REVOCATION, &[]), Vec::new());
        let signed = [release(vote(1, 2), 1, 12)];
        assert_eq!(released(&signed, &REVOCATION, &[]), Vec::new());
    }

    #[test]
    fn a_signature_after_the_acknowledgement_is_found() {
        let signed = [release(vote(1, 2), 1, 13)];
        assert_eq!(released(&signed, &REVOCATION, &[]).len(), 1);
    }

    #[test]
    fn a_freeze_excuses_only_what_was_asked_before_it() {
        let freeze = Fault { name: s6::FREEZE, at: at(11), healed_at: Some(at(14)), ..fault(11, 11) };
        let asked = |seconds| [Release { sent_at: at(seconds), ..release(vote(1, 2), 1, 15) }];
        assert_eq!(released(&asked(10), &REVOCATION, std::slice::from_ref(&freeze)), Vec::new());
        assert_eq!(released(&asked(13), &REVOCATION, &[freeze]).len(), 1);
    }

    #[test]
    fn an_early_refusal_and_a_node_that_was_not_asked_are_found() {
        let exchanges = [answer(8, 200), answer(9, 403), answer(13, 403)];
        assert_eq!(check(&[1], &exchanges, &REVOCATION, &[]).len(), 1);
        assert_eq!(check(&[1, 2], &exchanges[..1], &REVOCATION, &[]).len(), 2);
    }
}
