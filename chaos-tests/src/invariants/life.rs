//! A whole life, judged: one history over clusters that followed each other.
//!
//! In: everything that was seen, and which part of it each cluster lived. Out: violations. What left any node binds all
//! clusters of a lineage (S1, S2, S3); indexes, digests and the last word count in each cluster anew (S4, S8, L1).

use super::{Violation, genuine, imported, l1, s1, s2, s3, s4, s6, s8};
use crate::oracle::{Evidence, Exchange, Fault, StatusSample};
use std::time::Duration;

/// One cluster of a lineage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Era {
    /// Who belongs to it when it is asked for the last word.
    pub members: Vec<u64>,
    /// All that ever belonged to it.
    pub nodes: Vec<u64>,
    /// From when on.
    pub from: Duration,
    /// Until when.
    pub to: Duration,
    /// Whether its histories were raised to a floor: roots from before are refused then and not repeated.
    pub is_raised: bool,
}

/// Judges a life. The nodes of `whole` are those that must have been asked at its end.
#[must_use]
pub fn judge_life(whole: &Evidence, eras: &[Era]) -> Vec<Violation> {
    let for_ever: [super::Check; 6] = [genuine::check, s1::check, s2::check, s3::check, s6::check, imported::check];
    let mut violations: Vec<Violation> = for_ever.iter().flat_map(|check| check(whole)).collect();
    for era in eras {
        let part = part(whole, era);
        violations.extend(s8::check(&part));
        violations.extend(l1::check(&part));
        if !era.is_raised {
            violations.extend(s4::check(&part));
        }
    }
    violations
}

/// What was seen of one cluster.
fn part(whole: &Evidence, era: &Era) -> Evidence {
    let is_in = |at: Duration| era.from <= at && at < era.to;
    let exchange = |one: &&Exchange| is_in(one.sent_at);
    let status = |one: &&StatusSample| is_in(one.at) && era.nodes.contains(&one.node);
    let fault = |one: &&Fault| is_in(one.at);
    Evidence {
        nodes: era.members.clone(),
        exchanges: whole.exchanges.iter().filter(exchange).cloned().collect(),
        releases: whole.releases.iter().filter(|one| is_in(one.sent_at)).cloned().collect(),
        statuses: whole.statuses.iter().filter(status).cloned().collect(),
        faults: whole.faults.iter().filter(fault).cloned().collect(),
        not_healed: whole.not_healed.clone(),
        ..Evidence::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::fixture::{at, block, exchange, export, marks, nothing, release, status, vote};
    use crate::oracle::{Phase, Release};

    fn era(members: &[u64], from: u64, to: u64) -> Era {
        let nodes = members.to_vec();
        Era { members: nodes.clone(), nodes, from: at(from), to: at(to), is_raised: true }
    }

    /// Node 1 lived until second 10, node 7 from then on; both were asked what they hold.
    fn life(more: &[Release]) -> Evidence {
        let sample = |node, seconds, digest| StatusSample { at: at(seconds), ..status(node, 4, digest) };
        let asked = |content| exchange(1, Phase::Storm, content, 1, 3, 503);
        let mut releases = vec![release(block(5), 1, 4)];
        releases.extend_from_slice(more);
        Evidence {
            nodes: vec![7],
            exchanges: [block(4), block(5), block(8), vote(3, 4)].map(asked).to_vec(),
            releases,
            statuses: vec![sample(1, 5, "a"), sample(7, 15, "b")],
            exports: vec![
                export(1, 9, marks(5, 1, 3, 4, 1)),
                export(7, 15, marks(8, 1, 3, 4, 1)),
                export(7, 16, marks(8, 1, 3, 4, 1)),
            ],
            ..nothing()
        }
    }

    #[test]
    fn digests_count_anew_in_another_cluster() {
        let eras = [era(&[1], 0, 10), era(&[7], 10, 20)];
        assert_eq!(judge_life(&life(&[]), &eras), []);
        let one = [Era { members: vec![1], ..era(&[1, 7], 0, 20) }];
        assert_eq!(judge_life(&life(&[]), &one).len(), 1, "of one cluster they would be a violation");
    }

    #[test]
    fn a_double_proposal_across_clusters_is_caught() {
        let rival = Release { node: 7, ..release(block(5), 2, 14) };
        let found = judge_life(&life(&[rival]), &[era(&[1], 0, 10), era(&[7], 10, 20)]);
        assert!(found.iter().any(|violation| violation.invariant == s1::NAME), "{found:?}");
    }

    #[test]
    fn a_watermark_that_a_restored_cluster_lowers_is_caught() {
        let mut life = life(&[]);
        life.exports[1] = export(7, 15, marks(4, 1, 3, 4, 1));
        let found = judge_life(&life, &[era(&[1], 0, 10), era(&[7], 10, 20)]);
        assert!(found.iter().any(|violation| violation.invariant == s3::NAME), "{found:?}");
    }
}
