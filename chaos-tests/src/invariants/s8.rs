//! S8: at equal applied index all nodes have equal state digests.

use super::Violation;
use crate::oracle::{Evidence, StatusSample};
use std::collections::{BTreeMap, BTreeSet};

/// Name in reports.
pub const NAME: &str = "S8";

/// Complains about two digests at one index, and if the nodes were never all seen at one index.
#[must_use]
pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let mut by_index: BTreeMap<u64, BTreeMap<&str, BTreeSet<u64>>> = BTreeMap::new();
    for StatusSample { node, applied_index, digest, .. } in &evidence.statuses {
        if let Some(index) = applied_index {
            by_index.entry(*index).or_default().entry(digest).or_default().insert(*node);
        }
    }
    let diverging = by_index.iter().filter(|(_, digests)| digests.len() > 1);
    let mut violations: Vec<Violation> = diverging
        .map(|(index, digests)| {
            let shown = digests.iter().map(|(digest, nodes)| format!("nodes {nodes:?}: {digest}")).collect();
            Violation::new(NAME, format!("states differ at applied index {index}"), shown)
        })
        .collect();
    let common = by_index.values().any(|digests| digests.values().any(|nodes| nodes.len() == evidence.nodes.len()));
    if evidence.not_healed.is_none() && violations.is_empty() && !common {
        violations.push(Violation::new(NAME, "the nodes were never all seen at one applied index", Vec::new()));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::fixture::{nothing, status};

    fn with(statuses: Vec<StatusSample>) -> Vec<Violation> {
        check(&Evidence { statuses, ..nothing() })
    }

    #[test]
    fn equal_digests_at_equal_indices_pass() {
        assert_eq!(with(vec![status(1, 4, "a"), status(2, 4, "a"), status(3, 4, "a"), status(1, 5, "b")]), []);
    }

    #[test]
    fn diverging_digests_are_caught() {
        let found = with(vec![status(1, 4, "a"), status(2, 4, "a"), status(3, 4, "a"), status(3, 4, "b")]);
        assert_eq!(found.len(), 1);
        assert_eq!(with(vec![status(1, 4, "a"), status(2, 4, "b")]).len(), 1);
    }

    #[test]
    fn nodes_never_seen_together_prove_nothing() {
        assert_eq!(with(vec![status(1, 4, "a"), status(2, 4, "a"), status(3, 5, "b")]).len(), 1);
        assert_eq!(with(Vec::new()).len(), 1);
    }
}
