//! L1: with a quorum healed, signing resumes.
//!
//! Measured per fault: from the instant of the fault, or from when a quorum was there again, to the answer of the first
//! signature that was asked for after the fault. The design promises one second on a quiet machine; asserted is a bound
//! that a starved machine with two cores and debug binaries keeps, and the real numbers are reported.

use super::Violation;
use crate::oracle::{Evidence, Fault};
use std::time::Duration;

/// Name in reports.
pub const NAME: &str = "L1";

/// What is asserted. Wall-clock limits on shared machines mean little, so this one tells "resumes" from "hangs".
pub const RESUME_MAX: Duration = Duration::from_secs(30);

/// How long a fault kept the cluster from signing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap<'e> {
    /// The fault.
    pub fault: &'e Fault,
    /// From the fault to the next signature.
    pub from_fault: Option<Duration>,
    /// From the return of a quorum to the next signature.
    pub from_quorum: Option<Duration>,
}

/// The gap of every fault.
#[must_use]
pub fn gaps(evidence: &Evidence) -> Vec<Gap<'_>> {
    let measure = |fault| {
        let next = next_signature(evidence, fault);
        let since = |begin: Duration| next.map(|next| next.saturating_sub(begin));
        Gap { fault, from_fault: since(fault.at), from_quorum: since(fault.quorum_at) }
    };
    evidence.faults.iter().map(measure).collect()
}

fn next_signature(evidence: &Evidence, fault: &Fault) -> Option<Duration> {
    evidence.genuine().filter(|release| release.sent_at >= fault.at).map(|release| release.at).min()
}

/// Complains about gaps beyond [`RESUME_MAX`] and about a cluster that did not heal.
#[must_use]
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let late = gaps(evidence).into_iter().filter(|gap| gap.from_quorum.is_none_or(|gap| gap > RESUME_MAX));
    let mut violations: Vec<Violation> = late
        .map(|gap| {
            let what = match gap.from_quorum {
                Some(gap) => format!("signing resumed only after {:.3} s", gap.as_secs_f64()),
                None => "signing never resumed".to_owned(),
            };
            Violation::new(NAME, what, vec![format!("{:?}", gap.fault)])
        })
        .collect();
    violations.extend(
        evidence.not_healed.iter().map(|why| Violation::new(NAME, "the cluster did not heal", vec![why.clone()])),
    );
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::fixture::{at, block, fault, nothing, release};

    #[test]
    fn a_short_gap_passes_and_is_measured() {
        let mut evidence = nothing();
        evidence.faults = vec![fault(10, 12)];
        evidence.releases = vec![release(block(1), 1, 9), release(block(2), 2, 15), release(block(3), 3, 14)];
        assert_eq!(check(&evidence), []);
        let gap = &gaps(&evidence)[0];
        assert_eq!((gap.from_fault, gap.from_quorum), (Some(at(4)), Some(at(2))));
    }

    #[test]
    fn a_signature_asked_for_before_the_fault_does_not_end_the_gap() {
        let mut evidence = nothing();
        evidence.faults = vec![fault(10, 10)];
        let mut early = release(block(1), 1, 9);
        early.at = at(11);
        evidence.releases = vec![early];
        assert_eq!(check(&evidence).len(), 1);
    }

    #[test]
    fn a_long_gap_and_an_endless_one_are_caught() {
        let mut evidence = nothing();
        evidence.faults = vec![fault(10, 10), fault(50, 50)];
        evidence.releases = vec![release(block(1), 1, 41)];
        assert_eq!(check(&evidence).len(), 2);
    }

    #[test]
    fn a_cluster_that_did_not_heal_is_caught() {
        let evidence = Evidence { not_healed: Some("node 2 is not ready".to_owned()), ..nothing() };
        assert_eq!(check(&evidence).len(), 1);
    }
}
