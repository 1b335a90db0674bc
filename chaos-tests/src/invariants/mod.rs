//! The invariants of the design, one file each: evidence in, violations out.
//!
//! | file | what must hold |
//! |---|---|
//! | [`genuine`] | every signature that came is the validator's, over the root computed here |
//! | [`s1`] | no slashable pair among all signatures that left any node |
//! | [`s2`] | every export covers every record acknowledged before it |
//! | [`s3`] | no watermark ever goes down |
//! | [`s4`] | same root, same signature; same slot or target and another root, refused by every node |
//! | [`s6`] | after an acknowledged deletion no signature; the returned history covers all that left |
//! | [`imported`] | nothing at or below an imported history is signed |
//! | [`s8`] | equal applied index, equal digest |
//! | [`s9`] | after an acknowledged revocation no signature for that client; before it, no refusal |
//! | [`l1`] | with a quorum healed, signing resumes |
//! | [`life`] | no invariant: which of these bind a cluster, and which all clusters of a lineage |
//!
//! [`s9`] judges the history of one client and is asked by the tests of the perimeter; the others judge whole runs.
//! Each check also complains when it was given nothing to check: a silent checker proves nothing; only S6 and `imported`
//! have nothing to say of a run without deletions and imports. Each is shown by its own tests to catch a history that
//! violates it.

#[cfg(test)]
pub(crate) mod fixture;
pub mod genuine;
pub mod imported;
pub mod l1;
pub mod life;
pub mod s1;
pub mod s2;
pub mod s3;
pub mod s4;
pub mod s6;
pub mod s8;
pub mod s9;

use crate::oracle::Evidence;
use serde::Serialize;

/// Something that must never be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
    /// The records that show it.
    pub evidence: Vec<String>,
}

/// A check: evidence in, violations out.
pub type Check = fn(&Evidence) -> Vec<Violation>;

/// All checks by the name of their invariant.
pub const CHECKS: [(&str, Check); 9] = [
    (genuine::NAME, genuine::check),
    (s1::NAME, s1::check),
    (s2::NAME, s2::check),
    (s3::NAME, s3::check),
    (s4::NAME, s4::check),
    (s6::NAME, s6::check),
    (imported::NAME, imported::check),
    (s8::NAME, s8::check),
    (l1::NAME, l1::check),
];

/// Runs all checks.
#[must_use]
pub fn judge(evidence: &Evidence) -> Vec<Violation> {
    CHECKS.iter().flat_map(|(_, check)| check(evidence)).collect()
}

impl Violation {
    pub(crate) fn new(invariant: &'static str, what: impl Into<String>, evidence: Vec<String>) -> Self {
        Self { invariant, what: what.into(), evidence }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.invariant, self.what)?;
        self.evidence.iter().try_for_each(|line| write!(formatter, "\n    {line}"))
    }
}
