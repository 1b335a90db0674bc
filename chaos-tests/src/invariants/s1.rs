//! S1: per validator, no slashable pair among all signatures that ever left any node.
//!
//! Every signed message is compared with every other one, by the definitions of the consensus specification and not by
//! watermarks: slower than the cluster's rule, and wrong in none of the same places.

use super::Violation;
use crate::oracle::{Content, Evidence, Release};
use consigner_rules::{PublicKey, Root};
use std::collections::BTreeMap;

/// Name in reports.
pub const NAME: &str = "S1";

/// Complains about every slashable pair, and about a run in which nothing was signed.
#[must_use]
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let mut signed: BTreeMap<PublicKey, BTreeMap<(Content, Root), &Release>> = BTreeMap::new();
    for release in evidence.genuine() {
        signed.entry(release.validator).or_default().entry((release.content, release.root)).or_insert(release);
    }
    if signed.is_empty() {
        return vec![Violation::new(NAME, "not one signature came: nothing was shown", Vec::new())];
    }
    signed.values().flat_map(|messages| pairs(&messages.values().copied().collect::<Vec<_>>())).collect()
}

fn pairs(messages: &[&Release]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (index, one) in messages.iter().enumerate() {
        for other in messages.iter().skip(index + 1) {
            if let Some(offence) = offence(one, other) {
                let evidence = vec![one.to_string(), other.to_string()];
                violations.push(Violation::new(NAME, format!("{offence} signed"), evidence));
            }
        }
    }
    violations
}

/// Which offence two signed messages of one validator are together, if any.
fn offence(one: &Release, other: &Release) -> Option<&'static str> {
    match (one.content, other.content) {
        //= consensus-specs phase0/beacon-chain.md, process_proposer_slashing: "Verify header slots match",
        //= "Verify the headers are different"
        (Content::Block { slot }, Content::Block { slot: other_slot }) => {
            (slot == other_slot && one.root != other.root).then_some("double proposal")
        }
        //= consensus-specs phase0/beacon-chain.md, is_slashable_attestation_data: "Double vote", "Surround vote"
        (
            Content::Attestation { source, target },
            Content::Attestation { source: other_source, target: other_target },
        ) => {
            if one.root != other.root && target == other_target {
                return Some("double vote");
            }
            let surrounds = source < other_source && other_target < target;
            let is_surrounded = other_source < source && target < other_target;
            (surrounds || is_surrounded).then_some("surround vote")
        }
        (Content::Block { .. } | Content::Attestation { .. } | Content::Unslashable { .. }, _) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::invariants::fixture::{block, nothing, release, vote};

    fn offences(releases: Vec<Release>) -> Vec<String> {
        let mut evidence = nothing();
        evidence.releases = releases;
        check(&evidence).into_iter().map(|violation| violation.what).collect()
    }

    #[test]
    fn each_offence_is_caught_in_either_order() {
        let cases = [
            (release(block(7), 1, 1), release(block(7), 2, 2), "double proposal signed"),
            (release(vote(3, 4), 1, 1), release(vote(3, 4), 2, 2), "double vote signed"),
            (release(vote(2, 4), 1, 1), release(vote(3, 4), 2, 2), "double vote signed"),
            (release(vote(1, 6), 1, 1), release(vote(2, 5), 2, 2), "surround vote signed"),
        ];
        for (one, other, offence) in cases {
            assert_eq!(offences(vec![one.clone(), other.clone()]), [offence], "{one} | {other}");
            assert_eq!(offences(vec![other, one]), [offence]);
        }
    }

    #[test]
    fn an_offence_far_apart_among_many_is_caught() {
        let mut releases: Vec<Release> = (0..100).map(|epoch| release(vote(epoch, epoch + 1), 1, epoch)).collect();
        assert_eq!(offences(releases.clone()), Vec::<String>::new());
        releases.push(release(vote(3, 50), 9, 200));
        // Surrounds 4->5 up to 48->49, doubles 49->50.
        assert_eq!(offences(releases).len(), 46);
    }

    #[test]
    fn what_is_not_slashable_passes() {
        let innocent = vec![
            release(block(7), 1, 1),
            release(block(7), 1, 2),
            release(block(8), 2, 3),
            release(vote(3, 7), 4, 4),
            release(vote(3, 7), 4, 5),
            release(vote(3, 8), 5, 6),
            release(vote(7, 9), 6, 7),
        ];
        assert_eq!(offences(innocent), Vec::<String>::new());
    }

    #[test]
    fn messages_of_two_validators_are_no_pair() {
        let other = Release { validator: PublicKey([2; 48]), ..release(block(7), 2, 1) };
        assert_eq!(offences(vec![release(block(7), 1, 1), other]), Vec::<String>::new());
    }

    #[test]
    fn silence_is_no_proof() {
        assert_eq!(offences(Vec::new()).len(), 1);
    }
}
